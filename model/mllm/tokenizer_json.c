/* A tokenizer from Hugging Face's tokenizer.json: BPE on bytes (GPT-2, Llama 3), BPE on characters
 * with byte fallback (LLaMA), WordPiece (BERT), with their normalizers, pre-tokenizers, templates.
 * What else such a file can ask for is refused by name.
 *
 * Reference: github.com/huggingface/tokenizers 0.15. */
#include "model/mllm/tokenizer_parts.h"

#include "model/mllm/unicode.h"
#include <stdio.h>
#include <string.h>

enum { PATTERN_BYTES = 4096, TYPE_BYTES = 64 };

struct reader {
    struct tokenizer *t;
    const json *root;
    struct err *err;
    bool byte_level;
    struct buf scratch; /* a token's raw bytes */
};

static enum status refuse(struct reader *r, const char *part, const char *type, const char *known)
{
    return err_set(r->err, STATUS_UNSUPPORTED, "%s \"%s\" is not supported; supported: %s", part,
                   type, known);
}

static enum status get_type(struct reader *r, const json *part, const char **type)
{
    return json_get_string(part, "type", TYPE_BYTES, type, r->err);
}

/* ---- a list of parts under one ---- */

/* Calls fn for the part, or, when it is a Sequence, for those in its list. */
static enum status each_part(struct reader *r, const json *part, const char *list_key,
                             enum status (*fn)(struct reader *r, const json *part, bool alone))
{
    const char *type = "";
    const json *list = NULL;
    TRY(get_type(r, part, &type));
    if (strcmp(type, "Sequence") != 0)
        return fn(r, part, true);
    TRY(json_get_array(part, list_key, 32, &list, r->err));
    for (size_t i = 0; i < json_length(list); i++)
        TRY(fn(r, json_at(list, i), json_length(list) == 1));
    return STATUS_OK;
}

static enum status read_optional(struct reader *r, const char *key, const char *list_key,
                                 enum status (*fn)(struct reader *r, const json *part, bool alone))
{
    const json *part = NULL;
    TRY(json_opt_object(r->root, key, &part, r->err));
    return part ? each_part(r, part, list_key, fn) : STATUS_OK;
}

/* ---- normalizer ---- */

static enum status add_bert_steps(struct reader *r, const json *part)
{
    struct normalizer *n = &r->t->normalizer;
    bool clean = true, ideographs = true, lower = true;
    TRY(json_opt_bool(part, "clean_text", &clean, r->err));
    TRY(json_opt_bool(part, "handle_chinese_chars", &ideographs, r->err));
    TRY(json_opt_bool(part, "lowercase", &lower, r->err));
    bool strip = lower; /* null: as lowercase */
    TRY(json_opt_bool(part, "strip_accents", &strip, r->err));
    if (clean)
        TRY(normalizer_add(n, NORMALIZER_CLEAN, NULL, NULL, r->err));
    if (ideographs)
        TRY(normalizer_add(n, NORMALIZER_IDEOGRAPHS, NULL, NULL, r->err));
    if (strip) {
        TRY(normalizer_add(n, NORMALIZER_NFD, NULL, NULL, r->err));
        TRY(normalizer_add(n, NORMALIZER_DROP_MARKS, NULL, NULL, r->err));
    }
    return lower ? normalizer_add(n, NORMALIZER_LOWER, NULL, NULL, r->err) : STATUS_OK;
}

static enum status add_replace(struct reader *r, const json *part)
{
    const json *pattern = NULL;
    const char *from = "", *to = "";
    TRY(json_get_object(part, "pattern", &pattern, r->err));
    if (!json_has(pattern, "String"))
        return refuse(r, "normalizer Replace: pattern", "Regex", "String");
    TRY(json_get_string(pattern, "String", PATTERN_BYTES, &from, r->err));
    TRY(json_get_string(part, "content", PATTERN_BYTES, &to, r->err));
    return normalizer_add(&r->t->normalizer, NORMALIZER_REPLACE, from, to, r->err);
}

static enum status add_strip(struct reader *r, const json *part)
{
    bool left = true, right = true;
    TRY(json_opt_bool(part, "strip_left", &left, r->err));
    TRY(json_opt_bool(part, "strip_right", &right, r->err));
    return normalizer_add(&r->t->normalizer, NORMALIZER_STRIP, left ? "1" : NULL,
                          right ? "1" : NULL, r->err);
}

