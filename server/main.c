/* cdcca-cloud: the service. Starts from the bottom up (store, models, writer, HTTP, worker) and
 * stops in the order that loses nothing: no new connections, the worker between two steps, requests
 * under way answered, the writer's queue committed, the rest closed. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/notify.h"
#include "api/http/listen.h"
#include "api/wire/options.h"
#include "model/tensor/blas.h"
#include "server/admin.h"
#include "server/authorize.h"
#include "server/backup_command.h"
#include "server/commands.h"
#include "server/exposure.h"
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
    const char *listen, *data, *teacher, *student, *log, *log_level, *rollout, *class_budget;
    const char *keys; /* NULL: DATA/keys, made at the first start */
    const char *tls_cert, *tls_key, *behind_proxy;
    int64_t round_uploads, round_every, threads, connections, per_address, silent_after;
    int64_t manifest_life, device_bytes_per_day;
    double retain_days;
    int64_t patch_bytes; /* the smallest class's budget, 0: none */
    bool check, auth, insecure;
};

static struct serve_options options_defaults(void)
{
    return (struct serve_options){.listen = "127.0.0.1:8080",
                                  .data = "cdcca-data",
                                  .log = "text",
                                  .log_level = "info",
                                  .rollout = "100%",
                                  .connections = 1024,
                                  .silent_after = 900,
                                  .manifest_life = 30 * 24 * 60 * 60,
                                  .device_bytes_per_day = 256 << 20};
}

static enum status options_read(int argc, char **argv, struct serve_options *out, struct err *err)
{
    *out = options_defaults();
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
        {"rollout", OPTION_STRING, &out->rollout, 0, 0, "PLAN",
         "stages [CHANNEL=]SHARE[:SOAK[:SUCCESS[:ERRORS]]], as 10%:10m,50%:30m:90%:5%,100%; 100%"},
        {"silent-after", OPTION_INT, &out->silent_after, 1, 1e8, "SECONDS",
         "a device not heard of for so long is silent, after an offer an error; 900"},
        {"class-budget", OPTION_STRING, &out->class_budget, 0, 0, "CLASS=BYTES,...",
         "the most that a round's patch may take for devices of a class"},
        {"retain-days", OPTION_NUMBER, &out->retain_days, 0, 36500, "N",
         "remove uploads N days after their round; 0: keep them"},
        {"threads", OPTION_INT, &out->threads, 0, 64, "N", "that train; 0: one per core"},
        {"connections", OPTION_INT, &out->connections, 16, 65536, "N", "at once; 1024"},
        {"connections-per-address", OPTION_INT, &out->per_address, 0, 65536, "N",
         "of one client address at once; 0: half of them, any number where --listen is loopback"},
        {"log", OPTION_STRING, &out->log, 0, 0, "FORMAT", "of the log on stderr: text or json"},
        {"check-config", OPTION_FLAG, &out->check, 0, 0, NULL,
         "check options, models and data directory, start nothing"},
        {"keys", OPTION_STRING, &out->keys, 0, 0, "DIR",
         "key document and keys (cdcca-cloud keys); DATA/keys, made at the first start"},
        {"manifest-life", OPTION_INT, &out->manifest_life, 2, 10L * 365 * 24 * 60 * 60, "SECONDS",
         "until a signed manifest expires; signed anew at half of it"},
        {"tls-cert", OPTION_STRING, &out->tls_cert, 0, 0, "FILE",
         "HTTPS: the certificate and its chain, PEM; read again on SIGHUP"},
        {"tls-key", OPTION_STRING, &out->tls_key, 0, 0, "FILE", "HTTPS: its key, PEM"},
        {"behind-proxy", OPTION_STRING, &out->behind_proxy, 0, 0, "ADDRESS",
         "a proxy there ends TLS; its X-Forwarded-For is believed, nobody else's"},
        {"auth", OPTION_FLAG, &out->auth, 0, 0, NULL,
         "tokens are needed (cdcca-cloud token); always so beyond this machine"},
        {"insecure", OPTION_FLAG, &out->insecure, 0, 0, NULL,
         "listen beyond this machine without TLS, and without tokens unless --auth"},
        {"device-bytes-per-day", OPTION_INT, &out->device_bytes_per_day, 1, 1e15, "N",
         "uploads of one device that are stored"},
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
    if (!out->tls_cert != !out->tls_key)
        return err_set(err, STATUS_USAGE, "--tls-cert FILE and --tls-key FILE go together");
    struct rollout_plan plan;
    TRY(rollout_plan_parse(out->rollout, &plan, err));
    return planner_budget_parse(out->class_budget, &out->patch_bytes, err);
}

