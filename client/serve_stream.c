/* A buffer of events between two threads; see serve_stream.h. */
#include "client/serve_stream.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct serve_stream {
    struct http *http;
    pthread_mutex_t lock; /* guards what follows */
    struct buf events;    /* whole ones */
    size_t sent;          /* bytes of them */
    bool done, gone;      /* nothing more comes; nobody reads */
    int owners;
};

static void stream_release(struct serve_stream *s)
{
    pthread_mutex_lock(&s->lock);
    int left = --s->owners;
    pthread_mutex_unlock(&s->lock);
    if (left)
        return;
    pthread_mutex_destroy(&s->lock);
    buf_free(&s->events);
    free(s);
}

/* Bytes of whole events from `sent` on, at most max; an event longer than that goes in parts. */
static size_t events_length(const struct serve_stream *s, size_t max)
{
    size_t len = s->events.len - s->sent;
    const unsigned char *from = s->events.data + s->sent;
    if (len <= max)
        return len;
    for (size_t n = max; n >= 2; n--)
        if (from[n - 1] == '\n' && from[n - 2] == '\n')
            return n;
    return max;
}

static bool on_fill(void *ctx, struct buf *out)
{
    struct serve_stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    size_t len = events_length(s, out->max - out->len);
    if (len && buf_append(out, s->events.data + s->sent, len) == STATUS_OK)
        s->sent += len;
    if (s->sent == s->events.len) {
        s->sent = 0;
        buf_clear(&s->events);
    }
    bool more = !s->done || s->events.len > 0;
    pthread_mutex_unlock(&s->lock);
    return more;
}

static void on_close(void *ctx)
{
    struct serve_stream *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->gone = true;
    pthread_mutex_unlock(&s->lock);
    stream_release(s);
}

enum status serve_stream_start(struct http *http, struct http_request *request,
                               struct serve_stream **out, struct err *err)
{
    struct serve_stream *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a stream");
    s->http = http;
    s->events.max = SERVE_STREAM_BYTES;
    s->owners = 2;
    pthread_mutex_init(&s->lock, NULL);
    struct http_stream stream = {.fill = on_fill, .close = on_close, .ctx = s};
    enum status status = http_reply_stream(request, &stream, err);
    http_complete(request, status, err);
    *out = s;
    return STATUS_OK;
}

static bool events_add(struct serve_stream *s, const void *data, size_t len)
{
    pthread_mutex_lock(&s->lock);
    s->gone = s->gone || buf_append(&s->events, data, len) != STATUS_OK;
    bool reads = !s->gone;
    pthread_mutex_unlock(&s->lock);
    http_wake_streams(s->http);
    return reads;
}

bool serve_stream_send(struct serve_stream *stream, json *value)
{
    struct buf text = {.max = SERVE_STREAM_BYTES};
    bool ok = value && buf_append(&text, "data: ", 6) == STATUS_OK &&
              json_print(value, false, &text) == STATUS_OK &&
              buf_append(&text, "\n\n", 2) == STATUS_OK && events_add(stream, text.data, text.len);
    json_free(value);
    buf_free(&text);
    return ok;
}

void serve_stream_end(struct serve_stream *stream, bool broken)
{
    static const char done[] = "data: [DONE]\n\n";
    if (!stream)
        return;
    if (!broken)
        events_add(stream, done, sizeof done - 1);
    pthread_mutex_lock(&stream->lock);
    stream->done = true;
    pthread_mutex_unlock(&stream->lock);
    http_wake_streams(stream->http);
    stream_release(stream);
}
