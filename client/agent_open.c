/* Starting and ending the agent: folders, lock, device name, parts and threads. See agent_state.h.
 */
#include "api/base/clock.h"
#include "api/base/hash.h"
#include "api/base/log.h"
#include "client/agent_state.h"
#include "client/identity.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- where the agent stands ---- */

bool agent_has_segments(const struct agent *a)
{
    return a->options.lockstep || strcmp(a->options.source, "world:drift") == 0;
}

int64_t agent_seen(struct agent *a)
{
    int64_t closed = board_lock(&a->board)->seen;
    board_unlock(&a->board);
    return closed + window_count(a->window) + a->open.skipped;
}

enum status agent_open_segment(struct agent *a, struct err *err)
{
    char spec[PATH_MAX];
    snprintf(spec, sizeof spec, "%s", a->options.source);
    if (strcmp(a->options.source, "world:drift") == 0)
        snprintf(spec, sizeof spec, "world:drift:%" PRId64, agent_seen(a) / a->options.segment);
    else if (a->stream)
        return STATUS_OK;
    if (a->stream)
        stream_close(a->stream);
    a->stream = NULL;
    TRY(stream_open(a->io, spec, a->side, (uint64_t)a->options.seed, &a->stream, err));
    return stream_seek(a->stream, (uint64_t)a->position, err);
}

void agent_note_version(struct agent *a)
{
    struct slots_info info;
    slots_info(a->slots, &info);
    struct board_fields *f = board_lock(&a->board);
    f->version = info.version;
    f->parameters = info.parameters;
    hash_hex(&info.hash, f->sha256);
    board_unlock(&a->board);
}

/* ---- folder, lock, cloud ---- */

