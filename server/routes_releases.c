/* /releases: rollouts to look at, halt, resume and roll back. */
#include "api/wire/limits.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a release looks like ---- */

static json *stage_json(const struct rollout_stage *stage)
{
    json *out = json_object_new();
    bool ok = out && (!stage->channel[0] || json_set_string(out, "channel", stage->channel)) &&
              json_set_number(out, "share", stage->share) &&
              json_set_number(out, "min_soak_s", (double)stage->soak_ms / 1000) &&
              json_set_number(out, "success", stage->success) &&
              json_set_number(out, "errors", stage->errors);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static json *stages_json(const char *text)
{
    struct rollout_plan plan;
    json *out = json_array_new();
    bool ok = out && rollout_plan_parse(text, &plan, NULL) == STATUS_OK;
    for (int i = 0; ok && i < plan.count; i++)
        ok = json_append_take(out, stage_json(&plan.stage[i]));
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

/* What a visitor must not ask for while it holds the reader comes after it, in release_finish. */
struct looking {
    json *out;
    struct release release; /* without its texts */
    bool whole;             /* with the bytes by tensor */
};

static json *release_head(const struct release *release, bool whole)
{
    json *out = json_object_new();
    bool ok = out && json_set_int(out, "version", release->version) &&
              json_set_int(out, "base_version", release->base_version) &&
              json_set_int(out, "round", release->round) &&
              json_set_string(out, "state", release->state) &&
              (!release->detail || json_set_string(out, "detail", release->detail)) &&
              json_set_int(out, "stage", release->stage + 1) &&
              json_set_take(out, "stages", stages_json(release->plan)) &&
              json_set_time(out, "created", release->created_ms) &&
              json_set_int(out, "size", release->size_bytes) &&
              json_set_string(out, "sha256", release->sha256) &&
              json_set_string(out, "set_sha256", release->set_sha256) &&
              (!whole || json_set_text(out, "tensors", release->tensors));
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool looking_take(void *ctx, const struct release *release)
{
    struct looking *looking = ctx;
    looking->out = release_head(release, looking->whole);
    looking->release = (struct release){.version = release->version,
                                        .round = release->round,
                                        .offered = release->offered,
                                        .applied = release->applied,
                                        .failed = release->failed};
    return false;
}

static json *counts_json(const struct rollout_counts *counts)
{
    json *out = json_object_new();
    bool ok = out && json_set_int(out, "offered", counts->offered) &&
              json_set_int(out, "applied", counts->applied) &&
              json_set_int(out, "failed", counts->failed) &&
              json_set_int(out, "silent", counts->silent);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool id_add(void *ctx, const struct upload *upload)
{
    return json_append_int(ctx, upload->id);
}

bool json_set_uploads(json *out, struct cloud *cloud, int64_t round)
{
    json *ids = json_array_new();
    if (!ids ||
        store_uploads_of(cloud->store, round, 0, ROUTE_IDS, id_add, ids, NULL) != STATUS_OK) {
        json_free(ids);
        return false;
    }
    return json_set_take(out, "upload_ids", ids);
}

static enum status release_reply(struct http_request *request, int64_t version, struct err *err)
{
    struct cloud *cloud = request->app;
    struct looking looking = {.whole = true};
    struct rollout_counts counts;
    TRY(store_release(cloud->store, version, looking_take, &looking, err));
    enum status status = fleet_counts(cloud->fleet, &looking.release, &counts, err);
    bool ok = status == STATUS_OK && looking.out &&
              json_set_take(looking.out, "counts", counts_json(&counts)) &&
              json_set_uploads(looking.out, cloud, looking.release.round);
    if (ok)
        return http_reply_json(request, 200, looking.out, err);
    json_free(looking.out);
    return status != STATUS_OK ? status : err_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* ---- GET ---- */

enum status releases_get(struct http_request *request, struct err *err)
{
    int64_t version;
    TRY(http_param_int(request, 0, &version, err));
    return release_reply(request, version, err);
}

static bool visit_list(void *ctx, const struct release *release)
{
    return listing_add(ctx, release_head(release, false), release->version);
}

enum status releases_list(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct listing listing;
    int64_t before, limit;
    TRY(listing_open_newest(request, &listing, &before, &limit, err));
    enum status status =
        store_releases_newest(cloud->store, before, (int)limit, visit_list, &listing, err);
    if (status == STATUS_OK)
        return listing_reply(request, &listing, "releases", limit, err);
    json_free(listing.items);
    return status;
}

/* ---- halt and resume ---- */

struct steering {
    struct route_write write; /* first: cast back */
    int64_t version;
    enum rollout_state state; /* that comes of it */
};

static void steering_free(struct route_write *write)
{
    free(write);
}

static enum status halt_run(struct store *store, void *ctx, struct err *err)
{
    return store_release_halt(store, ((struct steering *)ctx)->version, "halted by request", err);
}

static enum status resume_run(struct store *store, void *ctx, struct err *err)
{
    return store_release_resume(store, ((struct steering *)ctx)->version, err);
}

/* Devices that wait are asked again whether there is something for them. */
static enum status steering_reply(struct route_write *write, struct err *err)
{
    const struct steering *s = (struct steering *)write;
    struct cloud *cloud = write->request->app;
    struct http *http = atomic_load(&cloud->http);
    events_publish(cloud->events, EVENT_RELEASE, "{\"version\":%lld,\"state\":\"%s\"}",
                   (long long)s->version, rollout_state_name(s->state));
    fleet_wake(cloud->fleet);
    if (http)
        http_wake(http);
    return release_reply(write->request, s->version, err);
}

static enum status steer(struct http_request *request,
                         enum status (*run)(struct store *, void *, struct err *),
                         enum rollout_state state, struct err *err)
{
    int64_t version;
    TRY(http_param_int(request, 0, &version, err));
    struct steering *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    *s = (struct steering){
        .write = {.write.job.run = run, .reply = steering_reply, .free = steering_free},
        .version = version,
        .state = state};
    return route_write_submit(request, &s->write, err);
}

enum status releases_halt(struct http_request *request, struct err *err)
{
    return steer(request, halt_run, ROLLOUT_HALTED, err);
}

enum status releases_resume(struct http_request *request, struct err *err)
{
    return steer(request, resume_run, ROLLOUT_ROLLING, err);
}

/* ---- rollback ---- */

struct undoing {
    struct route_write write; /* first: cast back */
    int64_t target, round;
    bool begun;
};

static enum status undoing_run(struct store *store, void *ctx, struct err *err)
{
    struct undoing *undoing = ctx;
    return store_round_create_rollback(store, undoing->target, &undoing->round, err);
}

static enum status undoing_reply(struct route_write *write, struct err *err)
{
    struct undoing *undoing = (struct undoing *)write;
    struct cloud *cloud = write->request->app;
    undoing->begun = true;
    rounds_begin(cloud->rounds, undoing->round);
    return round_reply(write->request, undoing->round, 202, err);
}

static void undoing_free(struct route_write *write)
{
    struct undoing *undoing = (struct undoing *)write;
    struct cloud *cloud = write->request->app;
    if (!undoing->begun)
        rounds_unreserve(cloud->rounds);
    free(undoing);
}

/* {"to": n}: the version whose parameters come back; without, the one that this one was made from.
 */
static enum status target_read(struct http_request *request, int64_t version, int64_t *target,
                               struct err *err)
{
    static const char *const known[] = {"to", NULL};
    json *body = NULL;
    *target = version - 1;
    if (request->body_len == 0)
        return STATUS_OK;
    TRY(json_parse(request->body, request->body_len, &body, err));
    enum status status = json_only(body, known, err);
    if (status == STATUS_OK)
        status = json_opt_int(body, "to", 0, version - 1, target, err);
    json_free(body);
    return status;
}

static bool visit_none(void *ctx, const struct release *release)
{
    (void)ctx, (void)release;
    return false;
}

/* 202 and the round that makes the new version. */
enum status releases_rollback(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    int64_t version, target;
    TRY(http_param_int(request, 0, &version, err));
    TRY(store_release(cloud->store, version, visit_none, NULL, err));
    TRY(target_read(request, version, &target, err));
    struct undoing *undoing = calloc(1, sizeof *undoing);
    if (!undoing)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    *undoing = (struct undoing){
        .write = {.write.job.run = undoing_run, .reply = undoing_reply, .free = undoing_free},
        .target = target};
    enum status status = rounds_reserve(cloud->rounds, err);
    if (status == STATUS_OK)
        return route_write_submit(request, &undoing->write, err);
    free(undoing);
    return status;
}
