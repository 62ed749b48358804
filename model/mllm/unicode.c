/* Characters through utf8proc; see unicode.h. Normal forms are put together here from the
 * library's per-character parts, because its whole-text functions sort long runs of combining marks
 * in quadratic time. */
#include "model/mllm/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

uint32_t unicode_get(const char *text, size_t len, size_t *size)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t need = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    *size = need < len ? need : len;
    uint32_t c = need == 1 ? p[0] : p[0] & (0xFFU >> (need + 1));
    for (size_t i = 1; i < *size; i++)
        c = c << 6 | (p[i] & 0x3FU);
    return c;
}

enum status unicode_append(struct buf *out, uint32_t c)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)c, bytes);
    return buf_append(out, bytes, n > 0 ? (size_t)n : 0);
}

/* ---- classes ---- */

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool unicode_is_space(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return c == '\t' || c == '\n' || c == '\r' || k == UTF8PROC_CATEGORY_ZS ||
           k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

bool unicode_is_control(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return c != '\t' && c != '\n' && c != '\r' &&
           (k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CN ||
            k == UTF8PROC_CATEGORY_CO || k == UTF8PROC_CATEGORY_CS);
}

bool unicode_is_punctuation(uint32_t c)
{
    utf8proc_category_t k = category(c);
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
               (c >= 123 && c <= 126);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool unicode_is_ideograph(uint32_t c)
{
    static const uint32_t blocks[][2] = {
        {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
        {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (c >= blocks[i][0] && c <= blocks[i][1])
            return true;
    return false;
}

bool unicode_is_nonspacing_mark(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool unicode_is_word(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NO);
}

/* ---- normal forms ---- */

struct points {
    utf8proc_int32_t *at;
    size_t count, cap;
};

static bool points_reserve(struct points *p, size_t extra)
{
    if (p->cap - p->count >= extra)
        return true;
    size_t cap = 2 * (p->count + extra);
    void *moved = realloc(p->at, cap * sizeof *p->at);
    if (!moved)
        return false;
    p->at = moved;
    p->cap = cap;
    return true;
}

/* The longest decomposition of one character has 18 (U+FDFA). */
static bool decompose(struct points *p, const char *text, size_t len, utf8proc_option_t options)
{
    enum { LONGEST = 32 };
    size_t size = 0;
    int boundary = 0;
    for (size_t i = 0; i < len; i += size) {
        uint32_t c = unicode_get(text + i, len - i, &size);
        if (!points_reserve(p, LONGEST))
            return false;
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, p->at + p->count, LONGEST,
                                                     options | UTF8PROC_DECOMPOSE, &boundary);
        if (n < 0 || n > LONGEST)
            return false;
        p->count += (size_t)n;
    }
    return true;
}

static int combining_class(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* A run of combining marks in the order of their classes, equals as they were: counting sort. */
static bool run_sort(utf8proc_int32_t *run, size_t n)
{
    size_t start[257] = {0};
    utf8proc_int32_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return false;
    for (size_t i = 0; i < n; i++)
        start[combining_class(run[i]) + 1]++;
    for (int k = 0; k < 256; k++)
        start[k + 1] += start[k];
    for (size_t i = 0; i < n; i++)
        sorted[start[combining_class(run[i])]++] = run[i];
    for (size_t i = 0; i < n; i++)
        run[i] = sorted[i];
    free(sorted);
    return true;
}

static bool reorder(struct points *p)
{
    for (size_t i = 0; i < p->count; i++) {
        size_t from = i;
        bool ordered = true;
        for (; i < p->count && combining_class(p->at[i]) != 0; i++)
            ordered = ordered &&
                      (i == from || combining_class(p->at[i - 1]) <= combining_class(p->at[i]));
        if (!ordered && !run_sort(p->at + from, i - from))
            return false;
    }
    return true;
}

static enum status points_print(const struct points *p, struct buf *out)
{
    for (size_t i = 0; i < p->count; i++)
        TRY(unicode_append(out, (uint32_t)p->at[i]));
    return STATUS_OK;
}

enum status unicode_normalize(const char *text, size_t len, enum unicode_form form, struct buf *out)
{
    struct points p = {0};
    bool compatible = form == UNICODE_NFKC || form == UNICODE_NFKD;
    bool composed = form == UNICODE_NFC || form == UNICODE_NFKC;
    enum status status = STATUS_NO_MEMORY;
    if (decompose(&p, text, len, compatible ? UTF8PROC_COMPAT : 0) && reorder(&p)) {
        if (composed && p.count > 0) {
            utf8proc_ssize_t n = utf8proc_normalize_utf32(p.at, (utf8proc_ssize_t)p.count,
                                                          UTF8PROC_COMPOSE | UTF8PROC_STABLE);
            p.count = n > 0 ? (size_t)n : 0;
        }
        status = points_print(&p, out);
    }
    free(p.at);
    return status;
}

enum status unicode_lower(const char *text, size_t len, struct buf *out)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i += size) {
        uint32_t c = unicode_get(text + i, len - i, &size);
        bool capital = c >= 'A' && c <= 'Z';
        if (c < 0x80)
            TRY(unicode_append(out, capital ? c + 'a' - 'A' : c));
        else if (c == 0x130) /* the one character whose lower case is two */
            TRY(buf_append(out, "i\xCC\x87", 3));
        else
            TRY(unicode_append(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c)));
    }
    return STATUS_OK;
}
