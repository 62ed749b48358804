/* Routes for whoever runs the service: /healthz, /readyz, /metrics. */
#include "server/routes.h"
#include "server/shared.h"
#include <stdatomic.h>
#include <stdlib.h>

enum { METRICS_MAX = 1 << 20 };

/* Alive: a thread answers. It asks nothing of the store, so that a full disk restarts nobody. */
enum status health_get(struct http_request *request, struct err *err)
{
    static const char text[] =
        "{\n  \"status\": \"ok\",\n  \"program\": \"cdcca-cloud " CDCCA_VERSION "\"\n}\n";
    TRY(http_reply_text(request, 200, "application/json", text, err));
    http_reply_header(request, "Cache-Control", "no-store");
    return STATUS_OK;
}

/* ---- ready ---- */

/* A write like any other, through the writer: its queue, its thread and the disk have to be well.
 */
struct probe {
    struct write write; /* first: cast back in probe_done */
    struct http_request *request;
};

static enum status probe_run(struct store *store, void *ctx, struct err *err)
{
    (void)ctx;
    return store_probe(store, err);
}

static void not_ready(struct http_request *request, const struct err *why)
{
    http_reply_problem(request, 503, why);
}

static void probe_done(struct write *write)
{
    struct probe *probe = (struct probe *)write;
    struct http_request *request = probe->request;
    struct err err = write->job.err;
    json *out = json_object_new();
    if (write->job.status != STATUS_OK) {
        err_prefix(&err, "the store cannot be written");
        not_ready(request, &err);
        json_free(out);
    } else if (out && json_set_string(out, "status", "ready")) {
        http_reply_json(request, 200, out, &err);
    } else {
        json_free(out);
    }
    http_complete(request, STATUS_OK, NULL);
    free(probe);
}

enum status ready_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    enum status status = STATUS_OK;
    if (atomic_load(&cloud->draining))
        status = err_set(err, STATUS_BUSY, "the service is stopping");
    else if (!rounds_alive(cloud->rounds))
        status = err_set(err, STATUS_BUSY, "the worker that runs rounds is not there");
    if (status != STATUS_OK) {
        not_ready(request, err);
        return STATUS_OK;
    }
    struct probe *probe = calloc(1, sizeof *probe);
    if (!probe)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    *probe = (struct probe){.write = {.job = {.run = probe_run}, .done = probe_done},
                            .request = request};
    http_defer(request);
    if (writer_submit(cloud->writer, &probe->write, err) == STATUS_OK)
        return STATUS_OK;
    free(probe);
    not_ready(request, err);
    http_complete(request, STATUS_OK, NULL);
    return STATUS_OK;
}

/* ---- metrics ---- */

static bool release_take(void *ctx, const struct release *release)
{
    ((struct metrics_gauges *)ctx)->release_bytes = release->size_bytes;
    return false;
}

static bool group_take(void *ctx, const struct device_group *group)
{
    struct metrics_gauges *now = ctx;
    int64_t *count = group->health[0] == 'o'   ? &now->devices_ok
                     : group->health[0] == 'f' ? &now->devices_failing
                                               : &now->devices_silent;
    *count += group->devices;
    return true;
}

static enum status gauges_read(struct cloud *cloud, struct metrics_gauges *now, struct err *err)
{
    struct store_totals totals;
    struct writer_gauges writes = writer_look(cloud->writer);
    TRY(store_totals(cloud->store, &totals, err));
    *now = (struct metrics_gauges){.writes_waiting = writes.waiting,
                                   .write_groups = writes.groups,
                                   .writes = writes.writes,
                                   .round_running = rounds_running(cloud->rounds),
                                   .release_version = totals.version,
                                   .uploads_new = totals.new_instances};
    struct http *http = atomic_load(&cloud->http);
    if (http)
        now->http = http_look(http);
    TRY(store_device_groups(cloud->store, fleet_silent_before(cloud->fleet), group_take, now, err));
    return totals.version ? store_release(cloud->store, totals.version, release_take, now, err)
                          : STATUS_OK;
}

enum status metrics_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct metrics_gauges now;
    struct buf text = {.max = METRICS_MAX};
    TRY(gauges_read(cloud, &now, err));
    enum status status = metrics_write(cloud->metrics, &now, &text, err);
    if (status == STATUS_OK)
        status = http_reply_text(request, 200, "text/plain; version=0.0.4; charset=utf-8",
                                 (const char *)text.data, err);
    http_reply_header(request, "Cache-Control", "no-store");
    buf_free(&text);
    return status;
}
