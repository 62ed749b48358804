/* The updater thread; see downlink.h. */
#include "client/downlink.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/limits.h"
#include "client/away.h"
#include "client/cloud.h"
#include "client/stop.h"
#include "client/vouch.h"
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DOWNLINK_STEP_MS = 50, DOWNLINK_IDLE_MS = 1000 };

struct downlink {
    struct io *io;
    struct cloud *cloud;
    struct slots *slots;
    struct reports *reports;
    struct board *board;
    struct vouch *vouch;
    struct away away;
    char incoming[PATH_MAX];
    bool squash; /* the next version is left alone: ask for one that passes over it */
    int poll_s;
    struct hash torn;      /* the patch whose transfer failed last, */
    int torn_count;        /* how often, */
    int64_t torn_until_ms; /* and until when it is left alone */
    atomic_bool ending;
    pthread_t thread;
};

static bool downlink_ending(const struct downlink *d)
{
    return atomic_load(&d->ending) || stop_requested();
}

static void downlink_sleep(const struct downlink *d, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    while (!downlink_ending(d) && clock_monotonic_ms() < until)
        clock_sleep_ms(DOWNLINK_STEP_MS);
}

/* ---- the patch on its way ---- */

/* Leftovers of other patches go; failures do not matter. */
static void downlink_sweep(const struct downlink *d, const char *keep)
{
    char path[PATH_MAX];
    DIR *dir = opendir(d->incoming);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, keep) != 0 &&
            io_join(path, sizeof path, d->incoming, entry->d_name, NULL) == STATUS_OK)
            d->io->unlink(d->io, path);
    closedir(dir);
}

/* Fetched, read once and checked: the very bytes in *patch are then applied. The file goes in any
 * case but that of a transfer that was cut, where the next try continues it. */
static enum status downlink_fetch(struct downlink *d, const struct manifest *manifest,
                                  struct buf *patch, struct err *err)
{
    const struct cloud_release release = {.version = manifest->version,
                                          .base_version = manifest->base_version,
                                          .size = manifest->size,
                                          .patch = manifest->patch};
    char hex[HASH_HEX], name[HASH_HEX + 8], path[PATH_MAX];
    int64_t received = 0;
    hash_hex(&manifest->patch, hex);
    snprintf(name, sizeof name, "%s.part", hex);
    TRY(io_join(path, sizeof path, d->incoming, name, err));
    downlink_sweep(d, name);
    enum status status = cloud_fetch(d->cloud, d->io, &release, path, &received, err);
    struct board_fields *f = board_lock(d->board);
    f->downlink_bytes += received;
    board_unlock(d->board);
    TRY(status);
    status = io_read_file(d->io, path, patch, err);
    if (status == STATUS_OK)
        status = manifest_check_patch(manifest, patch->data, patch->len, err);
    d->io->unlink(d->io, path);
    return status;
}

/* ---- what fails ---- */

static bool downlink_is_torn(const struct downlink *d, const struct hash *patch)
{
    return d->torn_count >= SLOTS_FAILURES_MAX && hash_equal(&d->torn, patch) &&
           clock_monotonic_ms() < d->torn_until_ms;
}

static void downlink_count_torn(struct downlink *d, const struct hash *patch)
{
    if (!hash_equal(&d->torn, patch) || d->torn_count >= SLOTS_FAILURES_MAX)
        d->torn_count = 0;
    d->torn = *patch;
    d->torn_count++;
    d->torn_until_ms = clock_monotonic_ms() + DOWNLINK_PAUSE_MS;
}

static void downlink_refuse(struct downlink *d, const struct cloud_release *release,
                            const struct err *why, const char *consequence)
{
    char text[sizeof why->text + 160];
    struct slots_info info;
    slots_info(d->slots, &info);
    snprintf(text, sizeof text, "version %" PRId64 " refused, version %" PRId64 " stays: %s%s",
             release->version, info.version, why->text, consequence);
    board_note_error(d->board, "downlink", text);
}

/* For the cloud. What cannot be kept is only logged: the update itself has been dealt with. */
static void downlink_tell(struct downlink *d, const struct report *report)
{
    struct err err = {0};
    if (reports_add(d->reports, report, &err) != STATUS_OK)
        log_line(LOG_WARN, "downlink", "%s", err.text);
}

/* ---- one update ---- */

