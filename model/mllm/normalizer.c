/* The steps, one function each, and the run through them; see normalizer.h. */
#include "model/mllm/normalizer.h"

#include "model/mllm/unicode.h"
#include <string.h>

enum status normalizer_add(struct normalizer *n, enum normalizer_kind kind, const char *from,
                           const char *to, struct err *err)
{
    from = from ? from : "";
    to = to ? to : "";
    if (n->count == NORMALIZER_STEPS)
        return err_set(err, STATUS_UNSUPPORTED, "normalizer: more than %d steps", NORMALIZER_STEPS);
    if (strlen(from) >= NORMALIZER_TEXT || strlen(to) >= NORMALIZER_TEXT)
        return err_set(err, STATUS_UNSUPPORTED, "normalizer: strings of more than %d bytes",
                       NORMALIZER_TEXT - 1);
    struct normalizer_step *step = &n->step[n->count++];
    *step = (struct normalizer_step){.kind = kind};
    memcpy(step->from, from, strlen(from));
    memcpy(step->to, to, strlen(to));
    return STATUS_OK;
}

bool normalizer_prefixes(const struct normalizer *n)
{
    for (int i = 0; i < n->count; i++)
        if (n->step[i].kind == NORMALIZER_PREPEND || n->step[i].kind == NORMALIZER_PREFIX)
            return true;
    return false;
}

void normalizer_free(struct normalizer *n)
{
    charsmap_free(&n->map);
}

/* ---- steps ---- */

static enum status drop_marks(const char *text, size_t len, struct buf *out)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i += size)
        if (!unicode_is_nonspacing_mark(unicode_get(text + i, len - i, &size)))
            TRY(buf_append(out, text + i, size));
    return STATUS_OK;
}

static enum status clean(const char *text, size_t len, struct buf *out)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i += size) {
        uint32_t c = unicode_get(text + i, len - i, &size);
        if (c == 0 || c == 0xFFFD || unicode_is_control(c))
            continue;
        if (unicode_is_space(c))
            TRY(buf_append(out, " ", 1));
        else
            TRY(buf_append(out, text + i, size));
    }
    return STATUS_OK;
}

static enum status space_ideographs(const char *text, size_t len, struct buf *out)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i += size) {
        bool apart = unicode_is_ideograph(unicode_get(text + i, len - i, &size));
        if (apart)
            TRY(buf_append(out, " ", 1));
        TRY(buf_append(out, text + i, size));
        if (apart)
            TRY(buf_append(out, " ", 1));
    }
    return STATUS_OK;
}

static enum status strip(const struct normalizer_step *step, const char *text, size_t len,
                         struct buf *out)
{
    size_t size = 0, from = 0, to = 0;
    bool inside = false;
    for (size_t i = 0; i < len; i += size) {
        bool space = unicode_is_space(unicode_get(text + i, len - i, &size));
        if (!space && !inside) {
            from = i;
            inside = true;
        }
        if (!space)
            to = i + size;
    }
    if (!inside) /* all of it is white space */
        return STATUS_OK;
    from = step->from[0] ? from : 0;
    to = step->to[0] ? to : len;
    return buf_append(out, text + from, to - from);
}

static enum status prepend(const struct normalizer_step *step, const char *text, size_t len,
                           struct buf *out)
{
    size_t n = strlen(step->to);
    bool there = len >= n && memcmp(text, step->to, n) == 0;
    if (len > 0 && !(step->kind == NORMALIZER_PREFIX && there))
        TRY(buf_append(out, step->to, n));
    return buf_append(out, text, len);
}

static enum status replace(const struct normalizer_step *step, const char *text, size_t len,
                           struct buf *out)
{
    size_t n = strlen(step->from);
    for (size_t i = 0, end; i < len; i = end) {
        const char *hit = n ? memmem(text + i, len - i, step->from, n) : NULL;
        end = hit ? (size_t)(hit - text) : len;
        TRY(buf_append(out, text + i, end - i));
        if (!hit)
            break;
        TRY(buf_append(out, step->to, strlen(step->to)));
        end += n;
    }
    return STATUS_OK;
}

static enum status map_characters(const struct charsmap *map, const char *text, size_t len,
                                  struct buf *out)
{
    size_t size = 0;
    for (size_t i = 0; i < len; i += size) {
        const char *to = charsmap_find(map, text + i, len - i, &size);
        if (to) {
            TRY(buf_append(out, to, strlen(to)));
            continue;
        }
        unicode_get(text + i, len - i, &size);
        TRY(buf_append(out, text + i, size));
    }
    return STATUS_OK;
}

static enum status tidy_blanks(const char *text, size_t len, struct buf *out)
{
    bool wanted = false; /* a blank, if a word follows */
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            wanted = out->len > 0;
            continue;
        }
        if (wanted)
            TRY(buf_append(out, " ", 1));
        wanted = false;
        TRY(buf_append(out, text + i, 1));
    }
    return STATUS_OK;
}

static enum status step_run(const struct normalizer *n, const struct normalizer_step *step,
                            const char *text, size_t len, struct buf *out)
{
    switch (step->kind) {
    case NORMALIZER_NFC:
        return unicode_normalize(text, len, UNICODE_NFC, out);
    case NORMALIZER_NFD:
        return unicode_normalize(text, len, UNICODE_NFD, out);
    case NORMALIZER_NFKC:
        return unicode_normalize(text, len, UNICODE_NFKC, out);
    case NORMALIZER_NFKD:
        return unicode_normalize(text, len, UNICODE_NFKD, out);
    case NORMALIZER_LOWER:
        return unicode_lower(text, len, out);
    case NORMALIZER_DROP_MARKS:
        return drop_marks(text, len, out);
    case NORMALIZER_CLEAN:
        return clean(text, len, out);
    case NORMALIZER_IDEOGRAPHS:
        return space_ideographs(text, len, out);
    case NORMALIZER_STRIP:
        return strip(step, text, len, out);
    case NORMALIZER_PREPEND:
    case NORMALIZER_PREFIX:
        return prepend(step, text, len, out);
    case NORMALIZER_REPLACE:
        return replace(step, text, len, out);
    case NORMALIZER_CHARSMAP:
        return map_characters(&n->map, text, len, out);
    case NORMALIZER_TIDY_BLANKS:
        return tidy_blanks(text, len, out);
    }
    return STATUS_UNSUPPORTED;
}

/* A step makes at most 18 times the characters (NFKC), a replacement at most 16 times the bytes;
 * more than this limit comes of a chain of steps made to explode. */
static size_t room_for(size_t len)
{
    return len < (size_t)1 << 32 ? 64 * len + 64 : len;
}

enum status normalizer_run(const struct normalizer *n, const char *text, size_t len, bool first,
                           struct buf *out, struct err *err)
{
    struct buf other = {.max = room_for(len)};
    enum status status;
    out->max = room_for(len);
    buf_clear(out);
    status = buf_append(out, text, len);
    for (int i = 0; i < n->count && status == STATUS_OK; i++) {
        if (n->step[i].first_only && !first)
            continue;
        buf_clear(&other);
        status = buf_reserve(&other, out->len);
        if (status == STATUS_OK)
            status = step_run(n, &n->step[i], (const char *)out->data, out->len, &other);
        struct buf swap = *out;
        *out = other;
        other = swap;
    }
    buf_free(&other);
    return status == STATUS_OK
               ? STATUS_OK
               : err_set(err, status, "normalizing a text of %zu bytes: %s", len,
                         status == STATUS_NO_MEMORY ? "no memory" : "it grows too long");
}