static enum status add_normalizer(struct reader *r, const json *part, bool alone)
{
    static const struct {
        const char *type;
        enum normalizer_kind kind;
    } plain[] = {
        {"NFC", NORMALIZER_NFC},         {"NFD", NORMALIZER_NFD},
        {"NFKC", NORMALIZER_NFKC},       {"NFKD", NORMALIZER_NFKD},
        {"Lowercase", NORMALIZER_LOWER}, {"StripAccents", NORMALIZER_DROP_MARKS},
    };
    const char *type = "", *text = "";
    (void)alone;
    TRY(get_type(r, part, &type));
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(type, plain[i].type) == 0)
            return normalizer_add(&r->t->normalizer, plain[i].kind, NULL, NULL, r->err);
    if (strcmp(type, "BertNormalizer") == 0)
        return add_bert_steps(r, part);
    if (strcmp(type, "Replace") == 0)
        return add_replace(r, part);
    if (strcmp(type, "Strip") == 0)
        return add_strip(r, part);
    if (strcmp(type, "Prepend") != 0)
        return refuse(r, "normalizer", type,
                      "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Prepend, Replace, "
                      "Sequence, Strip, StripAccents");
    TRY(json_get_string(part, "prepend", PATTERN_BYTES, &text, r->err));
    return normalizer_add(&r->t->normalizer, NORMALIZER_PREPEND, NULL, text, r->err);
}

/* ---- pre-tokenizer ---- */

static enum status add_byte_level(struct reader *r, const json *part, bool alone)
{
    bool prefix = false, regex = true;
    TRY(json_opt_bool(part, "add_prefix_space", &prefix, r->err));
    TRY(json_opt_bool(part, "use_regex", &regex, r->err));
    if (prefix && !alone)
        return refuse(r, "pre_tokenizer", "ByteLevel with add_prefix_space in a Sequence",
                      "add_prefix_space false");
    r->byte_level = true;
    if (prefix)
        TRY(normalizer_add(&r->t->normalizer, NORMALIZER_PREFIX, NULL, " ", r->err));
    return regex ? tokenizer_add_split(r->t, BPE_GPT2_WORDS, r->err) : STATUS_OK;
}

static enum status add_pattern(struct reader *r, const json *part)
{
    const json *pattern = NULL;
    const char *text = "", *behavior = "";
    bool invert = false;
    char quoted[PATTERN_BYTES + 8];
    TRY(json_get_object(part, "pattern", &pattern, r->err));
    TRY(json_get_string(part, "behavior", TYPE_BYTES, &behavior, r->err));
    TRY(json_opt_bool(part, "invert", &invert, r->err));
    if (strcmp(behavior, "Isolated") != 0 || invert)
        return refuse(r, "pre_tokenizer Split: behavior", behavior, "Isolated, not inverted");
    if (json_has(pattern, "Regex")) {
        TRY(json_get_string(pattern, "Regex", PATTERN_BYTES, &text, r->err));
        return tokenizer_add_split(r->t, text, r->err);
    }
    TRY(json_get_string(pattern, "String", PATTERN_BYTES, &text, r->err));
    if (strstr(text, "\\E"))
        return refuse(r, "pre_tokenizer Split: pattern", text, "strings without \\E");
    snprintf(quoted, sizeof quoted, "\\Q%s\\E", text);
    return tokenizer_add_split(r->t, quoted, r->err);
}

static enum status add_metaspace(struct reader *r, const json *part)
{
    struct normalizer *n = &r->t->normalizer;
    const char *mark = "\xE2\x96\x81", *scheme = "";
    bool prefix = true, split = true;
    char pattern[64];
    size_t size = 0;
    TRY(json_opt_string(part, "replacement", 4, &mark, r->err));
    TRY(json_opt_bool(part, "add_prefix_space", &prefix, r->err));
    TRY(json_opt_bool(part, "split", &split, r->err));
    TRY(json_opt_string(part, "prepend_scheme", TYPE_BYTES, &scheme, r->err));
    TRY(normalizer_add(n, NORMALIZER_REPLACE, " ", mark, r->err));
    if (prefix && strcmp(scheme, "never") != 0) {
        TRY(normalizer_add(n, NORMALIZER_PREFIX, NULL, mark, r->err));
        n->step[n->count - 1].first_only = strcmp(scheme, "first") == 0;
    }
    if (!split)
        return STATUS_OK;
    uint32_t c = mark[0] ? unicode_get(mark, strlen(mark), &size) : 0;
    if (size == 0 || mark[size])
        return refuse(r, "pre_tokenizer Metaspace: replacement", mark, "one character");
    snprintf(pattern, sizeof pattern, "\\x{%x}[^\\x{%x}]*", c, c);
    return tokenizer_add_split(r->t, pattern, r->err);
}