static void downlink_note(struct downlink *d, const struct board_applied *applied)
{
    struct slots_info info;
    struct err unsaved = {0};
    slots_info(d->slots, &info);
    struct board_fields *f = board_lock(d->board);
    f->version = info.version;
    hash_hex(&info.hash, f->sha256);
    board_add_applied(f, applied);
    if (board_commit(d->board, &unsaved) != STATUS_OK)
        log_line(LOG_WARN, "downlink", "%s", unsaved.text);
}

static void downlink_report(struct downlink *d, const struct manifest *manifest,
                            const struct selftest_report *test, int64_t started_ms)
{
    struct slots_info info;
    slots_info(d->slots, &info);
    struct board_applied applied = {.version = manifest->version,
                                    .delta_bytes = manifest->size,
                                    .parameters = info.parameters,
                                    .seconds =
                                        (double)(clock_monotonic_ms() - started_ms) / 1000.0};
    const struct report report = {.version = manifest->version,
                                  .outcome = "applied",
                                  .self_test = test,
                                  .seconds = applied.seconds};
    downlink_note(d, &applied);
    downlink_tell(d, &report);
    slots_told(d->slots, manifest->version, SLOTS_APPLIED);
    log_line(LOG_INFO, "downlink",
             "version %" PRId64 " applied: %" PRId64 " bytes, %.2f bits a parameter, %.2f s; "
             "%d of %d golden and %d of %d replayed answers as before",
             applied.version, applied.delta_bytes,
             8.0 * (double)applied.delta_bytes / (double)applied.parameters, applied.seconds,
             test->golden_right, test->golden, test->replay_agreed, test->replay);
}

/* The list is a hint that nobody signed: what it said must be what was vouched for, or the patches
 * that are left alone could be renamed. */
static enum status downlink_check(const struct cloud_release *listed,
                                  const struct manifest *manifest, struct err *err)
{
    if (listed->version == manifest->version && listed->base_version == manifest->base_version &&
        listed->size == manifest->size && hash_equal(&listed->patch, &manifest->patch))
        return STATUS_OK;
    return err_set(err, STATUS_PEER,
                   "the manifest of version %" PRId64 " contradicts the list of releases",
                   listed->version);
}

/* How far an update came. */
enum downlink_stage {
    DOWNLINK_MANIFEST, /* it is not trusted yet */
    DOWNLINK_PATCH,    /* the bytes did not match yet */
    DOWNLINK_APPLY,
};

static enum status downlink_update(struct downlink *d, const struct cloud_release *listed,
                                   enum downlink_stage *stage, struct selftest_report *test,
                                   struct err *err)
{
    struct manifest manifest;
    int64_t started_ms = clock_monotonic_ms();
    *stage = DOWNLINK_MANIFEST;
    TRY(vouch_next(d->vouch, listed->version, listed->base_version, &manifest, err));
    TRY(downlink_check(listed, &manifest, err));
    *stage = DOWNLINK_PATCH;
    struct buf patch = {.max = (size_t)manifest.size};
    enum status status = downlink_fetch(d, &manifest, &patch, err);
    if (status == STATUS_OK) {
        *stage = DOWNLINK_APPLY;
        status = slots_apply(d->slots, patch.data, patch.len, test, err);
    }
    buf_free(&patch);
    if (status == STATUS_OK)
        downlink_report(d, &manifest, test, started_ms);
    return status;
}

/* A release is there: take it, or say why not. */
static void downlink_take(struct downlink *d, const struct cloud_release *release)
{
    struct err err = {0};
    struct selftest_report test = {.finite = false};
    enum downlink_stage stage;
    enum status status = downlink_update(d, release, &stage, &test, &err);
    if (status == STATUS_OK) {
        away_back(&d->away);
        d->squash = false;
    } else if (stage == DOWNLINK_MANIFEST && status == STATUS_REFUSED) {
        downlink_sleep(d, (int64_t)d->poll_s * 1000);
    } else if (stage == DOWNLINK_PATCH && status_is_content(status)) {
        downlink_count_torn(d, &release->patch);
        downlink_refuse(d, release, &err,
                        downlink_is_torn(d, &release->patch) ? "; left alone for 10 minutes" : "");
        downlink_sleep(d, DOWNLINK_IDLE_MS);
    } else if (status_is_content(status)) {
        bool blocked = slots_failed(d->slots, release->version, &release->patch);
        const struct report report = {.version = release->version,
                                      .outcome = "failed",
                                      .reason = err.text,
                                      .self_test = status == STATUS_REFUSED ? &test : NULL,
                                      .seconds = -1};
        downlink_tell(d, &report);
        downlink_refuse(d, release, &err,
                        blocked ? "; failed three times, left alone until another patch is offered"
                                : "");
        downlink_sleep(d, DOWNLINK_IDLE_MS);
    } else if (status != STATUS_CANCELLED) {
        away_wait(&d->away, &err, cloud_retry_after_ms(d->cloud), &d->ending);
    }
}

