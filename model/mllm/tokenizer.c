/* The one tokenizer behind the three kinds of files: finding and loading them, and encoding:
 *
 *   text --added tokens--> stretches --normalizer--> text --splits--> words --model--> ids
 *
 * Decoding is tokenizer_decode.c's. */
#include "model/mllm/tokenizer_parts.h"

#include "api/base/utf8.h"
#include <stdlib.h>
#include <string.h>

enum { TOKENIZER_BYTES = 64 << 20 };

/* ---- parts that the readers share ---- */

void template_put(struct template *t, int32_t id, int32_t type)
{
    if (t->count == TEMPLATE_ITEMS)
        return;
    t->item[t->count].id = id;
    t->item[t->count++].type = type;
}

static void template_text(struct template *t, int32_t before, int32_t text, int32_t after,
                          int32_t type)
{
    if (before >= 0)
        template_put(t, before, type);
    template_put(t, text, type);
    if (after >= 0)
        template_put(t, after, type);
}

void template_llama(struct tokenizer *t, int32_t before, int32_t after)
{
    t->single.count = t->pair.count = 0;
    template_text(&t->single, before, TEMPLATE_FIRST, after, 0);
    template_text(&t->pair, before, TEMPLATE_FIRST, after, 0);
    template_text(&t->pair, before, TEMPLATE_SECOND, after, 1);
    t->wraps = true;
}

void template_bert(struct tokenizer *t, int32_t cls, int32_t sep)
{
    t->single.count = t->pair.count = 0;
    template_text(&t->single, cls, TEMPLATE_FIRST, sep, 0);
    template_text(&t->pair, cls, TEMPLATE_FIRST, sep, 0);
    template_text(&t->pair, -1, TEMPLATE_SECOND, sep, 1);
    t->wraps = true;
}

enum status tokenizer_settle_roles(struct tokenizer *t, struct tokenizer_settings *settings,
                                   const char *const names[ROLES], struct err *err)
{
    for (int role = 0; role < ROLES; role++)
        if (names[role] && vocab_find(&t->vocab, names[role], strlen(names[role])) >= 0)
            TRY(tokenizer_settings_role(settings, (enum tokenizer_role)role, names[role], err));
    for (int i = 0; i < settings->added.count; i++)
        TRY(added_tokens_put(&t->added, &settings->added.list[i], err));
    return added_tokens_enter(&t->added, &t->vocab, err);
}

int32_t tokenizer_role_id(const struct tokenizer *t, const struct tokenizer_settings *settings,
                          enum tokenizer_role role)
{
    const char *name = settings->role[role];
    return name[0] ? vocab_find(&t->vocab, name, strlen(name)) : -1;
}

enum status tokenizer_add_split(struct tokenizer *t, const char *pattern, struct err *err)
{
    if (t->splits == TOKENIZER_SPLITS)
        return err_set(err, STATUS_UNSUPPORTED, "pre_tokenizer: more than %d patterns",
                       TOKENIZER_SPLITS);
    TRY(bpe_words_create(pattern, &t->split[t->splits], err));
    t->splits++;
    return STATUS_OK;
}

/* ---- loading ---- */

static const struct source {
    const char *name;
    enum status (*read)(struct tokenizer *t, const void *data, size_t len,
                        struct tokenizer_settings *settings, struct err *err);
} SOURCES[] = {
    {"tokenizer.json", tokenizer_read_json},
    {"tokenizer.model", tokenizer_read_model},
    {"vocab.txt", tokenizer_read_vocab},
};
enum { SOURCE_COUNT = sizeof SOURCES / sizeof *SOURCES };

static int find_source(const char *dir, char *path, size_t size)
{
    for (int i = 0; i < SOURCE_COUNT; i++)
        if (io_join(path, size, dir, SOURCES[i].name, NULL) == STATUS_OK && io_exists(path))
            return i;
    return -1;
}

bool tokenizer_find(const char *dir, char *path, size_t size)
{
    return find_source(dir, path, size) >= 0;
}

/* LlamaTokenizer says by flags what goes around a text, whatever tokenizer.json has. */
static enum status apply_llama(struct tokenizer *t, const struct tokenizer_settings *settings,
                               bool is_model, struct err *err)
{
    int32_t bos = tokenizer_role_id(t, settings, ROLE_BOS);
    int32_t eos = tokenizer_role_id(t, settings, ROLE_EOS);
    if (!is_model && !tokenizer_settings_is_llama(settings))
        return STATUS_OK;
    if ((settings->add_eos && eos < 0) ||
        (settings->add_bos && bos < 0 && tokenizer_settings_is_llama(settings)))
        return err_set(err, STATUS_MALFORMED,
                       "tokenizer_config.json wants %s around a text, and no such token is there",
                       settings->add_eos && eos < 0 ? "eos_token" : "bos_token");
    template_llama(t, settings->add_bos ? bos : -1, settings->add_eos ? eos : -1);
    return STATUS_OK;
}

