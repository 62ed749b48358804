/* libsodium does the work; these bound its output and accept all of the text or nothing. */
#include "api/base/base64.h"
#include <sodium.h>
#include <stdint.h>

enum { VARIANT = sodium_base64_VARIANT_ORIGINAL };

enum status base64_encode(const void *data, size_t len, struct buf *out)
{
    if (len > SIZE_MAX / 2)
        return STATUS_TOO_LARGE;
    size_t text_len = (len + 2) / 3 * 4;
    TRY(buf_reserve(out, text_len));
    sodium_bin2base64((char *)out->data + out->len, text_len + 1, data, len, VARIANT);
    out->len += text_len;
    return STATUS_OK;
}

enum status base64_decode(const char *text, size_t len, struct buf *out)
{
    size_t decoded, room = len / 4 * 3;
    const char *end;
    TRY(buf_reserve(out, room));
    if (sodium_base642bin(out->data + out->len, room, text, len, NULL, &decoded, &end, VARIANT) !=
        0)
        return STATUS_MALFORMED;
    if (end != text + len)
        return STATUS_MALFORMED;
    out->len += decoded;
    return STATUS_OK;
}
