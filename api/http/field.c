/* See field.h. */
#include "api/http/field.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int64_t field_prefer_wait(const char *value, int64_t max)
{
    const char *p = value;
    while (p && *p) {
        p += strspn(p, " \t,");
        size_t length = strcspn(p, ",");
        size_t digits = strncasecmp(p, "wait=", 5) == 0 ? strspn(p + 5, "0123456789") : 0;
        if (digits && strspn(p + 5 + digits, " \t;,") + 5 + digits >= length) {
            int64_t seconds = digits > 9 ? max : strtoll(p + 5, NULL, 10);
            return seconds < max ? seconds : max;
        }
        p += length;
    }
    return 0;
}

bool field_is_key(const char *value, size_t max)
{
    size_t len = 0;
    while (value[len] > ' ' && value[len] <= '~')
        len++;
    return len > 0 && len <= max && !value[len];
}

bool field_is_id(const char *value, size_t max)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(value);
    return len > 0 && len <= max && strspn(value, letters) == len;
}

bool field_host_is_local(const char *value)
{
    static const char *const names[] = {"localhost", "127.", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(value, names[i], len) == 0 &&
            strspn(value + len, "0123456789.:") == strlen(value + len))
            return true;
    }
    return false;
}
