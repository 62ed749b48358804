/* Ids to text: each kind of tokenizer the way back. */
#include "model/mllm/tokenizer_parts.h"

#include "api/base/utf8.h"
#include <string.h>

static const char BLANK[] = "\xE2\x96\x81", UNREADABLE[] = "\xEF\xBF\xBD";

/* Appends the text with BLANK written as a blank. */
static enum status append_piece(const char *text, size_t len, struct buf *out)
{
    for (size_t i = 0, step; i < len; i += step) {
        bool blank = len - i >= 3 && memcmp(text + i, BLANK, 3) == 0;
        step = blank ? 3 : 1;
        TRY(buf_append(out, blank ? " " : text + i, 1));
    }
    return STATUS_OK;
}

/* Bytes that stood for a character, or did not. */
static enum status flush_bytes(struct buf *bytes, struct buf *out)
{
    const char *text = (const char *)bytes->data;
    for (size_t i = 0, size; i < bytes->len; i += size ? size : 1) {
        size = utf8_sequence(text + i, bytes->len - i);
        TRY(size ? buf_append(out, text + i, size) : buf_append(out, UNREADABLE, 3));
    }
    buf_clear(bytes);
    return STATUS_OK;
}

struct pieces {
    const struct tokenizer *t;
    struct buf *out;
    struct buf bytes; /* a run of byte tokens */
    bool start;       /* blanks here are those that encoding put in front */
};

static enum status decode_piece(struct pieces *p, const struct token *token)
{
    const char *text = vocab_text(&p->t->vocab, token);
    size_t len = token->len;
    if (token->kind == TOKEN_BYTE) {
        p->start = false;
        return buf_append(&p->bytes, &token->byte, 1);
    }
    TRY(flush_bytes(&p->bytes, p->out));
    if (token->kind == TOKEN_CONTROL || token->kind == TOKEN_UNKNOWN)
        return STATUS_OK;
    if (p->start && len >= 3 && memcmp(text, BLANK, 3) == 0) {
        text += 3;
        len -= 3;
    }
    p->start = p->start && p->t->strip == STRIP_ALL && len == 0;
    return append_piece(text, len, p->out);
}

static enum status decode_pieces(const struct tokenizer *t, const int32_t *ids, size_t count,
                                 struct buf *out)
{
    struct pieces p = {t, out, {.max = count}, t->strip != STRIP_NONE};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct token *token = vocab_get(&t->vocab, ids[i]);
        status = token ? decode_piece(&p, token) : STATUS_OK;
    }
    if (status == STATUS_OK)
        status = flush_bytes(&p.bytes, out);
    buf_free(&p.bytes);
    return status;
}

/* ---- WordPiece: words with a blank between them, but not before the marks that end a phrase and
 * not within short forms (Hugging Face's clean_up_tokenization) ---- */

static void tidy(struct buf *out, size_t from)
{
    static const char *const joined[] = {" .",   " ?",  " !",  " ,",   " ' ",
                                         " n't", " 'm", " 's", " 've", " 're"};
    for (size_t k = 0; k < sizeof joined / sizeof *joined; k++) {
        size_t n = strlen(joined[k]), to = from;
        bool both = joined[k][n - 1] == ' ';
        for (size_t i = from; i < out->len;) {
            if (out->len - i < n || memcmp(out->data + i, joined[k], n) != 0) {
                out->data[to++] = out->data[i++];
                continue;
            }
            memmove(out->data + to, joined[k] + 1, n - 1 - both);
            to += n - 1 - both;
            i += n;
        }
        out->len = to;
    }
}

static enum status decode_words(const struct tokenizer *t, const int32_t *ids, size_t count,
                                struct buf *out)
{
    size_t from = out->len;
    for (size_t i = 0; i < count; i++) {
        const struct token *token = vocab_get(&t->vocab, ids[i]);
        if (!token || token->kind == TOKEN_CONTROL || token->kind == TOKEN_UNKNOWN)
            continue;
        const char *text = vocab_text(&t->vocab, token);
        bool inner = token->len > 2 && text[0] == '#' && text[1] == '#';
        size_t skip = inner && out->len > from ? 2 : 0;
        if (!inner && out->len > from)
            TRY(buf_append(out, " ", 1));
        TRY(buf_append(out, text + skip, token->len - skip));
    }
    tidy(out, from);
    return STATUS_OK;
}

/* ---- byte-level BPE: tokens are their bytes ---- */

static enum status decode_bytes(const struct tokenizer *t, const int32_t *ids, size_t count,
                                struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct token *token = vocab_get(&t->vocab, ids[i]);
        if (token && token->kind != TOKEN_CONTROL)
            TRY(buf_append(out, vocab_text(&t->vocab, token), token->len));
    }
    return STATUS_OK;
}

enum status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                             struct buf *out)
{
    if (tokenizer->model == MODEL_BYTE_BPE)
        TRY(decode_bytes(tokenizer, ids, count, out));
    else if (tokenizer->model == MODEL_WORDPIECE)
        TRY(decode_words(tokenizer, ids, count, out));
    else
        TRY(decode_pieces(tokenizer, ids, count, out));
    TRY(buf_append(out, "", 1));
    out->len--;
    return STATUS_OK;
}
