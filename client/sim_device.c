/* A simulated device; see sim_device.h. */
#include "client/sim_device.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

static enum status device_open(struct sim_device *d, struct err *err)
{
    struct window_options window = d->fleet->window;
    window.seed = d->fleet->seed + (uint64_t)d->number;
    window.device = d->id;
    sim_models_enter(d->fleet->models, &d->runs);
    TRY(window_create(&window, infer_tokens(d->runs.m), infer_width(d->runs.m), &d->window, err));
    const struct cloud_config config = {.url = d->fleet->cloud_url, .device = d->id};
    return cloud_create(&config, &d->cloud, err);
}

enum status sim_device_init(struct sim_device *d, const struct sim_fleet *fleet, int number,
                            const char *device_class, const char *channel, struct err *err)
{
    *d = (struct sim_device){.fleet = fleet,
                             .number = number,
                             .device_class = device_class,
                             .channel = channel,
                             .stream_segment = -1,
                             .told = -1};
    snprintf(d->id, sizeof d->id, "sim-%04d", number);
    pthread_mutex_init(&d->lock, NULL);
    sim_link_init(&d->link, &fleet->link, fleet->seed, (uint64_t)number);
    backoff_init(&d->backoff, fleet->seed + (uint64_t)number);
    return device_open(d, err);
}

void sim_device_deinit(struct sim_device *d)
{
    if (d->runs.m)
        sim_models_leave(d->fleet->models, d->runs.version);
    if (d->stream)
        stream_close(d->stream);
    window_destroy(d->window);
    cloud_destroy(d->cloud);
    for (int i = 0; i < SIM_OUTBOX; i++)
        buf_free(&d->outbox[i].body);
    pthread_mutex_destroy(&d->lock);
}

/* ---- answering ---- */

/* Domains take turns; devices begin with different ones. */
static enum status stream_ready(struct sim_device *d, struct err *err)
{
    char spec[80];
    const struct sim_fleet *fleet = d->fleet;
    int64_t at = d->stream ? (int64_t)stream_position(d->stream) : 0;
    int64_t segment = at / fleet->segment;
    if (segment == d->stream_segment)
        return STATUS_OK;
    if (d->stream)
        stream_close(d->stream);
    d->stream = NULL;
    snprintf(spec, sizeof spec, "world:%s", fleet->domain[(segment + d->number) % fleet->domains]);
    TRY(stream_open(io_posix(), spec, fleet->side, fleet->seed * 10000 + (uint64_t)d->number,
                    &d->stream, err));
    d->stream_segment = segment;
    return stream_seek(d->stream, (uint64_t)at, err);
}

enum status sim_device_take(struct sim_device *d, struct sample *out, struct err *err)
{
    TRY(stream_ready(d, err));
    return stream_next(d->stream, out, err);
}

struct mllm *sim_device_model(struct sim_device *d, int64_t *version)
{
    pthread_mutex_lock(&d->lock);
    struct mllm *m = d->runs.m;
    *version = d->runs.version;
    mllm_retain(m);
    pthread_mutex_unlock(&d->lock);
    return m;
}

/* Lock held. Behind the others; the oldest gives way. */
static enum status outbox_add(struct sim_device *d, const struct window_upload *upload,
                              struct err *err)
{
    if (d->waiting == SIM_OUTBOX) {
        d->counts.dropped += d->outbox[0].instances;
        buf_free(&d->outbox[0].body);
        memmove(d->outbox, d->outbox + 1, (SIM_OUTBOX - 1) * sizeof d->outbox[0]);
        d->waiting--;
    }
    struct sim_upload *to = &d->outbox[d->waiting];
    *to = (struct sim_upload){.body.max = upload->size, .instances = upload->instances};
    if (buf_append(&to->body, upload->body, upload->size) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory for an upload");
    hash_bytes(upload->body, upload->size, &to->hash);
    d->counts.sampled += upload->instances;
    d->waiting++;
    return STATUS_OK;
}

static enum status on_upload(void *ctx, const struct window_upload *upload, struct err *err)
{
    struct sim_device *d = ctx;
    pthread_mutex_lock(&d->lock);
    enum status status = outbox_add(d, upload, err);
    pthread_mutex_unlock(&d->lock);
    return status;
}

static enum status window_full_close(struct sim_device *d, const struct mllm *m, struct err *err)
{
    struct sim_counts counts;
    struct window_result result;
    int64_t version;
    if (!window_full(d->window))
        return STATUS_OK;
    sim_device_counts(d, &counts, &version);
    return window_close(d->window, m, d->windows++, counts.answered, counts.sampled, on_upload, d,
                        &result, err);
}

enum status sim_device_keep(struct sim_device *d, const struct mllm *m, int64_t version,
                            const char *question, const struct answer *answer, const float *visual,
                            struct err *err)
{
    struct window_record record = {.entropy = answer->entropy, .version = version};
    size_t floats = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    snprintf(record.id, sizeof record.id, "%" PRIu64, stream_position(d->stream) - 1);
    snprintf(record.question, sizeof record.question, "%s", question);
    snprintf(record.answer, sizeof record.answer, "%s", answer->text);
    memcpy(window_room(d->window, 1), visual, floats * sizeof *visual);
    window_add(d->window, &record);
    pthread_mutex_lock(&d->lock);
    d->counts.answered++;
    pthread_mutex_unlock(&d->lock);
    return window_full_close(d, m, err);
}

void sim_device_counts(struct sim_device *d, struct sim_counts *counts, int64_t *version)
{
    pthread_mutex_lock(&d->lock);
    *counts = d->counts;
    *version = d->runs.version;
    pthread_mutex_unlock(&d->lock);
}
