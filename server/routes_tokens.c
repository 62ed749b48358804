/* /tokens: uploads. POST checks everything on the request thread, hands the write to the writer and
 * answers after the commit. What is stored is the safetensors form, whatever the client sent. */
#include "api/base/clock.h"
#include "api/http/field.h"
#include "api/wire/payload.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what an upload looks like ---- */

static json *upload_json(const struct upload *upload)
{
    json *out = json_object_new();
    bool ok = out && json_set_int(out, "id", upload->id) &&
              json_set_string(out, "sha256", upload->sha256) &&
              json_set_string(out, "device", upload->device) &&
              json_set_time(out, "received", upload->received_ms) &&
              json_set_int(out, "base_version", upload->base_version) &&
              json_set_int(out, "instances", upload->instances) &&
              json_set_int(out, "tokens", upload->tokens) &&
              json_set_int(out, "size", upload->size_bytes) &&
              (!upload->round || json_set_int(out, "round", upload->round)) &&
              (!upload->version || json_set_int(out, "version", upload->version));
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool visit_one(void *ctx, const struct upload *upload)
{
    *(json **)ctx = upload_json(upload);
    return true;
}

/* ---- POST ---- */

/* One upload on its way to the store; lives until the answer is filled in. */
struct posting {
    struct write write; /* first: cast back in posting_done */
    struct http_request *request;
    struct upload upload;
    char sha256[HASH_HEX], device[LIMIT_ID + 1], key[2 * LIMIT_ID + 1];
    struct buf encoded; /* of a JSON upload */
    const void *data;
    size_t len;
    bool repeated;
    struct quota *counted; /* where its bytes count, NULL: nowhere */
};

static void posting_free(struct posting *posting)
{
    if (posting->counted)
        quota_give_back(posting->counted, posting->device, (int64_t)posting->len);
    buf_free(&posting->encoded);
    free(posting);
}

static enum status posting_run(struct store *store, void *ctx, struct err *err)
{
    struct posting *posting = ctx;
    return store_upload_add(store, &posting->upload, posting->data, posting->len,
                            &posting->repeated, err);
}

static enum status posting_reply(struct posting *posting, struct err *err)
{
    char location[48];
    struct http_request *request = posting->request;
    struct cloud *cloud = request->app;
    json *out = NULL;
    if (posting->repeated)
        TRY(store_upload(cloud->store, posting->upload.id, visit_one, &out, err));
    else
        out = upload_json(&posting->upload);
    TRY(http_reply_json(request, posting->repeated ? 200 : 201, out, err));
    snprintf(location, sizeof location, "/tokens/%lld", (long long)posting->upload.id);
    http_reply_header(request, "Location", location);
    return STATUS_OK;
}

static void posting_tell(const struct posting *posting, struct cloud *cloud)
{
    const struct upload *upload = &posting->upload;
    http_note(posting->request, "upload", upload->id);
    metrics_upload(cloud->metrics, upload->size_bytes, posting->repeated);
    if (!posting->repeated)
        events_publish(cloud->events, EVENT_UPLOAD,
                       "{\"id\":%lld,\"device\":\"%s\",\"instances\":%lld,\"size\":%lld}",
                       (long long)upload->id, upload->device, (long long)upload->instances,
                       (long long)upload->size_bytes);
}

static void posting_done(struct write *write)
{
    struct posting *posting = (struct posting *)write;
    struct cloud *cloud = posting->request->app;
    struct err err = write->job.err;
    enum status status = write->job.status;
    bool added = status == STATUS_OK && !posting->repeated;
    if (status == STATUS_OK) {
        posting_tell(posting, cloud);
        status = posting_reply(posting, &err);
    }
    struct http_request *request = posting->request;
    if (added)
        posting->counted = NULL;
    posting_free(posting);
    http_complete(request, status, &err);
    if (added)
        rounds_uploaded(cloud->rounds);
}

/* Idempotency-Key: 1 to 128 printable characters; absent is fine. */
static enum status key_read(struct posting *posting, struct err *err)
{
    const char *key = http_header(posting->request, "Idempotency-Key");
    if (!key)
        return STATUS_OK;
    if (!field_is_key(key, sizeof posting->key - 1))
        return err_set(err, STATUS_USAGE, "Idempotency-Key is 1 to %zu printable characters",
                       sizeof posting->key - 1);
    strcpy(posting->key, key);
    posting->upload.key = posting->key;
    return STATUS_OK;
}

static void posting_describe(struct posting *posting, const struct payload *payload)
{
    struct hash hash;
    hash_bytes(posting->data, posting->len, &hash);
    hash_hex(&hash, posting->sha256);
    snprintf(posting->device, sizeof posting->device, "%s", payload->device);
    posting->upload.sha256 = posting->sha256;
    posting->upload.device = posting->device;
    posting->upload.received_ms = clock_wall_ms();
    posting->upload.base_version = payload->base_version;
    posting->upload.instances = (int64_t)payload->instances;
    posting->upload.tokens = (int64_t)payload->tokens;
    posting->upload.size_bytes = (int64_t)posting->len;
}

static enum status payload_take(struct posting *posting, const struct payload *payload,
                                struct err *err)
{
    struct cloud *cloud = posting->request->app;
    int64_t version = 0;
    TRY(store_version(cloud->store, &version, err));
    TRY(auth_own_device(posting->request, payload->device, err));
    TRY(facts_check_upload(learner_facts(cloud->learner), payload, version, err));
    posting->data = posting->request->body;
    posting->len = posting->request->body_len;
    if (strcmp(posting->request->type, "application/json") == 0) {
        posting->encoded.max = LIMIT_UPLOAD_RAW_BYTES;
        TRY(payload_encode(payload, &posting->encoded, err));
        posting->data = posting->encoded.data;
        posting->len = posting->encoded.len;
    }
    posting_describe(posting, payload);
    TRY(quota_upload(cloud->quota, posting->request, posting->device, (int64_t)posting->len, err));
    posting->counted = cloud->quota;
    return STATUS_OK;
}

static enum status posting_read(struct posting *posting, struct err *err)
{
    struct http_request *request = posting->request;
    struct payload payload;
    TRY(key_read(posting, err));
    TRY(payload_decode(request->type, request->body, request->body_len, &payload, err));
    enum status status = payload_take(posting, &payload, err);
    payload_free(&payload);
    return status;
}

static enum status posting_submit(struct posting *posting, struct err *err)
{
    struct http_request *request = posting->request;
    struct cloud *cloud = request->app;
    posting->write =
        (struct write){.job = {.run = posting_run, .ctx = posting}, .done = posting_done};
    http_defer(request);
    if (writer_submit(cloud->writer, &posting->write, err) == STATUS_OK)
        return STATUS_OK;
    posting_free(posting);
    http_reply_problem(request, 503, err);
    http_complete(request, STATUS_OK, NULL);
    return STATUS_OK;
}

enum status tokens_post(struct http_request *request, struct err *err)
{
    if (request->body_len == 0)
        return err_set(err, STATUS_MALFORMED,
                       "the body is empty; right is a cdcca.tokens/1 payload as "
                       "application/x-safetensors or application/json");
    struct posting *posting = calloc(1, sizeof *posting);
    if (!posting)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    posting->request = request;
    enum status status = posting_read(posting, err);
    if (status == STATUS_OK)
        return posting_submit(posting, err);
    posting_free(posting);
    return status;
}

/* ---- GET ---- */

static bool visit_list(void *ctx, const struct upload *upload)
{
    return listing_add(ctx, upload_json(upload), upload->id);
}

enum status tokens_list(struct http_request *request, struct err *err)
{
    static const char *const known[] = {"after", "before", "limit", "round", NULL};
    struct cloud *cloud = request->app;
    int64_t after = 0, before = 0, limit = LIMIT_PAGE, round = 0;
    TRY(http_query_only(request, known, err));
    TRY(http_query_int(request, "after", 0, INT64_MAX, &after, err));
    TRY(http_query_int(request, "before", 1, INT64_MAX, &before, err));
    TRY(http_query_int(request, "limit", 1, LIMIT_PAGE, &limit, err));
    TRY(http_query_int(request, "round", 1, INT64_MAX, &round, err));
    if (before && (round || http_query(request, "after")))
        return err_set(err, STATUS_USAGE,
                       "before lists the newest first; it goes with limit alone");
    struct listing listing = {.items = json_array_new()};
    if (!listing.items)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status =
        before ? store_uploads_newest(cloud->store, before, (int)limit, visit_list, &listing, err)
        : round
            ? store_uploads_of(cloud->store, round, after, (int)limit, visit_list, &listing, err)
            : store_uploads(cloud->store, after, (int)limit, visit_list, &listing, err);
    if (status == STATUS_OK)
        return listing_reply(request, &listing, "uploads", limit, err);
    json_free(listing.items);
    return status;
}

enum status tokens_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    json *out = NULL;
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    TRY(store_upload(cloud->store, id, visit_one, &out, err));
    return http_reply_json(request, 200, out, err);
}

