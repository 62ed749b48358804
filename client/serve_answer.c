/* The thread of `serve` that generates: one request at a time, and what is learned from it. It owns
 * the window and the recent answers; nobody else touches them. */
#include "api/base/clock.h"
#include "api/base/utf8.h"
#include "client/correction.h"
#include "client/serve_state.h"
#include "client/serve_stream.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SERVE_TICK_MS = 1000 };
#define SERVE_DEFAULT_CUT 0.5 /* nats, before a window was closed; as `ask` */

struct answering { /* one chat */
    struct serve *s;
    struct serve_job *job;
    struct mllm *m;
    struct image image; /* at the model's size; rgb NULL for a text model */
    float *visual;      /* its tokens, among the recent answers */
    struct chat_facts facts;
    struct chat_answer answer;
    struct chat_problem problem;
    struct serve_stream *stream; /* NULL: none, or not yet */
    int streamed;                /* tokens that are out */
};

/* Past the time that is left to finish in. */
static bool stopping(struct serve *s)
{
    int64_t end_ms = atomic_load(&s->end_ms);
    return end_ms && clock_monotonic_ms() >= end_ms;
}

/* ---- before: the model, the picture ---- */

static void facts_init(struct answering *x)
{
    uint64_t random[2] = {0, (uint64_t)clock_wall_ms()};
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        random[0] = (uint64_t)clock_monotonic_ms();
    snprintf(x->facts.id, sizeof x->facts.id, "chatcmpl-%016" PRIx64 "%08" PRIx64, random[0],
             random[1] & UINT32_MAX);
    x->facts.created_s = clock_wall_ms() / 1000;
    if (x->job->chat.seed < 0)
        x->job->chat.seed = (int64_t)(random[1] >> 1);
}

/* The base name follows updates; a version's id holds as long as it is in force. */
static enum status model_check(struct answering *x)
{
    const char *wanted = x->job->chat.model;
    if (strcmp(wanted, x->s->name) == 0 || strcmp(wanted, x->facts.model) == 0)
        return STATUS_OK;
    snprintf(x->problem.param, sizeof x->problem.param, "model");
    x->problem.code = "model_not_found";
    return err_set(&x->problem.err, STATUS_NOT_FOUND,
                   "the model \"%.80s\" is not in force; %s is, and \"%s\" stands for whichever is",
                   wanted, x->facts.model, x->s->name);
}

static enum status picture_read(struct answering *x, struct err *err)
{
    const char *url = x->job->chat.image;
    struct image image;
    if (!x->m->config.multimodal)
        return url ? err_set(err, STATUS_UNSUPPORTED, "%s is a text model: no picture is right",
                             x->s->name)
                   : STATUS_OK;
    if (!url)
        return err_set(err, STATUS_MALFORMED,
                       "%s answers about a picture: a content part {\"type\": \"image_url\", "
                       "\"image_url\": {\"url\": \"data:image/png;base64,...\"}} is missing",
                       x->s->name);
    TRY(chat_request_image(url, &image, err));
    int side = x->m->config.vision.image;
    enum status status = image_resize(&image, side, side, &x->image, err);
    image_free(&image);
    x->visual = recent_room(x->s->recent);
    return status;
}

static enum status prepare(struct answering *x)
{
    x->m = serve_acquire(x->s, &x->facts.version);
    serve_model_id(x->s, x->facts.version, x->facts.model);
    TRY(model_check(x));
    enum status status = picture_read(x, &x->problem.err);
    if (status != STATUS_OK)
        snprintf(x->problem.param, sizeof x->problem.param, "messages");
    return status;
}

/* ---- generating ---- */

/* The stream begins with the first token: until then an error has an HTTP status of its own. */
static bool stream_begin(struct answering *x)
{
    if (serve_stream_start(x->s->http, x->job->request, &x->stream, &x->problem.err) != STATUS_OK)
        return false;
    return serve_stream_send(x->stream, chat_chunk_first(&x->job->chat, &x->facts));
}

/* Pieces without text wait, and their tokens with them, for the next that has some. */
static bool stream_piece(struct answering *x, const char *piece)
{
    const struct chat_request *request = &x->job->chat;
    if (!x->stream && !stream_begin(x))
        return false;
    if (!*piece)
        return true;
    int from = x->streamed;
    x->streamed = x->answer.tokens;
    return serve_stream_send(x->stream, chat_chunk_piece(x->m, request, &x->facts, &x->answer,
                                                         piece, from, x->streamed));
}

