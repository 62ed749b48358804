/* The buffer grows by half of itself up to its maximum. One byte more than cap is always allocated,
 * so that the contents are NUL-terminated and can be handed to a function that wants a string. */
#include "api/base/buf.h"
#include "api/base/checked.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 64 };

static size_t cap_next(const struct buf *buf, size_t need)
{
    size_t cap = buf->cap + buf->cap / 2;
    if (cap < SMALLEST)
        cap = SMALLEST;
    if (cap < need)
        cap = need;
    return cap < buf->max ? cap : buf->max;
}

enum status buf_reserve(struct buf *buf, size_t extra)
{
    size_t need;
    if (!checked_add(buf->len, extra, &need) || need > buf->max || need == SIZE_MAX)
        return STATUS_TOO_LARGE;
    if (buf->data && need <= buf->cap)
        return STATUS_OK;
    size_t cap = cap_next(buf, need);
    unsigned char *data = realloc(buf->data, cap + 1);
    if (!data)
        return STATUS_NO_MEMORY;
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return STATUS_OK;
}

enum status buf_append(struct buf *buf, const void *data, size_t len)
{
    TRY(buf_reserve(buf, len));
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return STATUS_OK;
}

enum status buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    enum status status = len < 0 ? STATUS_MALFORMED : buf_reserve(buf, (size_t)len);
    if (status == STATUS_OK) {
        vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
    return status;
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    buf->data = NULL;
    buf->len = buf->cap = 0;
}
