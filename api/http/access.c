/* What is known of each request: its id, the line in the log when it is over, and the observer that
 * counts. The line names the route, not only the path, and whatever ids the handler noted, so that
 * a search leads from a request to what it made. Nothing of a header but the request's id is
 * logged, and no query: there may be secrets in them. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/http/exchange.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void access_begin(struct exchange *x)
{
    x->started_us = clock_monotonic_us();
    x->request.id = x->id;
    snprintf(x->id, sizeof x->id, "%08x-%llx", (unsigned)x->http->id_base,
             (unsigned long long)atomic_fetch_add(&x->http->requests, 1));
}

/* [A-Za-z0-9._-]{1,64} */
static bool id_valid(const char *id)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(id);
    return len > 0 && len < REQUEST_ID && strspn(id, letters) == len;
}

void access_identify(struct exchange *x)
{
    const char *id = http_header(&x->request, "X-Request-Id");
    if (id && id_valid(id))
        snprintf(x->id, sizeof x->id, "%s", id);
}

void http_note(struct http_request *request, const char *name, int64_t value)
{
    struct exchange *x = (struct exchange *)request;
    if (x->note_count < NOTES)
        x->notes[x->note_count++] = (struct note){name, value};
}

static void client_text(const struct sockaddr *client, char out[INET6_ADDRSTRLEN])
{
    const void *address = NULL;
    snprintf(out, INET6_ADDRSTRLEN, "unknown");
    if (client && client->sa_family == AF_INET)
        address = &((const struct sockaddr_in *)(const void *)client)->sin_addr;
    else if (client && client->sa_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)(const void *)client)->sin6_addr;
    if (address)
        inet_ntop(client->sa_family, address, out, INET6_ADDRSTRLEN);
}

static void access_log(const struct exchange *x, const char *client, const char *how, double ms)
{
    struct log_record record;
    log_begin(&record, LOG_INFO, "http", "request");
    log_string(&record, "request", x->id);
    log_string(&record, "method", x->request.method);
    log_string(&record, "route", x->route ? x->route->pattern : "none");
    log_string(&record, "path", x->request.path);
    log_int(&record, "status", x->request.response.status);
    log_int(&record, "received", (int64_t)x->received);
    log_int(&record, "sent", (int64_t)x->sent);
    log_number(&record, "ms", ms);
    log_string(&record, "client", client);
    log_string(&record, "ended", how);
    for (int i = 0; i < x->note_count; i++)
        log_int(&record, x->notes[i].name, x->notes[i].value);
    log_end(&record);
}

void access_end(struct exchange *x, const struct sockaddr *client, const char *how)
{
    char address[INET6_ADDRSTRLEN];
    const struct http_config *config = &x->http->config;
    double seconds = (double)(clock_monotonic_us() - x->started_us) / 1e6;
    struct http_seen seen = {.route = x->route ? x->route->pattern : "none",
                             .method = x->request.method,
                             .status = x->request.response.status,
                             .stream = x->stream.fill != NULL,
                             .received = x->received,
                             .sent = x->sent,
                             .seconds = seconds};
    client_text(client, address);
    access_log(x, address, how, 1e3 * seconds);
    if (config->observe)
        config->observe(config->app, &seen);
}
