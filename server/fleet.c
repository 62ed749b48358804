/* See fleet.h. */
#include "server/fleet.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_S = 1, CHORES_MS = 30000, BATCH = 32, TOUCH_MS = 60000 };

struct fleet {
    struct fleet_config config;
    pthread_t thread;
    bool started;
    int64_t chores_ms;    /* when the chores were last done, monotonic; 0: not yet */
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    bool stopping, woken;
};

/* ---- who may take what ---- */

int64_t fleet_silent_before(const struct fleet *fleet)
{
    return store_uptime_ms(fleet->config.store) - fleet->config.silent_ms;
}

int64_t fleet_seen_after(const struct fleet *fleet)
{
    int64_t touch = fleet->config.silent_ms / 4;
    return store_uptime_ms(fleet->config.store) - (touch < TOUCH_MS ? touch : TOUCH_MS);
}

/* A rolling release, as far as it matters here. */
struct rolling {
    struct rollout_plan plan;
    struct rollout_now now;
    int64_t version, stage_at;
    enum status status;
};

static bool rolling_take(void *ctx, const struct release *release)
{
    struct rolling *out = ctx;
    out->status = rollout_plan_parse(release->plan, &out->plan, NULL);
    out->version = release->version;
    out->stage_at = release->stage_at;
    out->now.state = ROLLOUT_ROLLING;
    out->now.stage = (int)release->stage;
    return false;
}

/* version 0: none is rolling. */
static enum status rolling_read(const struct fleet *fleet, struct rolling *out, struct err *err)
{
    *out = (struct rolling){0};
    enum status status =
        store_release_in_state(fleet->config.store, ROLLOUT_ROLLING, rolling_take, out, err);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    out->now.in_stage_ms = store_uptime_ms(fleet->config.store) - out->stage_at;
    if (out->status != STATUS_OK)
        return err_set(err, STATUS_CORRUPT, "the rollout of release %lld cannot be read",
                       (long long)out->version);
    return STATUS_OK;
}

static bool version_take(void *ctx, const struct release *release)
{
    *(int64_t *)ctx = release->version;
    return false;
}

static bool rolling_reaches(const struct rolling *rolling, const char *id, const char *channel)
{
    if (rolling->version == 0)
        return false;
    if (!id)
        return rolling->now.stage >= rolling->plan.count - 1;
    return rollout_reaches(&rolling->plan, rolling->now.stage, rolling->version, id, channel);
}

enum status fleet_target(const struct fleet *fleet, const char *id, const char *channel,
                         int64_t *version, struct err *err)
{
    struct rolling rolling;
    int64_t complete = 0;
    TRY(rolling_read(fleet, &rolling, err));
    enum status status =
        store_release_in_state(fleet->config.store, ROLLOUT_COMPLETE, version_take, &complete, err);
    if (status != STATUS_NOT_FOUND)
        TRY(status);
    bool reached = rolling.version > complete && rolling_reaches(&rolling, id, channel);
    *version = reached ? rolling.version : complete;
    return STATUS_OK;
}

enum status fleet_counts(const struct fleet *fleet, const struct release *release,
                         struct rollout_counts *out, struct err *err)
{
    if (release->offered > 0) {
        *out = (struct rollout_counts){
            .offered = release->offered, .applied = release->applied, .failed = release->failed};
        return STATUS_OK;
    }
    return store_release_counts(fleet->config.store, release->version, fleet_silent_before(fleet),
                                out, err);
}

/* ---- moving a rollout along ---- */

struct reach {
    const struct rolling *rolling;
    int64_t devices;
};

static bool reach_count(void *ctx, const struct device *device)
{
    struct reach *reach = ctx;
    reach->devices += rolling_reaches(reach->rolling, device->id, device->channel);
    return true;
}

static enum status counts_read(struct fleet *fleet, const struct rolling *rolling,
                               struct rollout_counts *out, struct err *err)
{
    struct reach reach = {.rolling = rolling};
    int64_t silent_before = fleet_silent_before(fleet);
    TRY(store_release_counts(fleet->config.store, rolling->version, silent_before, out, err));
    TRY(store_devices_live(fleet->config.store, silent_before, reach_count, &reach, err));
    out->reached = reach.devices;
    return STATUS_OK;
}

struct stepping {
    int64_t version;
    struct rollout_step step;
};

static enum status stepping_run(struct store *store, void *ctx, struct err *err)
{
    struct stepping *stepping = ctx;
    return store_release_step(store, stepping->version, &stepping->step, err);
}

