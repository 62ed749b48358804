/* Training a byte-level BPE and writing it as tokenizer.json. Texts are counted as words (GPT-2's
 * pre-tokenizer); then the most frequent pair of neighbouring symbols becomes a token, again and
 * again. Ties go to the pair with the smaller ids, so the result depends on the texts alone. Meant
 * for small vocabularies: each merge counts all pairs anew over the distinct words. */
#include "model/mllm/tokenizer.h"

#include "api/wire/json_out.h"
#include "model/mllm/bpe.h"
#include <stdlib.h>
#include <string.h>

enum { VOCAB_MAX = 1 << 14, WORD_MAX = 256 };
static const size_t WORDS_BYTES = (size_t)1 << 30;

/* A distinct word: its symbols in trainer.symbols, and how often it occurs. */
struct word {
    size_t at, len;
    size_t hash;
    int64_t count;
};

struct pair_count {
    int32_t left, right; /* left < 0: free */
    int64_t count;
};

struct trainer {
    struct word *words;
    size_t word_count, word_cap;
    size_t *index; /* hash -> word + 1; 0 free */
    size_t index_mask;
    int32_t *symbols;
    size_t symbol_count, symbol_cap;
    struct pair_count *pairs;
    size_t pair_mask;
    struct buf *token; /* raw bytes of each token */
    int first, vocab;  /* id of byte 0 (after the specials); tokens so far */
    json *list;        /* "merges" */
};

/* ---- counting words ---- */

static size_t word_hash(const char *word, size_t len)
{
    uint64_t h = 0xCBF29CE484222325U;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)word[i]) * 0x100000001B3U;
    return (size_t)(h ^ h >> 29);
}

static bool grow(void **items, size_t *cap, size_t want, size_t size)
{
    if (want <= *cap)
        return true;
    size_t bigger = want < 1024 ? 1024 : want * 2;
    void *moved = bigger < WORDS_BYTES / size ? realloc(*items, bigger * size) : NULL;
    if (!moved)
        return false;
    *items = moved;
    *cap = bigger;
    return true;
}

static bool index_grow(struct trainer *t)
{
    size_t slots = t->index ? 2 * (t->index_mask + 1) : 1024;
    size_t *index = calloc(slots, sizeof *index);
    if (!index)
        return false;
    for (size_t w = 0; w < t->word_count; w++) {
        size_t i = t->words[w].hash & (slots - 1);
        while (index[i])
            i = (i + 1) & (slots - 1);
        index[i] = w + 1;
    }
    free(t->index);
    t->index = index;
    t->index_mask = slots - 1;
    return true;
}

