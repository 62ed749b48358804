/* What a simulated device does on the network, one exchange at a time, with the real cloud client:
 * says what it runs, sends uploads, asks for releases, fetches and applies one, says what came of
 * it. Manifests' signatures are left to real devices; sizes and hashes are checked. A cloud that
 * knows no devices (404) is not told about any. */
#include "api/base/clock.h"
#include "api/wire/json.h"
#include "client/sim_device.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIM_OVERHEAD = 400, SIM_BODY = 1024 }; /* bytes of headers of an exchange, about */

/* ---- how an exchange ended ---- */

static bool may_pass(enum status status)
{
    return status == STATUS_UNREACHABLE || status == STATUS_TIMEOUT || status == STATUS_BUSY ||
           status == STATUS_PEER || status == STATUS_IO || status == STATUS_NO_MEMORY;
}

static void count_error(struct sim_device *d, const struct err *why)
{
    pthread_mutex_lock(&d->lock);
    d->counts.errors++;
    snprintf(d->counts.last_error, SIM_ERROR, "%s: %.170s", d->id, why->text);
    pthread_mutex_unlock(&d->lock);
}

/* The link is busy with what travelled; after a failure that may pass, for longer. True: it went.
 */
static bool exchange_end(struct sim_device *d, enum status status, int64_t bytes,
                         const struct err *why)
{
    int64_t now_ms = clock_monotonic_ms();
    sim_link_use(&d->link, now_ms, bytes + SIM_OVERHEAD);
    if (may_pass(status)) {
        count_error(d, why);
        d->link.free_ms += backoff_next(&d->backoff, cloud_retry_after_ms(d->cloud));
        return false;
    }
    backoff_reset(&d->backoff);
    return status != STATUS_CANCELLED;
}

/* An attempt that the link swallows: nothing was sent, and it is tried again after a while. */
static bool exchange_lost(struct sim_device *d)
{
    bool lost = sim_link_loses(&d->link);
    pthread_mutex_lock(&d->lock);
    d->counts.attempts++;
    d->counts.lost += lost;
    pthread_mutex_unlock(&d->lock);
    if (lost) {
        sim_link_use(&d->link, clock_monotonic_ms(), SIM_OVERHEAD);
        d->link.free_ms += backoff_next(&d->backoff, 0);
    }
    return lost;
}

/* ---- what the cloud is told ---- */

static bool presence_json(struct sim_device *d, json *root)
{
    char hex[HASH_HEX];
    hash_hex(&d->runs.hash, hex);
    return root && json_set_string(root, "class", d->device_class) &&
           json_set_string(root, "channel", d->channel) &&
           json_set_int(root, "version", d->runs.version) &&
           json_set_string(root, "set_sha256", hex) &&
           json_set_string(root, "program", CDCCA_VERSION);
}

static bool outcome_json(const struct sim_device *d, json *root)
{
    return root && json_set_int(root, "version", d->outcome_version) &&
           json_set_string(root, "outcome", d->outcome) &&
           (!d->why.text[0] || json_set_string(root, "reason", d->why.text)) &&
           json_set_number(root, "seconds", d->outcome_s);
}

static void tell(struct sim_device *d, bool outcome)
{
    struct err err = {0};
    struct hash hash;
    struct buf body = {.max = SIM_BODY};
    json *root = json_object_new();
    bool ok = outcome ? outcome_json(d, root) : presence_json(d, root);
    if (ok && json_print(root, false, &body) == STATUS_OK) {
        hash_bytes(body.data, body.len, &hash);
        enum status status = outcome ? cloud_feedback(d->cloud, body.data, body.len, &hash, &err)
                                     : cloud_put_device(d->cloud, body.data, body.len, &err);
        if (exchange_end(d, status, (int64_t)body.len, &err)) {
            if (status != STATUS_OK && status != STATUS_NOT_FOUND)
                count_error(d, &err);
            d->told = outcome ? d->told : d->runs.version;
            d->outcome = outcome ? NULL : d->outcome;
        }
    }
    json_free(root);
    buf_free(&body);
}

/* ---- uploads ---- */

/* The outbox may lose its oldest meanwhile, so the bytes are taken out first. */
static bool upload_take(struct sim_device *d, struct sim_upload *out)
{
    pthread_mutex_lock(&d->lock);
    bool any = d->waiting > 0;
    if (any) {
        *out = d->outbox[0];
        d->waiting--;
        for (int i = 0; i < d->waiting; i++)
            d->outbox[i] = d->outbox[i + 1];
        d->outbox[d->waiting] = (struct sim_upload){0};
    }
    pthread_mutex_unlock(&d->lock);
    return any;
}

/* Back to the front, unless newer ones have filled the outbox. */
static void upload_return(struct sim_device *d, struct sim_upload *upload)
{
    pthread_mutex_lock(&d->lock);
    if (d->waiting < SIM_OUTBOX) {
        for (int i = d->waiting; i > 0; i--)
            d->outbox[i] = d->outbox[i - 1];
        d->outbox[0] = *upload;
        d->waiting++;
        *upload = (struct sim_upload){0};
    } else {
        d->counts.dropped += upload->instances;
    }
    pthread_mutex_unlock(&d->lock);
}

