/* See trainer.h. A checkpoint is a safetensors file with three flat tensors (parameters, first and
 * second moments) and the step in its metadata: names are not needed, the order is the caller's. */
#include "model/tensor/trainer.h"

#include "api/base/buf.h"
#include "api/wire/safetensors.h"
#include "model/tensor/blas.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum status trainer_init(struct trainer *t, struct pool *pool, struct param **params, int count,
                         struct adamw opt, int shards, size_t arena_bytes, struct err *err)
{
    memset(t, 0, sizeof(*t));
    TRY(blas_load(err));
    t->pool = pool;
    t->shards = shards;
    t->params = params;
    t->count = count;
    t->values = optim_assign(params, count);
    t->grads = calloc((size_t)t->shards * t->values, sizeof(float));
    if (!t->grads)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu gradients", t->values);
    for (int s = 0; s < t->shards; s++) {
        if (!arena_init(&t->arena[s], arena_bytes))
            return err_set(err, STATUS_NO_MEMORY, "no address space for a training step");
        arena_use_large_pages(&t->arena[s]);
    }
    return adamw_init(&t->opt, t->values, opt.beta1, opt.beta2, opt.eps, opt.weight_decay, err);
}

void trainer_deinit(struct trainer *t)
{
    for (int s = 0; s < t->shards; s++)
        arena_deinit(&t->arena[s]);
    for (int i = 0; i < t->count; i++)
        t->params[i]->grad_at = -1;
    adamw_deinit(&t->opt);
    free(t->grads);
    memset(t, 0, sizeof(*t));
}

struct step_job {
    struct trainer *trainer;
    trainer_loss loss_fn;
    void *ctx;
    uint64_t seed;
    float loss[TRAINER_SHARDS];
};

static void step_shard(void *ctx, int shard, int worker)
{
    (void)worker;
    struct step_job *job = ctx;
    struct trainer *t = job->trainer;
    float *grads = t->grads + (size_t)shard * t->values;
    memset(grads, 0, t->values * sizeof(float));
    arena_reset(&t->arena[shard], 0);
    struct tape *tape = &t->tape[shard];
    tape->pool = t->within ? t->pool : NULL;
    tape_begin(tape, &t->arena[shard], true, grads);
    rng_init(&tape->rng, job->seed, (uint64_t)shard);
    struct tensor loss = job->loss_fn(job->ctx, tape, shard, t->shards);
    tape_backward(tape, loss, false);
    job->loss[shard] = tape->status == STATUS_OK && loss.data ? loss.data[0] : NAN;
}

static void step_sum(struct trainer *t)
{
    float *shard[TRAINER_SHARDS];
    for (int s = 0; s < t->shards; s++)
        shard[s] = t->grads + (size_t)s * t->values;
    optim_sum(t->pool, shard, t->shards, t->values);
}

static enum status step_collect(struct trainer *t, const struct step_job *job, float *loss,
                                struct err *err)
{
    *loss = 0;
    for (int s = 0; s < t->shards; s++) {
        TRY(tape_check(&t->tape[s], err));
        *loss += job->loss[s];
    }
    if (!isfinite(*loss))
        return err_set(err, STATUS_MALFORMED, "the loss is not finite: training has diverged");
    step_sum(t);
    return STATUS_OK;
}

enum status trainer_step(struct trainer *t, trainer_loss loss_fn, void *ctx, uint64_t seed,
                         float lr, float clip, float *loss, struct err *err)
{
    struct step_job job = {.trainer = t, .loss_fn = loss_fn, .ctx = ctx, .seed = seed};
    pool_run(t->within ? NULL : t->pool, t->shards, step_shard, &job);
    TRY(step_collect(t, &job, loss, err));
    float norm = optim_clip(t->grads, t->values, clip);
    if (!isfinite(norm))
        return err_set(err, STATUS_MALFORMED, "a gradient is not finite: training has diverged");
    adamw_step_shared(&t->opt, t->pool, t->params, t->count, t->grads, lr, true);
    return STATUS_OK;
}

static void params_copy(const struct trainer *t, float *flat, bool out)
{
    for (int i = 0; i < t->count; i++) {
        size_t bytes = param_count(t->params[i]) * sizeof(float);
        memcpy(out ? flat : t->params[i]->data, out ? t->params[i]->data : flat, bytes);
        flat += param_count(t->params[i]);
    }
}

enum status trainer_save(struct io *io, const struct trainer *t, const char *path, struct err *err)
{
    float *flat = malloc(t->values * sizeof(float));
    if (!flat)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a checkpoint");
    params_copy(t, flat, true);
    const void *data[3] = {flat, t->opt.m, t->opt.v};
    const char *name[3] = {"parameters", "moment1", "moment2"};
    struct safetensors_entry entry[3] = {0};
    for (int i = 0; i < 3; i++)
        entry[i] = (struct safetensors_entry){.name = name[i],
                                              .dtype = DTYPE_F32,
                                              .ndim = 1,
                                              .dim = {t->values},
                                              .data = data[i],
                                              .size = t->values * sizeof(float)};
    char step[32];
    snprintf(step, sizeof(step), "%lld", (long long)t->opt.step);
    const char *key = "step", *value = step;
    struct buf out = {.max = 4 * t->values * sizeof(float) + 4096};
    enum status status = safetensors_write(entry, 3, &key, &value, 1, &out, err);
    if (status == STATUS_OK)
        status = io_write_file(io, path, out.data, out.len, err);
    buf_free(&out);
    free(flat);
    return status;
}

static enum status load_entry(const struct safetensors *file, const char *name, size_t values,
                              float *out, struct err *err)
{
    const struct safetensors_entry *entry = safetensors_find(file, name);
    if (!entry || entry->dtype != DTYPE_F32 || entry->size != values * sizeof(float))
        return err_set(err, STATUS_SHAPE, "checkpoint: tensor %s should hold %zu F32 values", name,
                       values);
    memcpy(out, entry->data, entry->size);
    return STATUS_OK;
}

static enum status load_entries(const struct safetensors *file, struct trainer *t, float *flat,
                                struct err *err)
{
    const char *step = safetensors_meta(file, "step");
    if (!step)
        return err_set(err, STATUS_MALFORMED, "checkpoint: no step in its metadata");
    TRY(load_entry(file, "parameters", t->values, flat, err));
    TRY(load_entry(file, "moment1", t->values, t->opt.m, err));
    TRY(load_entry(file, "moment2", t->values, t->opt.v, err));
    params_copy(t, flat, false);
    t->opt.step = strtoll(step, NULL, 10);
    return STATUS_OK;
}

enum status trainer_load(struct io *io, struct trainer *t, const char *path, struct err *err)
{
    struct safetensors file = {0};
    TRY(safetensors_open(io, path, 4 * t->values * sizeof(float) + (1 << 20), &file, err));
    float *flat = malloc(t->values * sizeof(float));
    enum status status = flat ? load_entries(&file, t, flat, err)
                              : err_set(err, STATUS_NO_MEMORY, "no memory for a checkpoint");
    free(flat);
    safetensors_close(&file);
    return status;
}
