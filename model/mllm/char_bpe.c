/* Characters to symbols, symbols to ids; see char_bpe.h. The merging is bpe.c's. */
#include "model/mllm/char_bpe.h"

#include "model/mllm/unicode.h"
#include <stdlib.h>

void char_bpe_free(struct char_bpe *bpe)
{
    bpe_merges_free(&bpe->merges);
    trie_free(&bpe->user);
}

int32_t char_bpe_symbol(const struct char_bpe *bpe, const char *text, size_t len)
{
    size_t size = 0;
    int32_t id = vocab_find(bpe->vocab, text, len);
    if (id >= 0 && bpe->vocab->tokens[id].kind == TOKEN_NORMAL)
        return id;
    uint32_t c = len ? unicode_get(text, len, &size) : 0;
    return len && size == len ? bpe->vocab->count + (int32_t)c : -1;
}

enum status char_bpe_fallback(const struct vocab *vocab, bool bytes, int32_t unknown, bool fuse,
                              uint32_t c, bool *run, struct ids *out)
{
    struct buf utf8 = {.max = 4};
    if (!bytes) {
        if (unknown < 0)
            return STATUS_UNSUPPORTED;
        enum status status = fuse && *run ? STATUS_OK : ids_put(out, unknown);
        *run = true;
        return status;
    }
    enum status status = unicode_append(&utf8, c);
    for (size_t i = 0; i < utf8.len && status == STATUS_OK; i++)
        status = ids_put(out, vocab->byte_id[utf8.data[i]]);
    buf_free(&utf8);
    return status;
}

static size_t symbols_of(const struct char_bpe *bpe, const char *text, size_t len, int32_t *symbol)
{
    size_t n = 0, size = 0;
    for (size_t i = 0; i < len; i += size) {
        int32_t id = trie_longest(&bpe->user, text + i, len - i, &size);
        if (id < 0) {
            unicode_get(text + i, len - i, &size);
            id = char_bpe_symbol(bpe, text + i, size);
        }
        symbol[n++] = id;
    }
    return n;
}

enum status char_bpe_encode(const struct char_bpe *bpe, const char *text, size_t len,
                            struct ids *out)
{
    size_t count = 0;
    bool run = false;
    int32_t *symbol = len ? malloc(len * sizeof *symbol) : NULL;
    if (!symbol)
        return len ? STATUS_NO_MEMORY : STATUS_OK;
    size_t n = symbols_of(bpe, text, len, symbol);
    enum status status = bpe_merge_word(&bpe->merges, symbol, n, &count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (symbol[i] < bpe->vocab->count) {
            status = ids_put(out, symbol[i]);
            run = false;
            continue;
        }
        status = char_bpe_fallback(bpe->vocab, bpe->bytes, bpe->unknown, bpe->fuse_unknown,
                                   (uint32_t)(symbol[i] - bpe->vocab->count), &run, out);
    }
    free(symbol);
    return status;
}
