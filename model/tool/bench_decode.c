/* Decoding reads every weight once a token: its limit is memory. A prompt reads them once for all
 * its tokens: its limit is arithmetic. Both run what `ask` runs, llama_forward on a KV cache, from
 * an empty cache on, without choosing tokens: ids are random, as in llama.cpp's llama-bench, so
 * that the two can be compared. */
#include "model/tool/bench_decode.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/mllm/forward.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tensor/kernels_weight.h"
#include "model/tool/bench.h"
#include "model/tool/bench_limits.h"
#include "model/tool/bench_model.h"
#include "model/tool/shape.h"
#include <stdio.h>

static const size_t STEP_BYTES = (size_t)8 << 30; /* address space */

struct decode {
    const char *name, *shape, *weights;
    int64_t threads, tokens, repeat;
    bool exact, json;
    struct bench_model model;
    struct pool *pool;
    struct arena arena;
    struct tape tape;
    struct bench_series series;
};

/* ---- the work ---- */

/* Logits after n tokens that continue the cache. */
static const float *step(struct decode *d, struct kv_cache *cache, const int32_t *ids, int n)
{
    const struct mllm *m = d->model.m;
    struct tape *t = &d->tape;
    int32_t last = n - 1;
    struct tensor x = op_embedding(t, m->llama.embed, ids, 1, n);
    struct tensor hidden = llama_forward(t, m, x, NULL, cache, n > 1 ? &last : NULL, 1);
    return mllm_logits(t, m, hidden, NULL, 0).data;
}

/* All tokens in steps of `at_once`; seconds of them. */
static enum status run_once(struct decode *d, int at_once, const int32_t *ids, double *seconds,
                            struct err *err)
{
    int tokens = (int)d->tokens;
    tape_begin(&d->tape, &d->arena, false, NULL);
    struct kv_cache cache = kv_cache_new(&d->tape, d->model.m, 1, tokens);
    size_t mark = d->arena.used;
    double start = bench_clock();
    for (int at = 0; at < tokens; at += at_once) {
        arena_reset(&d->arena, mark);
        step(d, &cache, ids + at, at_once);
    }
    *seconds = bench_clock() - start;
    return tape_check(&d->tape, err);
}

static enum status run_all(struct decode *d, int at_once, struct err *err)
{
    int vocab = d->model.m->config.text.vocab;
    struct rng rng;
    int32_t ids[2048];
    rng_init(&rng, 1, 0);
    for (int i = 0; i < (int)d->tokens; i++)
        ids[i] = (int32_t)(rng_u64(&rng) % (uint64_t)vocab);
    for (int64_t i = 0; i <= d->repeat; i++) {
        double seconds;
        TRY(run_once(d, at_once, ids, &seconds, err));
        if (i > 0) /* the first warms up */
            bench_series_add(&d->series, seconds);
    }
    return STATUS_OK;
}

/* ---- the report ---- */

struct figures {
    double rate, median;   /* tokens a second */
    double bytes;          /* read a token */
    double flops;          /* a token */
    double read, products; /* limits a second: bytes, floating-point operations */
};

static struct figures decode_figures(const struct decode *d, bool decode)
{
    const struct bench_model *m = &d->model;
    double tokens = (double)d->tokens;
    double heads = decode ? tokens : 1;
    return (struct figures){
        .rate = tokens / bench_series_best(&d->series),
        .median = tokens / bench_series_median(&d->series),
        .bytes = decode ? m->bytes : m->bytes / tokens,
        .flops = 2 * (m->products + m->head_products * heads / tokens),
        .read = bench_read_limit(d->pool, (size_t)m->bytes),
        .products = bench_product_limit(d->pool),
    };
}