static enum status add_pre_tokenizer(struct reader *r, const json *part, bool alone)
{
    const char *type = "";
    bool individual = false;
    TRY(get_type(r, part, &type));
    if (strcmp(type, "ByteLevel") == 0)
        return add_byte_level(r, part, alone);
    if (strcmp(type, "Split") == 0)
        return add_pattern(r, part);
    if (strcmp(type, "Metaspace") == 0 && alone)
        return add_metaspace(r, part);
    if (strcmp(type, "Digits") == 0) {
        TRY(json_opt_bool(part, "individual_digits", &individual, r->err));
        return tokenizer_add_split(r->t, individual ? "\\p{N}" : "\\p{N}+", r->err);
    }
    if (strcmp(type, "BertPreTokenizer") != 0 || !alone)
        return refuse(r, "pre_tokenizer", type,
                      "ByteLevel, Digits and Split, also as Sequence; BertPreTokenizer and "
                      "Metaspace alone");
    r->t->bert_words = true;
    return STATUS_OK;
}

/* ---- decoder ---- */

static enum status add_decoder(struct reader *r, const json *part, bool alone)
{
    static const char *const known[] = {"ByteLevel", "ByteFallback", "Fuse",     "Metaspace",
                                        "Replace",   "Strip",        "WordPiece"};
    const char *type = "", *scheme = "";
    bool prefix = true;
    int64_t start = 0;
    (void)alone;
    TRY(get_type(r, part, &type));
    bool ok = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        ok = ok || strcmp(type, known[i]) == 0;
    if (!ok)
        return refuse(r, "decoder", type,
                      "ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip, "
                      "WordPiece");
    if (strcmp(type, "Strip") == 0)
        TRY(json_get_int(part, "start", 0, 1, &start, r->err));
    if (strcmp(type, "Metaspace") == 0) {
        TRY(json_opt_bool(part, "add_prefix_space", &prefix, r->err));
        TRY(json_opt_string(part, "prepend_scheme", TYPE_BYTES, &scheme, r->err));
        start = prefix && strcmp(scheme, "never") != 0;
    }
    if (start > 0)
        r->t->strip = STRIP_ONE;
    return STATUS_OK;
}

/* ---- template ---- */

/* Id i of the list, which a token must have. */
static enum status token_id_at(struct reader *r, const json *list, size_t i, int32_t *out)
{
    int64_t id = 0;
    TRY(json_int_at(list, i, 0, VOCAB_IDS - 1, &id, r->err));
    *out = (int32_t)id;
    if (vocab_get(&r->t->vocab, id))
        return STATUS_OK;
    return err_set(r->err, STATUS_MALFORMED, "post_processor: no token has id %d", (int)id);
}

static enum status template_item(struct reader *r, const json *item, const json *specials,
                                 struct template *out)
{
    const json *part = NULL, *special = NULL, *ids = NULL;
    const char *name = "";
    int64_t type = 0;
    int32_t id = 0;
    bool sequence = json_has(item, "Sequence");
    TRY(json_get_object(item, sequence ? "Sequence" : "SpecialToken", &part, r->err));
    TRY(json_get_string(part, "id", 255, &name, r->err));
    TRY(json_opt_int(part, "type_id", 0, 1, &type, r->err));
    if (sequence) {
        template_put(out, strcmp(name, "A") == 0 ? TEMPLATE_FIRST : TEMPLATE_SECOND, (int32_t)type);
        return STATUS_OK;
    }
    TRY(json_get_object(specials, name, &special, r->err));
    TRY(json_get_array(special, "ids", 4, &ids, r->err));
    for (size_t i = 0; i < json_length(ids); i++) {
        TRY(token_id_at(r, ids, i, &id));
        template_put(out, id, (int32_t)type);
    }
    return STATUS_OK;
}

