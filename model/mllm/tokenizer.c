/* Text <-> ids from a Hugging Face tokenizer.json: model BPE with a ByteLevel pre-tokenizer
 * (GPT-2's words). Tokens are kept as raw bytes, so decoding is concatenation. Everything else that
 * a tokenizer.json can ask for (normalizers, other models, unknown tokens) is refused by name. */
#include "model/mllm/tokenizer.h"

#include "api/wire/json.h"
#include "model/mllm/bpe.h"
#include <stdlib.h>
#include <string.h>

enum { TOKENIZER_BYTES = 64 << 20, TOKENS_MAX = 1 << 20, TOKEN_LENGTH = 1024 };

struct token {
    size_t at; /* into bytes; the token's raw bytes */
    uint32_t len;
    bool present, special;
};

struct tokenizer {
    struct token *tokens;
    int vocab;
    struct buf bytes;
    int32_t byte_id[256]; /* id of each single byte, or -1 */
    int32_t *index;       /* raw bytes -> id: open addressing, -1 free */
    size_t index_mask;
    struct bpe_merges merges;
    struct bpe_words *words;
    int references; /* atomic */
};

/* ---- tokens by their bytes ---- */

static size_t hash_of(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xCBF29CE484222325U;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001B3U;
    return (size_t)(h ^ h >> 32);
}

static int32_t *index_slot(const struct tokenizer *t, const void *data, size_t len)
{
    size_t i = hash_of(data, len) & t->index_mask;
    for (; t->index[i] >= 0; i = (i + 1) & t->index_mask) {
        const struct token *token = &t->tokens[t->index[i]];
        if (token->len == len && memcmp(t->bytes.data + token->at, data, len) == 0)
            break;
    }
    return &t->index[i];
}

static bool tables_alloc(struct tokenizer *t, int vocab)
{
    size_t slots = 1024;
    while (slots < 2 * (size_t)vocab)
        slots *= 2;
    t->vocab = vocab;
    t->index_mask = slots - 1;
    t->tokens = calloc((size_t)vocab, sizeof *t->tokens);
    t->index = malloc(slots * sizeof *t->index);
    if (t->index)
        memset(t->index, 0xFF, slots * sizeof *t->index);
    return t->tokens && t->index;
}

/* Records the bytes appended to t->bytes since `at` as token id. */
static enum status token_add(struct tokenizer *t, int64_t id, size_t at, const char *name,
                             struct err *err)
{
    struct token *token = &t->tokens[id];
    size_t len = t->bytes.len - at;
    int32_t *slot = index_slot(t, t->bytes.data + at, len);
    if (token->present || *slot >= 0)
        return err_set(err, STATUS_CONFLICT, "vocab: token \"%s\" or id %lld is there twice", name,
                       (long long)id);
    *token = (struct token){.at = at, .len = (uint32_t)len, .present = true};
    *slot = (int32_t)id;
    if (len == 1)
        t->byte_id[t->bytes.data[at]] = (int32_t)id;
    return STATUS_OK;
}

/* ---- reading tokenizer.json ---- */

static enum status check_type(const json *root, const char *key, const char *want, struct err *err)
{
    const json *part = NULL;
    const char *type = "";
    TRY(json_get_object(root, key, &part, err));
    TRY(json_get_string(part, "type", 64, &type, err));
    if (strcmp(type, want) != 0)
        return err_set(err, STATUS_UNSUPPORTED, "%s.type is \"%s\"; only \"%s\" is supported", key,
                       type, want);
    return STATUS_OK;
}

static enum status check_kind(const json *root, struct err *err)
{
    const json *part = NULL;
    bool prefix = false, regex = true;
    TRY(json_opt_object(root, "normalizer", &part, err));
    if (part)
        return err_set(err, STATUS_UNSUPPORTED, "normalizer is not supported; only null is");
    TRY(check_type(root, "model", "BPE", err));
    TRY(check_type(root, "pre_tokenizer", "ByteLevel", err));
    TRY(json_get_object(root, "pre_tokenizer", &part, err));
    TRY(json_opt_bool(part, "add_prefix_space", &prefix, err));
    TRY(json_opt_bool(part, "use_regex", &regex, err));
    if (prefix || !regex)
        return err_set(err, STATUS_UNSUPPORTED,
                       "pre_tokenizer: only add_prefix_space false with use_regex is supported");
    return STATUS_OK;
}