static enum status decode_json(const struct decode *d, const struct figures *f, struct err *err)
{
    json *out = json_object_new();
    bool whole = out && json_set_string(out, "bench", d->name) &&
                 json_set_string(out, "shape", d->shape) &&
                 json_set_string(out, "weights", d->weights) &&
                 json_set_int(out, "threads", pool_threads(d->pool)) &&
                 json_set_int(out, "tokens", d->tokens) && json_set_int(out, "repeat", d->repeat) &&
                 json_set_bool(out, "exact", d->exact) &&
                 bench_set_rate(out, "tokens_per_second", &d->series, (double)d->tokens) &&
                 json_set_number(out, "gflops", f->rate * f->flops / 1e9) &&
                 json_set_number(out, "bytes_per_token", f->bytes) &&
                 json_set_number(out, "read_gb_per_s", f->rate * f->bytes / 1e9) &&
                 json_set_number(out, "limit_read_gb_per_s", f->read / 1e9) &&
                 json_set_number(out, "limit_f32_gflops", f->products / 1e9) &&
                 json_set_number(out, "share_of_read_limit", f->rate * f->bytes / f->read) &&
                 json_set_string(out, "kernels", kernels()->name) &&
                 json_set_string(out, "weight_kernels", weight_kernels()->name) &&
                 json_set_string(out, "blas", blas_kernel());
    return json_say(out, whole, err);
}

static void decode_table(const struct decode *d, const struct figures *f)
{
    printf("%s %s %s, %d threads, %d tokens: %.1f tok/s best, %.1f median of %d\n", d->name,
           d->shape, d->weights, pool_threads(d->pool), (int)d->tokens, f->rate, f->median,
           d->series.count);
    printf("  %.0f GFLOP/s; F32 products reach %.0f here\n", f->rate * f->flops / 1e9,
           f->products / 1e9);
    printf("  %.1f MB a token, %.1f GB/s: %.0f%% of the %.1f GB/s that memory gives\n",
           f->bytes / 1e6, f->rate * f->bytes / 1e9, 100 * f->rate * f->bytes / f->read,
           f->read / 1e9);
    printf("  kernels %s, of packed weights %s, BLAS %s\n", kernels()->name, weight_kernels()->name,
           blas_kernel());
}

/* ---- the commands ---- */

static enum status decode_all(struct decode *d, bool decode, struct err *err)
{
    if (!arena_init(&d->arena, STEP_BYTES))
        return err_set(err, STATUS_NO_MEMORY, "no address space for a step");
    TRY(pool_create((int)d->threads, &d->pool, err));
    TRY(bench_model_create(d->shape, d->weights, &d->model, err));
    d->tape.pool = d->pool;
    d->tape.exact = d->exact;
    TRY(run_all(d, decode ? 1 : (int)d->tokens, err));
    struct figures f = decode_figures(d, decode);
    if (d->json)
        return decode_json(d, &f, err);
    decode_table(d, &f);
    return STATUS_OK;
}

static enum status decode_run(struct decode *d, bool decode, int argc, char **argv, struct err *err)
{
    int positional = 0;
    const struct option table[] = {
        {"shape", OPTION_STRING, &d->shape, 0, 0, "NAME", SHAPE_NAMES},
        {"weights", OPTION_STRING, &d->weights, 0, 0, "TYPE", "f32|bf16|f16|q8|nf4"},
        {"threads", OPTION_INT, &d->threads, 0, 64, "N", "0: one per core"},
        {decode ? "tokens" : "prompt", OPTION_INT, &d->tokens, 1, 2048, "N", "tokens a repetition"},
        {"repeat", OPTION_INT, &d->repeat, 1, BENCH_REPEAT_MAX, "R", "repetitions"},
        {"exact", OPTION_FLAG, &d->exact, 0, 0, NULL, "products with packed weights in F32"},
        {"json", OPTION_FLAG, &d->json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {decode ? "cdcca-model bench decode"
                                           : "cdcca-model bench prefill",
                                    decode ? "Tokens a second, one after another, of a LLaMA."
                                           : "Tokens a second of a prompt that goes in at once.",
                                    NULL,
                                    table,
                                    0,
                                    0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(blas_load(err));
    enum status status = decode_all(d, decode, err);
    bench_model_destroy(&d->model);
    pool_destroy(d->pool);
    if (d->arena.base)
        arena_deinit(&d->arena);
    return status;
}

enum status bench_decode_run(int argc, char **argv, struct err *err)
{
    struct decode d = {.name = "decode", .shape = "llama-110m", .weights = "nf4"};
    d.tokens = 64;
    d.repeat = 5;
    return decode_run(&d, true, argc, argv, err);
}

enum status bench_prefill_run(int argc, char **argv, struct err *err)
{
    struct decode d = {.name = "prefill", .shape = "llama-110m", .weights = "nf4"};
    d.tokens = 128;
    d.repeat = 5;
    return decode_run(&d, false, argc, argv, err);
}