static bool visit_name(void *ctx, const struct upload *upload)
{
    snprintf(ctx, HASH_HEX, "%s", upload->sha256);
    return true;
}

/* The bytes as they are stored; they never change, so their name is their tag. */
enum status tokens_payload(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    struct buf bytes = {.max = LIMIT_UPLOAD_RAW_BYTES};
    char sha256[HASH_HEX], etag[HASH_HEX + 2];
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    TRY(store_upload(cloud->store, id, visit_name, sha256, err));
    snprintf(etag, sizeof etag, "\"%s\"", sha256);
    enum status status = store_upload_bytes(cloud->store, sha256, &bytes, err);
    if (status == STATUS_OK)
        status = http_reply_bytes(request, "application/x-safetensors", bytes.data, bytes.len, etag,
                                  err);
    buf_free(&bytes);
    return status;
}

/* ---- DELETE ---- */

struct deletion {
    struct write write; /* first: cast back in deletion_done */
    struct http_request *request;
    int64_t id;
};

static enum status deletion_run(struct store *store, void *ctx, struct err *err)
{
    return store_upload_delete(store, ((struct deletion *)ctx)->id, err);
}

static void deletion_done(struct write *write)
{
    struct deletion *deletion = (struct deletion *)write;
    deletion->request->response.status = 204;
    http_complete(deletion->request, write->job.status, &write->job.err);
    free(deletion);
}

enum status tokens_delete(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    struct deletion *deletion = calloc(1, sizeof *deletion);
    if (!deletion)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    *deletion = (struct deletion){
        .write = {.job = {.run = deletion_run, .ctx = deletion}, .done = deletion_done},
        .request = request,
        .id = id};
    http_defer(request);
    if (writer_submit(cloud->writer, &deletion->write, err) == STATUS_OK)
        return STATUS_OK;
    free(deletion);
    http_reply_problem(request, 503, err);
    http_complete(request, STATUS_OK, NULL);
    return STATUS_OK;
}
