/* The training step that other engines are measured with (tests/bench/train-vs-torch.sh): B samples
 * of T random ids, cross-entropy of every row, AdamW; everything trained, or LoRA of rank 8 on q
 * and v with the norms. Operations are those of the matrix products alone, attention in full. */
#include "model/tool/bench_train.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tensor/trainer.h"
#include "model/tool/bench.h"
#include "model/tool/bench_limits.h"
#include "model/tool/bench_model.h"
#include "model/tool/shape.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANK = 8, WARMUP = 3, BATCH_MAX = 4096, LENGTH_MAX = 2048 };
static const size_t STEP_BYTES = (size_t)16 << 30; /* address space of a shard */

struct train {
    const char *shape;
    int64_t threads, steps, batch, length, shards;
    bool lora, json;
    struct bench_model model;
    struct pool *pool;
    struct param **params; /* what is trained */
    int count;
    int32_t *ids, *labels; /* (batch, length) */
    struct trainer trainer;
    struct bench_series series;
};

/* ---- what is trained ---- */

static enum status lora_attach(struct mllm *m, struct linear *w, struct rng *rng, struct err *err)
{
    char name[192];
    int out = w->weight->dim[0], in = w->weight->dim[1];
    snprintf(name, sizeof name, "%s.lora_A.weight", w->weight->name);
    w->lora_a = mllm_attach(m, name, 2, (int[]){RANK, in});
    snprintf(name, sizeof name, "%s.lora_B.weight", w->weight->name);
    w->lora_b = mllm_attach(m, name, 2, (int[]){out, RANK});
    if (!w->lora_a || !w->lora_b)
        return err_set(err, STATUS_NO_MEMORY, "no memory for LoRA");
    for (size_t i = 0; i < param_count(w->lora_a); i++)
        w->lora_a->data[i] = 0.02f * rng_normal(rng);
    memset(w->lora_b->data, 0, param_count(w->lora_b) * sizeof(float));
    w->lora_scale = 2;
    return STATUS_OK;
}

static enum status params_choose(struct train *t, struct err *err)
{
    struct mllm *m = t->model.m;
    struct rng rng;
    rng_init(&rng, 1, 0);
    for (int i = 0; t->lora && i < m->config.text.layers; i++) {
        TRY(lora_attach(m, &m->llama.layer[i].q, &rng, err));
        TRY(lora_attach(m, &m->llama.layer[i].v, &rng, err));
    }
    t->params = calloc((size_t)m->param_count + 1, sizeof(struct param *));
    if (!t->params)
        return err_set(err, STATUS_NO_MEMORY, "no memory to train");
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = &m->params[i];
        p->grad_at = -1;
        if (!t->lora || p->ndim == 1 || strstr(p->name, ".lora_"))
            t->params[t->count++] = p;
    }
    return STATUS_OK;
}

/* ---- a step ---- */

static struct tensor train_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    const struct train *t = ctx;
    const struct mllm *m = t->model.m;
    int B = (int)t->batch, T = (int)t->length;
    int from = B * shard / shards, count = B * (shard + 1) / shards - from;
    struct mllm_batch batch = {.B = count, .text_T = T, .text = t->ids + (ptrdiff_t)from * T};
    struct tensor logits = mllm_logits(tape, m, mllm_forward(tape, m, &batch, NULL), NULL, 0);
    struct tensor loss = op_cross_entropy(tape, logits, t->labels + (ptrdiff_t)from * T);
    return op_scale(tape, loss, (float)count / (float)B);
}

static enum status ids_make(struct train *t, struct err *err)
{
    size_t n = (size_t)t->batch * (size_t)t->length;
    uint64_t vocab = (uint64_t)t->model.m->config.text.vocab;
    struct rng rng;
    rng_init(&rng, 2, 0);
    t->ids = calloc(n, sizeof *t->ids);
    t->labels = calloc(n, sizeof *t->labels);
    if (!t->ids || !t->labels)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu ids", n);
    for (size_t i = 0; i < n; i++) {
        t->ids[i] = (int32_t)(rng_u64(&rng) % vocab);
        t->labels[i] = (int32_t)(rng_u64(&rng) % vocab);
    }
    return STATUS_OK;
}

static enum status steps_run(struct train *t, struct err *err)
{
    for (int64_t i = -WARMUP; i < t->steps; i++) {
        float loss;
        double start = bench_clock();
        TRY(trainer_step(&t->trainer, train_loss, t, (uint64_t)(i + WARMUP), 1e-4f, 0, &loss, err));
        if (i >= 0)
            bench_series_add(&t->series, bench_clock() - start);
    }
    return STATUS_OK;
}