static void upload_count(struct sim_device *d, const struct sim_upload *upload)
{
    pthread_mutex_lock(&d->lock);
    d->counts.uploaded += upload->instances;
    d->counts.uplink_bytes += (int64_t)upload->body.len;
    pthread_mutex_unlock(&d->lock);
}

static void upload_step(struct sim_device *d)
{
    struct sim_upload upload;
    struct err err = {0};
    int64_t sent = 0;
    if (!upload_take(d, &upload))
        return;
    enum status status =
        cloud_upload(d->cloud, upload.body.data, upload.body.len, &upload.hash, &sent, &err);
    if (!exchange_end(d, status, sent, &err))
        upload_return(d, &upload);
    else if (status == STATUS_OK)
        upload_count(d, &upload);
    else
        count_error(d, &err);
    buf_free(&upload.body);
}

/* ---- updates ---- */

static void poll_step(struct sim_device *d)
{
    struct err err = {0};
    enum status status = cloud_next_release(d->cloud, d->runs.version, false, 0, &d->release, &err);
    if (status != STATUS_OK || hash_equal(&d->release.patch, &d->failed))
        d->release.version = 0;
    else
        d->offered_ms = clock_monotonic_ms();
    if (exchange_end(d, status, SIM_OVERHEAD, &err) && status != STATUS_OK &&
        status != STATUS_NOT_FOUND)
        count_error(d, &err);
    d->poll_ms = clock_monotonic_ms() + d->fleet->poll_s * 1000;
}

static enum status patch_fetch(struct sim_device *d, struct buf *patch, int64_t *received,
                               struct err *err)
{
    char path[PATH_MAX], name[SIM_ID + 8];
    struct hash hash;
    snprintf(name, sizeof name, "%s.part", d->id);
    TRY(io_join(path, sizeof path, d->fleet->dir, name, err));
    TRY(cloud_fetch(d->cloud, io_posix(), &d->release, path, received, err));
    enum status status = io_read_file(io_posix(), path, patch, err);
    remove(path);
    TRY(status);
    hash_bytes(patch->data, patch->len, &hash);
    return hash_equal(&hash, &d->release.patch)
               ? STATUS_OK
               : err_set(err, STATUS_CORRUPT, "the patch is not what was announced");
}

/* The device runs the new version from here on. */
static void version_enter(struct sim_device *d, const struct sim_running *now)
{
    int64_t before = d->runs.version;
    double seconds = (double)(clock_monotonic_ms() - d->offered_ms) / 1000;
    pthread_mutex_lock(&d->lock);
    d->runs = *now;
    d->counts.updates++;
    d->counts.update_s += seconds;
    if (seconds > d->counts.update_s_max)
        d->counts.update_s_max = seconds;
    pthread_mutex_unlock(&d->lock);
    sim_models_leave(d->fleet->models, before);
    d->outcome_s = seconds;
}

static void fetch_step(struct sim_device *d)
{
    struct err err = {0};
    struct buf patch = {.max = (size_t)d->release.size};
    struct sim_running now = {0};
    int64_t received = 0;
    enum status status = patch_fetch(d, &patch, &received, &err);
    pthread_mutex_lock(&d->lock);
    d->counts.downlink_bytes += received;
    pthread_mutex_unlock(&d->lock);
    bool whole = exchange_end(d, status, received, &err);
    if (status == STATUS_OK)
        status =
            sim_models_apply(d->fleet->models, d->runs.version, patch.data, patch.len, &now, &err);
    buf_free(&patch);
    if (!whole)
        return;
    d->outcome_version = d->release.version;
    d->outcome = status == STATUS_OK ? "applied" : "failed";
    d->why = (struct err){0};
    d->release.version = 0;
    if (status == STATUS_OK) {
        version_enter(d, &now);
        d->poll_ms = 0; /* there may be more */
    } else {
        d->why = err;
        d->failed = d->release.patch;
        count_error(d, &err);
    }
}

/* ---- what is next ---- */

static bool step_due(struct sim_device *d, int64_t now_ms)
{
    pthread_mutex_lock(&d->lock);
    bool any = d->waiting > 0;
    pthread_mutex_unlock(&d->lock);
    return any || d->outcome || d->told != d->runs.version || d->release.version ||
           now_ms >= d->poll_ms;
}

bool sim_device_step(struct sim_device *d, int64_t now_ms)
{
    if (now_ms < d->link.free_ms || !step_due(d, now_ms))
        return false;
    if (exchange_lost(d))
        return true;
    if (d->outcome)
        tell(d, true);
    else if (d->told != d->runs.version)
        tell(d, false);
    else if (d->release.version)
        fetch_step(d);
    else if (now_ms >= d->poll_ms)
        poll_step(d);
    else
        upload_step(d);
    return true;
}
