/* /distill: rounds. POST reserves the worker, has the writer create the round with the uploads that
 * are new, and answers 202 after the commit; the worker does the rest. */
#include "server/report.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a round looks like ---- */

static bool round_fill(json *out, const struct round *round)
{
    return json_set_int(out, "id", round->id) && json_set_string(out, "state", round->state) &&
           json_set_string(out, "cause", round->cause) &&
           json_set_time(out, "created", round->created_ms) &&
           json_set_time(out, "started", round->started_ms) &&
           json_set_time(out, "finished", round->finished_ms) &&
           json_set_int(out, "uploads", round->uploads) &&
           json_set_int(out, "instances", round->instances) &&
           json_set_int(out, "tokens", round->tokens) &&
           json_set_int(out, "size", round->size_bytes) &&
           json_set_text(out, "settings", round->settings) &&
           json_set_text(out, "report", round->report) &&
           (!round->detail || json_set_string(out, "detail", round->detail)) &&
           (round->target < 0 || json_set_int(out, "target", round->target)) &&
           (!round->version || json_set_int(out, "version", round->version));
}

static json *round_json(const struct round *round)
{
    json *out = json_object_new();
    if (out && round_fill(out, round))
        return out;
    json_free(out);
    return NULL;
}

static json *live_json(const struct round_live *live)
{
    const struct distill_progress *p = &live->progress;
    json *out = json_object_new();
    bool ok = out && json_set_int(out, "step", p->step) && json_set_int(out, "steps", p->steps) &&
              json_set_number(out, "loss", (double)p->loss) &&
              json_set_number(out, "loss_query", (double)p->loss_query) &&
              json_set_number(out, "loss_repr", (double)p->loss_repr) &&
              json_set_number(out, "loss_ce", (double)p->loss_ce) &&
              json_set_number(out, "loss_kl", (double)p->loss_kl) &&
              losses_json(out, live->losses, live->count, live->stride);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

/* ---- GET ---- */

static bool visit_list(void *ctx, const struct round *round)
{
    return listing_add(ctx, round_json(round), round->id);
}

static bool visit_one(void *ctx, const struct round *round)
{
    *(json **)ctx = round_json(round);
    return true;
}

enum status distill_list(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct listing listing;
    int64_t before, limit;
    TRY(listing_open_newest(request, &listing, &before, &limit, err));
    enum status status = store_rounds(cloud->store, before, (int)limit, visit_list, &listing, err);
    if (status == STATUS_OK)
        return listing_reply(request, &listing, "rounds", limit, err);
    json_free(listing.items);
    return status;
}

enum status round_reply(struct http_request *request, int64_t id, int http_status, struct err *err)
{
    struct cloud *cloud = request->app;
    struct round_live live;
    json *out = NULL;
    bool running = rounds_live(cloud->rounds, id, &live);
    TRY(store_round(cloud->store, id, visit_one, &out, err));
    bool ok = out && json_set_uploads(out, cloud, id) &&
              (!running || json_set_take(out, "progress", live_json(&live)));
    if (!ok) {
        json_free(out);
        out = NULL;
    }
    return http_reply_json(request, http_status, out, err);
}

enum status distill_get(struct http_request *request, struct err *err)
{
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    return round_reply(request, id, 200, err);
}

/* ---- POST ---- */

struct starting {
    struct write write; /* first: cast back in starting_done */
    struct http_request *request;
    struct buf settings;
    int64_t id;
};

static void starting_free(struct starting *starting)
{
    buf_free(&starting->settings);
    free(starting);
}

static enum status starting_run(struct store *store, void *ctx, struct err *err)
{
    struct starting *starting = ctx;
    return store_round_create(store, "request", (const char *)starting->settings.data,
                              &starting->id, err);
}

static void starting_done(struct write *write)
{
    struct starting *starting = (struct starting *)write;
    struct http_request *request = starting->request;
    struct cloud *cloud = request->app;
    struct err err = write->job.err;
    enum status status = write->job.status;
    char location[48];
    if (status == STATUS_OK) {
        http_note(request, "round", starting->id);
        rounds_begin(cloud->rounds, starting->id);
        status = round_reply(request, starting->id, 202, &err);
        snprintf(location, sizeof location, "/distill/%lld", (long long)starting->id);
        http_reply_header(request, "Location", location);
    } else {
        rounds_unreserve(cloud->rounds);
    }
    http_complete(request, status, &err);
    starting_free(starting);
}

static enum status starting_submit(struct starting *starting, struct err *err)
{
    struct http_request *request = starting->request;
    struct cloud *cloud = request->app;
    enum status status = rounds_reserve(cloud->rounds, err);
    if (status != STATUS_OK) {
        starting_free(starting);
        return status;
    }
    starting->write =
        (struct write){.job = {.run = starting_run, .ctx = starting}, .done = starting_done};
    http_defer(request);
    if (writer_submit(cloud->writer, &starting->write, err) == STATUS_OK)
        return STATUS_OK;
    rounds_unreserve(cloud->rounds);
    starting_free(starting);
    http_reply_problem(request, 503, err);
    http_complete(request, STATUS_OK, NULL);
    return STATUS_OK;
}

enum status distill_post(struct http_request *request, struct err *err)
{
    struct settings settings;
    TRY(settings_parse(request->body, request->body_len, &settings, err));
    struct starting *starting = calloc(1, sizeof *starting);
    if (!starting)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    starting->request = request;
    starting->settings.max = LIMIT_DISTILL_BYTES;
    enum status status = settings_write(&settings, &starting->settings, err);
    if (status == STATUS_OK)
        return starting_submit(starting, err);
    starting_free(starting);
    return status;
}

/* ---- DELETE ---- */

/* 202: it ends between two steps, and then shows as cancelled. */
enum status distill_delete(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    json *known = NULL;
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    TRY(store_round(cloud->store, id, visit_one, &known, err));
    json_free(known);
    TRY(rounds_cancel(cloud->rounds, id, err));
    return round_reply(request, id, 202, err);
}
