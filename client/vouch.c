/* See vouch.h. */
#include "client/vouch.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "model/mllm/fingerprint.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOUCH_CONFIRM_MS = 60 * 60 * 1000, VOUCH_AGAIN_MS = 60 * 1000 };

struct vouch {
    struct io *io;
    struct cloud *cloud;
    struct slots *slots;
    struct board *board;
    struct trust *trust;
    const char *model_dir;
    bool base_known; /* hashed at the first need, on the updater's thread */
    struct manifest_base base;
    bool behind_said;
    int64_t confirm_ms; /* monotonic: when to look again */
};

/* ---- life ---- */

static enum status trust_of(struct vouch *v, const struct vouch_options *options, struct err *err)
{
    char pinned[4096];
    struct trust_options trust = {.data_dir = options->data_dir, .root_file = options->trust};
    TRY(io_join(pinned, sizeof pinned, options->data_dir, "root.pub", err));
    if (!trust.root_file && io_exists(pinned))
        trust.root_file = pinned;
    trust.first_use = !trust.root_file && cloud_url_is_loopback(cloud_url(v->cloud));
    return trust_open(v->io, &trust, &v->trust, err);
}

enum status vouch_open(struct io *io, const struct vouch_options *options, struct vouch **out,
                       struct err *err)
{
    struct vouch *v = calloc(1, sizeof *v);
    if (!v)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the updater");
    v->io = io;
    v->cloud = options->cloud;
    v->slots = options->slots;
    v->board = options->board;
    v->model_dir = options->model_dir;
    enum status status = trust_of(v, options, err);
    if (status != STATUS_OK) {
        free(v);
        return status;
    }
    *out = v;
    return STATUS_OK;
}

void vouch_close(struct vouch *vouch)
{
    if (!vouch)
        return;
    trust_close(vouch->trust);
    free(vouch);
}

/* ---- what this device is ---- */

static enum status device_read(struct vouch *v, struct trust_device *out, struct err *err)
{
    struct slots_info info;
    int64_t version;
    if (!v->base_known) {
        TRY(fingerprint_read(v->io, v->model_dir, &v->base, err));
        struct mllm *m = slots_acquire(v->slots, &version);
        hash_hex(&m->encoder, v->base.encoder);
        mllm_release(m);
        v->base_known = true;
    }
    slots_info(v->slots, &info);
    *out = (struct trust_device){.base = &v->base, .version = info.version, .set = info.hash};
    return STATUS_OK;
}

/* ---- alarms ---- */

/* status, with content turned into REFUSED and an alarm; a good one ends it. */
static enum status alarm_set(struct vouch *v, enum status status, struct err *err)
{
    if (status == STATUS_OK)
        board_set_alarm(v->board, "trust", "");
    if (!status_is_content(status))
        return status;
    board_set_alarm(v->board, "trust", err->text);
    err->code = STATUS_REFUSED;
    return STATUS_REFUSED;
}

static int64_t wall_now(struct vouch *v)
{
    int64_t wall_ms = clock_wall_ms();
    bool behind = trust_clock_behind(v->trust, wall_ms);
    if (behind && !v->behind_said)
        log_line(LOG_WARN, "trust",
                 "this device's clock is behind signed times; expiry is held against those");
    v->behind_said = behind;
    return wall_ms;
}

/* ---- asking ---- */

static enum status keys_fetch(void *ctx, int64_t version, struct buf *out, struct err *err)
{
    return cloud_keys(ctx, version, out, err);
}

static enum status manifest_next(struct vouch *v, int64_t version, int64_t from,
                                 struct manifest *out, struct err *err)
{
    struct buf text = {0};
    struct trust_device device;
    TRY(device_read(v, &device, err));
    TRY(trust_renew(v->trust, keys_fetch, v->cloud, err));
    enum status status = cloud_manifest(v->cloud, version, from, &text, err);
    if (status == STATUS_OK)
        status = trust_accept(v->trust, text.data, text.len, &device, wall_now(v), out, err);
    if (status_is_content(status))
        err_prefix(err, "the manifest of version %" PRId64 " is not trusted", version);
    buf_free(&text);
    return status;
}

enum status vouch_next(struct vouch *vouch, int64_t version, int64_t from, struct manifest *out,
                       struct err *err)
{
    return alarm_set(vouch, manifest_next(vouch, version, from, out, err), err);
}

static enum status active_confirm(struct vouch *v, struct err *err)
{
    struct buf text = {0};
    struct trust_device device;
    TRY(device_read(v, &device, err));
    TRY(trust_renew(v->trust, keys_fetch, v->cloud, err));
    if (device.version == 0 && !trust_newest(v->trust, &device))
        return trust_fresh(v->trust, wall_now(v), err);
    enum status status = cloud_manifest(v->cloud, device.version, device.version - 1, &text, err);
    if (status == STATUS_OK)
        status = trust_confirm(v->trust, text.data, text.len, &device, wall_now(v), err);
    buf_free(&text);
    return status;
}

/* A cloud that does not answer is no alarm, unless what it said last has expired by now. */
void vouch_idle(struct vouch *vouch)
{
    struct err err = {0};
    if (clock_monotonic_ms() < vouch->confirm_ms)
        return;
    enum status status = active_confirm(vouch, &err);
    vouch->confirm_ms =
        clock_monotonic_ms() + (status == STATUS_OK ? VOUCH_CONFIRM_MS : VOUCH_AGAIN_MS);
    if (status != STATUS_OK && !status_is_content(status) &&
        trust_fresh(vouch->trust, wall_now(vouch), &err) != STATUS_OK)
        status = STATUS_REFUSED;
    alarm_set(vouch, status, &err);
}