static enum status read_template(struct reader *r, const json *part, const char *key,
                                 struct template *out)
{
    const json *items = NULL, *specials = NULL;
    int first = 0, second = 0;
    TRY(json_get_array(part, key, TEMPLATE_ITEMS, &items, r->err));
    TRY(json_opt_object(part, "special_tokens", &specials, r->err));
    for (size_t i = 0; i < json_length(items); i++)
        TRY(template_item(r, json_at(items, i), specials, out));
    for (int i = 0; i < out->count; i++) {
        first += out->item[i].id == TEMPLATE_FIRST;
        second += out->item[i].id == TEMPLATE_SECOND;
    }
    if (first != 1 || second != (out == &r->t->pair))
        return err_set(r->err, STATUS_MALFORMED,
                       "post_processor: the template \"%s\" has text A %d times and B %d times",
                       key, first, second);
    return STATUS_OK;
}

/* "sep": ["[SEP]", 102] */
static enum status role_id(struct reader *r, const json *part, const char *key, int32_t *out)
{
    const json *pair = NULL;
    TRY(json_get_array(part, key, 2, &pair, r->err));
    return token_id_at(r, pair, 1, out);
}

static enum status add_post_processor(struct reader *r, const json *part, bool alone)
{
    const char *type = "";
    int32_t cls = -1, sep = -1;
    (void)alone;
    TRY(get_type(r, part, &type));
    if (strcmp(type, "ByteLevel") == 0) /* offsets alone */
        return STATUS_OK;
    if (strcmp(type, "BertProcessing") == 0) {
        TRY(role_id(r, part, "cls", &cls));
        TRY(role_id(r, part, "sep", &sep));
        template_bert(r->t, cls, sep);
        return STATUS_OK;
    }
    if (strcmp(type, "TemplateProcessing") != 0)
        return refuse(r, "post_processor", type,
                      "BertProcessing, ByteLevel, Sequence, TemplateProcessing");
    r->t->single.count = r->t->pair.count = 0;
    TRY(read_template(r, part, "single", &r->t->single));
    TRY(read_template(r, part, "pair", &r->t->pair));
    r->t->wraps = true;
    return STATUS_OK;
}

/* ---- vocabulary ---- */

static enum status read_added(struct reader *r, const json *added)
{
    for (size_t i = 0; i < json_length(added); i++) {
        struct added_token token = {.id = -1};
        TRY(added_token_read(json_at(added, i), &token, r->err));
        TRY(json_get_int(json_at(added, i), "id", 0, VOCAB_IDS - 1, &token.id, r->err));
        int before = r->t->added.count;
        TRY(added_tokens_put(&r->t->added, &token, r->err));
        if (r->t->added.count == before)
            return err_set(r->err, STATUS_CONFLICT, "added_tokens: \"%s\" is there twice",
                           token.content);
    }
    return STATUS_OK;
}

static enum status count_ids(struct reader *r, const json *vocab, int *count)
{
    void *cursor = NULL;
    int64_t id = 0, end = 0;
    for (const char *key; (key = json_next(vocab, &cursor, NULL)) != NULL;) {
        TRY(json_get_int(vocab, key, 0, VOCAB_IDS - 1, &id, r->err));
        end = id >= end ? id + 1 : end;
    }
    *count = (int)end;
    if (end == 0 && r->t->added.count == 0)
        return err_set(r->err, STATUS_MALFORMED, "vocab is empty");
    return STATUS_OK;
}

/* Appends a token's raw bytes to r->scratch: byte-level files write them in printable characters.
 */
static enum status raw_append(struct reader *r, const char *text, size_t len)
{
    if (r->byte_level)
        return bpe_parse_bytes(text, len, &r->scratch);
    return buf_append(&r->scratch, text, len);
}

/* Added tokens come first: they are written as they are, and often listed in vocab, too. */
static enum status read_vocab(struct reader *r, const json *vocab,
                              const struct tokenizer_settings *settings)
{
    struct tokenizer *t = r->t;
    void *cursor = NULL;
    int64_t id = 0;
    int count = 0;
    TRY(count_ids(r, vocab, &count));
    count = added_tokens_room(&t->added, count);
    TRY(vocab_init(&t->vocab, added_tokens_room(&settings->added, count), r->err));
    for (int i = 0; i < t->added.count; i++)
        TRY(vocab_add(&t->vocab, t->added.list[i].id, t->added.list[i].content,
                      strlen(t->added.list[i].content),
                      t->added.list[i].special ? TOKEN_CONTROL : TOKEN_USER, r->err));
    for (const char *key; (key = json_next(vocab, &cursor, NULL)) != NULL;) {
        size_t len = strlen(key);
        TRY(json_get_int(vocab, key, 0, VOCAB_IDS - 1, &id, r->err));
        if (vocab_get(&t->vocab, id) && vocab_find(&t->vocab, key, len) == id) {
            if (t->vocab.tokens[id].kind == TOKEN_USER) /* the model's own as well */
                t->vocab.tokens[id].kind = TOKEN_NORMAL;
            continue;
        }
        buf_clear(&r->scratch);
        enum status raw =
            len == 0 || len > VOCAB_TOKEN_BYTES ? STATUS_MALFORMED : raw_append(r, key, len);
        if (raw == STATUS_NO_MEMORY)
            return err_set(r->err, raw, "out of memory");
        if (raw != STATUS_OK)
            return err_set(r->err, STATUS_MALFORMED,
                           "vocab: \"%.64s\" is not in byte-level characters", key);
        TRY(vocab_add(&t->vocab, id, r->scratch.data, r->scratch.len, TOKEN_NORMAL, r->err));
    }
    return STATUS_OK;
}