/* Asks once, waiting at the cloud; then whatever the answer calls for. What the reports cannot say
 * now they say before the next poll; that the cloud is away is found out by the poll itself. */
static void downlink_poll(struct downlink *d)
{
    struct err err = {0}, unsent = {0};
    struct slots_info info;
    struct cloud_release release;
    int64_t asked_ms = clock_monotonic_ms();
    if (reports_flush(d->reports, d->cloud, d->slots, &unsent) != STATUS_OK)
        log_line(LOG_DEBUG, "downlink", "reports wait: %s", unsent.text);
    slots_info(d->slots, &info);
    enum status status =
        cloud_next_release(d->cloud, info.version, d->squash, d->poll_s, &release, &err);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        away_back(&d->away);
    if (status == STATUS_NOT_FOUND) {
        vouch_idle(d->vouch);
        if (clock_monotonic_ms() - asked_ms < DOWNLINK_IDLE_MS)
            downlink_sleep(d, DOWNLINK_IDLE_MS);
    } else if (status == STATUS_CANCELLED) {
        return;
    } else if (status != STATUS_OK) {
        away_wait(&d->away, &err, cloud_retry_after_ms(d->cloud), &d->ending);
    } else if (slots_blocked(d->slots, release.version, &release.patch) ||
               downlink_is_torn(d, &release.patch)) {
        if (d->squash)
            downlink_sleep(d, (int64_t)d->poll_s * 1000);
        d->squash = true;
    } else {
        downlink_take(d, &release);
    }
}

static void *downlink_run(void *ctx)
{
    struct downlink *d = ctx;
    while (!downlink_ending(d))
        downlink_poll(d);
    return NULL;
}

/* ---- life ---- */

static enum status downlink_prepare(struct downlink *d, const struct downlink_options *options,
                                    struct err *err)
{
    TRY(io_join(d->incoming, sizeof d->incoming, options->data_dir, "incoming", err));
    TRY(io_make_dirs(d->io, d->incoming, err));
    TRY(cloud_create(options->cloud, &d->cloud, err));
    cloud_end_when(d->cloud, &d->ending);
    struct vouch_options vouch = {.data_dir = options->data_dir,
                                  .model_dir = options->model_dir,
                                  .trust = options->trust,
                                  .cloud = d->cloud,
                                  .slots = d->slots,
                                  .board = d->board};
    TRY(vouch_open(d->io, &vouch, &d->vouch, err));
    if (pthread_create(&d->thread, NULL, downlink_run, d) != 0)
        return err_set(err, STATUS_NO_MEMORY, "cannot start the updater's thread");
    return STATUS_OK;
}

enum status downlink_start(struct io *io, const struct downlink_options *options,
                           struct slots *slots, struct reports *reports, struct board *board,
                           struct downlink **out, struct err *err)
{
    struct downlink *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the updater");
    d->io = io;
    d->slots = slots;
    d->reports = reports;
    d->board = board;
    d->poll_s = options->poll_s;
    away_init(&d->away, board, "downlink", options->cloud->token_file);
    enum status status = downlink_prepare(d, options, err);
    if (status != STATUS_OK) {
        vouch_close(d->vouch);
        cloud_destroy(d->cloud);
        free(d);
        return status;
    }
    *out = d;
    return STATUS_OK;
}

void downlink_stop(struct downlink *d)
{
    if (!d)
        return;
    atomic_store(&d->ending, true);
    pthread_join(d->thread, NULL);
    vouch_close(d->vouch);
    cloud_destroy(d->cloud);
    free(d);
}

/* By the board, which is written last: who has waited finds the version's figures there. */
bool downlink_wait(struct downlink *d, int64_t version, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    for (;;) {
        int64_t now = board_lock(d->board)->version;
        board_unlock(d->board);
        if (now > version)
            return true;
        if (downlink_ending(d) || clock_monotonic_ms() >= until)
            return false;
        clock_sleep_ms(DOWNLINK_STEP_MS);
    }
}
