/* Training steps per second of the LLaMA shape that other engines are measured with: C 256, 6
 * layers, 8 heads, ffn 688, vocabulary 1024, T 48, B 32; full training, or LoRA r8 on q and v with
 * the norms. Built straight on the ops, data-parallel over a pool; prints one JSON object.
 *     bench_train [full|lora] [threads] [steps] [shards] */
#include "api/base/clock.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/optim.h"
#include "model/tensor/parallel.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { C = 256, LAYERS = 6, HEADS = 8, FFN = 688, VOCAB = 1024, T = 48, B = 32, RANK = 8 };
enum { PARAMS_MAX = 128, SHARDS_MAX = 32, STEPS_MAX = 1000, WARMUP = 3 };

struct layer {
    struct param *norm1, *norm2;
    struct linear q, k, v, o, gate, up, down;
};

static struct {
    struct param param[PARAMS_MAX];
    int params;
    struct param *trained[PARAMS_MAX];
    int trained_count;
    struct param *embed, *norm;
    struct layer layer[LAYERS];
    struct linear head;
    struct rng rng;
} model;

static struct {
    struct arena arena[SHARDS_MAX];
    struct tape tape[SHARDS_MAX];
    float *grads[SHARDS_MAX];
    int shards;
    size_t grad_count;
    int32_t ids[B * T], labels[B * T];
} run;

static struct param *make(int rows, int cols, float deviation, bool trained)
{
    struct param *p = &model.param[model.params++];
    size_t count = (size_t)rows * (size_t)cols;
    *p = (struct param){.ndim = rows > 1 ? 2 : 1, .dim = {rows > 1 ? rows : cols, cols}};
    p->data = malloc(count * sizeof(float));
    p->grad_at = -1;
    if (!p->data)
        exit(1);
    for (size_t i = 0; i < count; i++)
        p->data[i] = deviation > 0 ? deviation * rng_normal(&model.rng) : rows > 1 ? 0 : 1;
    if (trained)
        model.trained[model.trained_count++] = p;
    return p;
}

static struct linear make_linear(int in, int out, bool trained, bool lora)
{
    struct linear w = {.weight = make(out, in, 0.02f, trained), .lora_scale = 2};
    if (lora) {
        w.lora_a = make(RANK, in, 0.02f, true);
        w.lora_b = make(out, RANK, 0, true);
    }
    return w;
}

static void make_model(bool lora)
{
    rng_init(&model.rng, 1, 0);
    model.embed = make(VOCAB, C, 1, !lora);
    for (int i = 0; i < LAYERS; i++) {
        struct layer *l = &model.layer[i];
        l->norm1 = make(1, C, 0, true);
        l->norm2 = make(1, C, 0, true);
        l->q = make_linear(C, C, !lora, lora);
        l->k = make_linear(C, C, !lora, false);
        l->v = make_linear(C, C, !lora, lora);
        l->o = make_linear(C, C, !lora, false);
        l->gate = make_linear(C, FFN, !lora, false);
        l->up = make_linear(C, FFN, !lora, false);
        l->down = make_linear(FFN, C, !lora, false);
    }
    model.norm = make(1, C, 0, true);
    model.head = make_linear(C, VOCAB, !lora, false);
    run.grad_count = optim_assign(model.trained, model.trained_count);
}

static struct tensor layer_forward(struct tape *tape, const struct layer *l, struct tensor x)
{
    const struct attention a = {.heads = HEADS, .kv_heads = HEADS, .causal = true};
    struct tensor h = op_rmsnorm(tape, x, l->norm1, 1e-5f);
    struct tensor q = op_rope(tape, op_linear(tape, h, &l->q), HEADS, 10000, 0);
    struct tensor k = op_rope(tape, op_linear(tape, h, &l->k), HEADS, 10000, 0);
    h = op_attention(tape, q, k, op_linear(tape, h, &l->v), &a);
    x = op_add(tape, x, op_linear(tape, h, &l->o));
    h = op_rmsnorm(tape, x, l->norm2, 1e-5f);
    h = op_swiglu(tape, op_linear(tape, h, &l->gate), op_linear(tape, h, &l->up));
    return op_add(tape, x, op_linear(tape, h, &l->down));
}