static enum status agent_lock(struct agent *a, struct err *err)
{
    char path[PATH_MAX];
    TRY(io_make_dirs(a->io, a->options.data_dir, err));
    TRY(io_join(path, sizeof path, a->options.data_dir, "lock", err));
    a->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (a->lock_fd < 0)
        return io_error(err, "open", path, errno);
    if (flock(a->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, STATUS_BUSY,
                       "%s is in use by another cdcca-edge; another --data is right",
                       a->options.data_dir);
    return STATUS_OK;
}

/* How the threads reach the cloud; the strings live as long as the agent. */
static enum status agent_reach(struct agent *a, struct err *err)
{
    const struct agent_options *o = &a->options;
    TRY(identity_name(a->io, o->data_dir, o->device, a->device, err));
    TRY(io_join(a->token_file, sizeof a->token_file, o->data_dir, "token", err));
    a->reach = (struct cloud_config){.url = o->cloud_url,
                                     .device = a->device,
                                     .token_file = o->token_file ? o->token_file : a->token_file,
                                     .ca_file = o->ca_file};
    return STATUS_OK;
}

static enum status agent_check_id(const char *what, const char *id, struct err *err)
{
    size_t len =
        id ? strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") : 1;
    if (len >= 1 && len <= LIMIT_ID && (!id || id[len] == '\0'))
        return STATUS_OK;
    return err_set(err, STATUS_USAGE, "%s '%.80s': 1 to %d of A-Z a-z 0-9 . _ - are right", what,
                   id, LIMIT_ID);
}

static enum status agent_check_options(const struct agent_options *o, struct err *err)
{
    TRY(agent_check_id("class", o->device_class, err));
    TRY(agent_check_id("channel", o->channel, err));
    TRY(agent_check_id("device id", o->device, err));
    if (o->daily_bytes && o->daily_bytes < AGENT_DAILY_BYTES)
        return err_set(err, STATUS_USAGE,
                       "--uplink-bytes-per-day %" PRId64 " is less than an upload may need; %d or "
                       "more is right (0: no limit)",
                       o->daily_bytes, AGENT_DAILY_BYTES);
    return STATUS_OK;
}

/* ---- parts ---- */

static enum status agent_open_model(struct agent *a, struct err *err)
{
    struct mllm *m;
    TRY(infer_load(a->options.model_dir, &m, err));
    a->side = m->config.vision.image;
    a->image_bytes = (size_t)a->side * (size_t)a->side * 3;
    TRY(slots_open(a->io, a->options.data_dir, m, true, &a->slots, err));
    a->rgb = malloc(INFER_BATCH * a->image_bytes);
    if (!a->rgb)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d images", INFER_BATCH);
    return STATUS_OK;
}

static enum status agent_open_window(struct agent *a, struct err *err)
{
    int64_t version;
    struct mllm *m = slots_acquire(a->slots, &version);
    struct window_options options = {.capacity = (int)a->options.window,
                                     .budget = a->options.budget,
                                     .pool_factor = 3,
                                     .bits = (int)a->options.bits,
                                     .seed = (uint64_t)a->options.seed,
                                     .device = a->device,
                                     .upload_bytes = (size_t)a->options.daily_bytes / 4,
                                     .uts = uts_defaults()};
    int tokens = infer_tokens(m), width = infer_width(m);
    mllm_release(m);
    options.uts.keep = a->options.keep < tokens ? (int)a->options.keep : tokens;
    return window_create(&options, tokens, width, &a->window, err);
}

static enum status agent_open_board(struct agent *a, struct err *err)
{
    TRY(board_open(a->io, a->options.data_dir, &a->board, err));
    struct board_fields *f = board_lock(&a->board);
    if (f->seen && strcmp(f->source, a->options.source) != 0) {
        log_line(LOG_WARN, "agent", "the source was %s; the new one starts at its beginning",
                 f->source);
        f->position = 0;
    }
    a->position = f->position;
    snprintf(f->device, sizeof f->device, "%s", a->device);
    snprintf(f->source, sizeof f->source, "%s", a->options.source);
    snprintf(f->state, sizeof f->state, "running");
    board_unlock(&a->board);
    agent_note_version(a);
    board_lock(&a->board);
    return board_commit(&a->board, err);
}

static enum status agent_open_links(struct agent *a, struct err *err)
{
    TRY(uplink_start(&a->reach, a->spool, a->meter, &a->board, &a->uplink, err));
    struct downlink_options options = {.cloud = &a->reach,
                                       .data_dir = a->options.data_dir,
                                       .model_dir = a->options.model_dir,
                                       .trust = a->options.trust,
                                       .poll_s = (int)a->options.poll_s};
    return downlink_start(a->io, &options, a->slots, a->reports, &a->board, &a->downlink, err);
}

/* Uploads of a window that the notebook knows as closed are free to go; of others, answered again,
 * none must be left. */
static enum status agent_open_spool(struct agent *a, struct err *err)
{
    char path[PATH_MAX];
    struct board_fields fields;
    TRY(meter_open(a->io, a->options.data_dir, meter_real_clock(), (uint64_t)a->options.daily_bytes,
                   &a->meter, err));
    const struct spool_options options = {
        .max_bytes = (uint64_t)a->options.spool_bytes,
        .max_age_s = (a->options.spool_days ? a->options.spool_days : SPOOL_DAYS) * METER_DAY_S,
        .meter = a->meter};
    TRY(io_join(path, sizeof path, a->options.data_dir, "spool", err));
    TRY(spool_open(a->io, path, &options, &a->spool, err));
    board_read_fields(&a->board, &fields);
    TRY(spool_release(a->spool, (uint64_t)fields.windows, err));
    spool_discard(a->spool, (uint64_t)fields.windows);
    return STATUS_OK;
}

/* What a new version has to pass, and who hears of it. */
static enum status agent_open_watch(struct agent *a, struct err *err)
{
    int64_t version;
    const char *data_dir = a->options.data_dir;
    const struct reports_options options = {.data_dir = data_dir,
                                            .device = a->device,
                                            .device_class = a->options.device_class,
                                            .channel = a->options.channel};
    struct mllm *m = slots_acquire(a->slots, &version);
    enum status status = replay_open(a->io, data_dir, a->device, m, &a->replay, err);
    mllm_release(m);
    TRY(status);
    slots_set_selftest(a->slots, a->replay,
                       a->options.agreement > 0 ? a->options.agreement : SELFTEST_SHARE);
    TRY(probation_open(a->io, data_dir, &a->probation, err));
    TRY(reports_open(a->io, &options, &a->reports, err));
    reports_add_untold(a->reports, a->slots, NULL);
    return STATUS_OK;
}

static enum status agent_open_parts(struct agent *a, struct err *err)
{
    TRY(agent_check_options(&a->options, err));
    TRY(agent_lock(a, err));
    TRY(agent_reach(a, err));
    TRY(agent_open_model(a, err));
    TRY(agent_open_window(a, err));
    TRY(agent_open_board(a, err));
    TRY(agent_open_spool(a, err));
    TRY(agent_open_watch(a, err));
    TRY(pool_create((int)a->options.threads, &a->pool, err));
    if (a->options.lockstep)
        TRY(cloud_create(&a->reach, &a->cloud, err));
    return a->options.cloud_url ? agent_open_links(a, err) : STATUS_OK;
}

enum status agent_open(const struct agent_options *options, struct agent **out, struct err *err)
{
    struct agent *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the agent");
    a->options = *options;
    a->io = io_posix();
    a->lock_fd = -1;
    a->jpeg.max = LIMIT_IMAGE_BYTES;
    a->round_started_ms = clock_monotonic_ms();
    enum status status = notify_init(&a->notify, err);
    if (status == STATUS_OK)
        status = agent_open_parts(a, err);
    if (status != STATUS_OK) {
        agent_close(a);
        return status;
    }
    struct slots_info info;
    slots_info(a->slots, &info);
    log_line(LOG_INFO, "agent", "%s answers %s from sample %" PRId64 " with version %" PRId64,
             a->device, options->source, a->position, info.version);
    *out = a;
    return STATUS_OK;
}

static void agent_last_words(struct agent *a)
{
    struct err err = {0};
    struct board_fields *f = board_lock(&a->board);
    snprintf(f->state, sizeof f->state, "stopped");
    if (board_commit(&a->board, &err) != STATUS_OK)
        log_line(LOG_WARN, "agent", "%s", err.text);
    board_close(&a->board);
}

void agent_close(struct agent *a)
{
    uplink_stop(a->uplink);
    downlink_stop(a->downlink);
    if (a->board.io)
        agent_last_words(a);
    cloud_destroy(a->cloud);
    if (a->stream)
        stream_close(a->stream);
    pool_destroy(a->pool);
    window_destroy(a->window);
    spool_close(a->spool);
    meter_close(a->meter);
    reports_close(a->reports);
    probation_close(a->probation);
    slots_close(a->slots);
    replay_close(a->replay);
    buf_free(&a->jpeg);
    free(a->rgb);
    if (a->lock_fd >= 0)
        close(a->lock_fd);
    free(a);
}