/* A text that is normalised into lower case would hide an added token that is to be found there. */
static enum status check_added(const struct tokenizer *t, struct err *err)
{
    bool changes = false;
    for (int i = 0; i < t->normalizer.count; i++)
        changes = changes || t->normalizer.step[i].kind == NORMALIZER_LOWER;
    for (int i = 0; i < t->added.count && changes; i++)
        if (!t->added.list[i].special && t->added.list[i].normalized)
            return err_set(err, STATUS_UNSUPPORTED,
                           "added token \"%s\": not special, normalized, and the normalizer makes "
                           "lower case; not supported",
                           t->added.list[i].content);
    return STATUS_OK;
}

static enum status load_source(struct io *io, const char *dir, const struct source *source,
                               const char *path, struct tokenizer *t, struct err *err)
{
    struct buf file = {.max = TOKENIZER_BYTES};
    struct tokenizer_settings settings;
    enum status status = tokenizer_settings_load(io, dir, &settings, err);
    if (status == STATUS_OK)
        status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK) {
        status = source->read(t, file.data, file.len, &settings, err);
        if (status == STATUS_OK)
            status = apply_llama(t, &settings, source->read == tokenizer_read_model, err);
        if (status == STATUS_OK)
            status = added_tokens_index(&t->added, err);
        if (status == STATUS_OK)
            status = check_added(t, err);
        if (status != STATUS_OK)
            err_prefix(err, "%s", path);
    }
    tokenizer_settings_free(&settings);
    buf_free(&file);
    return status;
}

enum status tokenizer_load(struct io *io, const char *dir, struct tokenizer **out, struct err *err)
{
    char path[4096];
    int source = find_source(dir, path, sizeof path);
    if (source < 0)
        return err_set(err, STATUS_NOT_FOUND,
                       "%s has no tokenizer: no tokenizer.json, tokenizer.model or vocab.txt", dir);
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %s", path);
    t->references = 1;
    enum status status = load_source(io, dir, &SOURCES[source], path, t, err);
    if (status != STATUS_OK) {
        tokenizer_destroy(t);
        return status;
    }
    *out = t;
    return STATUS_OK;
}

