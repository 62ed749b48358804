/* Reading numbers and names out of a request's target, strictly: decimal digits alone, no sign, no
 * leading zeros, nothing unknown. */
#include "api/http/http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *http_query(struct http_request *request, const char *name)
{
    return target_query(request->target, name);
}

static bool digits_parse(const char *text, int64_t *out)
{
    size_t len = strlen(text);
    if (len == 0 || len > 18 || strspn(text, "0123456789") != len || (text[0] == '0' && len > 1))
        return false;
    *out = strtoll(text, NULL, 10);
    return true;
}

enum status http_query_int(struct http_request *request, const char *name, int64_t min, int64_t max,
                           int64_t *out, struct err *err)
{
    const char *text = http_query(request, name);
    int64_t value;
    if (!text)
        return STATUS_OK;
    if (!digits_parse(text, &value) || value < min || value > max)
        return err_set(err, STATUS_USAGE,
                       "query parameter %s must be a whole number from %lld to %lld", name,
                       (long long)min, (long long)max);
    *out = value;
    return STATUS_OK;
}

enum status http_param_int(const struct http_request *request, int index, int64_t *out,
                           struct err *err)
{
    if (!digits_parse(request->param[index], out))
        return err_set(err, STATUS_NOT_FOUND, "\"%.40s\" is no number that names something here",
                       request->param[index]);
    return STATUS_OK;
}

static enum status query_unknown(const char *name, const char *const *known, struct err *err)
{
    char list[200] = "none";
    size_t len = 0;
    for (int k = 0; known[k] && len < sizeof list; k++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", k ? ", " : "", known[k]);
    return err_set(err, STATUS_USAGE, "unknown query parameter \"%.64s\"; known here: %s", name,
                   list);
}

enum status http_query_only(struct http_request *request, const char *const *known, struct err *err)
{
    const struct target *target = request->target;
    for (int i = 0; i < target->query_count; i++) {
        int k = 0;
        while (known[k] && strcmp(known[k], target->query_name[i]) != 0)
            k++;
        if (!known[k])
            return query_unknown(target->query_name[i], known, err);
    }
    return STATUS_OK;
}