static enum status log_format_set(const char *name, struct err *err)
{
    if (strcmp(name, "text") != 0 && strcmp(name, "json") != 0)
        return err_set(err, STATUS_USAGE, "--log is \"%s\"; right is text or json", name);
    log_set_format(name[0] == 'j' ? LOG_JSON : LOG_TEXT);
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
    struct exposure exposure;
    struct tls *tls;
    char proxy[PEER_TEXT];
    struct http *http;
    int listen_fd;
    char bound[LISTEN_TEXT];
};

static void on_news(void *ctx)
{
    struct http *http = atomic_load(&((struct service *)ctx)->cloud.http);
    if (http)
        http_wake(http);
}

static void on_release(void *ctx)
{
    struct service *service = ctx;
    fleet_wake(service->cloud.fleet);
    on_news(service);
}

static void on_event(void *ctx)
{
    struct http *http = atomic_load(&((struct service *)ctx)->cloud.http);
    if (http)
        http_wake_streams(http);
}

static void on_seen(void *app, const struct http_seen *seen)
{
    metrics_request(((struct cloud *)app)->metrics, seen);
}

/* A folder that was named must be there: other keys than devices know are worse than none. */
static enum status keys_start(struct cloud *cloud, const struct serve_options *options,
                              struct err *err)
{
    char dir[4096];
    if (options->keys)
        return keys_open(cloud->io, options->keys, &cloud->keys, err);
    TRY(io_join(dir, sizeof dir, options->data, "keys", err));
    enum status status = keys_make(cloud->io, dir, err);
    if (status != STATUS_OK && status != STATUS_CONFLICT)
        return status;
    return keys_open(cloud->io, dir, &cloud->keys, err);
}

static enum status signer_start(struct service *service, const struct serve_options *options,
                                struct err *err)
{
    struct cloud *cloud = &service->cloud;
    struct signer_config config = {.store = cloud->store,
                                   .life_ms = options->manifest_life * 1000,
                                   .on_signed = on_release,
                                   .ctx = service};
    TRY(keys_start(cloud, options, err));
    config.keys = cloud->keys;
    return signer_create(&config, &cloud->signer, err);
}

/* Who may reach the service, and what it then asks for; nothing listens before that is settled. */
static enum status service_expose(struct service *service, const struct serve_options *options,
                                  struct err *err)
{
    struct exposure *exposure = &service->exposure;
    if (options->behind_proxy && !peer_parse(options->behind_proxy, service->proxy))
        return err_set(err, STATUS_USAGE,
                       "--behind-proxy is \"%.80s\"; it must be the address that the proxy's "
                       "connections come from, such as 10.0.0.2",
                       options->behind_proxy);
    *exposure = (struct exposure){.tls = options->tls_cert != NULL,
                                  .proxied = options->behind_proxy != NULL,
                                  .insecure = options->insecure,
                                  .auth = options->auth};
    TRY(listen_is_loopback(options->listen, &exposure->loopback, err));
    TRY(exposure_settle(exposure, options->listen, err));
    if (options->tls_cert)
        TRY(tls_open(options->tls_cert, options->tls_key, &service->tls, err));
    return STATUS_OK;
}

