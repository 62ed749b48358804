/* Range, If-None-Match and If-Range: see range.h. Numbers that do not fit 64 bits are clamped, not
 * refused: "bytes=5-99999999999999999999" is a legal way to say "to the end". */
#include "api/http/range.h"
#include <string.h>
#include <strings.h>

static const char *skip_blank(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* Digits at *at into *value, clamped; false without a digit. */
static bool digits_take(const char **at, uint64_t *value)
{
    const char *start = *at;
    uint64_t v = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        v = v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : v * 10 + digit;
    }
    *value = v;
    return *at != start;
}

static enum range_kind range_suffix(uint64_t count, uint64_t size, uint64_t *first, uint64_t *last)
{
    if (count == 0 || size == 0)
        return RANGE_UNSATISFIABLE;
    *first = count >= size ? 0 : size - count;
    *last = size - 1;
    return RANGE_PART;
}

enum range_kind range_parse(const char *header, uint64_t size, uint64_t *first, uint64_t *last)
{
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    const char *at = skip_blank(header + 6);
    uint64_t from = 0, to = UINT64_MAX;
    bool has_from = digits_take(&at, &from);
    if (*at++ != '-')
        return RANGE_WHOLE;
    bool has_to = digits_take(&at, &to);
    if (*skip_blank(at) != '\0' || (!has_from && !has_to))
        return RANGE_WHOLE;
    if (!has_from)
        return range_suffix(to, size, first, last);
    if (!has_to)
        to = UINT64_MAX;
    if (to < from)
        return RANGE_WHOLE;
    if (from >= size)
        return RANGE_UNSATISFIABLE;
    *first = from;
    *last = to >= size ? size - 1 : to;
    return RANGE_PART;
}

bool etag_listed(const char *header, const char *etag)
{
    if (!header)
        return false;
    size_t len = strlen(etag);
    const char *at = skip_blank(header);
    if (at[0] == '*' && *skip_blank(at + 1) == '\0')
        return true;
    while (*at) {
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
        if (!end)
            return false;
        if ((size_t)(end + 1 - at) == len && memcmp(at, etag, len) == 0)
            return true;
        at = skip_blank(end + 1);
        if (*at && *at != ',')
            return false;
        at = *at ? skip_blank(at + 1) : at;
    }
    return false;
}

bool etag_range_allowed(const char *if_range, const char *etag)
{
    return !if_range || strcmp(if_range, etag) == 0;
}
