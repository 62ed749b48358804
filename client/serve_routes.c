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
               buf_append(&text, "\n", sizeof "\n") == STATUS_OK) {
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

/* Versions below `below` that this device had, from the notebook; 0 always, -1 after it. */
static int64_t version_before(const struct board_fields *f, int64_t below)
{
    int64_t best = below > 0 ? 0 : -1;
    for (int i = 0; i < f->applied_count; i++)
        if (f->applied[i].version < below && f->applied[i].version > best)
            best = f->applied[i].version;
    return best;
}

/* The version in force, its parent, and so on to 0; each once. -1: no memory. */
static int lineage_read(struct serve *s, int64_t version[BOARD_APPLIED_MAX + 2])
{
    int count = 0;
    struct board_fields *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    version[0] = 0;
    if (s->agent) {
        struct slots_info info;
        board_read_fields(&s->agent->board, f);
        slots_info(s->agent->slots, &info);
        version[0] = info.version;
    }
    while (version[count++] > 0)
        version[count] = version_before(f, version[count - 1]);
    free(f);
    return count;
}

/* parent -1: none. NULL without memory. */
static json *model_json(const struct serve *s, int64_t version, int64_t parent)
{
    char id[CHAT_MODEL];
    json *one = json_object_new();
    serve_model_id(s, version, id);
    bool ok = one && json_set_string(one, "id", id) && json_set_string(one, "object", "model") &&
              json_set_int(one, "created", s->made_s) && json_set_string(one, "owned_by", "cdcca");
    serve_model_id(s, parent, id);
    ok = ok && (parent < 0 ? json_set_null(one, "parent") : json_set_string(one, "parent", id));
    if (ok)
        return one;
    json_free(one);
    return NULL;
}

static enum status models_get(struct http_request *request, struct err *err)
{
    static const char *const known[] = {NULL};
    int64_t version[BOARD_APPLIED_MAX + 2];
    struct serve *s = request->app;
    TRY(host_check(request, err));
    TRY(http_query_only(request, known, err));
    int count = lineage_read(s, version);
    json *root = json_object_new(), *list = json_array_new();
    bool ok = count > 0 && list;
    for (int i = 0; ok && i < count; i++)
        ok = json_append_take(list, model_json(s, version[i], i + 1 < count ? version[i + 1] : -1));
    ok = json_set_string(root, "object", "list") && ok && json_set_take(root, "data", list);
    if (ok)
        return http_reply_json(request, 200, root, err);
    json_free(root);
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}

/* ---- GET /v1/models/{id}: one of them; the base name is the version in force ---- */

static enum status model_refuse(struct http_request *request, int64_t version)
{
    char id[CHAT_MODEL];
    struct chat_problem problem = {.code = "model_not_found"};
    serve_model_id(request->app, version, id);
    snprintf(problem.param, sizeof problem.param, "model");
    err_set(&problem.err, STATUS_NOT_FOUND,
            "there is no model \"%.80s\"; %s is in force, and GET /v1/models lists its parents",
            request->param[0], id);
    serve_reply_problem(request, &problem);
    return STATUS_OK;
}

static enum status one_model_get(struct http_request *request, struct err *err)
{
    static const char *const known[] = {NULL};
    int64_t version[BOARD_APPLIED_MAX + 2];
    char id[CHAT_MODEL];
    struct serve *s = request->app;
    TRY(host_check(request, err));
    TRY(http_query_only(request, known, err));
    int count = lineage_read(s, version), at = 0;
    if (count < 0)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    for (; strcmp(request->param[0], s->name) != 0 && at < count; at++) {
        serve_model_id(s, version[at], id);
        if (strcmp(request->param[0], id) == 0)
            break;
    }
    if (at == count)
        return model_refuse(request, version[0]);
    return http_reply_json(request, 200,
                           model_json(s, version[at], at + 1 < count ? version[at + 1] : -1), err);
}

/* ---- GET / ---- */

static enum status root_get(struct http_request *request, struct err *err)
{
    return http_reply_text(request, 200, "text/plain; charset=utf-8",
                           "cdcca-edge serve " CDCCA_VERSION ": OpenAI's API, base URL /v1\n"
                           "POST /v1/chat/completions   a question about a picture\n"
                           "GET  /v1/models             the version in force and its parents\n"
                           "GET  /v1/models/{id}        one of them\n"
                           "POST /v1/feedback           {\"id\", \"correction\"}: a label\n",
                           err);
}

const struct http_route serve_routes[] = {
    {"GET", "/", root_get, 0, 0, NULL, 0},
    {"POST", "/v1/chat/completions", chat_post, CHAT_BODY_BYTES, 0, "application/json", 0},
    {"GET", "/v1/models", models_get, 0, 0, NULL, 0},
    {"GET", "/v1/models/{id}", one_model_get, 0, 0, NULL, 0},
    {"POST", "/v1/feedback", feedback_post, SERVE_FEEDBACK_BYTES, 0, "application/json", 0},
    {0},
};
