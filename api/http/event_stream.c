/* Event streams (text/event-stream). The owner's fill is asked for whole events; what it gives goes
 * out in pieces as the socket takes them. Without events the connection is suspended until the next
 * http_wake_streams, or until the heartbeat is due: a comment, whose failure to arrive is how a
 * client that has gone is noticed.
 *
 * Memory per client is bounded: fill is asked again only when everything was handed to the socket,
 * so a slow reader's backlog stays where its owner keeps the events, and the owner decides when
 * it has fallen too far behind. A client that does not read at all is cut off by its watch. */
#include "api/base/clock.h"
#include "api/http/exchange.h"
#include <string.h>

enum { STREAM_PENDING = 64 << 10 };

static const char hello[] = "retry: 3000\n\n", heartbeat[] = ":\n\n";

enum status http_reply_stream(struct http_request *request, const struct http_stream *stream,
                              struct err *err)
{
    struct exchange *x = (struct exchange *)request;
    x->stream = *stream;
    x->pending.max = STREAM_PENDING;
    if (!wait_reserve(x, &x->http->streams)) {
        event_stream_close(x);
        wait_refuse(request);
        return STATUS_OK;
    }
    if (buf_append(&x->pending, hello, sizeof hello - 1) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    int64_t now = clock_monotonic_ms();
    x->deadline_ms = now + x->http->config.heartbeat_ms;
    x->stream_end_ms = now + x->http->config.stream_ms;
    TRY(http_reply_text(request, 200, "text/event-stream", "", err));
    http_reply_header(request, "Cache-Control", "no-store");
    http_reply_header(request, "X-Accel-Buffering", "no"); /* nginx would hold events back */
    return STATUS_OK;
}

void event_stream_close(struct exchange *x)
{
    if (x->stream.fill && x->stream.close)
        x->stream.close(x->stream.ctx);
    x->stream = (struct http_stream){0};
    buf_free(&x->pending);
}

/* Asks for events; a heartbeat when there are none and it is time. */
static void pending_fill(struct exchange *x)
{
    int64_t now = clock_monotonic_ms();
    buf_clear(&x->pending);
    x->pending_at = 0;
    wait_look(x, &x->http->streams);
    bool last = atomic_load(&x->http->stopping) || now >= x->stream_end_ms;
    x->stream_over = !x->stream.fill(x->stream.ctx, &x->pending) || last;
    if (x->pending.len == 0 && !x->stream_over && now >= x->deadline_ms)
        x->stream_over = buf_append(&x->pending, heartbeat, sizeof heartbeat - 1) != STATUS_OK;
}

static ssize_t pending_send(struct exchange *x, char *out, size_t max)
{
    size_t n = x->pending.len - x->pending_at;
    if (n > max)
        n = max;
    memcpy(out, x->pending.data + x->pending_at, n);
    x->pending_at += n;
    x->sent += n;
    x->deadline_ms = clock_monotonic_ms() + x->http->config.heartbeat_ms;
    watch_phase(x->watch, WATCH_ANSWER, n);
    return (ssize_t)n;
}

ssize_t event_stream_read(struct exchange *x, char *out, size_t max)
{
    for (;;) {
        if (x->pending_at < x->pending.len)
            return pending_send(x, out, max);
        if (x->stream_over)
            return -1;
        pending_fill(x);
        if (x->pending.len > 0 || x->stream_over)
            continue;
        watch_phase(x->watch, WATCH_BUSY, 0);
        if (wait_suspend(x, &x->http->streams))
            return 0;
    }
}