static enum status fleet_open(struct service *service, const struct serve_options *options,
                              struct err *err)
{
    struct cloud *cloud = &service->cloud;
    struct fleet_config fleet = {.store = cloud->store,
                                 .silent_ms = options->silent_after * 1000,
                                 .retain_ms = (int64_t)(options->retain_days * 86400000),
                                 .data_dir = options->data,
                                 .events = cloud->events,
                                 .on_change = on_news,
                                 .ctx = service};
    struct planner_config planner = {.io = cloud->io,
                                     .store = cloud->store,
                                     .student = learner_student(cloud->learner),
                                     .cache_bytes = PLANNER_CACHE_BYTES,
                                     .on_change = on_news,
                                     .ctx = service};
    struct mapper_config mapper = {.store = cloud->store, .on_change = on_news, .ctx = service};
    TRY(fleet_create(&fleet, &cloud->fleet, err));
    TRY(mapper_create(&mapper, &cloud->mapper, err));
    return planner_create(&planner, &cloud->planner, err);
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
                                     .threads = (int)options->threads,
                                     .patch_bytes = (size_t)options->patch_bytes};
    TRY(service_expose(service, options, err));
    TRY(listen_open(options->listen, &service->listen_fd, service->bound, err));
    TRY(events_create(&cloud->events, err));
    TRY(metrics_create(&cloud->metrics, err));
    TRY(store_open(cloud->io, options->data, &cloud->store, err));
    TRY(signer_start(service, options, err));
    TRY(auth_open(options->data, &cloud->auth, err));
    TRY(quota_create(cloud->store, options->device_bytes_per_day, &cloud->quota, err));
    TRY(blas_load(err));
    TRY(learner_create(&learner, &cloud->learner, err));
    TRY(learner_restore(cloud->learner, cloud->store, err));
    TRY(writer_create(cloud->store, WRITES_WAITING, &cloud->writer, err));
    TRY(fleet_open(service, options, err));
    struct rounds_config rounds = {.store = cloud->store,
                                   .learner = cloud->learner,
                                   .signer = cloud->signer,
                                   .upload_instances = options->round_uploads,
                                   .every_s = options->round_every,
                                   .plan = options->rollout,
                                   .events = cloud->events,
                                   .metrics = cloud->metrics,
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
    config.per_address = (int)options->per_address;
    if (!config.per_address && !service->exposure.loopback)
        config.per_address = (config.connections + 1) / 2;
    config.observe = on_seen;
    config.authorize = service->exposure.auth ? authorize : NULL;
    config.tls = service->tls;
    service->cloud.scheme = service->tls ? "https" : "http";
    config.limits.plain = !service->tls;
    config.proxy = service->exposure.proxied ? service->proxy : NULL;
    TRY(http_start(&config, service->listen_fd, &service->http, err));
    service->listen_fd = -1;
    atomic_store(&service->cloud.http, service->http);
    events_on_news(service->cloud.events, on_event, service);
    TRY(fleet_run(service->cloud.fleet, err));
    TRY(signer_run(service->cloud.signer, err));
    return rounds_run(service->cloud.rounds, err);
}

static void service_close(struct service *service)
{
    struct cloud *cloud = &service->cloud;
    atomic_store(&cloud->draining, true);
    if (cloud->rounds)
        rounds_halt(cloud->rounds); /* its step ends while requests are answered */
    events_stop(cloud->events);
    if (service->http)
        http_drain(service->http, DRAIN_MS);
    if (cloud->rounds)
        rounds_stop(cloud->rounds);
    if (cloud->fleet)
        fleet_stop(cloud->fleet);
    if (cloud->planner)
        planner_stop(cloud->planner);
    if (cloud->mapper)
        mapper_stop(cloud->mapper);
    writer_destroy(cloud->writer);
    if (cloud->events)
        events_on_news(cloud->events, NULL, NULL);
    signer_destroy(cloud->signer);
    http_stop(service->http);
    fleet_destroy(cloud->fleet);
    planner_destroy(cloud->planner);
    mapper_destroy(cloud->mapper);
    rounds_destroy(cloud->rounds);
    events_destroy(cloud->events);
    metrics_destroy(cloud->metrics);
    learner_destroy(cloud->learner);
    keys_close(cloud->keys);
    quota_destroy(cloud->quota);
    auth_close(cloud->auth);
    store_close(cloud->store);
    tls_close(service->tls);
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
    sigaddset(stop, SIGHUP);
    pthread_sigmask(SIG_BLOCK, stop, NULL);
}

static void certificate_reload(struct service *service)
{
    struct err err = {0};
    if (!service->tls)
        log_line(LOG_INFO, "cloud", "SIGHUP: there is no certificate to read again");
    else if (tls_reload(service->tls, &err) == STATUS_OK)
        log_line(LOG_INFO, "cloud", "the certificate was read again");
    else
        log_line(LOG_ERROR, "cloud", "the certificate in use stays: %s", err.text);
}

static bool token_seen(void *ctx, const struct token *token)
{
    (void)token;
    *(bool *)ctx = true;
    return false;
}

static void service_announce(const struct service *service)
{
    bool any = false;
    const struct exposure *exposure = &service->exposure;
    log_line(LOG_INFO, "cloud", "listening on %s://%s", service->tls ? "https" : "http",
             service->bound);
    if (exposure->insecure && !exposure->loopback)
        log_line(LOG_WARN, "cloud", "--insecure: anyone who reaches %s can read%s", service->bound,
                 exposure->auth ? " what travels" : " and change everything");
    if (exposure->auth && auth_tokens(service->cloud.auth, token_seen, &any, NULL) == STATUS_OK &&
        !any)
        log_line(
            LOG_WARN, "cloud",
            "nobody has a token yet: cdcca-cloud token add --role operator --data %s makes one",
            service->cloud.data_dir);
}

