/* Greedy longest match by two tries; see wordpiece.h. */
#include "model/mllm/wordpiece.h"

#include "model/mllm/unicode.h"
#include <string.h>

void wordpiece_free(struct wordpiece *wordpiece)
{
    trie_free(&wordpiece->front);
    trie_free(&wordpiece->inner);
}

enum status wordpiece_init(struct wordpiece *wordpiece, const struct vocab *vocab,
                           const char *inner_prefix, int32_t unknown, int longest, struct err *err)
{
    size_t prefix = strlen(inner_prefix);
    *wordpiece = (struct wordpiece){.unknown = unknown, .longest = longest};
    bool ok = trie_init(&wordpiece->front, vocab->bytes.len) &&
              trie_init(&wordpiece->inner, vocab->bytes.len);
    for (int id = 0; id < vocab->count && ok; id++) {
        const struct token *token = &vocab->tokens[id];
        const char *text = vocab_text(vocab, token);
        if (token->kind != TOKEN_NORMAL)
            continue;
        /* a token with the prefix can also start a word that is written so, as in BERT */
        ok = trie_add(&wordpiece->front, text, token->len, id);
        if (token->len > prefix && memcmp(text, inner_prefix, prefix) == 0)
            ok = ok && trie_add(&wordpiece->inner, text + prefix, token->len - prefix, id);
    }
    return ok ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for %d tokens", vocab->count);
}

static size_t characters(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

enum status wordpiece_encode(const struct wordpiece *wordpiece, const char *word, size_t len,
                             struct ids *out)
{
    size_t before = out->count, size = 0;
    if (characters(word, len) > (size_t)wordpiece->longest)
        return ids_put(out, wordpiece->unknown);
    for (size_t i = 0; i < len; i += size) {
        int32_t id =
            trie_longest(i ? &wordpiece->inner : &wordpiece->front, word + i, len - i, &size);
        if (id < 0) {
            out->count = before;
            return ids_put(out, wordpiece->unknown);
        }
        TRY(ids_put(out, id));
    }
    return STATUS_OK;
}

enum status wordpiece_words_each(const char *text, size_t len,
                                 enum status (*fn)(void *ctx, const char *word, size_t len),
                                 void *ctx)
{
    size_t size = 0, from = 0;
    for (size_t i = 0; i < len; i += size) {
        uint32_t c = unicode_get(text + i, len - i, &size);
        bool mark = unicode_is_punctuation(c);
        if (!mark && !unicode_is_space(c))
            continue;
        if (i > from)
            TRY(fn(ctx, text + from, i - from));
        if (mark)
            TRY(fn(ctx, text + i, size));
        from = i + size;
    }
    return len > from ? fn(ctx, text + from, len - from) : STATUS_OK;
}
