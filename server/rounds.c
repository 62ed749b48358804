/* See rounds.h. The mutex guards what request threads look at; while a round runs the worker holds
 * it for moments only. */
#include "server/rounds.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "server/report.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHECK_MS = 1000, RETRY_MS = 3000, SETTINGS_MAX = 4096, STEP_MS = 250 };

struct rounds {
    struct rounds_config config;
    pthread_t thread;
    _Atomic bool started;
    volatile int cancel;  /* polled by the distiller between steps */
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    bool reserved, stopping, cancelled, uploaded;
    int64_t id; /* queued or running; 0: none */
    struct round_live live;
    int64_t seen_upload; /* newest new upload when a round last started by itself */
    int64_t last_ms;     /* when a round last started, monotonic */
    int64_t step_ms;     /* when a step was last an event */
};

enum status rounds_create(const struct rounds_config *config, struct rounds **out, struct err *err)
{
    struct rounds *rounds = calloc(1, sizeof *rounds);
    if (!rounds)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    rounds->config = *config;
    rounds->last_ms = clock_monotonic_ms();
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&rounds->lock, NULL);
    pthread_cond_init(&rounds->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    *out = rounds;
    return STATUS_OK;
}

void rounds_destroy(struct rounds *rounds)
{
    if (!rounds)
        return;
    rounds_stop(rounds);
    pthread_cond_destroy(&rounds->wake);
    pthread_mutex_destroy(&rounds->lock);
    free(rounds);
}

static void state_publish(struct rounds *rounds, int64_t id, const char *state)
{
    events_publish(rounds->config.events, EVENT_ROUND, "{\"id\":%lld,\"state\":\"%s\"}",
                   (long long)id, state);
}

/* ---- what request threads call ---- */

enum status rounds_reserve(struct rounds *rounds, struct err *err)
{
    pthread_mutex_lock(&rounds->lock);
    int64_t id = rounds->id;
    bool ok = !rounds->reserved && !id && !rounds->stopping;
    bool stopping = rounds->stopping;
    rounds->reserved |= ok;
    pthread_mutex_unlock(&rounds->lock);
    if (ok)
        return STATUS_OK;
    if (stopping)
        return err_set(err, STATUS_BUSY, "the service is stopping; try again");
    if (id)
        return err_set(err, STATUS_CONFLICT, "round %lld is running; GET /distill/%lld shows it",
                       (long long)id, (long long)id);
    return err_set(err, STATUS_CONFLICT, "another round is just being started");
}

void rounds_begin(struct rounds *rounds, int64_t id)
{
    pthread_mutex_lock(&rounds->lock);
    rounds->reserved = rounds->cancelled = false;
    __atomic_store_n(&rounds->cancel, rounds->stopping, __ATOMIC_RELAXED);
    rounds->id = id;
    rounds->live = (struct round_live){.stride = 1};
    rounds->last_ms = clock_monotonic_ms();
    pthread_cond_signal(&rounds->wake);
    pthread_mutex_unlock(&rounds->lock);
    state_publish(rounds, id, "queued");
}

void rounds_unreserve(struct rounds *rounds)
{
    pthread_mutex_lock(&rounds->lock);
    rounds->reserved = false;
    pthread_mutex_unlock(&rounds->lock);
}