static void shard_run(void *ctx, int shard, int worker)
{
    struct tape *tape = &run.tape[shard];
    int from = B * shard / run.shards, count = B * (shard + 1) / run.shards - from;
    (void)ctx, (void)worker;
    memset(run.grads[shard], 0, run.grad_count * sizeof(float));
    tape_begin(tape, &run.arena[shard], true, run.grads[shard]);
    struct tensor x = op_embedding(tape, model.embed, run.ids + from * T, count, T);
    for (int i = 0; i < LAYERS; i++)
        x = layer_forward(tape, &model.layer[i], x);
    x = op_linear(tape, op_rmsnorm(tape, x, model.norm, 1e-5f), &model.head);
    struct tensor loss = op_cross_entropy(tape, x, run.labels + from * T);
    tape_backward(tape, op_scale(tape, loss, (float)count / B), false);
}

static void run_init(int shards)
{
    struct rng rng;
    rng_init(&rng, 2, 0);
    for (int i = 0; i < B * T; i++) {
        run.ids[i] = (int32_t)rng_below(&rng, VOCAB);
        run.labels[i] = (int32_t)rng_below(&rng, VOCAB);
    }
    run.shards = shards;
    for (int i = 0; i < shards; i++) {
        run.grads[i] = malloc((run.grad_count + 1) * sizeof(float));
        if (!run.grads[i] || !arena_init(&run.arena[i], (size_t)2 << 30))
            exit(1);
    }
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double step_seconds(struct pool *pool, struct adamw *opt)
{
    double start = now(CLOCK_MONOTONIC);
    pool_run(pool, run.shards, shard_run, NULL);
    optim_sum(pool, run.grads, run.shards, run.grad_count);
    adamw_step_shared(opt, pool, model.trained, model.trained_count, run.grads[0], 1e-4f, false);
    return now(CLOCK_MONOTONIC) - start;
}

/* Multiplications and additions of the matrix products alone, as the peers' script counts them */
static double step_flops(bool lora)
{
    double linear = LAYERS * (4.0 * C * C + 3.0 * C * FFN) + (double)VOCAB * C;
    double forward = 2 * (linear + LAYERS * 2.0 * T * C) * B * T;
    return (lora ? 2 : 3) * forward;
}

/* cpu: seconds of all threads for one step, which a busy machine disturbs less */
static void report(const char *mode, int threads, double *seconds, int steps, double cpu)
{
    qsort(seconds, (size_t)steps, sizeof *seconds, compare);
    double median = seconds[steps / 2], best = seconds[0];
    double flops = step_flops(strcmp(mode, "lora") == 0) / 1e9;
    printf("{\"mode\":\"%s\",\"threads\":%d,\"shards\":%d,\"blas\":\"%s\",\"kernels\":\"%s\","
           "\"trainable\":%zu,\"ms_median\":%.1f,\"ms_best\":%.1f,\"samples_per_s_median\":%.1f,"
           "\"samples_per_s_best\":%.1f,\"gflops_median\":%.1f,\"gflops_best\":%.1f,\"cpu_ms\":%."
           "1f}\n",
           mode, threads, run.shards, blas_kernel(), kernels()->name, run.grad_count, median * 1e3,
           best * 1e3, B / median, B / best, flops / median, flops / best, cpu * 1e3);
}

int main(int argc, char **argv)
{
    static double seconds[STEPS_MAX];
    const char *mode = argc > 1 ? argv[1] : "full";
    int threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 2,
        steps = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 12;
    int shards = argc > 4 ? (int)strtol(argv[4], NULL, 10) : threads;
    struct pool *pool;
    struct adamw opt;
    struct err err;
    if (steps < 1 || steps > STEPS_MAX || shards < 1 || shards > SHARDS_MAX)
        return 2;
    make_model(strcmp(mode, "lora") == 0);
    run_init(shards);
    if (pool_create(threads, &pool, &err) != STATUS_OK ||
        adamw_init(&opt, run.grad_count, 0.9f, 0.999f, 1e-8f, 0.01f, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    double cpu = 0;
    for (int i = -WARMUP; i < steps; i++) {
        if (i == 0)
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        seconds[i < 0 ? 0 : i] = step_seconds(pool, &opt);
    }
    cpu = (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / steps;
    for (int i = 0; i < shards; i++)
        if (tape_check(&run.tape[i], &err) != STATUS_OK)
            fprintf(stderr, "shard %d: %s\n", i, err.text);
    report(mode, threads, seconds, steps, cpu);
    adamw_deinit(&opt);
    pool_destroy(pool);
    return 0;
}