struct tokenizer *tokenizer_retain(struct tokenizer *tokenizer)
{
    if (tokenizer)
        __atomic_add_fetch(&tokenizer->references, 1, __ATOMIC_RELAXED);
    return tokenizer;
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (!tokenizer || __atomic_sub_fetch(&tokenizer->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (int i = 0; i < tokenizer->splits; i++)
        bpe_words_destroy(tokenizer->split[i]);
    bpe_merges_free(&tokenizer->merges);
    char_bpe_free(&tokenizer->char_bpe);
    unigram_free(&tokenizer->unigram);
    wordpiece_free(&tokenizer->wordpiece);
    normalizer_free(&tokenizer->normalizer);
    added_tokens_free(&tokenizer->added);
    vocab_free(&tokenizer->vocab);
    free(tokenizer);
}

/* ---- asking ---- */

int tokenizer_vocab(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab.count;
}

int tokenizer_id(const struct tokenizer *tokenizer, const char *token)
{
    return vocab_find(&tokenizer->vocab, token, strlen(token));
}

const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id, size_t *len)
{
    const struct token *token = vocab_get(&tokenizer->vocab, id);
    if (!token)
        return NULL;
    *len = token->len;
    return vocab_text(&tokenizer->vocab, token);
}

bool tokenizer_wraps(const struct tokenizer *tokenizer)
{
    return tokenizer->wraps;
}

bool tokenizer_adds_blank(const struct tokenizer *tokenizer)
{
    return normalizer_prefixes(&tokenizer->normalizer);
}

/* ---- encoding ---- */

struct encoder {
    const struct tokenizer *t;
    struct ids out;
    struct buf normal;  /* the stretch at hand, normalised */
    struct buf scratch; /* ids of one word */
    struct err *err;
};

static enum status encode_bytes(struct encoder *e, const char *word, size_t len)
{
    const struct tokenizer *t = e->t;
    size_t count = 0;
    int32_t whole = t->ignore_merges ? vocab_find(&t->vocab, word, len) : -1;
    if (whole >= 0)
        return ids_put(&e->out, whole);
    buf_clear(&e->scratch);
    TRY(buf_reserve(&e->scratch, len * sizeof(int32_t)));
    int32_t *ids = (int32_t *)(void *)e->scratch.data;
    for (size_t i = 0; i < len; i++)
        ids[i] = t->byte_symbol[(unsigned char)word[i]];
    TRY(bpe_merge_word(&t->merges, ids, len, &count));
    if (count > e->out.max - e->out.count)
        return STATUS_TOO_LARGE;
    memcpy(e->out.at + e->out.count, ids, count * sizeof *ids);
    e->out.count += count;
    return STATUS_OK;
}

static enum status encode_word(void *ctx, const char *word, size_t len)
{
    struct encoder *e = ctx;
    switch (e->t->model) {
    case MODEL_BYTE_BPE:
        return encode_bytes(e, word, len);
    case MODEL_CHAR_BPE:
        return char_bpe_encode(&e->t->char_bpe, word, len, &e->out);
    case MODEL_UNIGRAM:
        return unigram_encode(&e->t->unigram, word, len, &e->out);
    case MODEL_WORDPIECE:
        return wordpiece_encode(&e->t->wordpiece, word, len, &e->out);
    }
    return STATUS_UNSUPPORTED;
}

struct splitter {
    struct encoder *e;
    int level; /* the next expression */
};

static enum status split_word(void *ctx, const char *word, size_t len)
{
    struct splitter *s = ctx, next = {s->e, s->level + 1};
    const struct tokenizer *t = s->e->t;
    if (s->level == t->splits)
        return encode_word(s->e, word, len);
    return bpe_words_each(t->split[s->level], word, len, split_word, &next, s->e->err);
}

/* Text between added tokens. first: nothing comes before it. */
static enum status encode_stretch(struct encoder *e, const char *text, size_t len, bool first)
{
    struct splitter splitter = {e, 0};
    if (len == 0)
        return STATUS_OK;
    if (e->t->normalizer.count > 0) {
        TRY(normalizer_run(&e->t->normalizer, text, len, first, &e->normal, e->err));
        text = (const char *)e->normal.data;
        len = e->normal.len;
        e->scratch.max = (len + 1) * sizeof(int32_t);
    }
    if (e->t->bert_words)
        return wordpiece_words_each(text, len, encode_word, e);
    return len > 0 ? split_word(&splitter, text, len) : STATUS_OK;
}

static enum status encode_text(struct encoder *e, const struct tokenizer_text *text, unsigned how)
{
    struct added_scope scope = {(how & TOKENIZER_SPECIALS) != 0, text->plain_from, text->plain_to};
    struct added_match match;
    size_t at = 0;
    if (!utf8_valid(text->text, text->len))
        return err_set(e->err, STATUS_MALFORMED, "the text is not UTF-8");
    e->scratch.max = (text->len + 1) * sizeof(int32_t);
    while (added_tokens_find(&e->t->added, text->text, text->len, at, &scope, &match)) {
        TRY(encode_stretch(e, text->text + at, match.from - at, at == 0));
        TRY(ids_put(&e->out, match.id));
        at = match.to;
    }
    return encode_stretch(e, text->text + at, text->len - at, at == 0);
}

/* The items of a template; types may be NULL. */
static enum status encode_template(struct encoder *e, const struct template *template,
                                   const struct tokenizer_text *first,
                                   const struct tokenizer_text *second, unsigned how,
                                   int32_t *types)
{
    for (int i = 0; i < template->count; i++) {
        int32_t id = template->item[i].id;
        size_t from = e->out.count;
        if (id >= 0)
            TRY(ids_put(&e->out, id));
        else
            TRY(encode_text(e, id == TEMPLATE_FIRST ? first : second, how));
        for (size_t k = from; types && k < e->out.count; k++)
            types[k] = template->item[i].type;
    }
    return STATUS_OK;
}

/* Says what a bare status of the models means. */
static enum status encode_finish(struct encoder *e, enum status status, struct err *err)
{
    buf_free(&e->normal);
    buf_free(&e->scratch);
    if (status == STATUS_OK)
        return STATUS_OK;
    if (e->err->text[0])
        return err_set(err, status, "%s", e->err->text);
    if (status == STATUS_TOO_LARGE)
        return err_set(err, status, "the text has more than %zu tokens", e->out.max);
    if (status == STATUS_UNSUPPORTED)
        return err_set(err, status, "the text has a character that no token stands for");
    return err_set(err, status, "encoding a text: %s", status_name(status));
}

enum status tokenizer_encode_as(const struct tokenizer *tokenizer,
                                const struct tokenizer_text *text, unsigned how, int32_t *ids,
                                size_t max, size_t *count, struct err *err)
{
    struct err local = {0};
    struct encoder e = {.t = tokenizer, .out = {ids, 0, max}, .err = &local};
    enum status status = how & TOKENIZER_WRAP && tokenizer->wraps
                             ? encode_template(&e, &tokenizer->single, text, NULL, how, NULL)
                             : encode_text(&e, text, how);
    *count = e.out.count;
    return encode_finish(&e, status, err);
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t len,
                             int32_t *ids, size_t max, size_t *count, struct err *err)
{
    struct tokenizer_text plain = {.text = text, .len = len};
    return tokenizer_encode_as(tokenizer, &plain, 0, ids, max, count, err);
}

enum status tokenizer_encode_pair(const struct tokenizer *tokenizer,
                                  const struct tokenizer_text *first,
                                  const struct tokenizer_text *second, unsigned how, int32_t *ids,
                                  int32_t *types, size_t max, size_t *count, struct err *err)
{
    struct err local = {0};
    struct encoder e = {.t = tokenizer, .out = {ids, 0, max}, .err = &local};
    if (!tokenizer->wraps)
        return err_set(err, STATUS_UNSUPPORTED,
                       "the tokenizer's files do not say what goes around a pair of texts");
    enum status status = encode_template(&e, &tokenizer->pair, first, second, how, types);
    *count = e.out.count;
    return encode_finish(&e, status, err);
}
