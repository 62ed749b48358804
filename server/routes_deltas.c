/* /deltas: what a device fetches. The list gives the releases that it may take, in the order to
 * take them, and can wait for news (long poll); a device that is named in it is offered the newest
 * of them on the record before the answer goes out. A patch never changes, so it has a strong tag
 * and may be cached for ever. */
#include "api/http/field.h"
#include "server/auth.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQUASH_WAIT_MS = 55000 };

static json *release_json(const struct release *release)
{
    char url[48];
    json *out = json_object_new();
    snprintf(url, sizeof url, "/deltas/%lld", (long long)release->version);
    double bits = release->parameters > 0
                      ? 8.0 * (double)release->size_bytes / (double)release->parameters
                      : 0;
    bool ok = out && json_set_int(out, "version", release->version) &&
              json_set_int(out, "base_version", release->base_version) &&
              json_set_int(out, "round", release->round) &&
              json_set_int(out, "size", release->size_bytes) &&
              json_set_string(out, "sha256", release->sha256) &&
              json_set_string(out, "base_set_sha256", release->base_set_sha256) &&
              json_set_string(out, "set_sha256", release->set_sha256) &&
              json_set_time(out, "created", release->created_ms) &&
              json_set_string(out, "url", url) && json_set_string(out, "state", release->state) &&
              json_set_int(out, "parameters", release->parameters) &&
              json_set_number(out, "bits_per_parameter", bits);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

/* ---- the list ---- */

/* What was asked, and how far the device may go. */
struct asking {
    const char *device; /* or NULL */
    int64_t after, wait_s, limit, squash;
    int64_t target;
    bool offered;   /* on the record already */
    bool preferred; /* wait_s is from Prefer; applied says so */
    char applied[32];
};

struct chain_page {
    struct listing listing;
    int64_t next; /* the version that the next one must be for */
    int64_t target;
};

static bool visit_chain(void *ctx, const struct release *release)
{
    struct chain_page *page = ctx;
    if (release->version > page->target || release->base_version != page->next)
        return false; /* what lies between is not signed */
    page->next = release->version;
    return listing_add(&page->listing, release_json(release), release->version);
}

static bool visit_target(void *ctx, const struct release *release)
{
    *(json **)ctx = release_json(release);
    return false;
}

struct squash_text {
    int64_t size;
    char sha256[HASH_HEX];
    bool stored;
};

static bool squash_copy(void *ctx, const struct squash *squash)
{
    struct squash_text *out = ctx;
    out->size = squash->size_bytes;
    out->stored = squash->stored;
    snprintf(out->sha256, sizeof out->sha256, "%s", squash->sha256);
    return false;
}

static bool copy_set_hash(void *ctx, const struct release *release)
{
    snprintf(ctx, HASH_HEX, "%s", release->set_sha256);
    return false;
}

static bool squash_fill(json *item, const struct asking *asking, const struct squash_text *squash,
                        const char *base_set)
{
    char url[64];
    snprintf(url, sizeof url, "/deltas/%lld?from=%lld", (long long)asking->target,
             (long long)asking->after);
    return json_set_int(item, "base_version", asking->after) &&
           json_set_int(item, "size", squash->size) &&
           json_set_string(item, "sha256", squash->sha256) &&
           json_set_string(item, "base_set_sha256", base_set) && json_set_string(item, "url", url);
}

/* The newest release, as the one patch that leads to it from `after`. */
static enum status squash_list(struct cloud *cloud, const struct asking *asking,
                               struct listing *listing, struct err *err)
{
    struct squash_text squash;
    char base_set[HASH_HEX];
    json *item = NULL;
    snprintf(base_set, sizeof base_set, "%s", learner_facts(cloud->learner)->set_hash);
    TRY(store_squash(cloud->store, asking->after, asking->target, squash_copy, &squash, err));
    if (asking->after > 0)
        TRY(store_release(cloud->store, asking->after, copy_set_hash, base_set, err));
    TRY(store_release(cloud->store, asking->target, visit_target, &item, err));
    if (item && squash_fill(item, asking, &squash, base_set)) {
        listing_add(listing, item, asking->target);
        return STATUS_OK;
    }
    json_free(item);
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* The way in the order to take it. */
static enum status way_list(struct cloud *cloud, const struct asking *asking,
                            struct listing *listing, struct err *err)
{
    struct planner_chain chain;
    struct chain_page page = {.listing = *listing, .next = asking->after, .target = asking->target};
    if (asking->squash && keys_can_sign(cloud->keys)) {
        TRY(planner_chain_read(cloud->store, asking->after, asking->target, &chain, err));
        if (planner_squashes(&chain))
            return squash_list(cloud, asking, listing, err);
        if (planner_would_squash(&chain))
            planner_want(cloud->planner, asking->after, asking->target, NULL);
    }
    enum status status =
        store_releases(cloud->store, asking->after, (int)asking->limit, visit_chain, &page, err);
    *listing = page.listing;
    return status;
}

static enum status asking_reply(struct http_request *request, const struct asking *asking,
                                struct err *err)
{
    struct cloud *cloud = request->app;
    struct listing listing = {.items = json_array_new()};
    if (!listing.items)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = STATUS_OK;
    if (asking->target > asking->after)
        status = way_list(cloud, asking, &listing, err);
    if (status == STATUS_OK)
        status = listing_reply(request, &listing, "deltas", asking->limit, err);
    else
        json_free(listing.items);
    if (status == STATUS_OK && asking->preferred)
        http_reply_header(request, "Preference-Applied", asking->applied);
    return status;
}

/* ---- what is written down of a device that asks ---- */

struct offering {
    struct route_write write; /* first: cast back */
    char device[LIMIT_ID + 1];
    struct asking asking;
    int64_t release; /* offered, or 0 */
};

static void offering_free(struct route_write *write)
{
    free(write);
}

static enum status offering_run(struct store *store, void *ctx, struct err *err)
{
    struct offering *offering = ctx;
    return store_device_ask(store, offering->device, offering->asking.after, offering->release,
                            err);
}

static enum status offering_reply(struct route_write *write, struct err *err)
{
    return asking_reply(write->request, &((struct offering *)write)->asking, err);
}

static struct offering *offering_new(const struct asking *asking)
{
    struct offering *offering = calloc(1, sizeof *offering);
    if (!offering)
        return NULL;
    offering->write = (struct route_write){
        .write.job.run = offering_run, .reply = offering_reply, .free = offering_free};
    offering->asking = *asking;
    snprintf(offering->device, sizeof offering->device, "%s", asking->device);
    return offering;
}

static void seen_done(struct write *write)
{
    free(write);
}

/* It was heard of; nobody waits for that to be written, and the next time will do as well. */
static void device_seen(struct cloud *cloud, const struct asking *asking)
{
    struct offering *offering = offering_new(asking);
    if (!offering)
        return;
    offering->write.write.job.ctx = offering;
    offering->write.write.done = seen_done;
    if (writer_submit(cloud->writer, &offering->write.write, NULL) != STATUS_OK)
        free(offering);
}

static enum status asking_read(struct http_request *request, struct asking *out, struct err *err)
{
    static const char *const known[] = {"after", "wait", "limit", "device", "squash", NULL};
    *out = (struct asking){.limit = LIMIT_PAGE};
    TRY(http_query_only(request, known, err));
    TRY(http_query_int(request, "after", 0, INT64_MAX, &out->after, err));
    out->wait_s = field_prefer_wait(http_header(request, "Prefer"), LIMIT_WAIT_S);
    out->preferred = out->wait_s > 0 && !http_query(request, "wait");
    snprintf(out->applied, sizeof out->applied, "wait=%lld", (long long)out->wait_s);
    TRY(http_query_int(request, "wait", 0, LIMIT_WAIT_S, &out->wait_s, err));
    TRY(http_query_int(request, "limit", 1, LIMIT_PAGE, &out->limit, err));
    TRY(http_query_int(request, "squash", 0, 1, &out->squash, err));
    out->device = http_query(request, "device");
    if (!out->device)
        return STATUS_OK;
    TRY(device_id_check(out->device, err));
    return auth_own_device(request, out->device, err);
}

/* How far it may go. *fresh: what it says of itself is on the record. */
static enum status asking_judge(struct cloud *cloud, struct asking *asking, bool *fresh,
                                struct err *err)
{
    struct device_standing standing = {.channel = "stable", .fresh = true};
    if (asking->device)
        TRY(store_device_standing(cloud->store, asking->device, asking->after,
                                  fleet_seen_after(cloud->fleet), &standing, err));
    *fresh = standing.fresh;
    TRY(fleet_target(cloud->fleet, asking->device, standing.channel, &asking->target, err));
    if (!asking->device)
        return STATUS_OK;
    return store_device_offered(cloud->store, asking->device, asking->target, &asking->offered,
                                err);
}

enum status deltas_list(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct asking asking;
    bool fresh;
    TRY(asking_read(request, &asking, err));
    TRY(asking_judge(cloud, &asking, &fresh, err));
    bool news = asking.target > asking.after;
    if (asking.device && news && !(asking.offered && fresh)) {
        struct offering *offering = offering_new(&asking);
        if (!offering)
            return err_set(err, STATUS_NO_MEMORY, "out of memory");
        offering->release = asking.target;
        return route_write_submit(request, &offering->write, err);
    }
    if (asking.device && !fresh)
        device_seen(cloud, &asking);
    if (!news && asking.wait_s > 0 && http_park(request, asking.wait_s * 1000))
        return STATUS_OK;
    return asking_reply(request, &asking, err);
}

/* ---- a patch ---- */

static bool copy_hash(void *ctx, const struct release *release)
{
    snprintf(ctx, HASH_HEX, "%s", release->sha256);
    return true;
}

static enum status patch_reply(struct http_request *request, const char *path, const char *sha256,
                               int64_t version, struct err *err)
{
    char etag[HASH_HEX + 2];
    snprintf(etag, sizeof etag, "\"%s\"", sha256);
    enum status status = http_reply_file(request, path, "application/zstd", etag, err);
    if (status == STATUS_NOT_FOUND)
        return err_set(err, STATUS_IO, "the patch of version %lld is missing on disk",
                       (long long)version);
    return status;
}

/* A squashed patch that is not there is made, while the request waits. */
static enum status squash_reply(struct http_request *request, int64_t from, int64_t version,
                                struct err *err)
{
    struct cloud *cloud = request->app;
    struct squash_text squash;
    char path[4096];
    enum status status = store_squash(cloud->store, from, version, squash_copy, &squash, err);
    if (status == STATUS_OK && squash.stored) {
        TRY(store_squash_path(cloud->store, squash.sha256, path, sizeof path, err));
        return patch_reply(request, path, squash.sha256, version, err);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    TRY(planner_want(cloud->planner, from, version, err));
    if (http_park(request, SQUASH_WAIT_MS))
        return STATUS_OK;
    return err_set(err, STATUS_BUSY, "the patch from version %lld to %lld is being made; try again",
                   (long long)from, (long long)version);
}

enum status deltas_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    char sha256[HASH_HEX], path[4096];
    int64_t version, from;
    TRY(http_param_int(request, 0, &version, err));
    TRY(store_release(cloud->store, version, copy_hash, sha256, err));
    TRY(patch_from_read(request, version, &from, err));
    http_note(request, "version", version);
    if (from < version - 1)
        return squash_reply(request, from, version, err);
    TRY(store_patch_path(cloud->store, sha256, path, sizeof path, err));
    return patch_reply(request, path, sha256, version, err);
}
