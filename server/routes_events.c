/* /events: what happens, as it happens, as server-sent events. */
#include "server/events.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdlib.h>

static bool reader_fill(void *ctx, struct buf *out)
{
    return events_read(ctx, out);
}

enum status events_get(struct http_request *request, struct err *err)
{
    static const char *const known[] = {"types", NULL};
    struct cloud *cloud = request->app;
    unsigned types;
    TRY(http_query_only(request, known, err));
    TRY(event_types_parse(http_query(request, "types"), &types, err));
    struct events_reader *reader = malloc(sizeof *reader);
    if (!reader)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    events_reader_init(cloud->events, types, http_header(request, "Last-Event-ID"), reader);
    struct http_stream stream = {reader_fill, free, reader};
    return http_reply_stream(request, &stream, err);
}