static bool word_is(const struct trainer *t, const struct word *w, size_t hash, const char *text,
                    size_t len)
{
    if (w->hash != hash || w->len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (t->symbols[w->at + i] != t->first + (unsigned char)text[i])
            return false;
    return true;
}

static bool word_add(struct trainer *t, size_t hash, const char *text, size_t len)
{
    if (!grow((void **)&t->words, &t->word_cap, t->word_count + 1, sizeof *t->words) ||
        !grow((void **)&t->symbols, &t->symbol_cap, t->symbol_count + len, sizeof *t->symbols))
        return false;
    t->words[t->word_count++] = (struct word){t->symbol_count, len, hash, 1};
    for (size_t i = 0; i < len; i++)
        t->symbols[t->symbol_count++] = t->first + (unsigned char)text[i];
    return true;
}

static enum status count_word(void *ctx, const char *text, size_t len)
{
    struct trainer *t = ctx;
    size_t hash = word_hash(text, len);
    if (len > WORD_MAX) /* no token will be that long; a runaway word teaches nothing */
        return STATUS_OK;
    if (t->word_count * 2 >= t->index_mask && !index_grow(t))
        return STATUS_NO_MEMORY;
    size_t i = hash & t->index_mask;
    for (; t->index[i]; i = (i + 1) & t->index_mask)
        if (word_is(t, &t->words[t->index[i] - 1], hash, text, len)) {
            t->words[t->index[i] - 1].count++;
            return STATUS_OK;
        }
    if (!word_add(t, hash, text, len))
        return STATUS_NO_MEMORY;
    t->index[i] = t->word_count;
    return STATUS_OK;
}

static enum status count_words(struct trainer *t, const char *const *texts, size_t count,
                               struct err *err)
{
    struct bpe_words *words = NULL;
    TRY(bpe_words_create(BPE_GPT2_WORDS, &words, err));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = bpe_words_each(words, texts[i], strlen(texts[i]), count_word, t, err);
    bpe_words_destroy(words);
    return status;
}

/* ---- choosing and applying merges ---- */

static struct pair_count *pair_slot(struct trainer *t, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = (size_t)(key * 0x9E3779B97F4A7C15U >> 32) & t->pair_mask;
    while (t->pairs[i].left >= 0 && (t->pairs[i].left != left || t->pairs[i].right != right))
        i = (i + 1) & t->pair_mask;
    return &t->pairs[i];
}

static bool is_better(const struct pair_count *a, const struct pair_count *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static struct pair_count best_pair(struct trainer *t)
{
    struct pair_count best = {.left = -1};
    for (size_t i = 0; i <= t->pair_mask; i++)
        t->pairs[i] = (struct pair_count){.left = -1};
    for (size_t w = 0; w < t->word_count; w++) {
        const int32_t *s = t->symbols + t->words[w].at;
        for (size_t i = 0; i + 1 < t->words[w].len; i++) {
            struct pair_count *pair = pair_slot(t, s[i], s[i + 1]);
            pair->left = s[i];
            pair->right = s[i + 1];
            pair->count += t->words[w].count;
            if (is_better(pair, &best))
                best = *pair;
        }
    }
    return best;
}

static void apply_merge(struct trainer *t, int32_t left, int32_t right, int32_t merged)
{
    for (size_t w = 0; w < t->word_count; w++) {
        int32_t *s = t->symbols + t->words[w].at;
        size_t out = 0, len = t->words[w].len;
        for (size_t i = 0; i < len; out++) {
            bool hit = i + 1 < len && s[i] == left && s[i + 1] == right;
            s[out] = hit ? merged : s[i];
            i += hit ? 2 : 1;
        }
        t->words[w].len = out;
    }
}

static enum status print_token(const struct buf *token, struct buf *text)
{
    return bpe_print_bytes(token->data, token->len, text);
}

/* Appends "left right" to the list of merges. */
static enum status list_merge(struct trainer *t, struct pair_count pair)
{
    struct buf text = {.max = 8 * WORD_MAX};
    enum status status = print_token(&t->token[pair.left], &text);
    if (status == STATUS_OK)
        status = buf_append(&text, " ", 1);
    if (status == STATUS_OK)
        status = print_token(&t->token[pair.right], &text);
    if (status == STATUS_OK)
        status = buf_append(&text, "", 1);
    if (status == STATUS_OK && !json_append_string(t->list, (const char *)text.data))
        status = STATUS_NO_MEMORY;
    buf_free(&text);
    return status;
}

static bool same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The token a merge makes: a new one, or the one that has these bytes already ("ab" + "c" after
 * "a" + "bc"). */
static enum status make_token(struct trainer *t, struct pair_count pair, int32_t *id)
{
    const struct buf *left = &t->token[pair.left], *right = &t->token[pair.right];
    struct buf *token = &t->token[t->vocab];
    token->max = WORD_MAX;
    buf_clear(token);
    TRY(buf_append(token, left->data, left->len));
    TRY(buf_append(token, right->data, right->len));
    *id = t->first + 256;
    while (!same_bytes(&t->token[*id], token))
        (*id)++;
    t->vocab += *id == t->vocab;
    return STATUS_OK;
}

static enum status learn_merges(struct trainer *t, int vocab)
{
    size_t slots = 1024;
    while (slots < 2 * t->symbol_count)
        slots *= 2;
    t->pair_mask = slots - 1;
    t->pairs = malloc(slots * sizeof *t->pairs);
    if (!t->pairs)
        return STATUS_NO_MEMORY;
    while (t->vocab < vocab) {
        struct pair_count best = best_pair(t);
        if (best.left < 0 || best.count < 2)
            break;
        int32_t merged = 0;
        TRY(make_token(t, best, &merged));
        TRY(list_merge(t, best));
        apply_merge(t, best.left, best.right, merged);
    }
    return STATUS_OK;
}

/* ---- writing ---- */

static json *write_added(const char *const *specials, int count)
{
    json *list = json_array_new();
    for (int i = 0; list && i < count; i++) {
        json *one = json_object_new();
        bool ok = one && json_set_int(one, "id", i) &&
                  json_set_string(one, "content", specials[i]) &&
                  json_set_bool(one, "single_word", false) && json_set_bool(one, "lstrip", false) &&
                  json_set_bool(one, "rstrip", false) && json_set_bool(one, "normalized", false) &&
                  json_set_bool(one, "special", true);
        if (!ok || !json_append_take(list, one)) {
            json_free(list);
            return NULL;
        }
    }
    return list;
}

static json *write_vocab(const struct trainer *t, const char *const *specials)
{
    json *vocab = json_object_new();
    struct buf text = {.max = 8 * WORD_MAX};
    bool ok = vocab != NULL;
    for (int i = 0; ok && i < t->first; i++)
        ok = json_set_int(vocab, specials[i], i);
    for (int i = t->first; ok && i < t->vocab; i++) {
        buf_clear(&text);
        ok = print_token(&t->token[i], &text) == STATUS_OK &&
             buf_append(&text, "", 1) == STATUS_OK &&
             json_set_int(vocab, (const char *)text.data, i);
    }
    buf_free(&text);
    if (ok)
        return vocab;
    json_free(vocab);
    return NULL;
}

static json *write_byte_level(void)
{
    json *part = json_object_new();
    if (part && json_set_string(part, "type", "ByteLevel") &&
        json_set_bool(part, "add_prefix_space", false) &&
        json_set_bool(part, "trim_offsets", true) && json_set_bool(part, "use_regex", true))
        return part;
    json_free(part);
    return NULL;
}

/* json_set_take consumes its value in every case, and fails on NULL. */
static json *write_root(struct trainer *t, const char *const *specials)
{
    json *root = json_object_new(), *model = json_object_new();
    json *merges = t->list;
    t->list = NULL;
    bool ok = root && model && json_set_string(root, "version", "1.0") &&
              json_set_take(root, "added_tokens", write_added(specials, t->first)) &&
              json_set_take(root, "pre_tokenizer", write_byte_level()) &&
              json_set_take(root, "decoder", write_byte_level()) &&
              json_set_string(model, "type", "BPE") &&
              json_set_take(model, "vocab", write_vocab(t, specials));
    if (!ok) {
        json_free(merges);
        json_free(model);
        json_free(root);
        return NULL;
    }
    ok = json_set_take(model, "merges", merges);
    if (!json_set_take(root, "model", model) || !ok) {
        json_free(root);
        return NULL;
    }
    return root;
}

static enum status write_file(struct io *io, const char *dir, struct trainer *t,
                              const char *const *specials, struct err *err)
{
    char path[4096];
    TRY(io_make_dirs(io, dir, err));
    TRY(io_join(path, sizeof path, dir, "tokenizer.json", err));
    return json_save(io, path, write_root(t, specials), true, err);
}

/* ---- the whole ---- */

static enum status trainer_start(struct trainer *t, int vocab, int specials)
{
    t->first = specials;
    t->vocab = specials + 256;
    t->token = calloc((size_t)vocab, sizeof *t->token);
    t->list = json_array_new();
    if (!t->token || !t->list || !index_grow(t))
        return STATUS_NO_MEMORY;
    for (int b = 0; b < 256; b++) {
        struct buf *token = &t->token[specials + b];
        token->max = 1;
        TRY(buf_append(token, &(uint8_t){(uint8_t)b}, 1));
    }
    return STATUS_OK;
}

static void trainer_free(struct trainer *t, int vocab)
{
    for (int i = 0; t->token && i < vocab; i++)
        buf_free(&t->token[i]);
    free(t->token);
    free(t->words);
    free(t->index);
    free(t->symbols);
    free(t->pairs);
    json_free(t->list);
}

enum status tokenizer_train(struct io *io, const char *dir, const char *const *texts, size_t count,
                            int vocab, const char *const *specials, int special_count,
                            struct err *err)
{
    struct trainer t = {0};
    if (special_count < 0 || vocab < special_count + 256 || vocab > VOCAB_MAX)
        return err_set(err, STATUS_USAGE,
                       "a vocabulary of %d; must be %d (specials, 256 bytes)..%d", vocab,
                       special_count + 256, VOCAB_MAX);
    struct err local = {0};
    enum status status = trainer_start(&t, vocab, special_count);
    if (status == STATUS_OK)
        status = count_words(&t, texts, count, &local);
    if (status == STATUS_OK)
        status = learn_merges(&t, vocab);
    if (status == STATUS_OK)
        status = write_file(io, dir, &t, specials, &local);
    trainer_free(&t, vocab);
    if (status != STATUS_OK)
        return err_set(err, status, "training a tokenizer: %s",
                       local.text[0] ? local.text : status_name(status));
    return STATUS_OK;
}
