/* The one table that maps a status to its name, its HTTP status and a program's exit status.
 *
 * Exit statuses follow sysexits.h where it has a word for the case, and are as pinned as the codes:
 * 1 a comparison failed, 2 command line, 65 bad input, 66 not found, 69 peer away, 71 out of
 * memory, 73 disk full, 74 input/output, 75 busy or timed out (try again), 76 peer broke the
 * protocol, 77 not allowed, 130 cancelled, 70 anything else. */
#include "api/base/status.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct row {
    enum status code;
    const char *name;
    int http, exit;
} table[] = {
    {STATUS_OK, "ok", 200, 0},
    {STATUS_MALFORMED, "malformed", 422, 65},
    {STATUS_SHAPE, "shape", 422, 65},
    {STATUS_UNSUPPORTED, "unsupported", 415, 65},
    {STATUS_TOO_LARGE, "too_large", 413, 65},
    {STATUS_NOT_FOUND, "not_found", 404, 66},
    {STATUS_CONFLICT, "conflict", 409, 65},
    {STATUS_USAGE, "usage", 400, 2},
    {STATUS_CORRUPT, "corrupt", 422, 65},
    {STATUS_WRONG_BASE, "wrong_base", 422, 65},
    {STATUS_DIFFERS, "differs", 422, 1},
    {STATUS_NO_MEMORY, "no_memory", 503, 71},
    {STATUS_DISK_FULL, "disk_full", 507, 73},
    {STATUS_BUSY, "busy", 429, 75},
    {STATUS_UNREACHABLE, "unreachable", 502, 69},
    {STATUS_TIMEOUT, "timeout", 504, 75},
    {STATUS_PEER, "peer", 502, 76},
    {STATUS_IO, "io", 500, 74},
    {STATUS_REFUSED, "refused", 403, 77},
    {STATUS_CANCELLED, "cancelled", 409, 130},
    {STATUS_UNAUTHENTICATED, "unauthenticated", 401, 77},
};

static const struct row unknown = {STATUS_OK, "unknown", 500, 70};

static const struct row *row_find(enum status code)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return &table[i];
    return &unknown;
}

const char *status_name(enum status code)
{
    return row_find(code)->name;
}

int status_http(enum status code)
{
    return row_find(code)->http;
}

int status_exit(enum status code)
{
    return row_find(code)->exit;
}

bool status_is_content(enum status code)
{
    switch (code) {
    case STATUS_MALFORMED:
    case STATUS_SHAPE:
    case STATUS_UNSUPPORTED:
    case STATUS_TOO_LARGE:
    case STATUS_CORRUPT:
    case STATUS_WRONG_BASE:
    case STATUS_REFUSED:
        return true;
    default:
        return false;
    }
}

/* Text that was cut in the middle of a UTF-8 sequence loses the sequence's beginning too: error
 * texts end up in JSON. */
static void text_trim(char *text, size_t size)
{
    size_t len = strlen(text);
    if (len + 1 < size)
        return;
    size_t lead = len;
    while (lead > 0 && len - lead < 3 && ((unsigned char)text[lead - 1] & 0xc0) == 0x80)
        lead--;
    if (lead > 0 && ((unsigned char)text[lead - 1] & 0xc0) == 0xc0)
        text[lead - 1] = '\0';
}

enum status err_set(struct err *err, enum status code, const char *format, ...)
{
    if (!err)
        return code;
    char text[sizeof err->text]; /* the arguments may point into err->text */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_trim(text, sizeof text);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return code;
}

enum status err_prefix(struct err *err, const char *format, ...)
{
    if (!err)
        return STATUS_OK;
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = strlen(text);
    if (snprintf(text + used, sizeof text - used, ": %s", err->text) >= (int)(sizeof text - used))
        text_trim(text, sizeof text);
    memcpy(err->text, text, sizeof text);
    return err->code;
}
