/* /enroll: a one-time code becomes a device's token. The token is made on the writer's thread, like
 * everything that is synced to disk. */
#include "api/base/log.h"
#include "server/enroll.h"
#include "server/quota.h"
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One request on its way; lives until the answer is filled in. */
struct enrolling {
    struct write write; /* first: cast back in enrolling_done */
    struct http_request *request;
    struct auth *auth;
    char code[LIMIT_ID + 1], device[LIMIT_ID + 1], nonce[ENROLL_NONCE + 1];
    struct enrolment enrolment;
};

static enum status enrolling_run(struct store *store, void *ctx, struct err *err)
{
    struct enrolling *e = ctx;
    (void)store;
    return enroll_redeem(e->auth, e->code, e->device[0] ? e->device : NULL,
                         e->nonce[0] ? e->nonce : NULL, &e->enrolment, err);
}

/* The root public key: what vouches in the end for who signs releases. */
static bool root_key_set(const struct cloud *cloud, json *out)
{
    struct sign_public root;
    char line[SIGN_LINE];
    keys_root(cloud->keys, &root);
    sign_public_line(&root, line);
    line[strcspn(line, "\r\n")] = '\0';
    return json_set_string(out, "root_key", line);
}

static enum status enrolling_reply(struct enrolling *e, struct err *err)
{
    json *out = json_object_new();
    if (out && json_set_string(out, "device", e->enrolment.device) &&
        json_set_string(out, "token", e->enrolment.token) && root_key_set(e->request->app, out))
        return http_reply_json(e->request, 201, out, err);
    json_free(out);
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}

static void enrolling_done(struct write *write)
{
    struct enrolling *e = (struct enrolling *)write;
    struct http_request *request = e->request;
    struct cloud *cloud = request->app;
    struct err err = write->job.err;
    enum status status = write->job.status;
    if (status == STATUS_OK) {
        quota_guess_right(cloud->quota, request);
        log_line(LOG_INFO, "enroll", "%s enrolled from %s", e->enrolment.device, request->address);
        status = enrolling_reply(e, &err);
    } else {
        log_line(LOG_WARN, "enroll", "%s was refused: %s", request->address, err.text);
    }
    http_complete(request, status, &err);
    free(e);
}

/* An optional field of [A-Za-z0-9._-]; out stays empty without it. */
static enum status name_read(const json *body, const char *key, char out[LIMIT_ID + 1],
                             struct err *err)
{
    const char *text = NULL;
    TRY(json_opt_string(body, key, LIMIT_ID, &text, err));
    if (text && !auth_name_is_valid(text))
        return err_set(err, STATUS_MALFORMED, "%s is 1 to %d of A-Z a-z 0-9 . _ -", key, LIMIT_ID);
    snprintf(out, LIMIT_ID + 1, "%s", text ? text : "");
    return STATUS_OK;
}

static enum status body_read(struct enrolling *e, const json *body, struct err *err)
{
    static const char *const known[] = {"code", "device", "nonce", NULL};
    const char *code;
    TRY(json_only(body, known, err));
    TRY(json_get_string(body, "code", LIMIT_ID, &code, err));
    snprintf(e->code, sizeof e->code, "%s", code);
    TRY(name_read(body, "device", e->device, err));
    return name_read(body, "nonce", e->nonce, err);
}

static enum status enrolling_submit(struct enrolling *e, struct err *err)
{
    struct http_request *request = e->request;
    struct cloud *cloud = request->app;
    e->auth = cloud->auth;
    e->write = (struct write){.job = {.run = enrolling_run, .ctx = e}, .done = enrolling_done};
    http_defer(request);
    if (writer_submit(cloud->writer, &e->write, err) == STATUS_OK)
        return STATUS_OK;
    free(e);
    http_reply_problem(request, 503, err);
    http_complete(request, STATUS_OK, NULL);
    return STATUS_OK;
}

enum status enroll_post(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    json *body = NULL;
    TRY(quota_guess(cloud->quota, request, err));
    TRY(json_parse(request->body, request->body_len, &body, err));
    struct enrolling *e = calloc(1, sizeof *e);
    enum status status =
        e ? body_read(e, body, err) : err_set(err, STATUS_NO_MEMORY, "out of memory");
    json_free(body);
    if (status == STATUS_OK) {
        e->request = request;
        return enrolling_submit(e, err);
    }
    free(e);
    return status;
}
