/* /devices and /fleet: who is out there, what they run, how their updates went. */
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REASON_MAX = 1024, SELF_TEST_MAX = 1024, PROGRAM_MAX = 64 };
static const int64_t VERSION_MAX = INT64_C(1) << 53;

/* ---- what a device looks like ---- */

static bool update_fill(json *update, const struct device *d)
{
    return json_set_string(update, "outcome", d->outcome) &&
           json_set_int(update, "version", d->outcome_version) &&
           json_set_time(update, "at", d->outcome_ms) &&
           (!d->reason || json_set_string(update, "reason", d->reason)) &&
           json_set_text(update, "self_test", d->self_test) &&
           (d->took_ms < 0 || json_set_number(update, "seconds", (double)d->took_ms / 1000));
}

static bool device_fill(json *out, const struct device *d)
{
    return json_set_string(out, "id", d->id) && json_set_string(out, "channel", d->channel) &&
           (!d->class_id || json_set_string(out, "class", d->class_id)) &&
           json_set_int(out, "version", d->version) &&
           (!d->set_sha256 || json_set_string(out, "set_sha256", d->set_sha256)) &&
           (!d->program || json_set_string(out, "program", d->program)) &&
           json_set_string(out, "health", d->health) &&
           json_set_time(out, "first_seen", d->first_ms) &&
           json_set_time(out, "last_seen", d->last_ms);
}