/* ---- the report ---- */

/* Forward once; gradients of activations as much again, and those of matrices when these train. */
static double step_flops(const struct train *t)
{
    const struct mllm_config *c = &t->model.m->config;
    double attention = 2.0 * c->text.layers * (double)t->length * c->text.hidden;
    double products = t->model.products + t->model.head_products + attention;
    return (t->lora ? 2 : 3) * 2 * products * (double)(t->batch * t->length);
}

static enum status train_report(const struct train *t, struct err *err)
{
    double best = bench_series_best(&t->series), samples = (double)t->batch;
    double flops = step_flops(t) / best, limit = bench_product_limit(t->pool);
    int threads = pool_threads(t->pool);
    if (!t->json) {
        printf("train %s%s, %d threads: %.1f samples/s best, %.1f median of %d steps\n", t->shape,
               t->lora ? ", LoRA and norms" : "", threads, samples / best,
               samples / bench_series_median(&t->series), t->series.count);
        printf("  %zu values trained; %.0f GFLOP/s, %.0f%% of the %.0f that F32 products reach\n",
               t->trainer.values, flops / 1e9, 100 * flops / limit, limit / 1e9);
        printf("  kernels %s, BLAS %s\n", kernels()->name, blas_kernel());
        return STATUS_OK;
    }
    json *out = json_object_new();
    bool whole = out && json_set_string(out, "bench", "train") &&
                 json_set_string(out, "shape", t->shape) && json_set_bool(out, "lora", t->lora) &&
                 json_set_int(out, "threads", threads) && json_set_int(out, "batch", t->batch) &&
                 json_set_int(out, "length", t->length) && json_set_int(out, "shards", t->shards) &&
                 json_set_int(out, "steps", t->steps) &&
                 json_set_int(out, "trained", (int64_t)t->trainer.values) &&
                 bench_set_rate(out, "samples_per_second", &t->series, samples) &&
                 json_set_number(out, "gflops", flops / 1e9) &&
                 json_set_number(out, "limit_f32_gflops", limit / 1e9) &&
                 json_set_number(out, "share_of_limit", flops / limit) &&
                 json_set_string(out, "kernels", kernels()->name) &&
                 json_set_string(out, "blas", blas_kernel());
    return json_say(out, whole, err);
}

/* ---- the command ---- */

static enum status train_all(struct train *t, struct err *err)
{
    const struct adamw opt = {.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .weight_decay = 0.01f};
    TRY(pool_create((int)t->threads, &t->pool, err));
    t->shards = t->shards ? t->shards : pool_threads(t->pool);
    TRY(bench_model_create(t->shape, "f32", &t->model, err));
    if (t->model.m->config.multimodal || t->model.m->config.text.positions < t->length)
        return err_set(err, STATUS_USAGE, "--shape: a llama of at least --length positions");
    TRY(params_choose(t, err));
    TRY(ids_make(t, err));
    TRY(trainer_init(&t->trainer, t->pool, t->params, t->count, opt, (int)t->shards, STEP_BYTES,
                     err));
    enum status status = steps_run(t, err);
    if (status == STATUS_OK)
        status = train_report(t, err);
    trainer_deinit(&t->trainer);
    return status;
}

enum status bench_train_run(int argc, char **argv, struct err *err)
{
    struct train t = {.shape = "llama-5m", .steps = 12, .batch = 32, .length = 48};
    int positional = 0;
    const struct option table[] = {
        {"shape", OPTION_STRING, &t.shape, 0, 0, "NAME", SHAPE_NAMES},
        {"lora", OPTION_FLAG, &t.lora, 0, 0, NULL, "rank 8 on q and v, and norms; else all"},
        {"threads", OPTION_INT, &t.threads, 0, 64, "N", "0: one per core"},
        {"steps", OPTION_INT, &t.steps, 1, BENCH_REPEAT_MAX, "N", "timed, after three"},
        {"batch", OPTION_INT, &t.batch, 1, BATCH_MAX, "B", "samples a step"},
        {"length", OPTION_INT, &t.length, 1, LENGTH_MAX, "T", "ids a sample"},
        {"shards", OPTION_INT, &t.shards, 0, TRAINER_SHARDS, "N", "of a batch; 0: one a thread"},
        {"json", OPTION_FLAG, &t.json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model bench train", "Training steps of a LLaMA.", NULL, table, 0, 0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(blas_load(err));
    enum status status = train_all(&t, err);
    free(t.params);
    free(t.ids);
    free(t.labels);
    bench_model_destroy(&t.model);
    pool_destroy(t.pool);
    return status;
}
