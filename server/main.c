/* cdcca-cloud: the service. Starts from the bottom up (store, models, writer, HTTP, worker) and
 * stops in the order that loses nothing: no new connections, the worker between two steps, requests
 * under way answered, the writer's queue committed, the rest closed. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/notify.h"
#include "api/http/listen.h"
#include "api/wire/options.h"
#include "model/tensor/blas.h"
#include "server/routes.h"
#include "server/shared.h"
#include "server/watchdog.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WRITES_WAITING = 256, DRAIN_MS = 4000, LOOK_S = 1 };

struct serve_options {
    const char *listen, *data, *teacher, *student, *log_level;
    int64_t round_uploads, round_every, threads, connections;
};

static enum status options_read(int argc, char **argv, struct serve_options *out, struct err *err)
{
    *out = (struct serve_options){
        .listen = "127.0.0.1:8080", .data = "cdcca-data", .log_level = "info", .connections = 1024};
    const struct option table[] = {
        {"listen", OPTION_STRING, &out->listen, 0, 0, "ADDRESS:PORT",
         "where to listen; 127.0.0.1:8080"},
        {"data", OPTION_STRING, &out->data, 0, 0, "DIR",
         "uploads, rounds, releases and state; cdcca-data"},
        {"teacher", OPTION_STRING, &out->teacher, 0, 0, "DIR", "the large model's directory"},
        {"student", OPTION_STRING, &out->student, 0, 0, "DIR",
         "the devices' model's directory, as they have it"},
        {"round-uploads", OPTION_INT, &out->round_uploads, 0, 1e9, "N",
         "start a round when N new instances are there; 0: off"},
        {"round-every", OPTION_INT, &out->round_every, 0, 1e9, "SECONDS",
         "start a round that often, given new uploads; 0: off"},
        {"threads", OPTION_INT, &out->threads, 0, 64, "N", "that train; 0: one per core"},
        {"connections", OPTION_INT, &out->connections, 16, 65536, "N", "at once; 1024"},
        {"log-level", OPTION_STRING, &out->log_level, 0, 0, "LEVEL",
         "debug, info, warn or error; info"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        .program = "cdcca-cloud serve",
        .summary = "takes uploads, distils the teacher into the student, publishes weight deltas",
        .table = table};
    int positional = 0;
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!out->teacher || !out->student)
        return err_set(err, STATUS_USAGE, "--teacher DIR and --student DIR are needed");
    return STATUS_OK;
}

static enum status log_level_set(const char *name, struct err *err)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            log_set_level((enum log_level)i);
            return STATUS_OK;
        }
    return err_set(err, STATUS_USAGE, "--log-level is \"%s\"; right is debug, info, warn or error",
                   name);
}

struct service {
    struct cloud cloud;
    struct watchdog watchdog;
    struct http *http;
    int listen_fd;
    char bound[LISTEN_TEXT];
};

static void on_release(void *ctx)
{
    http_wake(((struct service *)ctx)->http);
}

/* Everything that must hold before a request can be served. The port comes first: it is the most
 * likely thing to be wrong, and loading models takes a while. */
static enum status service_open(struct service *service, const struct serve_options *options,
                                struct err *err)
{
    struct cloud *cloud = &service->cloud;
    struct learner_config learner = {.io = cloud->io,
                                     .data_dir = options->data,
                                     .teacher_dir = options->teacher,
                                     .student_dir = options->student,
                                     .threads = (int)options->threads};
    TRY(listen_open(options->listen, &service->listen_fd, service->bound, err));
    TRY(store_open(cloud->io, options->data, &cloud->store, err));
    TRY(blas_load(err));
    TRY(learner_create(&learner, &cloud->learner, err));
    TRY(learner_restore(cloud->learner, cloud->store, err));
    TRY(writer_create(cloud->store, WRITES_WAITING, &cloud->writer, err));
    struct rounds_config rounds = {.store = cloud->store,
                                   .learner = cloud->learner,
                                   .upload_instances = options->round_uploads,
                                   .every_s = options->round_every,
                                   .on_release = on_release,
                                   .ctx = service};
    return rounds_create(&rounds, &cloud->rounds, err);
}

static enum status service_start(struct service *service, const struct serve_options *options,
                                 struct err *err)
{
    struct http_config config = http_defaults();
    config.routes = routes;
    config.app = &service->cloud;
    config.connections = (int)options->connections;
    TRY(http_start(&config, service->listen_fd, &service->http, err));
    service->listen_fd = -1;
    return rounds_run(service->cloud.rounds, err);
}

static void service_close(struct service *service)
{
    struct cloud *cloud = &service->cloud;
    if (service->http)
        http_drain(service->http, DRAIN_MS);
    if (cloud->rounds)
        rounds_stop(cloud->rounds);
    writer_destroy(cloud->writer);
    http_stop(service->http);
    rounds_destroy(cloud->rounds);
    learner_destroy(cloud->learner);
    store_close(cloud->store);
    if (service->listen_fd >= 0)
        close(service->listen_fd);
}

/* Signals are blocked before any thread starts, so that only sigwait gets them. */
static void signals_block(sigset_t *stop)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(stop);
    sigaddset(stop, SIGTERM);
    sigaddset(stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, stop, NULL);
}

/* Until a signal asks to stop; signs of life for a supervisor that wants them. */
static void serve_wait(struct service *service, struct notify *notify, const sigset_t *stop)
{
    const struct timespec look = {.tv_sec = LOOK_S};
    int got;
    watchdog_init(&service->watchdog, service->cloud.writer);
    while ((got = notify->period_ms ? sigtimedwait(stop, NULL, &look) : sigwaitinfo(stop, NULL)) <
           0)
        if (notify->period_ms && watchdog_alive(&service->watchdog))
            notify_alive(notify);
    log_line(LOG_INFO, "cloud", "%s, stopping", got == SIGINT ? "interrupted" : "terminated");
}

static enum status serve(const struct serve_options *options, struct err *err)
{
    struct service service = {.cloud.io = io_posix(), .listen_fd = -1};
    sigset_t stop;
    struct notify notify;
    signals_block(&stop);
    enum status status = notify_init(&notify, err);
    if (status == STATUS_OK)
        status = service_open(&service, options, err);
    if (status == STATUS_OK)
        status = service_start(&service, options, err);
    if (status == STATUS_OK) {
        log_line(LOG_INFO, "cloud", "listening on http://%s", service.bound);
        notify_send(&notify, "READY=1");
        serve_wait(&service, &notify, &stop);
        notify_send(&notify, "STOPPING=1");
    }
    service_close(&service);
    return status;
}

static int fail(const struct err *err, enum status status)
{
    fprintf(stderr, "cdcca-cloud: %s\n", err->text);
    return status_exit(status);
}

static int usage(FILE *out, int code)
{
    fputs("usage: cdcca-cloud serve [OPTION...]   (cdcca-cloud serve --help lists them)\n"
          "       cdcca-cloud --version\n",
          out);
    return code;
}

int main(int argc, char **argv)
{
    struct serve_options options;
    struct err err = {0};
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return printf("cdcca-cloud %s\n", CDCCA_VERSION) < 0;
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return usage(stdout, 0);
    if (argc < 2 || strcmp(argv[1], "serve") != 0)
        return usage(stderr, status_exit(STATUS_USAGE));
    enum status status = options_read(argc - 1, argv + 1, &options, &err);
    if (status == STATUS_CANCELLED)
        return 0;
    if (status == STATUS_OK)
        status = log_level_set(options.log_level, &err);
    if (status == STATUS_OK)
        status = serve(&options, &err);
    return status == STATUS_OK ? 0 : fail(&err, status);
}
