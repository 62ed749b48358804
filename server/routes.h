/* The routes, by resource; openapi/openapi.yaml says what each takes and gives. request->app is a
 * struct cloud. */
#ifndef CDCCA_ROUTES_H
#define CDCCA_ROUTES_H

#include "api/http/http.h"

extern const struct http_route routes[];

http_handler tokens_post, tokens_list, tokens_get, tokens_delete;
http_handler distill_post, distill_list, distill_get, distill_delete;
http_handler deltas_list, deltas_get;
http_handler manifest_get, manifest_put, unsigned_list, keys_get, keys_get_version;
http_handler model_get, contract_get, index_get;
http_handler events_get, metrics_get, health_get, ready_get;

/* What a list handler collects: an array, and whether memory ran out on the way. */
struct listing {
    json *items;
    bool failed;
    int64_t last; /* the last item's id */
};
/* Takes item; what a visitor returns. */
bool listing_add(struct listing *listing, json *item, int64_t id);
/* {"name": [items], "next": last} as the answer; next only when a full page came out. */
enum status listing_reply(struct http_request *request, struct listing *listing, const char *name,
                          int64_t limit, struct err *err);
/* Time for people: sets key to the RFC 3339 text, or to nothing when ms is 0. */
bool json_set_time(json *object, const char *key, int64_t ms);

#endif
