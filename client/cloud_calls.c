/* What the agent tells the cloud and asks of it, but for releases: uploads, what this device is,
 * how updates went, rounds, enrolment. */
#include "client/cloud_parts.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CLOUD_EXPECT = 16 << 10
}; /* from here on a body waits for the cloud to accept its headers */

static const char json_type[] = "Content-Type: application/json";

/* ---- uploads ---- */

/* A body that may be turned away for its token or a quota is not sent before it is welcome. */
static const char *upload_expect(const struct cloud *cloud, size_t len)
{
    return cloud->token[0] && len >= CLOUD_EXPECT ? "Expect: 100-continue" : "Expect:";
}

static void key_write(const struct hash *hash, char out[32 + HASH_HEX])
{
    char hex[HASH_HEX];
    hash_hex(hash, hex);
    snprintf(out, 32 + HASH_HEX, "Idempotency-Key: %s", hex);
}

enum status cloud_upload(struct cloud *cloud, const void *body, size_t len, const struct hash *hash,
                         int64_t *sent, struct err *err)
{
    char key[32 + HASH_HEX];
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    key_write(hash, key);
    struct cloud_sending sending = {.method = "POST",
                                    .path = "/tokens",
                                    .body = body,
                                    .len = len,
                                    .headers = {key, "Content-Type: application/x-safetensors",
                                                "Content-Encoding: zstd",
                                                upload_expect(cloud, len)}};
    *sent = 0;
    enum status status = cloud_send(cloud, &sending, &answer, sent, err);
    buf_free(&answer);
    return status;
}

/* ---- the device ---- */

enum status cloud_put_device(struct cloud *cloud, const void *body, size_t len, struct err *err)
{
    char path[32 + LIMIT_ID];
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    snprintf(path, sizeof path, "/devices/%s", cloud->device);
    struct cloud_sending sending = {
        .method = "PUT", .path = path, .body = body, .len = len, .headers = {json_type, "Expect:"}};
    enum status status = cloud_send(cloud, &sending, &answer, NULL, err);
    buf_free(&answer);
    return status;
}

enum status cloud_feedback(struct cloud *cloud, const void *body, size_t len,
                           const struct hash *hash, struct err *err)
{
    char path[32 + LIMIT_ID], key[32 + HASH_HEX];
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    snprintf(path, sizeof path, "/devices/%s/feedback", cloud->device);
    key_write(hash, key);
    struct cloud_sending sending = {
        .method = "POST", .path = path, .body = body, .len = len, .headers = {json_type, key}};
    enum status status = cloud_send(cloud, &sending, &answer, NULL, err);
    buf_free(&answer);
    return status;
}

/* ---- rounds ---- */

enum status cloud_distill(struct cloud *cloud, int64_t *id, struct err *err)
{
    static const char path[] = "/distill";
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    struct cloud_sending sending = {
        .method = "POST", .path = path, .body = "{}", .len = 2, .headers = {json_type}};
    json *root = NULL;
    enum status status = cloud_send(cloud, &sending, &answer, NULL, err);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status =
            cloud_unreadable(cloud, path, json_get_int(root, "id", 1, INT64_MAX, id, err), err);
    json_free(root);
    buf_free(&answer);
    return status;
}

static enum status cloud_parse_round(const json *value, struct cloud_round *out, struct err *err)
{
    static const char *const ends[] = {"released", "rejected", "cancelled", "failed"};
    struct cloud_round round = {0};
    const char *state;
    TRY(json_get_int(value, "id", 1, INT64_MAX, &round.id, err));
    TRY(json_get_string(value, "state", sizeof round.state - 1, &state, err));
    TRY(json_opt_int(value, "version", 0, INT64_MAX, &round.version, err));
    snprintf(round.state, sizeof round.state, "%s", state);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        round.over = round.over || strcmp(state, ends[i]) == 0;
    *out = round;
    return STATUS_OK;
}

static enum status cloud_parse_newest(const json *root, struct cloud_round *out, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "rounds", LIMIT_PAGE, &list, err));
    if (json_length(list) == 0)
        return err_set(err, STATUS_NOT_FOUND, "the cloud has run no round yet");
    return cloud_parse_round(json_at(list, 0), out, err);
}

enum status cloud_round(struct cloud *cloud, int64_t id, struct cloud_round *out, struct err *err)
{
    char path[64] = "/distill?limit=1";
    struct buf answer = {.max = CLOUD_ANSWER_MAX};
    json *root = NULL;
    if (id)
        snprintf(path, sizeof path, "/distill/%" PRId64, id);
    enum status status = cloud_get(cloud, path, CLOUD_CALL_S, &answer, err);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status = cloud_unreadable(
            cloud, path,
            id ? cloud_parse_round(root, out, err) : cloud_parse_newest(root, out, err), err);
    json_free(root);
    buf_free(&answer);
    return status;
}

/* ---- enrolment ---- */

static enum status enroll_body(const char *code, const char *device, const char *nonce,
                               struct buf *out, struct err *err)
{
    json *body = json_object_new();
    bool ok = body && json_set_string(body, "code", code) &&
              json_set_string(body, "nonce", nonce) &&
              (!device || json_set_string(body, "device", device)) &&
              json_print(body, false, out) == STATUS_OK;
    json_free(body);
    return ok ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for a request");
}

static enum status enroll_parse(const json *root, struct cloud_enrolment *out, struct err *err)
{
    const char *device, *token, *root_key = "";
    TRY(json_get_string(root, "device", LIMIT_ID, &device, err));
    TRY(json_get_string(root, "token", CLOUD_TOKEN - 1, &token, err));
    TRY(json_opt_string(root, "root_key", CLOUD_TOKEN - 1, &root_key, err));
    snprintf(out->device, sizeof out->device, "%s", device);
    snprintf(out->token, sizeof out->token, "%s", token);
    snprintf(out->root_key, sizeof out->root_key, "%s", root_key);
    return STATUS_OK;
}

enum status cloud_enroll(struct cloud *cloud, const char *code, const char *device,
                         const char *nonce, struct cloud_enrolment *out, struct err *err)
{
    static const char path[] = "/enroll";
    struct buf body = {.max = LIMIT_ENROLL_BYTES}, answer = {.max = CLOUD_ANSWER_MAX};
    json *root = NULL;
    TRY(enroll_body(code, device, nonce, &body, err));
    struct cloud_sending sending = {
        .method = "POST", .path = path, .body = body.data, .len = body.len, .headers = {json_type}};
    enum status status = cloud_send(cloud, &sending, &answer, NULL, err);
    if (status == STATUS_UNAUTHENTICATED)
        status = err_set(err, STATUS_REFUSED, "%s", err->text);
    if (status == STATUS_OK)
        status = cloud_json(cloud, path, &answer, &root, err);
    if (status == STATUS_OK)
        status = cloud_unreadable(cloud, path, enroll_parse(root, out, err), err);
    json_free(root);
    buf_free(&answer);
    buf_free(&body);
    return status;
}