/* One decision; *moved: it changed something, so that there may be another to make. */
static enum status rollout_tick(struct fleet *fleet, bool *moved, struct err *err)
{
    struct rolling rolling;
    struct rollout_counts counts;
    *moved = false;
    TRY(rolling_read(fleet, &rolling, err));
    if (rolling.version == 0)
        return STATUS_OK;
    struct stepping stepping = {.version = rolling.version};
    TRY(counts_read(fleet, &rolling, &counts, err));
    rollout_decide(&rolling.plan, &rolling.now, &counts, &stepping.step);
    if (stepping.step.state == rolling.now.state && stepping.step.stage == rolling.now.stage)
        return STATUS_OK;
    TRY(store_run(fleet->config.store, stepping_run, &stepping, err));
    log_line(stepping.step.state == ROLLOUT_HALTED ? LOG_WARN : LOG_INFO, "fleet",
             "release %lld is %s, stage %d of %d; %lld of %lld devices have applied it%s%s",
             (long long)rolling.version, rollout_state_name(stepping.step.state),
             stepping.step.stage + 1, rolling.plan.count, (long long)counts.applied,
             (long long)counts.offered, stepping.step.reason[0] ? "; " : "", stepping.step.reason);
    events_publish(fleet->config.events, EVENT_RELEASE,
                   "{\"version\":%lld,\"state\":\"%s\",\"stage\":%d}", (long long)rolling.version,
                   rollout_state_name(stepping.step.state), stepping.step.stage + 1);
    *moved = true;
    fleet->config.on_change(fleet->config.ctx);
    return STATUS_OK;
}

/* ---- chores ---- */

struct expiry {
    int64_t before_ms, deleted;
};

static enum status expiry_run(struct store *store, void *ctx, struct err *err)
{
    struct expiry *expiry = ctx;
    return store_uploads_expire(store, expiry->before_ms, BATCH, &expiry->deleted, err);
}

static enum status uptime_run(struct store *store, void *ctx, struct err *err)
{
    (void)ctx;
    return store_uptime_keep(store, err);
}

static bool fleet_stopping(struct fleet *fleet)
{
    pthread_mutex_lock(&fleet->lock);
    bool stopping = fleet->stopping;
    pthread_mutex_unlock(&fleet->lock);
    return stopping;
}

static enum status uploads_expire(struct fleet *fleet, struct err *err)
{
    struct expiry expiry = {.before_ms = clock_wall_ms() - fleet->config.retain_ms};
    int64_t total = 0;
    do {
        TRY(store_run(fleet->config.store, expiry_run, &expiry, err));
        total += expiry.deleted;
    } while (expiry.deleted > 0 && !fleet_stopping(fleet));
    if (total)
        log_line(LOG_INFO, "fleet", "%lld uploads were kept long enough and are removed",
                 (long long)total);
    return STATUS_OK;
}

static enum status chores_do(struct fleet *fleet, struct err *err)
{
    int64_t now = clock_monotonic_ms();
    bool first = fleet->chores_ms == 0;
    if (!first && now - fleet->chores_ms < CHORES_MS)
        return STATUS_OK;
    fleet->chores_ms = now;
    TRY(store_run(fleet->config.store, uptime_run, NULL, err));
    return fleet->config.retain_ms ? uploads_expire(fleet, err) : STATUS_OK;
}

/* ---- the thread ---- */

static void fleet_tick(struct fleet *fleet)
{
    struct err err = {0};
    bool moved = true;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && moved && !fleet_stopping(fleet))
        status = rollout_tick(fleet, &moved, &err);
    if (status == STATUS_OK)
        status = chores_do(fleet, &err);
    if (status != STATUS_OK)
        log_line(LOG_WARN, "fleet", "%s", err.text);
}

/* False when it is time to end. */
static bool fleet_wait(struct fleet *fleet)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TICK_S;
    pthread_mutex_lock(&fleet->lock);
    while (!fleet->stopping && !fleet->woken)
        if (pthread_cond_timedwait(&fleet->wake, &fleet->lock, &until) != 0)
            break;
    fleet->woken = false;
    bool stopping = fleet->stopping;
    pthread_mutex_unlock(&fleet->lock);
    return !stopping;
}

static void *fleet_main(void *arg)
{
    do
        fleet_tick(arg);
    while (fleet_wait(arg));
    return NULL;
}

enum status fleet_create(const struct fleet_config *config, struct fleet **out, struct err *err)
{
    struct fleet *fleet = calloc(1, sizeof *fleet);
    if (!fleet)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    fleet->config = *config;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&fleet->lock, NULL);
    pthread_cond_init(&fleet->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    *out = fleet;
    return STATUS_OK;
}

enum status fleet_run(struct fleet *fleet, struct err *err)
{
    fleet->started = pthread_create(&fleet->thread, NULL, fleet_main, fleet) == 0;
    return fleet->started ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
}

void fleet_wake(struct fleet *fleet)
{
    pthread_mutex_lock(&fleet->lock);
    fleet->woken = true;
    pthread_cond_signal(&fleet->wake);
    pthread_mutex_unlock(&fleet->lock);
}

void fleet_stop(struct fleet *fleet)
{
    pthread_mutex_lock(&fleet->lock);
    fleet->stopping = true;
    pthread_cond_signal(&fleet->wake);
    pthread_mutex_unlock(&fleet->lock);
    if (fleet->started)
        pthread_join(fleet->thread, NULL);
    fleet->started = false;
}

void fleet_destroy(struct fleet *fleet)
{
    if (!fleet)
        return;
    fleet_stop(fleet);
    pthread_cond_destroy(&fleet->wake);
    pthread_mutex_destroy(&fleet->lock);
    free(fleet);
}
