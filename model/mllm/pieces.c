/* Text as it grows; see pieces.h. All ids are decoded again for each new one: tokenizers that put
 * blanks between words or characters together from bytes need their neighbours. */
#include "model/mllm/pieces.h"

#include "api/base/utf8.h"
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 16 << 20 };

enum status pieces_init(struct pieces *p, const struct tokenizer *tokenizer,
                        const char *const *stop, int stop_count, int max, struct err *err)
{
    *p = (struct pieces){.tokenizer = tokenizer, .stop = stop, .stop_count = stop_count};
    p->decoded.max = p->text.max = TEXT_MAX;
    for (int i = 0; i < stop_count; i++)
        if (stop[i][0] == '\0')
            return err_set(err, STATUS_USAGE, "a stop string is empty");
    p->ids = calloc((size_t)max + 1, sizeof *p->ids);
    p->max = max;
    if (!p->ids || buf_append(&p->text, "", 1) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d ids", max);
    p->text.len = 0;
    return STATUS_OK;
}

void pieces_free(struct pieces *p)
{
    free(p->ids);
    buf_free(&p->decoded);
    buf_free(&p->text);
    p->ids = NULL;
}

/* ---- how far the text may be shown ---- */

/* Where a character begins whose bytes have not all come; else len. U+FFFD may stand for one of its
 * bytes. */
static size_t whole_characters(const char *text, size_t len)
{
    size_t end = len;
    while (end >= 3 && memcmp(text + end - 3, "\xEF\xBF\xBD", 3) == 0)
        end -= 3;
    if (end < len)
        return end;
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char lead = (unsigned char)text[len - back];
        size_t needs = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        if (needs > back)
            return len - back;
        if (lead < 0x80 || lead >= 0xC0)
            break;
    }
    return len;
}

/* Where the first stop string begins, from `from` on; -1: nowhere. */
static ptrdiff_t stop_find(const struct pieces *p, const char *text, size_t from, size_t len)
{
    for (size_t at = from; at < len; at++)
        for (int i = 0; i < p->stop_count; i++) {
            size_t n = strlen(p->stop[i]);
            if (n <= len - at && memcmp(text + at, p->stop[i], n) == 0)
                return (ptrdiff_t)at;
        }
    return -1;
}

/* Where the end of the text is the beginning of a stop string; else len. */
static size_t stop_begins(const struct pieces *p, const char *text, size_t from, size_t len)
{
    for (size_t at = from; at < len; at++)
        for (int i = 0; i < p->stop_count; i++)
            if (strncmp(p->stop[i], text + at, len - at) == 0)
                return at;
    return len;
}

/* decoded[text.len .. to) is given out. */
static enum status give(struct pieces *p, size_t to, size_t *from, struct err *err)
{
    *from = p->text.len;
    if (to <= *from)
        return STATUS_OK;
    const unsigned char *at = p->decoded.data + *from;
    enum status status = buf_append(&p->text, at, to - *from);
    if (status == STATUS_OK)
        status = buf_append(&p->text, "", 1);
    if (status != STATUS_OK)
        return err_set(err, status, "no memory for the text");
    p->text.len--;
    for (size_t i = *from; i < p->text.len; i++)
        p->text.data[i] = p->text.data[i] ? p->text.data[i] : '?';
    utf8_clean((char *)p->text.data + *from);
    return STATUS_OK;
}

/* ---- ids ---- */

enum status pieces_add(struct pieces *p, int32_t id, size_t *from, struct err *err)
{
    *from = p->text.len;
    if (!p->tokenizer || p->stopped)
        return STATUS_OK;
    if (p->count == p->max)
        return err_set(err, STATUS_TOO_LARGE, "more than %d ids", p->max);
    p->ids[p->count++] = id;
    p->decoded.len = 0;
    enum status status = tokenizer_decode(p->tokenizer, p->ids, (size_t)p->count, &p->decoded);
    if (status != STATUS_OK)
        return err_set(err, status, "the text of %d ids has more than %d MiB", p->count,
                       TEXT_MAX >> 20);
    const char *text = (const char *)p->decoded.data;
    size_t len = p->decoded.len, to = whole_characters(text, len);
    ptrdiff_t stop = stop_find(p, text, *from, len);
    p->stopped = stop >= 0;
    if (p->stopped)
        return give(p, p->decoded.len = (size_t)stop, from, err);
    size_t begins = stop_begins(p, text, *from, len);
    return give(p, begins < to ? begins : to, from, err);
}

enum status pieces_end(struct pieces *p, size_t *from, struct err *err)
{
    return give(p, p->decoded.len, from, err);
}
