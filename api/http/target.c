/* Request targets: see target.h. */
#include "api/http/target.h"
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool path_char(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-' || c == '@' || c == '/';
}

static enum status path_check(const char *path, struct err *err)
{
    if (path[0] != '/')
        return err_set(err, STATUS_USAGE, "the request target must be a path beginning with /");
    for (const char *p = path; *p; p++)
        if (!path_char(*p))
            return err_set(err, STATUS_USAGE,
                           "paths of this service are made of letters, digits and . _ - @ / alone");
    for (const char *p = path; (p = strchr(p, '/')) != NULL;) {
        size_t dots = strspn(++p, ".");
        if (*p == '/' || (dots > 0 && dots < 3 && (p[dots] == '/' || p[dots] == '\0')))
            return err_set(err, STATUS_USAGE, "the path holds an empty or a dot segment");
    }
    return STATUS_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes + and %XX in place; control characters, NUL above all, are refused. */
static bool query_decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        int c = (unsigned char)*in;
        if (c == '+')
            c = ' ';
        if (c == '%') {
            int high = hex_digit(in[1]), low = high < 0 ? -1 : hex_digit(in[2]);
            if (low < 0)
                return false;
            c = high * 16 + low;
            in += 2;
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        *out++ = (char)c;
    }
    *out = '\0';
    return true;
}

static enum status query_take(struct target *out, char *pair, struct err *err)
{
    char *equals = strchr(pair, '=');
    if (equals)
        *equals = '\0';
    char *value = equals ? equals + 1 : pair + strlen(pair);
    if (!query_decode(pair) || !query_decode(value))
        return err_set(err, STATUS_USAGE, "the query string holds a bad %% escape");
    if (target_query(out, pair))
        return err_set(err, STATUS_USAGE, "query parameter \"%.64s\" is given twice", pair);
    if (out->query_count == TARGET_QUERY)
        return err_set(err, STATUS_USAGE, "at most %d query parameters", TARGET_QUERY);
    out->query_name[out->query_count] = pair;
    out->query_value[out->query_count++] = value;
    return STATUS_OK;
}

enum status target_parse(const char *raw, struct target *out, struct err *err)
{
    size_t len = strlen(raw);
    out->query_count = 0;
    out->text[0] = '\0';
    out->path = out->text;
    if (len >= sizeof out->text)
        return err_set(err, STATUS_TOO_LARGE, "the request target is longer than %d bytes",
                       TARGET_BYTES - 1);
    memcpy(out->text, raw, len + 1);
    char *query = strchr(out->text, '?');
    if (query)
        *query++ = '\0';
    TRY(path_check(out->path, err));
    while (query && *query) {
        char *next = strchr(query, '&');
        if (next)
            *next++ = '\0';
        if (*query)
            TRY(query_take(out, query, err));
        query = next;
    }
    return STATUS_OK;
}

const char *target_query(const struct target *target, const char *name)
{
    for (int i = 0; i < target->query_count; i++)
        if (strcmp(target->query_name[i], name) == 0)
            return target->query_value[i];
    return NULL;
}

/* One {name} of a pattern: copies the path's segment; NULL when it is empty or does not fit. */
static const char *segment_take(const char **path, char **store, unsigned long *left)
{
    size_t len = strcspn(*path, "/");
    if (len == 0 || len + 1 > *left)
        return NULL;
    char *copy = *store;
    memcpy(copy, *path, len);
    copy[len] = '\0';
    *store += len + 1;
    *left -= len + 1;
    *path += len;
    return copy;
}

bool target_match(const char *pattern, const char *path, char *store, unsigned long size,
                  const char *param[TARGET_PARAMS])
{
    int taken = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        const char *segment = taken < TARGET_PARAMS ? segment_take(&path, &store, &size) : NULL;
        if (!segment)
            return false;
        param[taken++] = segment;
        pattern = strchr(pattern, '}') + 1;
    }
    return *path == '\0';
}
