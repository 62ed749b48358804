/* Requests that wait: deferred ones, whose answer another thread makes, and suspended ones, parked
 * for news or between two events of a stream.
 *
 * The library neither times out a suspended connection nor notices that its client has gone, and
 * counts it to the limits. So those that may wait are a quarter of the connections at most, parked
 * ones and streams together, each with a deadline of ours, looked after by the watcher's tick. */
#include "api/base/clock.h"
#include "api/http/exchange.h"

/* ---- under http->lock ---- */

static void list_add(struct waiting *in, struct exchange *x)
{
    x->next = in->first;
    x->previous = NULL;
    if (x->next)
        x->next->previous = x;
    in->first = x;
    x->listed = in;
}

static void list_remove(struct exchange *x)
{
    if (!x->listed)
        return;
    if (x->next)
        x->next->previous = x->previous;
    if (x->previous)
        x->previous->next = x->next;
    else
        x->listed->first = x->next;
    x->next = x->previous = NULL;
    x->listed = NULL;
}

static void list_resume(struct waiting *in, bool all)
{
    int64_t now = clock_monotonic_ms();
    for (struct exchange *x = in->first, *next; x; x = next) {
        next = x->next;
        if (!all && now < x->deadline_ms)
            continue;
        list_remove(x);
        exchange_resume(x);
    }
}

static void waiting_wake(struct http *http, struct waiting *in)
{
    pthread_mutex_lock(&http->lock);
    atomic_fetch_add(&in->generation, 1);
    list_resume(in, true);
    pthread_mutex_unlock(&http->lock);
}

/* ---- for the files beside ---- */

bool wait_reserve(struct exchange *x, struct waiting *in)
{
    struct http *http = x->http;
    pthread_mutex_lock(&http->lock);
    int taken = http->parked.slots + http->streams.slots;
    if (!x->slot && taken < http->config.connections / 4) {
        x->slot = in;
        in->slots++;
    }
    bool ok = x->slot != NULL;
    pthread_mutex_unlock(&http->lock);
    return ok;
}

void wait_look(struct exchange *x, const struct waiting *in)
{
    x->generation = atomic_load(&in->generation);
}

bool wait_suspend(struct exchange *x, struct waiting *in)
{
    struct http *http = x->http;
    pthread_mutex_lock(&http->lock);
    bool ok = !atomic_load(&http->stopping) && x->generation == atomic_load(&in->generation);
    if (ok) {
        exchange_suspend(x);
        list_add(in, x);
    }
    pthread_mutex_unlock(&http->lock);
    return ok;
}

void wait_end(struct exchange *x)
{
    struct http *http = x->http;
    if (!x->slot) /* as most never wait */
        return;
    pthread_mutex_lock(&http->lock);
    list_remove(x);
    x->slot->slots--;
    x->slot = NULL;
    pthread_mutex_unlock(&http->lock);
}

void wait_tick(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    list_resume(&http->parked, false);
    list_resume(&http->streams, false);
    pthread_mutex_unlock(&http->lock);
}

void wait_refuse(struct http_request *request)
{
    struct err err;
    err_set(&err, STATUS_BUSY, "too many requests are waiting for news; try again");
    http_reply_problem(request, 503, &err);
}

/* ---- for everyone ---- */

bool http_park(struct http_request *request, int64_t wait_ms)
{
    struct exchange *x = (struct exchange *)request;
    int64_t now = clock_monotonic_ms();
    if (!x->deadline_ms)
        x->deadline_ms = now + wait_ms;
    if (atomic_load(&x->http->stopping) || now >= x->deadline_ms)
        return false;
    if (!wait_reserve(x, &x->http->parked)) {
        wait_refuse(request);
        return true;
    }
    x->stage = STAGE_WAITING;
    if (!wait_suspend(x, &x->http->parked)) { /* news: come back at once */
        exchange_suspend(x);
        exchange_resume(x);
    }
    return true;
}

void http_wake(struct http *http)
{
    waiting_wake(http, &http->parked);
}

void http_wake_streams(struct http *http)
{
    waiting_wake(http, &http->streams);
}

void http_defer(struct http_request *request)
{
    struct exchange *x = (struct exchange *)request;
    x->stage = STAGE_WAITING;
    exchange_suspend(x);
}

void http_complete(struct http_request *request, enum status status, const struct err *err)
{
    struct exchange *x = (struct exchange *)request;
    if (status != STATUS_OK) {
        event_stream_close(x);
        http_reply_problem(request, 0, err);
    }
    exchange_resume(x);
}

struct http_gauges http_look(struct http *http)
{
    struct http_gauges now = {.connections = atomic_load(&http->connections)};
    pthread_mutex_lock(&http->lock);
    now.parked = http->parked.slots;
    now.streams = http->streams.slots;
    pthread_mutex_unlock(&http->lock);
    return now;
}
