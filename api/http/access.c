/* What is known of each request: its id, the line in the log when it is over, and the observer that
 * counts. The line names the route, not only the path, and whatever ids the handler noted, so that
 * a search leads from a request to what it made. A write for each line costs as much as the rest of
 * a small request, so the lines of a watcher's tick are written together. Nothing of a header but
 * the request's id is logged, and no query: there may be secrets in them. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/http/exchange.h"
#include "api/http/field.h"
#include <stdio.h>
#include <string.h>

/* "9f3b2c1d-1a" */
static void id_make(uint32_t base, uint64_t number, char id[REQUEST_ID])
{
    static const char hex[] = "0123456789abcdef";
    int digits = 1;
    for (int i = 0; i < 8; i++)
        id[i] = hex[base >> (28 - 4 * i) & 15];
    id[8] = '-';
    while (digits < 16 && number >> (4 * digits))
        digits++;
    for (int i = 0; i < digits; i++)
        id[9 + i] = hex[number >> (4 * (digits - 1 - i)) & 15];
    id[9 + digits] = '\0';
}

void access_begin(struct exchange *x)
{
    x->started_us = clock_monotonic_us();
    x->request.id = x->id;
    id_make(x->http->id_base, atomic_fetch_add(&x->http->requests, 1), x->id);
}

void access_identify(struct exchange *x)
{
    const char *id = http_header(&x->request, "X-Request-Id");
    if (id && field_is_id(id, REQUEST_ID - 1))
        snprintf(x->id, sizeof x->id, "%s", id);
}

void http_note(struct http_request *request, const char *name, int64_t value)
{
    struct exchange *x = (struct exchange *)request;
    if (x->note_count < NOTES)
        x->notes[x->note_count++] = (struct note){name, value};
}

/* ---- the log ---- */

static void lines_write(struct access_lines *lines)
{
    log_write(lines->text, lines->len);
    lines->len = 0;
}

static void line_add(struct access_lines *lines, const struct log_record *record)
{
    pthread_mutex_lock(&lines->lock);
    if (lines->len + record->len > sizeof lines->text)
        lines_write(lines);
    memcpy(lines->text + lines->len, record->line, record->len);
    lines->len += record->len;
    pthread_mutex_unlock(&lines->lock);
}

void access_flush(struct http *http)
{
    pthread_mutex_lock(&http->lines.lock);
    lines_write(&http->lines);
    pthread_mutex_unlock(&http->lines.lock);
}

static void access_log(const struct exchange *x, const char *how, double ms)
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
    log_string(&record, "client", x->request.address);
    log_string(&record, "caller", x->request.caller.name[0] ? x->request.caller.name : NULL);
    log_string(&record, "ended", how);
    for (int i = 0; i < x->note_count; i++)
        log_int(&record, x->notes[i].name, x->notes[i].value);
    log_close(&record);
    line_add(&x->http->lines, &record);
}

void access_end(struct exchange *x, const char *how)
{
    const struct http_config *config = &x->http->config;
    double seconds = (double)(clock_monotonic_us() - x->started_us) / 1e6;
    struct http_seen seen = {.route = x->route ? x->route->pattern : "none",
                             .method = x->request.method,
                             .status = x->request.response.status,
                             .stream = x->stream.fill != NULL,
                             .received = x->received,
                             .sent = x->sent,
                             .seconds = seconds};
    access_log(x, how, 1e3 * seconds);
    if (config->observe)
        config->observe(config->app, &seen);
}