static enum status count_ids(const json *vocab, const json *added, int *count, struct err *err)
{
    const json *value = NULL;
    void *cursor = NULL;
    int64_t id = 0, max = -1;
    for (const char *key; (key = json_next(vocab, &cursor, &value)) != NULL;) {
        TRY(json_get_int(vocab, key, 0, TOKENS_MAX - 1, &id, err));
        max = id > max ? id : max;
    }
    for (size_t i = 0; i < json_length(added); i++) {
        TRY(json_get_int(json_at(added, i), "id", 0, TOKENS_MAX - 1, &id, err));
        max = id > max ? id : max;
    }
    *count = (int)max + 1;
    return max >= 0 ? STATUS_OK : err_set(err, STATUS_MALFORMED, "vocab is empty");
}

/* Added tokens are written as they are, not in the byte characters. */
static enum status read_added(struct tokenizer *t, const json *added, struct err *err)
{
    for (size_t i = 0; i < json_length(added); i++) {
        const json *one = json_at(added, i);
        const char *content = "";
        int64_t id = 0;
        bool special = false;
        TRY(json_get_string(one, "content", TOKEN_LENGTH, &content, err));
        TRY(json_get_int(one, "id", 0, t->vocab - 1, &id, err));
        TRY(json_opt_bool(one, "special", &special, err));
        size_t at = t->bytes.len;
        TRY(buf_append(&t->bytes, content, strlen(content)));
        TRY(token_add(t, id, at, content, err));
        t->tokens[id].special = special;
    }
    return STATUS_OK;
}

static enum status read_vocab(struct tokenizer *t, const json *vocab, struct err *err)
{
    const json *value = NULL;
    void *cursor = NULL;
    int64_t id = 0;
    for (const char *key; (key = json_next(vocab, &cursor, &value)) != NULL;) {
        size_t at = t->bytes.len, len = strlen(key);
        TRY(json_get_int(vocab, key, 0, t->vocab - 1, &id, err));
        if (t->tokens[id].present) /* an added token, listed here as well */
            continue;
        if (len == 0 || len > TOKEN_LENGTH || bpe_parse_bytes(key, len, &t->bytes) != STATUS_OK)
            return err_set(err, STATUS_MALFORMED, "vocab: \"%s\" is not in byte-level characters",
                           key);
        TRY(token_add(t, id, at, key, err));
    }
    for (int b = 0; b < 256; b++)
        if (t->byte_id[b] < 0)
            return err_set(err, STATUS_UNSUPPORTED,
                           "vocab has no token for byte 0x%02x; all 256 must be there",
                           (unsigned)b);
    return STATUS_OK;
}

/* "left right", or ["left", "right"] as newer files write it. */
static enum status split_merge(const json *merges, size_t i, const char **left, size_t *left_len,
                               const char **right, struct err *err)
{
    const json *pair = json_at(merges, i);
    if (json_length(pair) == 2) {
        TRY(json_string_at(pair, 0, TOKEN_LENGTH, left, err));
        *left_len = strlen(*left);
        return json_string_at(pair, 1, TOKEN_LENGTH, right, err);
    }
    TRY(json_string_at(merges, i, 2 * TOKEN_LENGTH, left, err));
    const char *space = strchr(*left, ' ');
    if (!space)
        return err_set(err, STATUS_MALFORMED, "merges[%zu] is not two tokens", i);
    *left_len = (size_t)(space - *left);
    *right = space + 1;
    return STATUS_OK;
}

static enum status read_merge(struct tokenizer *t, const json *merges, size_t i, struct err *err)
{
    const char *left = "", *right = "";
    size_t left_len = 0, at = t->bytes.len;
    TRY(split_merge(merges, i, &left, &left_len, &right, err));
    enum status status = bpe_parse_bytes(left, left_len, &t->bytes);
    size_t middle = t->bytes.len;
    if (status == STATUS_OK)
        status = bpe_parse_bytes(right, strlen(right), &t->bytes);
    const unsigned char *bytes = t->bytes.data;
    size_t end = t->bytes.len;
    int32_t l = *index_slot(t, bytes + at, middle - at);
    int32_t r = *index_slot(t, bytes + middle, end - middle);
    int32_t merged = *index_slot(t, bytes + at, end - at);
    t->bytes.len = at;
    if (status != STATUS_OK || l < 0 || r < 0 || merged < 0 ||
        !bpe_merges_add(&t->merges, l, r, merged, (int32_t)i))
        return err_set(err, STATUS_MALFORMED,
                       "merges[%zu] is no pair of tokens that make a token, each pair once", i);
    return STATUS_OK;
}