static bool on_piece(void *ctx, const char *piece)
{
    struct answering *x = ctx;
    notify_alive(&x->s->notify);
    bool read = !x->job->chat.stream || stream_piece(x, piece);
    return read && !stopping(x->s);
}

static enum status generate(struct answering *x)
{
    enum status status = chat_run(x->m, x->s->pool, &x->job->chat, x->image.rgb, x->visual,
                                  on_piece, x, &x->answer, &x->problem.err);
    if (status == STATUS_TOO_LARGE) {
        snprintf(x->problem.param, sizeof x->problem.param, "messages");
        x->problem.code = "context_length_exceeded";
    }
    return status;
}

/* The version's probation. An answer that a stop sequence has made empty says nothing about it. */
static void watch(struct answering *x, enum status status)
{
    if (status == STATUS_OK)
        agent_watch(x->s->agent, x->facts.version, 1,
                    !x->answer.text[0] && !x->job->chat.stop_count);
    else if (status == STATUS_CORRUPT)
        agent_watch(x->s->agent, x->facts.version, 1, 1);
}

/* Weights that gave no numbers: where that version was left for it, the one before answers instead,
 * unless half an answer is out. */
static enum status generate_again(struct answering *x, enum status status)
{
    struct slots_info now;
    slots_info(x->s->agent->slots, &now);
    if (x->stream || now.version == x->facts.version)
        return status;
    mllm_release(x->m);
    x->m = serve_acquire(x->s, &x->facts.version);
    serve_model_id(x->s, x->facts.version, x->facts.model);
    status = generate(x);
    watch(x, status);
    return status;
}

static enum status generate_watched(struct answering *x)
{
    enum status status = generate(x);
    if (!x->s->agent)
        return status;
    watch(x, status);
    return status == STATUS_CORRUPT ? generate_again(x, status) : status;
}

/* ---- is it one to learn from? ---- */

static double entropy_cut(struct serve *s)
{
    double cut = board_lock(&s->agent->board)->entropy_cut;
    board_unlock(&s->agent->board);
    return cut >= 0 ? cut : SERVE_DEFAULT_CUT;
}

static bool question_fits(const struct answering *x)
{
    return x->job->chat.prompt.len <= LIMIT_QUESTION;
}

static void facts_judge(struct answering *x)
{
    struct chat_facts *f = &x->facts;
    double entropy = (double)x->answer.entropy;
    f->threshold = -1;
    if (!x->s->agent) {
        snprintf(f->reason, sizeof f->reason, "a text model does not learn here");
    } else if (!question_fits(x)) {
        snprintf(f->reason, sizeof f->reason, "the question has %zu bytes; up to %d are uploaded",
                 x->job->chat.prompt.len, LIMIT_QUESTION);
    } else if (x->s->agent->options.budget <= 0) {
        snprintf(f->reason, sizeof f->reason, "the upload budget is 0");
    } else {
        f->threshold = entropy_cut(x->s);
        f->sampled = entropy >= f->threshold;
        snprintf(f->reason, sizeof f->reason,
                 "entropy %.3f is %s %.3f, from which a window's uploads are drawn within the "
                 "budget of %g",
                 entropy, f->sampled ? "at or above" : "below", f->threshold,
                 x->s->agent->options.budget);
    }
}

/* At most size - 1 bytes, whole characters. */
static void text_cut(char *out, size_t size, const char *text)
{
    size_t len = 0;
    for (size_t step; text[len]; len += step) {
        step = utf8_sequence(text + len, strlen(text + len));
        step = step ? step : 1;
        if (len + step >= size)
            break;
    }
    memcpy(out, text, len);
    out[len] = '\0';
    utf8_clean(out);
}

/* Into the recent answers and the window. */
static void learn(struct answering *x)
{
    struct agent *a = x->s->agent;
    struct window_record record = {.entropy = x->answer.entropy, .version = x->facts.version};
    size_t floats = (size_t)infer_tokens(x->m) * (size_t)infer_width(x->m);
    if (!question_fits(x))
        return;
    record.jpeg_bytes = agent_jpeg_bytes(a, x->image.rgb);
    snprintf(record.id, sizeof record.id, "%s", x->facts.id);
    text_cut(record.question, sizeof record.question, (const char *)x->job->chat.prompt.data);
    text_cut(record.answer, sizeof record.answer, x->answer.text);
    if (window_count(a->window) == 0)
        x->s->window_opened_ms = clock_monotonic_ms();
    memcpy(window_room(a->window, 1), x->visual, floats * sizeof(float));
    agent_keep_record(a, &record);
    recent_add(x->s->recent, &record);
    a->position++;
    board_lock(&a->board)->answered++;
    board_unlock(&a->board);
}

