/* A request's body: collected under the route's cap and the budget of all bodies, then decoded. A
 * refused one is read on and dropped, so that the client sees the answer and not a reset. */
#include "api/http/exchange.h"
#include "api/wire/zst.h"

static bool body_charge(struct exchange *x, size_t bytes)
{
    size_t before = atomic_fetch_add(&x->http->bodies_bytes, bytes);
    x->charged += bytes;
    return before + bytes <= x->http->config.bodies_bytes;
}

static void body_refuse(struct exchange *x, int status, const struct err *err)
{
    http_reply_problem(&x->request, status, err);
    x->refused = true;
    buf_free(&x->wire);
}

static enum status body_append(struct exchange *x, const char *data, size_t size, int *status,
                               struct err *err)
{
    *status = 413;
    if (size > x->wire.max - x->wire.len)
        return err_set(err, STATUS_TOO_LARGE, "%s %s takes a body of at most %zu bytes",
                       x->request.method, x->route->pattern, x->route->body_max);
    *status = 503;
    if (!body_charge(x, size))
        return err_set(err, STATUS_BUSY, "too many uploads at once; try again");
    if (buf_append(&x->wire, data, size) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

bool body_take(struct exchange *x, const char *data, size_t size)
{
    struct err err = {0};
    int status = 0;
    watch_received(x->watch, size);
    x->received += size;
    if (!x->refused && body_append(x, data, size, &status, &err) != STATUS_OK)
        body_refuse(x, status, &err);
    if (x->refused)
        x->dropped += size;
    return x->dropped <= x->drop_max;
}

static enum status body_decode(struct exchange *x, int *status, struct err *err)
{
    x->raw.max = x->route->raw_max;
    enum status decoded = zst_decompress(x->wire.data, x->wire.len, &x->raw, err);
    bool fits = body_charge(x, x->raw.len);
    *status = fits ? status_http(decoded) : 503;
    if (decoded == STATUS_OK && !fits)
        decoded = err_set(err, STATUS_BUSY, "too many uploads at once; try again");
    if (decoded == STATUS_OK)
        buf_free(&x->wire);
    return decoded;
}

bool body_finish(struct exchange *x)
{
    struct err err = {0};
    int status = 0;
    if (x->zstd && body_decode(x, &status, &err) != STATUS_OK) {
        http_reply_problem(&x->request, status, &err);
        return false;
    }
    const struct buf *body = x->zstd ? &x->raw : &x->wire;
    x->request.body = body->data;
    x->request.body_len = body->len;
    return true;
}
