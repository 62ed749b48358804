/* The table of routes, and what more than one of them needs. */
#include "server/routes.h"
#include "api/base/clock.h"
#include "api/wire/limits.h"
#include "server/auth.h"
#include "server/shared.h"
#include <string.h>

static const char upload_types[] = "application/x-safetensors, application/json";
static const char json_type[] = "application/json";

/* Who may call: see auth.h. An operator may do everything, a viewer look at everything. */
enum {
    ALL = ROLE_ANYONE,
    READ = ROLE_OPERATOR | ROLE_VIEWER,
    FOLLOW = ROLE_OPERATOR | ROLE_VIEWER | ROLE_DEVICE,
    RUN = ROLE_OPERATOR,
    ITSELF = ROLE_OPERATOR | ROLE_ITSELF,
    SEND = ROLE_OPERATOR | ROLE_DEVICE | ROLE_METERED,
};

const struct http_route routes[] = {
    {"POST", "/tokens", tokens_post, LIMIT_UPLOAD_BYTES, LIMIT_UPLOAD_RAW_BYTES, upload_types,
     SEND},
    {"GET", "/tokens", tokens_list, 0, 0, NULL, READ},
    {"GET", "/tokens/{id}", tokens_get, 0, 0, NULL, READ},
    {"GET", "/tokens/{id}/payload", tokens_payload, 0, 0, NULL, RUN},
    {"DELETE", "/tokens/{id}", tokens_delete, 0, 0, NULL, RUN},
    {"POST", "/distill", distill_post, LIMIT_DISTILL_BYTES, 0, json_type, RUN},
    {"GET", "/distill", distill_list, 0, 0, NULL, READ},
    {"GET", "/distill/{id}", distill_get, 0, 0, NULL, READ},
    {"DELETE", "/distill/{id}", distill_delete, 0, 0, NULL, RUN},
    {"GET", "/distill/{id}/map", distill_map, 0, 0, NULL, READ},
    {"GET", "/deltas", deltas_list, 0, 0, NULL, FOLLOW},
    {"GET", "/deltas/{version}", deltas_get, 0, 0, NULL, FOLLOW},
    {"GET", "/deltas/{version}/manifest", manifest_get, 0, 0, NULL, FOLLOW},
    {"PUT", "/deltas/{version}/manifest", manifest_put, LIMIT_ENVELOPE_BYTES, 0, json_type, RUN},
    {"GET", "/unsigned", unsigned_list, 0, 0, NULL, RUN},
    {"GET", "/keys", keys_get, 0, 0, NULL, FOLLOW},
    {"GET", "/keys/{version}", keys_get_version, 0, 0, NULL, FOLLOW},
    {"GET", "/releases", releases_list, 0, 0, NULL, READ},
    {"GET", "/releases/{version}", releases_get, 0, 0, NULL, READ},
    {"POST", "/releases/{version}/halt", releases_halt, 0, 0, NULL, RUN},
    {"POST", "/releases/{version}/resume", releases_resume, 0, 0, NULL, RUN},
    {"POST", "/releases/{version}/rollback", releases_rollback, LIMIT_REPORT_BYTES, 0, json_type,
     RUN},
    {"PUT", "/devices/{id}", devices_put, LIMIT_REPORT_BYTES, 0, json_type, ITSELF},
    {"GET", "/devices", devices_list, 0, 0, NULL, READ},
    {"GET", "/devices/{id}", devices_get, 0, 0, NULL, ITSELF | READ},
    {"POST", "/devices/{id}/feedback", devices_feedback, LIMIT_REPORT_BYTES, 0, json_type, ITSELF},
    {"GET", "/fleet", fleet_get, 0, 0, NULL, READ},
    {"GET", "/model", model_get, 0, 0, NULL, FOLLOW},
    {"GET", "/me", me_get, 0, 0, NULL, FOLLOW},
    {"POST", "/enroll", enroll_post, LIMIT_ENROLL_BYTES, 0, json_type, ALL},
    {"GET", "/events", events_get, 0, 0, NULL, READ},
    {"GET", "/metrics", metrics_get, 0, 0, NULL, READ},
    {"GET", "/healthz", health_get, 0, 0, NULL, ALL},
    {"GET", "/readyz", ready_get, 0, 0, NULL, ALL},
    {"GET", "/openapi.yaml", contract_get, 0, 0, NULL, ALL},
    {"GET", "/docs", docs_get, 0, 0, NULL, ALL},
    {"GET", "/problems/{name}", problems_get, 0, 0, NULL, ALL},
    {"GET", "/", index_get, 0, 0, NULL, ALL},
    {"GET", "/web/{file}", web_get, 0, 0, NULL, ALL},
    {"GET", "/vendor/{file}", vendor_get, 0, 0, NULL, ALL},
    {NULL, NULL, NULL, 0, 0, NULL, 0},
};