/* Until a signal asks to stop; signs of life for a supervisor that wants them. */
static void service_wait(struct service *service, struct notify *notify, const sigset_t *signals)
{
    const struct timespec look = {.tv_sec = LOOK_S};
    int got = 0;
    watchdog_init(&service->watchdog, service->cloud.writer);
    while (got != SIGTERM && got != SIGINT) {
        got = notify->period_ms ? sigtimedwait(signals, NULL, &look) : sigwaitinfo(signals, NULL);
        if (got == SIGHUP)
            certificate_reload(service);
        else if (got < 0 && notify->period_ms && watchdog_alive(&service->watchdog))
            notify_alive(notify);
    }
    log_line(LOG_INFO, "cloud", "%s, stopping", got == SIGINT ? "interrupted" : "terminated");
}

static enum status serve(const struct serve_options *options, struct err *err)
{
    struct service service = {.cloud = {.io = io_posix(), .data_dir = options->data},
                              .listen_fd = -1};
    sigset_t signals;
    struct notify notify;
    signals_block(&signals);
    enum status status = notify_init(&notify, err);
    if (status == STATUS_OK)
        status = service_open(&service, options, err);
    if (status == STATUS_OK)
        status = service_start(&service, options, err);
    if (status == STATUS_OK) {
        service_announce(&service);
        notify_send(&notify, "READY=1");
        service_wait(&service, &notify, &signals);
        notify_send(&notify, "STOPPING=1");
    }
    service_close(&service);
    return status;
}

/* What serve would find wrong, found without touching anything. */
static enum status check(const struct serve_options *options, struct err *err)
{
    struct learner_config learner = {
        .io = io_posix(), .teacher_dir = options->teacher, .student_dir = options->student};
    TRY(listen_check(options->listen, err));
    TRY(store_check(options->data, err));
    TRY(blas_load(err));
    TRY(learner_check(&learner, err));
    if (puts("cdcca-cloud: the configuration is fine") < 0)
        return err_set(err, STATUS_IO, "cannot write");
    return STATUS_OK;
}

static int fail(const struct err *err, enum status status)
{
    fprintf(stderr, "cdcca-cloud: %s\n", err->text);
    return status_exit(status);
}

static int usage(FILE *out, int code)
{
    fputs("usage: cdcca-cloud serve [OPTION...]     the service\n"
          "       cdcca-cloud token add|list|rotate|revoke [OPTION...]   who may call it\n"
          "       cdcca-cloud enroll-code [OPTION...]   how a device gets a token\n"
          "       cdcca-cloud keys init|rotate|show --dir DIR   who signs releases\n"
          "       cdcca-cloud sign --key FILE --cloud URL|--data DIR\n"
          "       cdcca-cloud backup [OPTION...]    a copy of its data directory, while it runs\n"
          "       cdcca-cloud restore [OPTION...]   a data directory from such a copy\n"
          "       cdcca-cloud --version\n"
          "cdcca-cloud COMMAND --help lists a command's options.\n",
          out);
    return code;
}

static enum status serve_command(int argc, char **argv, struct err *err)
{
    struct serve_options options;
    TRY(options_read(argc, argv, &options, err));
    TRY(log_level_set(options.log_level, err));
    TRY(log_format_set(options.log, err));
    return options.check ? check(&options, err) : serve(&options, err);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum status (*run)(int argc, char **argv, struct err *err);
    } commands[] = {{"serve", serve_command},
                    {"token", admin_token},
                    {"enroll-code", admin_enroll_code},
                    {"backup", backup_command},
                    {"restore", restore_command}};
    struct err err = {0};
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--version") == 0)
        return printf("cdcca-cloud %s\n", CDCCA_VERSION) < 0;
    if (strcmp(name, "--help") == 0)
        return usage(stdout, 0);
    if (strcmp(name, "keys") == 0)
        return keys_command(argc - 1, argv + 1);
    if (strcmp(name, "sign") == 0)
        return sign_command(argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        enum status status = commands[i].run(argc - 1, argv + 1, &err);
        return status == STATUS_OK || status == STATUS_CANCELLED ? 0 : fail(&err, status);
    }
    return usage(stderr, status_exit(STATUS_USAGE));
}
