/* What a request's headers say before its body is read, and all that can be refused by them:
 * framing that another server might read otherwise, too many fields, a route that is not there, a
 * caller who may not, a body that the route does not take. The HTTP library hands over the fields
 * as they came (heading_take). */
#include "api/http/exchange.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MAX = 64, FIELDS_BYTES = 16 << 10 };

/* RFC 9110, 5.6.2. "Transfer-Encoding : chunked" arrives here with its space, and is neither
 * Transfer-Encoding nor harmless: another server on the way may have read it so. */
static bool is_token(const char *name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    const char *p = name;
    while (isalnum((unsigned char)*p) || (*p && strchr(marks, *p)))
        p++;
    return p > name && !*p;
}

void heading_take(struct heading *heading, const char *name, const char *value)
{
    heading->nameless |= !is_token(name);
    heading->hosts += strcasecmp(name, "Host") == 0;
    heading->fields++;
    heading->fields_bytes += strlen(name) + (value ? strlen(value) : 0) + sizeof ": \r\n" - 1;
    if (strcasecmp(name, "Content-Length") == 0) {
        heading->lengths++;
        heading->odd |= !value || strspn(value, "0123456789") != strlen(value) ||
                        strlen(value) == 0 || strlen(value) > 18;
        heading->length = heading->odd ? 0 : strtoull(value, NULL, 10);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        heading->encodings++;
        heading->odd |= !value || strcasecmp(value, "chunked") != 0;
    } else if (strcasecmp(name, "Authorization") == 0) {
        heading->authorizations++;
    } else if (strcasecmp(name, "X-Forwarded-For") == 0) {
        heading->forwarded = value;
    }
}

enum status heading_check(struct exchange *x, const char *version, const struct heading *heading,
                          int *status, struct err *err)
{
    *status = 431;
    if (heading->fields > FIELDS_MAX || heading->fields_bytes > FIELDS_BYTES)
        return err_set(err, STATUS_TOO_LARGE,
                       "the request has %d header fields of %llu bytes; at most %d of %d bytes in "
                       "all are taken",
                       heading->fields, (unsigned long long)heading->fields_bytes, FIELDS_MAX,
                       FIELDS_BYTES);
    *status = 400;
    if (heading->odd || heading->lengths + heading->encodings > 1)
        return err_set(err, STATUS_USAGE,
                       "the body must be framed by one Content-Length or by Transfer-Encoding: "
                       "chunked, not by both, twice or otherwise");
    if (version != x->target_end)
        return err_set(err, STATUS_USAGE, "the request target holds a NUL byte");
    if (heading->nameless)
        return err_set(err, STATUS_USAGE,
                       "a header's name is made of letters, digits and !#$%%&'*+-.^_`|~ alone, and "
                       "its colon follows at once");
    if (heading->hosts > 1)
        return err_set(err, STATUS_USAGE, "a request has one Host header; this has several");
    if (heading->authorizations > 1)
        return err_set(err, STATUS_USAGE, "Authorization is given twice; once is right");
    const char *proxy = x->http->config.proxy;
    if (proxy && strcmp(x->request.address, proxy) == 0)
        peer_forwarded(heading->forwarded, x->request.address);
    return STATUS_OK;
}

static void allow_add(char allow[HTTP_VALUE], const char *method)
{
    size_t len = strlen(allow);
    snprintf(allow + len, HTTP_VALUE - len, "%s%s%s", len ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

/* *status: 404 or 405 in case of an error. */
static enum status route_find(struct exchange *x, int *status, struct err *err)
{
    struct http_request *request = &x->request;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    char allow[HTTP_VALUE] = "";
    for (const struct http_route *r = x->http->config.routes; r->method; r++) {
        if (!target_match(r->pattern, request->path, x->params, sizeof x->params, request->param))
            continue;
        x->route = r;
        if (strcmp(r->method, method) == 0)
            return STATUS_OK;
        allow_add(allow, r->method);
    }
    if (!allow[0]) {
        *status = 404;
        return err_set(err, STATUS_NOT_FOUND, "there is nothing at %.200s; GET / lists the routes",
                       request->path);
    }
    *status = 405;
    http_reply_header(request, "Allow", allow);
    return err_set(err, STATUS_USAGE, "%.200s takes %s", request->path, allow);
}

/* "Application/JSON; charset=utf-8" -> "application/json" */
static void type_read(struct exchange *x)
{
    const char *value = http_header(&x->request, "Content-Type");
    size_t n = value ? strcspn(value, "; \t") : 0;
    if (n >= sizeof x->type)
        n = 0;
    for (size_t i = 0; i < n; i++)
        x->type[i] = (char)tolower((unsigned char)value[i]);
    x->type[n] = '\0';
}

static bool type_listed(const char *types, const char *type)
{
    size_t len = strlen(type);
    for (const char *at = types; len && at && (at = strstr(at, type)); at += len)
        if ((at == types || at[-1] == ' ') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

static enum status body_check(struct exchange *x, const struct heading *heading, struct err *err)
{
    const struct http_route *route = x->route;
    if (heading->length > route->body_max || (heading->encodings && !route->body_max))
        return err_set(err, STATUS_TOO_LARGE, "%s %s takes a body of at most %zu bytes",
                       x->request.method, route->pattern, route->body_max);
    if (heading->length == 0 && !heading->encodings)
        return STATUS_OK;
    type_read(x);
    if (!type_listed(route->types, x->type))
        return err_set(err, STATUS_UNSUPPORTED, "%s %s takes Content-Type: %s; this is \"%s\"",
                       x->request.method, route->pattern, route->types, x->type);
    const char *encoding = http_header(&x->request, "Content-Encoding");
    x->zstd = encoding && strcasecmp(encoding, "zstd") == 0 && route->raw_max;
    if (encoding && !x->zstd && strcasecmp(encoding, "identity") != 0) {
        http_reply_header(&x->request, "Accept-Encoding", route->raw_max ? "zstd" : "identity");
        return err_set(err, STATUS_UNSUPPORTED, "Content-Encoding \"%.40s\" is not accepted here%s",
                       encoding, route->raw_max ? "; zstd is" : "");
    }
    return STATUS_OK;
}

static enum status exchange_authorize(struct exchange *x, int *status, struct err *err)
{
    http_authorize *authorize = x->http->config.authorize;
    *status = 0;
    if (!authorize)
        return STATUS_OK;
    enum status allowed = authorize(&x->request, x->route, status, err);
    if (allowed != STATUS_OK)
        x->drop_max = DROP_STRANGER;
    return allowed;
}

enum status heading_admit(struct exchange *x, const struct heading *heading, int *status,
                          struct err *err)
{
    if (x->target_problem.code != STATUS_OK) {
        *err = x->target_problem;
        *status = err->code == STATUS_TOO_LARGE ? 414 : 400;
        return err->code;
    }
    TRY(route_find(x, status, err));
    TRY(exchange_authorize(x, status, err));
    enum status checked = body_check(x, heading, err);
    *status = status_http(checked);
    return checked;
}
