/* /distill/{id}/map: the picture of a round's visual tokens. One that is not there is made, while
 * the request waits. */
#include "server/routes.h"
#include "server/shared.h"
#include "server/store_maps.h"
#include <string.h>

enum { MAP_WAIT_MS = 60000 };

static bool visit_none(void *ctx, const struct round *round)
{
    (void)ctx, (void)round;
    return false;
}

static bool map_copy(void *ctx, const char *text)
{
    struct buf *out = ctx;
    buf_append(out, text, strlen(text) + 1);
    return false;
}

enum status distill_map(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct buf text = {.max = 1 << 20};
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    TRY(store_round(cloud->store, id, visit_none, NULL, err));
    enum status status = store_map(cloud->store, id, map_copy, &text, err);
    if (status == STATUS_OK)
        status = text.len ? http_reply_text(request, 200, "application/json",
                                            (const char *)text.data, err)
                          : err_set(err, STATUS_NO_MEMORY, "out of memory");
    http_reply_header(request, "Cache-Control", "no-store");
    buf_free(&text);
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(mapper_want(cloud->mapper, id, err));
    if (http_park(request, MAP_WAIT_MS))
        return STATUS_OK;
    return err_set(err, STATUS_BUSY, "the map of round %lld is being made; try again",
                   (long long)id);
}