/* ---- merges ---- */

/* "left right", or ["left", "right"] as newer files write it. */
static enum status split_merge(struct reader *r, const json *merges, size_t i, const char **left,
                               size_t *left_len, const char **right)
{
    const json *pair = json_at(merges, i);
    if (json_length(pair) == 2) {
        TRY(json_string_at(pair, 0, VOCAB_TOKEN_BYTES, left, r->err));
        *left_len = strlen(*left);
        return json_string_at(pair, 1, VOCAB_TOKEN_BYTES, right, r->err);
    }
    TRY(json_string_at(merges, i, 2 * VOCAB_TOKEN_BYTES, left, r->err));
    const char *space = strchr(*left, ' ');
    if (!space)
        return err_set(r->err, STATUS_MALFORMED, "merges[%zu] is not two tokens", i);
    *left_len = (size_t)(space - *left);
    *right = space + 1;
    return STATUS_OK;
}

/* The token of two texts one after the other, -1 without one. */
static int32_t find_raw(struct reader *r, const char *left, size_t left_len, const char *right)
{
    buf_clear(&r->scratch);
    if (raw_append(r, left, left_len) != STATUS_OK ||
        raw_append(r, right, strlen(right)) != STATUS_OK)
        return -1;
    return vocab_find(&r->t->vocab, r->scratch.data, r->scratch.len);
}

static enum status read_merge(struct reader *r, const json *merges, size_t i,
                              struct bpe_merges *out)
{
    const char *left = "", *right = "";
    size_t left_len = 0;
    TRY(split_merge(r, merges, i, &left, &left_len, &right));
    int32_t l = find_raw(r, left, left_len, ""), rest = find_raw(r, "", 0, right);
    int32_t merged = find_raw(r, left, left_len, right);
    if (l < 0 || rest < 0 || merged < 0 || !bpe_merges_add(out, l, rest, merged, (int32_t)i))
        return err_set(r->err, STATUS_MALFORMED,
                       "merges[%zu] is no pair of tokens that make a token, each pair once", i);
    return STATUS_OK;
}

static enum status read_merges(struct reader *r, const json *model, struct bpe_merges *out)
{
    const json *merges = NULL;
    TRY(json_get_array(model, "merges", VOCAB_IDS, &merges, r->err));
    if (!bpe_merges_init(out, json_length(merges)))
        return err_set(r->err, STATUS_NO_MEMORY, "no memory for %zu merges", json_length(merges));
    for (size_t i = 0; i < json_length(merges); i++)
        TRY(read_merge(r, merges, i, out));
    return STATUS_OK;
}

/* ---- models ---- */

static enum status read_byte_bpe(struct reader *r, const json *model)
{
    struct tokenizer *t = r->t;
    t->model = MODEL_BYTE_BPE;
    TRY(json_opt_bool(model, "ignore_merges", &t->ignore_merges, r->err));
    for (int b = 0; b < 256; b++) {
        t->byte_symbol[b] = vocab_find(&t->vocab, &(uint8_t){(uint8_t)b}, 1);
        if (t->byte_symbol[b] < 0)
            return err_set(r->err, STATUS_UNSUPPORTED,
                           "vocab has no token for byte 0x%02x; all 256 must be there",
                           (unsigned)b);
    }
    return read_merges(r, model, &t->merges);
}

