/* Starting and ending `cdcca-edge serve`; see serve.h. The end loses nothing: no new requests,
 * those that wait are answered or told to come again, the open window is closed into the spool. */
#include "client/serve.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/http/listen.h"
#include "api/wire/options.h"
#include "client/serve_state.h"
#include "client/stop.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SERVE_END_MS = 5000, SERVE_DRAIN_MS = 2000, SERVE_STEP_MS = 1000, SERVE_BODIES = 256 << 20 };

struct serve_options {
    struct agent_options agent; /* what it has in common with `run` */
    const char *listen;
    int64_t window_age_s;
    bool insecure;
};

/* ---- the model ---- */

struct mllm *serve_acquire(struct serve *s, int64_t *version)
{
    if (s->agent)
        return slots_acquire(s->agent->slots, version);
    *version = 0;
    mllm_retain(s->text);
    return s->text;
}

void serve_model_id(const struct serve *s, int64_t version, char out[CHAT_MODEL])
{
    snprintf(out, CHAT_MODEL, "%s@%" PRId64, s->name, version);
}

/* The directory's own name, of what ids may be made of. */
static enum status serve_name(struct serve *s, const char *dir, struct err *err)
{
    char path[PATH_MAX];
    struct stat about;
    if (!realpath(dir, path))
        return err_set(err, STATUS_NOT_FOUND, "%s: no such model directory", dir);
    const char *name = strrchr(path, '/') + 1;
    snprintf(s->name, sizeof s->name, "%.60s", *name ? name : "model");
    for (char *c = s->name; *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *c))
            *c = '-';
    s->made_s = stat(path, &about) == 0 ? (int64_t)about.st_mtime : 0;
    return STATUS_OK;
}

/* Does config.json describe a text model? It is read again with the weights. */
static enum status model_is_text(const char *dir, bool *text, struct err *err)
{
    struct mllm_config config;
    TRY(mllm_config_load(io_posix(), dir, &config, err));
    *text = !config.multimodal;
    return STATUS_OK;
}

static enum status open_text(struct serve *s, const struct agent_options *o, struct err *err)
{
    if (o->cloud_url || o->data_dir)
        return err_set(err, STATUS_USAGE,
                       "%s is a text model, which does not learn: without --cloud and --data",
                       o->model_dir);
    TRY(mllm_load(io_posix(), o->model_dir, &s->text, err));
    if (!s->text->tokenizer)
        return err_set(err, STATUS_UNSUPPORTED, "%s: the model has no tokenizer", o->model_dir);
    return pool_create((int)o->threads, &s->pool, err);
}

static enum status open_learning(struct serve *s, const struct agent_options *o, struct err *err)
{
    int64_t version;
    if (!o->data_dir)
        return err_set(err, STATUS_USAGE,
                       "--data DIR is missing: where what is learned is kept and uploads wait");
    TRY(agent_open(o, &s->agent, err));
    s->pool = s->agent->pool;
    struct mllm *m = slots_acquire(s->agent->slots, &version);
    enum status status = recent_create(infer_tokens(m), infer_width(m), &s->recent, err);
    mllm_release(m);
    return status;
}

/* ---- start and end ---- */

static enum status serve_open(struct serve *s, const struct serve_options *o, struct err *err)
{
    bool text = false;
    s->window_age_s = o->window_age_s;
    TRY(serve_name(s, o->agent.model_dir, err));
    TRY(model_is_text(o->agent.model_dir, &text, err));
    return text ? open_text(s, &o->agent, err) : open_learning(s, &o->agent, err);
}

static enum status serve_start(struct serve *s, int *listen_fd, struct err *err)
{
    struct http_config config = http_defaults();
    config.routes = serve_routes;
    config.app = s;
    config.threads = 2;
    config.bodies_bytes = SERVE_BODIES;
    config.problems = chat_problem_write;
    TRY(http_start(&config, *listen_fd, &s->http, err));
    *listen_fd = -1;
    if (pthread_create(&s->thread, NULL, serve_answer_run, s) != 0)
        return err_set(err, STATUS_NO_MEMORY, "cannot start the answering thread");
    s->started = true;
    return STATUS_OK;
}

static void serve_close(struct serve *s)
{
    atomic_store(&s->end_ms, clock_monotonic_ms() + SERVE_END_MS);
    serve_queue_close(&s->queue);
    if (s->started)
        pthread_join(s->thread, NULL);
    else if (s->http)
        serve_answer_run(s); /* what has come in meanwhile */
    if (s->http)
        http_drain(s->http, SERVE_DRAIN_MS);
    http_stop(s->http);
    recent_destroy(s->recent);
    if (s->agent)
        agent_close(s->agent);
    else
        pool_destroy(s->pool);
    if (s->text)
        mllm_release(s->text);
    serve_queue_deinit(&s->queue);
}

