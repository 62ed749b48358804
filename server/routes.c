/* The table of routes, and what more than one of them needs. */
#include "server/routes.h"
#include "api/base/clock.h"
#include "api/wire/limits.h"

static const char upload_types[] = "application/x-safetensors, application/json";

const struct http_route routes[] = {
    {"POST", "/tokens", tokens_post, LIMIT_UPLOAD_BYTES, LIMIT_UPLOAD_RAW_BYTES, upload_types},
    {"GET", "/tokens", tokens_list, 0, 0, NULL},
    {"GET", "/tokens/{id}", tokens_get, 0, 0, NULL},
    {"DELETE", "/tokens/{id}", tokens_delete, 0, 0, NULL},
    {"POST", "/distill", distill_post, LIMIT_DISTILL_BYTES, 0, "application/json"},
    {"GET", "/distill", distill_list, 0, 0, NULL},
    {"GET", "/distill/{id}", distill_get, 0, 0, NULL},
    {"DELETE", "/distill/{id}", distill_delete, 0, 0, NULL},
    {"GET", "/deltas", deltas_list, 0, 0, NULL},
    {"GET", "/deltas/{version}", deltas_get, 0, 0, NULL},
    {"GET", "/deltas/{version}/manifest", manifest_get, 0, 0, NULL},
    {"PUT", "/deltas/{version}/manifest", manifest_put, LIMIT_ENVELOPE_BYTES, 0,
     "application/json"},
    {"GET", "/unsigned", unsigned_list, 0, 0, NULL},
    {"GET", "/keys", keys_get, 0, 0, NULL},
    {"GET", "/keys/{version}", keys_get_version, 0, 0, NULL},
    {"GET", "/model", model_get, 0, 0, NULL},
    {"GET", "/events", events_get, 0, 0, NULL},
    {"GET", "/metrics", metrics_get, 0, 0, NULL},
    {"GET", "/healthz", health_get, 0, 0, NULL},
    {"GET", "/readyz", ready_get, 0, 0, NULL},
    {"GET", "/openapi.yaml", contract_get, 0, 0, NULL},
    {"GET", "/", index_get, 0, 0, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

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
