/* The routes, by resource; openapi/openapi.yaml says what each takes and gives. request->app is a
 * struct cloud. */
#ifndef CDCCA_ROUTES_H
#define CDCCA_ROUTES_H

#include "api/http/http.h"
#include "server/writer.h"

extern const struct http_route routes[];

http_handler tokens_post, tokens_list, tokens_get, tokens_payload, tokens_delete;
http_handler distill_post, distill_list, distill_get, distill_delete, distill_map;
http_handler deltas_list, deltas_get;
http_handler manifest_get, manifest_put, unsigned_list, keys_get, keys_get_version;
http_handler enroll_post, me_get;
http_handler devices_put, devices_list, devices_get, devices_feedback, fleet_get;
http_handler releases_list, releases_get, releases_halt, releases_resume, releases_rollback;
http_handler model_get;
http_handler events_get, metrics_get, health_get, ready_get;
http_handler index_get, docs_get, contract_get, problems_get, web_get, vendor_get;

/* What a list handler collects: an array, and whether memory ran out on the way. */
struct listing {
    json *items;
    bool failed;
    int64_t last; /* the last item's id */
};
/* Opens one of the newest first, by the query's ?before= and ?limit=, which are all it may hold;
 * listing_reply takes listing->items, else the caller frees them. */
enum status listing_open_newest(struct http_request *request, struct listing *listing,
                                int64_t *before, int64_t *limit, struct err *err);
/* Takes item; what a visitor returns. */
bool listing_add(struct listing *listing, json *item, int64_t id);
/* {"name": [items], "next": last} as the answer; next only when a full page came out. */
enum status listing_reply(struct http_request *request, struct listing *listing, const char *name,
                          int64_t limit, struct err *err);
/* Time for people: sets key to the RFC 3339 text, or to nothing when ms is 0. */
bool json_set_time(json *object, const char *key, int64_t ms);
/* A stored JSON text as a value; nothing when it is NULL. */
bool json_set_text(json *object, const char *key, const char *text);
/* "upload_ids": the first of a round's uploads that are still there. */
struct cloud;
enum { ROUTE_IDS = 1000 };
bool json_set_uploads(json *object, struct cloud *cloud, int64_t round);
/* 1 to 64 of A-Z a-z 0-9 . _ -. In a body: STATUS_MALFORMED names what; in a target: STATUS_USAGE.
 */
enum status id_check(const char *what, const char *id, struct err *err);
enum status device_id_check(const char *id, struct err *err);
/* ?from=: absent, or below the version; no other parameter. *from is version - 1 without it. */
enum status patch_from_read(struct http_request *request, int64_t version, int64_t *from,
                            struct err *err);
/* A round as the answer. */
enum status round_reply(struct http_request *request, int64_t id, int http_status, struct err *err);

/* A request whose answer waits for one write: run gets the whole as its ctx, reply fills in the
 * answer after the commit, free ends it in any case. */
struct route_write {
    struct write write; /* first: cast back */
    struct http_request *request;
    enum status (*reply)(struct route_write *write, struct err *err);
    void (*free)(struct route_write *write);
};
/* Takes it, also when it fails. */
enum status route_write_submit(struct http_request *request, struct route_write *write,
                               struct err *err);

#endif
