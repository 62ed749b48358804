/* The uploader thread; see uplink.h. An upload leaves the spool only after 200 or 201; 4xx sets it
 * aside with the reason, but 401 and 403 are about the device and not the upload; they, and
 * anything else, are tried again with backoff. */
#include "client/uplink.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/limits.h"
#include "client/away.h"
#include "client/cloud.h"
#include "client/stop.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UPLINK_IDLE_MS = 500, UPLINK_STEP_MS = 20 };

struct uplink {
    struct cloud *cloud;
    struct spool *spool;
    struct meter *meter;
    struct board *board;
    struct away away;
    struct buf body;
    atomic_bool ending;
    atomic_bool busy;   /* between taking an upload and having counted it */
    atomic_int waiting; /* for the spool to be empty: how many callers */
    size_t piled;       /* uploads that piled up while the cloud was away and are not sent yet */
    pthread_t thread;
};

static bool uplink_ending(const struct uplink *u)
{
    return atomic_load(&u->ending) || stop_requested();
}

/* Counters after an attempt; item NULL: not acknowledged. */
static void uplink_count(struct uplink *u, const struct spool_item *item, int64_t sent)
{
    struct err unsaved = {0};
    struct spool_counts counts;
    spool_count(u->spool, &counts);
    struct board_fields *f = board_lock(u->board);
    f->sent_bytes += sent;
    if (item) {
        f->uploads++;
        f->uploaded += item->facts.instances;
        f->uplink_bytes += (int64_t)item->size;
    }
    f->spool_files = (int64_t)counts.files;
    f->spool_bytes = (int64_t)counts.bytes;
    if (board_commit(u->board, &unsaved) != STATUS_OK)
        log_line(LOG_WARN, "uplink", "%s", unsaved.text);
}

/* Refused for good. */
static enum status uplink_reject(struct uplink *u, const struct spool_item *item,
                                 const struct err *why, struct err *err)
{
    char text[sizeof why->text + 80];
    snprintf(text, sizeof text, "an upload of %" PRIu32 " instances was refused: %s",
             item->facts.instances, why->text);
    board_note_error(u->board, "uplink", text);
    TRY(spool_reject(u->spool, item, why->text, err));
    struct board_fields *f = board_lock(u->board);
    f->rejected += item->facts.instances;
    board_unlock(u->board);
    return STATUS_OK;
}

/* Sends what the budget was asked for; what does not go out is given back. */
static enum status uplink_send(struct uplink *u, const struct spool_item *item, int64_t *sent,
                               struct err *err)
{
    *sent = 0;
    TRY(meter_take(u->meter, item->size, err));
    enum status status = cloud_upload(u->cloud, u->body.data, u->body.len, &item->hash, sent, err);
    if (*sent >= 0 && (uint64_t)*sent < item->size)
        meter_give_back(u->meter, item->size - (uint64_t)*sent);
    return status;
}

/* The oldest upload that today's budget allows, once. NOT_FOUND: nothing to do. */
static enum status uplink_step(struct uplink *u, struct err *err)
{
    struct spool_item item;
    struct err problem = {0};
    int64_t sent = 0;
    TRY(spool_first(u->spool, meter_left(u->meter), &item, &u->body, err));
    enum status status = uplink_send(u, &item, &sent, &problem);
    if (status == STATUS_OK)
        status = spool_done(u->spool, &item, &problem);
    bool acknowledged = status == STATUS_OK;
    if (status == STATUS_REFUSED || status == STATUS_CONFLICT || status == STATUS_NOT_FOUND)
        status = uplink_reject(u, &item, &problem, &problem);
    uplink_count(u, acknowledged ? &item : NULL, sent);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "%s", problem.text);
}

/* After an upload: a fleet whose cloud comes back does not send at once all that has piled up,
 * unless somebody waits for it. What is made from then on is not held up for longer than that. */
static void uplink_pace(struct uplink *u, bool was_away)
{
    int64_t until = clock_monotonic_ms() + BACKOFF_PACE_MS;
    struct spool_counts counts;
    if (was_away) {
        spool_count(u->spool, &counts);
        u->piled = counts.files;
    } else if (u->piled > 0) {
        u->piled--;
    }
    while (u->piled > 0 && !uplink_ending(u) && !atomic_load(&u->waiting) &&
           clock_monotonic_ms() < until)
        stop_sleep_ms(UPLINK_STEP_MS);
}

static void *uplink_run(void *ctx)
{
    struct uplink *u = ctx;
    while (!uplink_ending(u)) {
        struct err err = {0};
        meter_tick(u->meter);
        spool_expire(u->spool);
        if (!spool_wait(u->spool, meter_left(u->meter), UPLINK_IDLE_MS)) {
            u->piled = 0;
            continue;
        }
        atomic_store(&u->busy, true);
        enum status status = uplink_step(u, &err);
        atomic_store(&u->busy, false);
        if (status == STATUS_OK)
            uplink_pace(u, away_back(&u->away));
        else if (status != STATUS_NOT_FOUND && status != STATUS_CANCELLED)
            away_wait(&u->away, &err, cloud_retry_after_ms(u->cloud), &u->ending);
    }
    return NULL;
}

enum status uplink_start(const struct cloud_config *cloud, struct spool *spool, struct meter *meter,
                         struct board *board, struct uplink **out, struct err *err)
{
    struct uplink *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the uploader");
    u->spool = spool;
    u->meter = meter;
    u->board = board;
    u->body.max = LIMIT_UPLOAD_BYTES;
    away_init(&u->away, board, "uplink", cloud->token_file);
    enum status status = cloud_create(cloud, &u->cloud, err);
    if (status == STATUS_OK)
        cloud_end_when(u->cloud, &u->ending);
    if (status == STATUS_OK && pthread_create(&u->thread, NULL, uplink_run, u) != 0)
        status = err_set(err, STATUS_NO_MEMORY, "cannot start the uploader's thread");
    if (status != STATUS_OK) {
        cloud_destroy(u->cloud);
        free(u);
        return status;
    }
    *out = u;
    return STATUS_OK;
}

bool uplink_drain(struct uplink *u, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    bool empty;
    atomic_fetch_add(&u->waiting, 1);
    do /* the spool before busy: an upload leaves the spool while busy */
        empty = !spool_wait(u->spool, meter_left(u->meter), 0) && !atomic_load(&u->busy);
    while (!empty && clock_monotonic_ms() < until && !stop_sleep_ms(UPLINK_STEP_MS));
    atomic_fetch_sub(&u->waiting, 1);
    return empty;
}

void uplink_stop(struct uplink *u)
{
    if (!u)
        return;
    atomic_store(&u->ending, true);
    spool_wake(u->spool);
    pthread_join(u->thread, NULL);
    cloud_destroy(u->cloud);
    buf_free(&u->body);
    free(u);
}