enum status rounds_cancel(struct rounds *rounds, int64_t id, struct err *err)
{
    pthread_mutex_lock(&rounds->lock);
    bool ok = rounds->id == id && id != 0;
    if (ok) {
        rounds->cancelled = true;
        __atomic_store_n(&rounds->cancel, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&rounds->lock);
    return ok ? STATUS_OK
              : err_set(err, STATUS_CONFLICT, "round %lld is over; there is nothing to cancel",
                        (long long)id);
}

bool rounds_live(struct rounds *rounds, int64_t id, struct round_live *out)
{
    pthread_mutex_lock(&rounds->lock);
    bool ok = rounds->id == id && id != 0;
    if (ok)
        *out = rounds->live;
    pthread_mutex_unlock(&rounds->lock);
    return ok;
}

bool rounds_running(struct rounds *rounds)
{
    pthread_mutex_lock(&rounds->lock);
    bool running = rounds->id != 0;
    pthread_mutex_unlock(&rounds->lock);
    return running;
}

bool rounds_alive(struct rounds *rounds)
{
    return rounds->started;
}

void rounds_uploaded(struct rounds *rounds)
{
    pthread_mutex_lock(&rounds->lock);
    rounds->uploaded = true;
    if (rounds->config.upload_instances && !rounds->id)
        pthread_cond_signal(&rounds->wake);
    pthread_mutex_unlock(&rounds->lock);
}

/* ---- running one ---- */

/* Keeps at most ROUNDS_LOSSES: when they are full, every second one stays. */
static void losses_add(struct round_live *live, const struct distill_progress *progress)
{
    if ((progress->step - 1) % live->stride != 0)
        return;
    if (live->count == ROUNDS_LOSSES) {
        for (int i = 0; i < ROUNDS_LOSSES / 2; i++)
            live->losses[i] = live->losses[2 * i];
        live->count = ROUNDS_LOSSES / 2;
        live->stride *= 2;
        if ((progress->step - 1) % live->stride != 0)
            return;
    }
    live->losses[live->count++] = progress->loss;
}

static void on_progress(void *ctx, const struct distill_progress *progress)
{
    struct rounds *rounds = ctx;
    pthread_mutex_lock(&rounds->lock);
    rounds->live.progress = *progress;
    losses_add(&rounds->live, progress);
    int64_t id = rounds->id, now = clock_monotonic_ms();
    bool due = now - rounds->step_ms >= STEP_MS || progress->step == progress->steps;
    if (due)
        rounds->step_ms = now;
    pthread_mutex_unlock(&rounds->lock);
    if (due && isfinite(progress->loss))
        events_publish(rounds->config.events, EVENT_STEP,
                       "{\"round\":%lld,\"step\":%d,\"steps\":%d,\"loss\":%.6g}", (long long)id,
                       progress->step, progress->steps, (double)progress->loss);
}

static enum status start_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_start(store, *(const int64_t *)ctx, err);
}

struct ending {
    int64_t id;
    int64_t target; /* of a rollback; else -1 */
    const char *plan;
    const char *state, *detail;
    struct buf report;
    const struct outcome *outcome; /* NULL: nothing came of it */
    struct manifest manifest;      /* of the release */
    struct signer *signer;
};

static enum status ending_run(struct store *store, void *ctx, struct err *err)
{
    struct ending *ending = ctx;
    const struct outcome *o = ending->outcome;
    int64_t version = o && o->released ? o->version : 0;
    if (version) {
        struct release release = {.version = version,
                                  .base_version = o->base_version,
                                  .round = ending->id,
                                  .size_bytes = (int64_t)o->patch.len,
                                  .parameters = o->parameters,
                                  .created_ms = clock_wall_ms(),
                                  .sha256 = o->patch_hash,
                                  .base_set_sha256 = o->base_set_hash,
                                  .set_sha256 = o->set_hash,
                                  .plan = ending->plan,
                                  .tensors = (const char *)o->tensors.data};
        if (ending->target >= 0)
            TRY(store_release_withdraw(store, ending->target, err));
        TRY(signer_add(ending->signer, store, &release, &ending->manifest, o->patch.data,
                       o->patch.len, err));
    }
    return store_round_finish(store, ending->id, ending->state, (const char *)ending->report.data,
                              ending->detail, version, err);
}

/* Ends a round well: release and row in one transaction, then the learner moves on. */
static enum status round_commit(struct rounds *rounds, int64_t id, int64_t target,
                                const struct outcome *outcome, struct err *err)
{
    struct ending ending = {.id = id,
                            .target = target,
                            .plan = rounds->config.plan,
                            .state = outcome->released ? "released" : "rejected",
                            .report.max = REPORT_MAX,
                            .outcome = outcome,
                            .signer = rounds->config.signer};
    enum status status = report_write(&outcome->report, rounds->live.losses, rounds->live.count,
                                      rounds->live.stride, &ending.report, err);
    if (outcome->released)
        outcome_manifest(outcome, learner_facts(rounds->config.learner), &ending.manifest);
    if (status == STATUS_OK)
        status = store_run(rounds->config.store, ending_run, &ending, err);
    buf_free(&ending.report);
    if (status == STATUS_OK)
        learner_adopt(rounds->config.learner, id, outcome);
    return status;
}

/* Sleeps, but wakes at once for a stop. True when stopping. */
static bool stop_wait(struct rounds *rounds, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&rounds->lock);
    while (!rounds->stopping && pthread_cond_timedwait(&rounds->wake, &rounds->lock, &until) == 0)
        ;
    bool stopping = rounds->stopping;
    pthread_mutex_unlock(&rounds->lock);
    return stopping;
}