static enum status read_char_bpe(struct reader *r, const json *model)
{
    struct char_bpe *bpe = &r->t->char_bpe;
    const char *unknown = NULL;
    r->t->model = MODEL_CHAR_BPE;
    *bpe = (struct char_bpe){.vocab = &r->t->vocab, .unknown = -1};
    TRY(json_opt_bool(model, "byte_fallback", &bpe->bytes, r->err));
    TRY(json_opt_bool(model, "fuse_unk", &bpe->fuse_unknown, r->err));
    TRY(json_opt_string(model, "unk_token", VOCAB_TOKEN_BYTES, &unknown, r->err));
    if (unknown) {
        bpe->unknown = vocab_find(&r->t->vocab, unknown, strlen(unknown));
        if (bpe->unknown < 0)
            return err_set(r->err, STATUS_MALFORMED, "unk_token \"%.64s\" is no token", unknown);
    }
    if (bpe->bytes)
        TRY(vocab_mark_bytes(&r->t->vocab, r->err));
    return read_merges(r, model, &bpe->merges);
}

static enum status read_bpe(struct reader *r, const json *model)
{
    static const char *const refused[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    double dropout = 0;
    for (int i = 0; i < 2; i++) {
        const char *text = "";
        TRY(json_opt_string(model, refused[i], VOCAB_TOKEN_BYTES, &text, r->err));
        if (text[0])
            return refuse(r, refused[i], text, "none");
    }
    TRY(json_opt_number(model, "dropout", 0, 1, &dropout, r->err));
    if (dropout > 0)
        return refuse(r, "model BPE:", "dropout", "0");
    return r->byte_level ? read_byte_bpe(r, model) : read_char_bpe(r, model);
}

static enum status read_wordpiece(struct reader *r, const json *model)
{
    const char *unknown = "[UNK]", *prefix = "##";
    int64_t longest = WORDPIECE_WORD;
    r->t->model = MODEL_WORDPIECE;
    if (!r->t->bert_words)
        return refuse(r, "model WordPiece:", "no pre_tokenizer", "BertPreTokenizer");
    TRY(json_opt_string(model, "unk_token", VOCAB_TOKEN_BYTES, &unknown, r->err));
    TRY(json_opt_string(model, "continuing_subword_prefix", 16, &prefix, r->err));
    TRY(json_opt_int(model, "max_input_chars_per_word", 1, 1 << 20, &longest, r->err));
    int32_t id = vocab_find(&r->t->vocab, unknown, strlen(unknown));
    if (id < 0)
        return err_set(r->err, STATUS_MALFORMED, "unk_token \"%.64s\" is no token", unknown);
    if (strcmp(prefix, "##") != 0)
        return refuse(r, "continuing_subword_prefix", prefix, "##");
    return wordpiece_init(&r->t->wordpiece, &r->t->vocab, prefix, id, (int)longest, r->err);
}

static enum status read_root(struct reader *r, struct tokenizer_settings *settings)
{
    static const char *const no_names[ROLES] = {NULL};
    const json *model = NULL, *vocab = NULL, *added = NULL;
    const char *type = "BPE";
    TRY(json_get_object(r->root, "model", &model, r->err));
    TRY(json_opt_string(model, "type", TYPE_BYTES, &type, r->err));
    if (strcmp(type, "BPE") != 0 && strcmp(type, "WordPiece") != 0)
        return refuse(r, "model", type, "BPE, WordPiece (Unigram from tokenizer.model)");
    TRY(read_optional(r, "normalizer", "normalizers", add_normalizer));
    TRY(read_optional(r, "pre_tokenizer", "pretokenizers", add_pre_tokenizer));
    TRY(read_optional(r, "decoder", "decoders", add_decoder));
    TRY(json_get_object(model, "vocab", &vocab, r->err));
    if (json_has(r->root, "added_tokens"))
        TRY(json_get_array(r->root, "added_tokens", ADDED_TOKENS_MAX, &added, r->err));
    TRY(read_added(r, added));
    TRY(read_vocab(r, vocab, settings));
    TRY(tokenizer_settle_roles(r->t, settings, no_names, r->err));
    TRY(read_optional(r, "post_processor", "processors", add_post_processor));
    return strcmp(type, "BPE") == 0 ? read_bpe(r, model) : read_wordpiece(r, model);
}

enum status tokenizer_read_json(struct tokenizer *t, const void *data, size_t len,
                                struct tokenizer_settings *settings, struct err *err)
{
    struct reader r = {.t = t, .err = err, .scratch = {.max = 4 * VOCAB_TOKEN_BYTES}};
    json *root = NULL;
    TRY(json_parse(data, len, &root, err));
    r.root = root;
    enum status status = read_root(&r, settings);
    json_free(root);
    buf_free(&r.scratch);
    return status;
}