static enum status read_root(struct tokenizer *t, const json *root, struct err *err)
{
    const json *model = NULL, *vocab = NULL, *merges = NULL, *added = NULL;
    int count = 0;
    TRY(check_kind(root, err));
    TRY(json_get_object(root, "model", &model, err));
    TRY(json_get_object(model, "vocab", &vocab, err));
    TRY(json_get_array(model, "merges", TOKENS_MAX, &merges, err));
    if (json_has(root, "added_tokens"))
        TRY(json_get_array(root, "added_tokens", 4096, &added, err));
    TRY(count_ids(vocab, added, &count, err));
    if (!tables_alloc(t, count) || !bpe_merges_init(&t->merges, json_length(merges)))
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d tokens", count);
    TRY(buf_reserve(&t->bytes, 1));
    TRY(read_added(t, added, err));
    TRY(read_vocab(t, vocab, err));
    for (size_t i = 0; i < json_length(merges); i++)
        TRY(read_merge(t, merges, i, err));
    return bpe_words_create(&t->words, err);
}

static struct tokenizer *tokenizer_new(void)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->references = 1;
    t->bytes.max = TOKENIZER_BYTES;
    memset(t->byte_id, 0xFF, sizeof t->byte_id);
    return t;
}

enum status tokenizer_load(struct io *io, const char *dir, struct tokenizer **out, struct err *err)
{
    char path[4096];
    struct buf file = {.max = TOKENIZER_BYTES};
    json *root = NULL;
    TRY(io_join(path, sizeof path, dir, "tokenizer.json", err));
    struct tokenizer *t = tokenizer_new();
    if (!t)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %s", path);
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK &&
        ((status = json_parse(file.data, file.len, &root, err)) != STATUS_OK ||
         (status = read_root(t, root, err)) != STATUS_OK))
        err_prefix(err, "%s", path);
    json_free(root);
    buf_free(&file);
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
    bpe_words_destroy(tokenizer->words);
    bpe_merges_free(&tokenizer->merges);
    buf_free(&tokenizer->bytes);
    free(tokenizer->tokens);
    free(tokenizer->index);
    free(tokenizer);
}

int tokenizer_vocab(const struct tokenizer *tokenizer)
{
    return tokenizer->vocab;
}

int tokenizer_id(const struct tokenizer *tokenizer, const char *token)
{
    return *index_slot(tokenizer, token, strlen(token));
}

/* ---- encoding and decoding ---- */

struct encoder {
    const struct tokenizer *t;
    int32_t *ids;
    size_t max, count;
    struct buf scratch; /* ids of one word */
    struct err *err;
};

static enum status encode_word(void *ctx, const char *word, size_t len)
{
    struct encoder *e = ctx;
    size_t count = 0;
    buf_clear(&e->scratch);
    TRY(buf_reserve(&e->scratch, len * sizeof(int32_t)));
    int32_t *ids = (int32_t *)(void *)e->scratch.data;
    for (size_t i = 0; i < len; i++)
        ids[i] = e->t->byte_id[(unsigned char)word[i]];
    TRY(bpe_merge_word(&e->t->merges, ids, len, &count));
    if (count > e->max - e->count)
        return err_set(e->err, STATUS_TOO_LARGE, "the text has more than %zu tokens", e->max);
    memcpy(e->ids + e->count, ids, count * sizeof *ids);
    e->count += count;
    return STATUS_OK;
}

enum status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t len,
                             int32_t *ids, size_t max, size_t *count, struct err *err)
{
    struct encoder e = {.t = tokenizer, .ids = ids, .max = max, .err = err};
    e.scratch.max = (len + 1) * sizeof(int32_t);
    enum status status = bpe_words_each(tokenizer->words, text, len, encode_word, &e, err);
    buf_free(&e.scratch);
    *count = e.count;
    return status;
}

enum status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                             struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer->vocab)
            continue;
        const struct token *token = &tokenizer->tokens[ids[i]];
        if (token->present && !token->special)
            TRY(buf_append(out, tokenizer->bytes.data + token->at, token->len));
    }
    TRY(buf_append(out, "", 1));
    out->len--;
    return STATUS_OK;
}