/* Ends a round that came to nothing, until the store takes it (a full disk may get room again). */
static void round_fail(struct rounds *rounds, int64_t id, bool cancelled, double seconds,
                       const struct err *why)
{
    struct err err;
    struct ending ending = {.id = id,
                            .state = cancelled ? "cancelled" : "failed",
                            .detail = cancelled ? NULL : why->text};
    struct log_record record;
    log_begin(&record, cancelled ? LOG_INFO : LOG_WARN, "rounds", ending.state);
    log_int(&record, "round", id);
    log_string(&record, "why", why->text);
    log_end(&record);
    while (store_run(rounds->config.store, ending_run, &ending, &err) != STATUS_OK) {
        log_line(LOG_ERROR, "rounds", "round %lld cannot be ended: %s", (long long)id, err.text);
        if (stop_wait(rounds, RETRY_MS))
            return;
    }
    metrics_round(rounds->config.metrics, ending.state, seconds);
    state_publish(rounds, id, ending.state);
}

/* What a round is to do. */
struct order {
    struct buf settings;
    int64_t target;
};

static bool order_take(void *ctx, const struct round *round)
{
    struct order *order = ctx;
    order->target = round->target;
    return buf_append(&order->settings, round->settings, strlen(round->settings)) == STATUS_OK;
}

static enum status order_load(struct store *store, int64_t id, struct settings *settings,
                              int64_t *target, struct err *err)
{
    struct order order = {.settings.max = SETTINGS_MAX};
    enum status status = store_round(store, id, order_take, &order, err);
    if (status == STATUS_OK)
        status = settings_parse(order.settings.data, order.settings.len, settings, err);
    *target = order.target;
    buf_free(&order.settings);
    return status;
}

/* An upload's way into a round: what leads a search from one to the other. */
static bool upload_tell(void *ctx, const struct upload *upload)
{
    struct log_record record;
    (void)ctx;
    log_begin(&record, LOG_INFO, "rounds", "learning from");
    log_int(&record, "upload", upload->id);
    log_string(&record, "device", upload->device);
    log_int(&record, "round", upload->round);
    log_end(&record);
    return true;
}

/* target: of a rollback, else -1. */
static void outcome_tell(struct rounds *rounds, int64_t id, int64_t target,
                         const struct outcome *outcome)
{
    struct log_record record;
    const char *state = outcome->released ? "released" : "rejected";
    log_begin(&record, LOG_INFO, "rounds", outcome->released ? "released" : "rejected by the gate");
    log_int(&record, "round", id);
    log_int(&record, "instances", outcome->report.instances);
    log_number(&record, "seconds", outcome->report.seconds);
    if (target >= 0)
        log_int(&record, "as version", target);
    if (outcome->released) {
        log_int(&record, "version", outcome->version);
        log_int(&record, "size", (int64_t)outcome->patch.len);
        log_string(&record, "sha256", outcome->patch_hash);
    }
    log_end(&record);
    metrics_round(rounds->config.metrics, state, outcome->report.seconds);
    state_publish(rounds, id, state);
    if (outcome->released)
        events_publish(rounds->config.events, EVENT_RELEASE,
                       "{\"version\":%lld,\"round\":%lld,\"size\":%zu,\"sha256\":\"%s\"}",
                       (long long)outcome->version, (long long)id, outcome->patch.len,
                       outcome->patch_hash);
}

static enum status round_try(struct rounds *rounds, int64_t id, struct err *err)
{
    struct store *store = rounds->config.store;
    struct learner *learner = rounds->config.learner;
    struct settings settings;
    struct outcome outcome;
    struct learner_hooks hooks = {&rounds->cancel, on_progress, rounds};
    int64_t target = -1;
    TRY(store_run(store, start_run, &id, err));
    state_publish(rounds, id, "running");
    TRY(store_round_uploads(store, id, upload_tell, NULL, err));
    TRY(order_load(store, id, &settings, &target, err));
    enum status status = target >= 0
                             ? learner_rollback(learner, store, target, &outcome, err)
                             : learner_round(learner, store, id, &settings, &hooks, &outcome, err);
    if (status == STATUS_OK)
        status = round_commit(rounds, id, target, &outcome, err);
    if (status == STATUS_OK)
        outcome_tell(rounds, id, target, &outcome);
    outcome_free(&outcome);
    return status;
}

static void round_execute(struct rounds *rounds, int64_t id)
{
    struct err err = {0}, problem;
    int64_t start = clock_monotonic_ms();
    log_line(LOG_INFO, "rounds", "round %lld begins", (long long)id);
    enum status status = round_try(rounds, id, &err);
    if (status == STATUS_OK) {
        rounds->config.on_release(rounds->config.ctx);
        return;
    }
    pthread_mutex_lock(&rounds->lock);
    bool cancelled = rounds->cancelled, stopping = rounds->stopping;
    pthread_mutex_unlock(&rounds->lock);
    if (learner_restore(rounds->config.learner, rounds->config.store, &problem) != STATUS_OK)
        log_line(LOG_ERROR, "rounds", "cannot go back to the last version: %s", problem.text);
    if (status == STATUS_CANCELLED && stopping && !cancelled)
        log_line(LOG_INFO, "rounds", "round %lld will be run again at the next start",
                 (long long)id);
    else
        round_fail(rounds, id, status == STATUS_CANCELLED && cancelled,
                   (double)(clock_monotonic_ms() - start) / 1e3, &err);
}

