/* Tokens by id and by bytes; see vocab.h. */
#include "model/mllm/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t hash_of(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xCBF29CE484222325U;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001B3U;
    return (size_t)(h ^ h >> 32);
}

static int32_t *index_slot(const struct vocab *v, const void *data, size_t len)
{
    size_t i = hash_of(data, len) & v->index_mask;
    for (; v->index[i] >= 0; i = (i + 1) & v->index_mask) {
        const struct token *token = &v->tokens[v->index[i]];
        if (token->len == len && memcmp(v->bytes.data + token->at, data, len) == 0)
            break;
    }
    return &v->index[i];
}

enum status vocab_init(struct vocab *vocab, int count, struct err *err)
{
    size_t slots = 1024;
    while (slots < 2 * (size_t)count)
        slots *= 2;
    *vocab = (struct vocab){.count = count, .index_mask = slots - 1, .bytes = {.max = 64 << 20}};
    memset(vocab->byte_id, 0xFF, sizeof vocab->byte_id);
    vocab->tokens = calloc((size_t)count + 1, sizeof *vocab->tokens);
    vocab->index = malloc(slots * sizeof *vocab->index);
    if (!vocab->tokens || !vocab->index || buf_reserve(&vocab->bytes, 1) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d tokens", count);
    memset(vocab->index, 0xFF, slots * sizeof *vocab->index);
    return STATUS_OK;
}

void vocab_free(struct vocab *vocab)
{
    free(vocab->tokens);
    free(vocab->index);
    buf_free(&vocab->bytes);
    vocab->tokens = NULL;
    vocab->index = NULL;
}

enum status vocab_add(struct vocab *vocab, int64_t id, const void *bytes, size_t len,
                      enum token_kind kind, struct err *err)
{
    int shown = len < 64 ? (int)len : 64;
    if (id < 0 || id >= vocab->count || len == 0 || len > VOCAB_TOKEN_BYTES)
        return err_set(err, STATUS_MALFORMED,
                       "vocab: token %lld has %zu bytes; ids are 0..%d, tokens have 1..%d bytes",
                       (long long)id, len, vocab->count - 1, VOCAB_TOKEN_BYTES);
    struct token *token = &vocab->tokens[id];
    int32_t *slot = index_slot(vocab, bytes, len);
    if (token->kind != TOKEN_ABSENT || *slot >= 0)
        return err_set(err, STATUS_CONFLICT, "vocab: token \"%.*s\" or id %lld is there twice",
                       shown, (const char *)bytes, (long long)id);
    *token = (struct token){.at = vocab->bytes.len, .len = (uint32_t)len, .kind = kind};
    enum status status = buf_append(&vocab->bytes, bytes, len);
    if (status != STATUS_OK) {
        token->kind = TOKEN_ABSENT;
        return err_set(err, status, "vocab: no room for token %lld", (long long)id);
    }
    *slot = (int32_t)id;
    return STATUS_OK;
}

int32_t vocab_find(const struct vocab *vocab, const void *bytes, size_t len)
{
    return *index_slot(vocab, bytes, len);
}

const struct token *vocab_get(const struct vocab *vocab, int64_t id)
{
    if (id < 0 || id >= vocab->count || vocab->tokens[id].kind == TOKEN_ABSENT)
        return NULL;
    return &vocab->tokens[id];
}

int vocab_end(const struct vocab *vocab)
{
    int end = vocab->count;
    while (end > 0 && vocab->tokens[end - 1].kind == TOKEN_ABSENT)
        end--;
    return end;
}

enum status vocab_mark_bytes(struct vocab *vocab, struct err *err)
{
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        int n = snprintf(name, sizeof name, "<0x%02X>", b);
        int32_t id = vocab_find(vocab, name, (size_t)n);
        if (id < 0)
            return err_set(err, STATUS_MALFORMED,
                           "byte fallback needs a token for each byte; %s is missing", name);
        vocab->tokens[id].kind = TOKEN_BYTE;
        vocab->tokens[id].byte = (uint8_t)b;
        vocab->byte_id[b] = id;
    }
    return STATUS_OK;
}