static json *device_json(const struct device *d)
{
    json *out = json_object_new();
    bool ok = out && device_fill(out, d);
    if (ok && d->outcome) {
        json *update = json_object_new();
        ok = update && update_fill(update, d);
        if (ok)
            ok = json_set_take(out, "update", update);
        else
            json_free(update);
    }
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool visit_one(void *ctx, const struct device *device)
{
    *(json **)ctx = device_json(device);
    return false;
}

static enum status device_reply(struct http_request *request, const char *id, struct err *err)
{
    struct cloud *cloud = request->app;
    json *out = NULL;
    TRY(store_device(cloud->store, id, fleet_silent_before(cloud->fleet), visit_one, &out, err));
    return http_reply_json(request, 200, out, err);
}

/* ---- PUT and feedback ---- */

struct reporting {
    struct route_write write; /* first: cast back */
    char id[LIMIT_ID + 1];
    json *body; /* device's strings lie in it */
    struct buf self_test;
    struct device device;
};

static void reporting_free(struct route_write *write)
{
    struct reporting *reporting = (struct reporting *)write;
    json_free(reporting->body);
    buf_free(&reporting->self_test);
    free(reporting);
}

static enum status hash_valid(const char *hex, struct err *err)
{
    struct hash hash;
    if (!hex || hash_parse(hex, &hash))
        return STATUS_OK;
    return err_set(err, STATUS_MALFORMED, "set_sha256 is 64 lower-case hexadecimal digits");
}

static enum status device_read(struct reporting *r, struct err *err)
{
    static const char *const known[] = {"class",      "channel", "version",
                                        "set_sha256", "program", NULL};
    struct device *d = &r->device;
    TRY(json_only(r->body, known, err));
    TRY(json_opt_string(r->body, "class", LIMIT_ID, &d->class_id, err));
    TRY(json_opt_string(r->body, "channel", LIMIT_ID, &d->channel, err));
    TRY(json_opt_string(r->body, "set_sha256", HASH_HEX, &d->set_sha256, err));
    TRY(json_opt_string(r->body, "program", PROGRAM_MAX, &d->program, err));
    TRY(json_opt_int(r->body, "version", 0, VERSION_MAX, &d->version, err));
    if (d->class_id)
        TRY(id_check("class", d->class_id, err));
    if (d->channel)
        TRY(id_check("channel", d->channel, err));
    return hash_valid(d->set_sha256, err);
}

static enum status self_test_read(struct reporting *r, struct err *err)
{
    static const char *const known[] = {"golden",        "golden_right", "replay",
                                        "replay_agreed", "finite",       NULL};
    const json *test = NULL;
    int64_t count = 0;
    bool finite;
    TRY(json_opt_object(r->body, "self_test", &test, err));
    if (!test)
        return STATUS_OK;
    TRY(json_only(test, known, err));
    for (int i = 0; i < 4; i++)
        TRY(json_opt_int(test, known[i], 0, 1000000, &count, err));
    TRY(json_opt_bool(test, "finite", &finite, err));
    if (json_print(test, false, &r->self_test) != STATUS_OK ||
        buf_append(&r->self_test, "", 1) != STATUS_OK)
        return err_set(err, STATUS_TOO_LARGE, "self_test is too long");
    r->device.self_test = (const char *)r->self_test.data;
    return STATUS_OK;
}

static enum status feedback_read(struct reporting *r, struct err *err)
{
    static const char *const known[] = {"version",   "outcome", "reason",
                                        "self_test", "seconds", NULL};
    struct device *d = &r->device;
    double seconds = -1;
    TRY(json_only(r->body, known, err));
    TRY(json_get_int(r->body, "version", 1, VERSION_MAX, &d->outcome_version, err));
    TRY(json_get_string(r->body, "outcome", LIMIT_ID, &d->outcome, err));
    if (strcmp(d->outcome, "applied") != 0 && strcmp(d->outcome, "failed") != 0 &&
        strcmp(d->outcome, "rolled_back") != 0)
        return err_set(err, STATUS_MALFORMED,
                       "outcome is \"%s\"; right is applied, failed or rolled_back", d->outcome);
    TRY(json_opt_string(r->body, "reason", REASON_MAX, &d->reason, err));
    TRY(json_opt_number(r->body, "seconds", 0, 1e7, &seconds, err));
    d->took_ms = seconds < 0 ? -1 : (int64_t)(seconds * 1000);
    return self_test_read(r, err);
}

static enum status put_run(struct store *store, void *ctx, struct err *err)
{
    return store_device_put(store, &((struct reporting *)ctx)->device, err);
}

static enum status feedback_run(struct store *store, void *ctx, struct err *err)
{
    return store_device_feedback(store, &((struct reporting *)ctx)->device, err);
}

static enum status put_reply(struct route_write *write, struct err *err)
{
    const struct reporting *r = (struct reporting *)write;
    struct cloud *cloud = write->request->app;
    if (r->device.version >= 0)
        events_publish(cloud->events, EVENT_DEVICE, "{\"id\":\"%s\",\"version\":%lld}", r->id,
                       (long long)r->device.version);
    else
        events_publish(cloud->events, EVENT_DEVICE, "{\"id\":\"%s\"}", r->id);
    return device_reply(write->request, r->id, err);
}

static enum status feedback_reply(struct route_write *write, struct err *err)
{
    const struct reporting *r = (struct reporting *)write;
    struct cloud *cloud = write->request->app;
    (void)err;
    events_publish(cloud->events, EVENT_DEVICE,
                   "{\"id\":\"%s\",\"version\":%lld,\"outcome\":\"%s\"}", r->id,
                   (long long)r->device.outcome_version, r->device.outcome);
    write->request->response.status = 204;
    fleet_wake(cloud->fleet);
    return STATUS_OK;
}

static enum status report_begin(struct http_request *request,
                                enum status (*read)(struct reporting *, struct err *),
                                const struct route_write *how, struct err *err)
{
    TRY(device_id_check(request->param[0], err));
    struct reporting *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    r->write = *how;
    r->self_test.max = SELF_TEST_MAX;
    snprintf(r->id, sizeof r->id, "%s", request->param[0]);
    r->device = (struct device){.id = r->id, .version = -1, .took_ms = -1};
    enum status status = json_parse(request->body, request->body_len, &r->body, err);
    if (status == STATUS_OK)
        status = read(r, err);
    if (status == STATUS_OK)
        return route_write_submit(request, &r->write, err);
    reporting_free(&r->write);
    return status;
}

enum status devices_put(struct http_request *request, struct err *err)
{
    static const struct route_write how = {
        .write.job.run = put_run, .reply = put_reply, .free = reporting_free};
    return report_begin(request, device_read, &how, err);
}

enum status devices_feedback(struct http_request *request, struct err *err)
{
    static const struct route_write how = {
        .write.job.run = feedback_run, .reply = feedback_reply, .free = reporting_free};
    return report_begin(request, feedback_read, &how, err);
}

/* ---- GET ---- */

enum status devices_get(struct http_request *request, struct err *err)
{
    return device_reply(request, request->param[0], err);
}

struct page {
    json *items;
    bool failed;
    char last[LIMIT_ID + 1];
};

static bool page_add(void *ctx, const struct device *device)
{
    struct page *page = ctx;
    json *item = device_json(device);
    page->failed = !item || !json_append_take(page->items, item);
    snprintf(page->last, sizeof page->last, "%s", device->id);
    return !page->failed;
}

static enum status filter_read(struct http_request *request, struct device_filter *out,
                               int64_t *limit, struct err *err)
{
    static const char *const known[] = {"after", "channel", "limit", "health", "version", NULL};
    struct cloud *cloud = request->app;
    TRY(http_query_only(request, known, err));
    TRY(http_query_int(request, "limit", 1, LIMIT_PAGE, limit, err));
    TRY(http_query_int(request, "version", 0, VERSION_MAX, &out->version, err));
    const char *after = http_query(request, "after");
    out->after = after ? after : "";
    out->health = http_query(request, "health");
    out->channel = http_query(request, "channel");
    out->limit = (int)*limit;
    out->silent_before = fleet_silent_before(cloud->fleet);
    if (out->health && strcmp(out->health, "ok") != 0 && strcmp(out->health, "failing") != 0 &&
        strcmp(out->health, "silent") != 0)
        return err_set(err, STATUS_USAGE, "health is \"%.40s\"; right is ok, failing or silent",
                       out->health);
    return STATUS_OK;
}

enum status devices_list(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct device_filter filter = {.version = -1};
    int64_t limit = LIMIT_PAGE;
    TRY(filter_read(request, &filter, &limit, err));
    struct page page = {.items = json_array_new()};
    json *out = json_object_new();
    enum status status = STATUS_NO_MEMORY;
    if (out && page.items)
        status = store_devices(cloud->store, &filter, page_add, &page, err);
    bool full = status == STATUS_OK && (int64_t)json_length(page.items) == limit;
    bool ok = status == STATUS_OK && !page.failed;
    if (ok && json_set_take(out, "devices", page.items) &&
        (!full || json_set_string(out, "next", page.last)))
        return http_reply_json(request, 200, out, err);
    if (!ok)
        json_free(page.items);
    json_free(out);
    return status == STATUS_OK || status == STATUS_NO_MEMORY
               ? err_set(err, STATUS_NO_MEMORY, "out of memory")
               : status;
}

/* ---- the fleet ---- */

static bool group_add(void *ctx, const struct device_group *group)
{
    struct page *page = ctx;
    json *item = json_object_new();
    bool ok = item && json_set_string(item, "channel", group->channel) &&
              json_set_int(item, "version", group->version) &&
              json_set_string(item, "health", group->health) &&
              json_set_int(item, "devices", group->devices);
    if (!ok) {
        json_free(item);
        item = NULL;
    }
    page->failed = !json_append_take(page->items, item);
    return !page->failed;
}

struct tally {
    int64_t devices, ok, failing, silent;
    struct page page;
};

static bool tally_add(void *ctx, const struct device_group *group)
{
    struct tally *tally = ctx;
    int64_t *health = group->health[0] == 'o'   ? &tally->ok
                      : group->health[0] == 'f' ? &tally->failing
                                                : &tally->silent;
    *health += group->devices;
    tally->devices += group->devices;
    return group_add(&tally->page, group);
}

static json *health_json(const struct tally *tally)
{
    json *out = json_object_new();
    if (out && json_set_int(out, "ok", tally->ok) && json_set_int(out, "failing", tally->failing) &&
        json_set_int(out, "silent", tally->silent))
        return out;
    json_free(out);
    return NULL;
}

/* One pass over the devices, whatever their number: counts, and how they divide. */
enum status fleet_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct tally tally = {.page.items = json_array_new()};
    json *out = json_object_new();
    int64_t version = 0, complete = 0;
    enum status status = tally.page.items && out ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = store_device_groups(cloud->store, fleet_silent_before(cloud->fleet), tally_add,
                                     &tally, err);
    if (status == STATUS_OK)
        status = store_version(cloud->store, &version, err);
    if (status == STATUS_OK)
        status = fleet_target(cloud->fleet, NULL, NULL, &complete, err);
    bool ok =
        status == STATUS_OK && !tally.page.failed && json_set_int(out, "devices", tally.devices) &&
        json_set_take(out, "health", health_json(&tally)) &&
        json_set_int(out, "version", version) && json_set_int(out, "offered_to_all", complete);
    if (ok && json_set_take(out, "groups", tally.page.items))
        return http_reply_json(request, 200, out, err);
    if (!ok)
        json_free(tally.page.items);
    json_free(out);
    return status == STATUS_OK || status == STATUS_NO_MEMORY
               ? err_set(err, STATUS_NO_MEMORY, "out of memory")
               : status;
}