/* ---- what starts one by itself ---- */

struct creation {
    const char *cause;
    const char *settings;
    int64_t id;
};

static enum status creation_run(struct store *store, void *ctx, struct err *err)
{
    struct creation *creation = ctx;
    return store_round_create(store, creation->cause, creation->settings, &creation->id, err);
}

static void round_create(struct rounds *rounds, const char *cause)
{
    struct err err;
    struct settings settings = settings_defaults();
    struct buf text = {.max = SETTINGS_MAX};
    struct creation creation = {.cause = cause};
    if (rounds_reserve(rounds, &err) != STATUS_OK)
        return;
    enum status status = settings_write(&settings, &text, &err);
    creation.settings = (const char *)text.data;
    if (status == STATUS_OK)
        status = store_run(rounds->config.store, creation_run, &creation, &err);
    buf_free(&text);
    if (status == STATUS_OK) {
        rounds_begin(rounds, creation.id);
        return;
    }
    log_line(LOG_WARN, "rounds", "no round by %s: %s", cause, err.text);
    rounds_unreserve(rounds);
}

/* Not again for uploads that a cancelled round gave back: someone did not want them learnt now. */
static void triggers_check(struct rounds *rounds)
{
    const struct rounds_config *config = &rounds->config;
    struct store_totals totals;
    struct err err;
    if (!config->upload_instances && !config->every_s)
        return;
    if (store_totals(config->store, &totals, &err) != STATUS_OK) {
        log_line(LOG_WARN, "rounds", "%s", err.text);
        return;
    }
    if (totals.new_instances == 0 || totals.new_last <= rounds->seen_upload)
        return;
    bool enough = config->upload_instances && totals.new_instances >= config->upload_instances;
    bool late = config->every_s && clock_monotonic_ms() - rounds->last_ms >= config->every_s * 1000;
    if (!enough && !late)
        return;
    rounds->seen_upload = totals.new_last;
    round_create(rounds, enough ? "count" : "time");
}

/* ---- the worker ---- */

/* Waits for a round, an upload or the clock; the id to run or 0. *stop: time to end. */
static int64_t worker_wait(struct rounds *rounds, bool *stop)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CHECK_MS / 1000;
    pthread_mutex_lock(&rounds->lock);
    while (!rounds->stopping && !rounds->id && !rounds->uploaded)
        if (pthread_cond_timedwait(&rounds->wake, &rounds->lock, &until) != 0)
            break;
    rounds->uploaded = false;
    *stop = rounds->stopping;
    int64_t id = rounds->id;
    pthread_mutex_unlock(&rounds->lock);
    return id;
}

static void *worker_main(void *arg)
{
    struct rounds *rounds = arg;
    for (bool stop = false;;) {
        int64_t id = worker_wait(rounds, &stop);
        if (stop)
            return NULL;
        if (!id) {
            triggers_check(rounds);
            continue;
        }
        round_execute(rounds, id);
        pthread_mutex_lock(&rounds->lock);
        rounds->id = 0;
        rounds->uploaded = true;
        pthread_mutex_unlock(&rounds->lock);
    }
}

static bool open_take(void *ctx, const struct round *round)
{
    *(int64_t *)ctx = round->id;
    return true;
}

enum status rounds_run(struct rounds *rounds, struct err *err)
{
    int64_t open = 0;
    enum status status = store_round_open(rounds->config.store, open_take, &open, err);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    if (open)
        rounds_begin(rounds, open);
    rounds->started = pthread_create(&rounds->thread, NULL, worker_main, rounds) == 0;
    return rounds->started ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
}

void rounds_halt(struct rounds *rounds)
{
    pthread_mutex_lock(&rounds->lock);
    rounds->stopping = true;
    __atomic_store_n(&rounds->cancel, 1, __ATOMIC_RELAXED);
    pthread_cond_signal(&rounds->wake);
    pthread_mutex_unlock(&rounds->lock);
}

void rounds_stop(struct rounds *rounds)
{
    rounds_halt(rounds);
    if (rounds->started)
        pthread_join(rounds->thread, NULL);
    rounds->started = false;
}