enum status listing_open_newest(struct http_request *request, struct listing *listing,
                                int64_t *before, int64_t *limit, struct err *err)
{
    static const char *const known[] = {"before", "limit", NULL};
    *before = 0;
    *limit = 20;
    TRY(http_query_only(request, known, err));
    TRY(http_query_int(request, "before", 1, INT64_MAX, before, err));
    TRY(http_query_int(request, "limit", 1, LIMIT_PAGE, limit, err));
    *listing = (struct listing){.items = json_array_new()};
    return listing->items ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "out of memory");
}

bool listing_add(struct listing *listing, json *item, int64_t id)
{
    listing->failed = !item || !json_append_take(listing->items, item);
    listing->last = id;
    return !listing->failed;
}

enum status listing_reply(struct http_request *request, struct listing *listing, const char *name,
                          int64_t limit, struct err *err)
{
    json *out = json_object_new();
    bool full = (int64_t)json_length(listing->items) == limit;
    bool fine = json_set_take(out, name, listing->items) && !listing->failed &&
                (!full || json_set_int(out, "next", listing->last));
    if (fine)
        return http_reply_json(request, 200, out, err);
    json_free(out);
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}

bool json_set_time(json *object, const char *key, int64_t ms)
{
    char text[32];
    if (ms == 0)
        return true;
    clock_format(ms, text);
    return json_set_string(object, key, text);
}

bool json_set_text(json *object, const char *key, const char *text)
{
    json *value = NULL;
    if (!text)
        return true;
    if (json_parse(text, strlen(text), &value, NULL) != STATUS_OK)
        return false;
    return json_set_take(object, key, value);
}

static bool id_valid(const char *id)
{
    size_t len = strlen(id);
    size_t good = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len > 0 && len <= LIMIT_ID && good == len;
}

static const char id_form[] = "is 1 to 64 of A-Z a-z 0-9 . _ -";

enum status id_check(const char *what, const char *id, struct err *err)
{
    return id_valid(id) ? STATUS_OK : err_set(err, STATUS_MALFORMED, "%s %s", what, id_form);
}

enum status device_id_check(const char *id, struct err *err)
{
    return id_valid(id) ? STATUS_OK : err_set(err, STATUS_USAGE, "a device's id %s", id_form);
}

enum status patch_from_read(struct http_request *request, int64_t version, int64_t *from,
                            struct err *err)
{
    static const char *const known[] = {"from", NULL};
    *from = version - 1;
    TRY(http_query_only(request, known, err));
    return http_query_int(request, "from", 0, version - 1, from, err);
}

static void route_write_done(struct write *write)
{
    struct route_write *waiting = (struct route_write *)write;
    struct err err = write->job.err;
    enum status status = write->job.status;
    struct http_request *request = waiting->request;
    if (status == STATUS_OK)
        status = waiting->reply(waiting, &err);
    waiting->free(waiting);
    http_complete(request, status, &err);
}

enum status route_write_submit(struct http_request *request, struct route_write *write,
                               struct err *err)
{
    struct cloud *cloud = request->app;
    write->request = request;
    write->write.job.ctx = write;
    write->write.done = route_write_done;
    http_defer(request);
    if (writer_submit(cloud->writer, &write->write, err) == STATUS_OK)
        return STATUS_OK;
    write->free(write);
    http_reply_problem(request, 503, err);
    http_complete(request, STATUS_OK, NULL);
    return STATUS_OK;
}