static enum status serve(const struct serve_options *o, struct err *err)
{
    struct serve s = {0};
    char bound[LISTEN_TEXT];
    int listen_fd = -1;
    s.local = !o->insecure;
    serve_queue_init(&s.queue);
    enum status status = notify_init(&s.notify, err);
    if (status == STATUS_OK)
        status = listen_open(o->listen, &listen_fd, bound, err);
    if (status == STATUS_OK)
        status = serve_open(&s, o, err);
    if (status == STATUS_OK)
        status = serve_start(&s, &listen_fd, err);
    if (status == STATUS_OK) {
        log_line(LOG_INFO, "serve", "listening on http://%s/v1, model %s", bound, s.name);
        notify_send(&s.notify, "READY=1");
    }
    while (status == STATUS_OK && !stop_requested())
        stop_sleep_ms(SERVE_STEP_MS);
    notify_send(&s.notify, "STOPPING=1");
    serve_close(&s);
    if (listen_fd >= 0)
        close(listen_fd);
    return status;
}

/* ---- the command ---- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

static enum status options_check(const struct serve_options *o, struct err *err)
{
    if (!is_loopback(o->listen) && !o->insecure)
        return err_set(err, STATUS_REFUSED,
                       "--listen %s: whoever reaches it may ask and correct; listen on loopback "
                       "behind a proxy with TLS and authentication, or say --insecure",
                       o->listen);
    if (o->agent.bits != 4 && o->agent.bits != 8)
        return err_set(err, STATUS_USAGE, "--bits is 4 or 8");
    return STATUS_OK;
}

enum status serve_run(int argc, char **argv, struct err *err)
{
    struct serve_options o = {.listen = "127.0.0.1:8081", .window_age_s = SERVE_WINDOW_AGE_S};
    struct agent_options *a = &o.agent;
    char room[PATH_MAX];
    int count;
    *a = (struct agent_options){.source = "applications",
                                .budget = 0.1,
                                .window = 100,
                                .keep = 29,
                                .bits = 4,
                                .poll_s = 30,
                                .seed = 1,
                                .spool_bytes = 64 << 20,
                                .segment = 1};
    const struct option table[] = {
        {"listen", OPTION_STRING, &o.listen, 0, 0, "ADDRESS:PORT",
         "where to listen (127.0.0.1:8081)"},
        {"insecure", OPTION_FLAG, &o.insecure, 0, 0, NULL,
         "another address than loopback is meant"},
        {"model", OPTION_STRING, &a->model_dir, 0, 0, "DIR",
         "factory model (the built-in student)"},
        {"data", OPTION_STRING, &a->data_dir, 0, 0, "DIR", "state; created if need be"},
        {"cloud", OPTION_STRING, &a->cloud_url, 0, 0, "URL",
         "the cdcca-cloud to learn from; without it uploads wait"},
        {"device", OPTION_STRING, &a->device, 0, 0, "ID", "name of this device (made up once)"},
        {"trust", OPTION_STRING, &a->trust, 0, 0, "FILE",
         "the cloud's public root key (root.pub); without, DATA/root.pub"},
        {"class", OPTION_STRING, &a->device_class, 0, 0, "ID", "kind of device, for the fleet"},
        {"channel", OPTION_STRING, &a->channel, 0, 0, "ID", "whose releases it takes"},
        {"agreement", OPTION_NUMBER, &a->agreement, 0, 1, "SHARE",
         "of sure answers that a new version must give as before (0.5)"},
        {"budget", OPTION_NUMBER, &a->budget, 0, 1, "SHARE",
         "share of the answers to upload (0.1)"},
        {"window", OPTION_INT, &a->window, 1, 1 << 20, "N", "answers per sampling window (100)"},
        {"window-age", OPTION_INT, &o.window_age_s, 1, 1 << 20, "SECONDS",
         "a window that is not full by then is closed (600)"},
        {"keep", OPTION_INT, &a->keep, 1, LIMIT_TOKENS, "N", "visual tokens per upload (29)"},
        {"bits", OPTION_INT, &a->bits, 4, 8, "4|8", "bits per uploaded value (4)"},
        {"poll", OPTION_INT, &a->poll_s, 1, LIMIT_WAIT_S, "SECONDS", "length of a long poll (30)"},
        {"threads", OPTION_INT, &a->threads, 0, 64, "N", "for answering; 0: one per core (0)"},
        {"spool-bytes", OPTION_INT, &a->spool_bytes, 1 << 16, 1e15, "N",
         "most that may wait for the cloud; what tells least per byte gives way"},
        {"spool-days", OPTION_INT, &a->spool_days, 1, 3650, "N", "days it may wait (7)"},
        {"uplink-bytes-per-day", OPTION_INT, &a->daily_bytes, 0, 1e15, "N",
         "most that uploads may weigh in a day; 0: no limit (0)"},
        {0}};
    const struct options options = {.program = "cdcca-edge serve",
                                    .summary = "Answers over HTTP as OpenAI's API does, and learns "
                                               "from what it is asked.",
                                    .table = table};
    TRY(options_parse(&options, argc, argv, &count, err));
    TRY(options_check(&o, err));
    if (!a->model_dir) {
        TRY(infer_default_model(room, sizeof room, err));
        a->model_dir = room;
    }
    stop_install();
    return serve(&o, err);
}
