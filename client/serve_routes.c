/* What the polling threads do for `serve`: read a request, put it into the queue; list the models.
 */
#include "api/http/field.h"
#include "client/serve_state.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void serve_reply_problem(struct http_request *request, const struct chat_problem *problem)
{
    struct err ignored;
    struct buf text = {.max = 4096};
    int status = chat_error_status(problem->err.code);
    if (status >= 500 || (!problem->param[0] && !problem->code)) {
        http_reply_problem(request, status, &problem->err);
    } else if (chat_error_write(&problem->err, status, problem->param, problem->code, &text) ==
                   STATUS_OK &&
               buf_append(&text, "", 1) == STATUS_OK) {
        http_reply_text(request, status, "application/json", (const char *)text.data, &ignored);
    } else {
        err_set(&ignored, STATUS_NO_MEMORY, "out of memory");
        http_reply_problem(request, 500, &ignored);
    }
    buf_free(&text);
}

/* A page in a browser may reach loopback under a name of its own (DNS rebinding); its requests name
 * that as their host. */
static bool host_is_local(struct http_request *request)
{
    const struct serve *s = request->app;
    const char *host = http_header(request, "Host");
    return !s->local || !host || field_host_is_local(host);
}

static enum status host_check(struct http_request *request, struct err *err)
{
    if (host_is_local(request))
        return STATUS_OK;
    return err_set(err, STATUS_REFUSED,
                   "the request is for the host \"%.80s\"; localhost, 127.0.0.1 or [::1] is right",
                   http_header(request, "Host"));
}

/* Into the queue; when that is full, the answer says when to come again. */
static enum status queue_or_refuse(struct serve *s, struct serve_job *job)
{
    struct chat_problem problem = {0};
    struct http_request *request = job->request;
    if (serve_queue_push(&s->queue, job, &problem.err) != STATUS_OK) {
        serve_job_free(job);
        serve_reply_problem(request, &problem);
    }
    return STATUS_OK;
}

/* ---- POST /v1/chat/completions ---- */

static enum status chat_post(struct http_request *request, struct err *err)
{
    struct chat_problem problem;
    TRY(host_check(request, err));
    struct serve_job *job = calloc(1, sizeof *job);
    if (!job)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    job->request = request;
    if (chat_request_parse(request->body, request->body_len, &job->chat, &problem) == STATUS_OK)
        return queue_or_refuse(request->app, job);
    serve_job_free(job);
    serve_reply_problem(request, &problem);
    return STATUS_OK;
}

/* ---- POST /v1/feedback ---- */

static enum status feedback_read(struct serve_job *job, struct err *err)
{
    static const char *const known[] = {"id", "correction", NULL};
    TRY(json_only(job->feedback, known, err));
    TRY(json_get_string(job->feedback, "id", CHAT_ID - 1, &job->id, err));
    TRY(json_get_string(job->feedback, "correction", LIMIT_ANSWER, &job->correction, err));
    if (!job->correction[strspn(job->correction, " \t\r\n")])
        return err_set(err, STATUS_MALFORMED,
                       "field \"correction\" is blank; it must be the "
                       "answer that would have been right");
    return STATUS_OK;
}

static enum status feedback_post(struct http_request *request, struct err *err)
{
    struct chat_problem problem = {0};
    TRY(host_check(request, err));
    struct serve_job *job = calloc(1, sizeof *job);
    if (!job)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    job->request = request;
    enum status status =
        request->body_len
            ? json_parse(request->body, request->body_len, &job->feedback, &problem.err)
            : err_set(&problem.err, STATUS_MALFORMED, "the body is empty");
    if (status == STATUS_OK)
        status = feedback_read(job, &problem.err);
    if (status == STATUS_OK)
        return queue_or_refuse(request->app, job);
    serve_job_free(job);
    serve_reply_problem(request, &problem);
    return STATUS_OK;
}

/* ---- GET /v1/models ---- */

/* The version in force has its parent beside it, as every version but 0 does. */
static bool model_append(const struct serve *s, json *list, int64_t version, int64_t parent)
{
    char id[CHAT_MODEL];
    json *one = json_object_new();
    serve_model_id(s, version, id);
    bool ok = one && json_set_string(one, "id", id) && json_set_string(one, "object", "model") &&
              json_set_int(one, "created", s->made_s) && json_set_string(one, "owned_by", "cdcca");
    serve_model_id(s, parent, id);
    ok = ok && (parent < 0 ? json_set_null(one, "parent") : json_set_string(one, "parent", id));
    return json_append_take(list, one) && ok;
}

/* Versions below `below` that this device had, from the notebook; 0 always, -1 after it. */
static int64_t version_before(const struct board_fields *f, int64_t below)
{
    int64_t best = below > 0 ? 0 : -1;
    for (int i = 0; i < f->applied_count; i++)
        if (f->applied[i].version < below && f->applied[i].version > best)
            best = f->applied[i].version;
    return best;
}

static json *models_list(struct serve *s)
{
    int64_t version = 0;
    struct board_fields *f = calloc(1, sizeof *f);
    json *list = json_array_new();
    if (f && s->agent) {
        struct slots_info info;
        board_read_fields(&s->agent->board, f);
        slots_info(s->agent->slots, &info);
        version = info.version;
    }
    bool ok = f && list;
    for (int64_t parent; ok && version >= 0; version = parent) {
        parent = version_before(f, version);
        ok = model_append(s, list, version, parent);
    }
    free(f);
    if (ok)
        return list;
    json_free(list);
    return NULL;
}

static enum status models_get(struct http_request *request, struct err *err)
{
    static const char *const known[] = {NULL};
    TRY(host_check(request, err));
    TRY(http_query_only(request, known, err));
    json *root = json_object_new();
    if (!root || !json_set_string(root, "object", "list") ||
        !json_set_take(root, "data", models_list(request->app))) {
        json_free(root);
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return http_reply_json(request, 200, root, err);
}

/* ---- GET / ---- */

static enum status root_get(struct http_request *request, struct err *err)
{
    return http_reply_text(request, 200, "text/plain; charset=utf-8",
                           "cdcca-edge serve " CDCCA_VERSION ": OpenAI's API, base URL /v1\n"
                           "POST /v1/chat/completions   a question about a picture\n"
                           "GET  /v1/models             the version in force and its parents\n"
                           "POST /v1/feedback           {\"id\", \"correction\"}: a label\n",
                           err);
}

const struct http_route serve_routes[] = {
    {"GET", "/", root_get, 0, 0, NULL, 0},
    {"POST", "/v1/chat/completions", chat_post, CHAT_BODY_BYTES, 0, "application/json", 0},
    {"GET", "/v1/models", models_get, 0, 0, NULL, 0},
    {"POST", "/v1/feedback", feedback_post, SERVE_FEEDBACK_BYTES, 0, "application/json", 0},
    {0},
};