static void window_close_if(struct serve *s, bool due)
{
    if (due && s->agent && window_count(s->agent->window) > 0)
        agent_close_window(s->agent);
}

/* ---- one chat ---- */

static void reply_whole(struct answering *x, enum status status)
{
    struct http_request *request = x->job->request;
    if (status != STATUS_OK) {
        x->problem.err.code = status;
        serve_reply_problem(request, &x->problem);
    } else {
        json *root = chat_completion_json(x->m, &x->job->chat, &x->facts, &x->answer);
        if (http_reply_json(request, 200, root, &x->problem.err) != STATUS_OK)
            http_reply_problem(request, 500, &x->problem.err);
    }
    http_complete(request, STATUS_OK, NULL);
}

/* An error in mid-stream is an event, and no [DONE] follows. */
static void reply_stream_end(struct answering *x, enum status status)
{
    const struct chat_request *request = &x->job->chat;
    if (status == STATUS_OK) {
        serve_stream_send(x->stream, chat_chunk_last(request, &x->facts, &x->answer));
        if (request->include_usage)
            serve_stream_send(x->stream, chat_chunk_usage(&x->facts, &x->answer));
    } else {
        x->problem.err.code = status;
        serve_stream_send(x->stream, chat_error_json(&x->problem.err, 500, NULL, NULL));
    }
    serve_stream_end(x->stream, status != STATUS_OK);
}

static void chat_answer_job(struct serve *s, struct serve_job *job)
{
    struct answering x = {.s = s, .job = job};
    facts_init(&x);
    enum status status = prepare(&x);
    if (status == STATUS_OK)
        status = generate_watched(&x);
    if (status == STATUS_OK)
        facts_judge(&x);
    if (status == STATUS_OK && s->agent)
        learn(&x);
    if (x.stream)
        reply_stream_end(&x, status);
    else
        reply_whole(&x, status);
    chat_answer_free(&x.answer);
    image_free(&x.image);
    mllm_release(x.m);
    window_close_if(s, s->agent && window_full(s->agent->window));
}

/* ---- one correction ---- */

static enum status correct(struct serve *s, const struct serve_job *job, struct err *err)
{
    if (!s->agent)
        return err_set(err, STATUS_UNSUPPORTED, "a text model does not learn here");
    return agent_correct(s->agent, s->recent, job->id, job->correction, err);
}

static void feedback_job(struct serve *s, struct serve_job *job)
{
    struct chat_problem problem = {0};
    enum status status = correct(s, job, &problem.err);
    json *root = status == STATUS_OK ? json_object_new() : NULL;
    if (root &&
        (!json_set_string(root, "id", job->id) || !json_set_string(root, "object", "feedback") ||
         !json_set_bool(root, "stored", true))) {
        json_free(root);
        root = NULL;
    }
    if (status == STATUS_OK)
        status = http_reply_json(job->request, 200, root, &problem.err);
    if (status == STATUS_NOT_FOUND)
        snprintf(problem.param, sizeof problem.param, "id");
    if (status != STATUS_OK) {
        problem.err.code = status;
        serve_reply_problem(job->request, &problem);
    }
    http_complete(job->request, STATUS_OK, NULL);
}

/* ---- the thread ---- */

static void job_run(struct serve *s, struct serve_job *job)
{
    struct chat_problem problem = {0};
    if (stopping(s)) {
        err_set(&problem.err, STATUS_BUSY, "the server is stopping");
        serve_reply_problem(job->request, &problem);
        http_complete(job->request, STATUS_OK, NULL);
    } else if (job->feedback) {
        feedback_job(s, job);
    } else {
        chat_answer_job(s, job);
    }
    serve_job_free(job);
}

void *serve_answer_run(void *ctx)
{
    struct serve *s = ctx;
    bool ended = false;
    while (!ended) {
        notify_alive(&s->notify);
        struct serve_job *job = serve_queue_pop(&s->queue, SERVE_TICK_MS, &ended);
        if (job)
            job_run(s, job);
        window_close_if(s, clock_monotonic_ms() - s->window_opened_ms >= s->window_age_s * 1000);
    }
    window_close_if(s, true);
    return NULL;
}
