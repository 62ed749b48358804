/* Values are normal with deviation 0.02, as transformers initialises, drawn from a table of 2^16,
 * so that thirteen billion take minutes; norms are 1 and biases 0. A value depends on the seed, the
 * parameter and its place alone. The tokenizer is of bytes: any text has ids. */
#include "model/tool/synth.h"

#include "api/base/rng.h"
#include "api/wire/options.h"
#include "model/tool/bench.h"
#include "model/tool/model_dir.h"
#include "model/tool/shape.h"
#include "model/tool/weights_out.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE = 1 << 12, RUN = 64, TOKENS = 512 }; /* RUN: blocks of one stream */

struct block {
    float value[WEIGHT_BLOCK], absmax;
    uint8_t code[WEIGHT_BLOCK / 2];
};

struct synth {
    const char *shape, *kind, *to;
    int64_t seed, shard_mib, threads;
    enum dtype other;
    struct block *table; /* (TABLE) */
    struct mllm *m;
    struct model_dir dir;
    struct weights_out out;
};

/* ---- values ---- */

static float constant_of(const struct param *p)
{
    size_t n = strlen(p->name);
    return n > 7 && strcmp(p->name + n - 7, ".weight") == 0 ? 1 : 0;
}

/* Which blocks of the table a run of a parameter's blocks is. */
static void run_draw(const struct synth *s, int param, size_t run, uint16_t index[RUN])
{
    struct rng rng;
    rng_init(&rng, (uint64_t)s->seed, (uint64_t)param << 32 | run);
    for (size_t i = 0; i < RUN; i += 4) {
        uint64_t r = rng_u64(&rng);
        for (size_t k = 0; k < 4; k++)
            index[i + k] = (uint16_t)(r >> (16 * k) & (TABLE - 1));
    }
}

static enum status values(void *ctx, int param, size_t from, size_t count, float *out,
                          struct err *err)
{
    const struct synth *s = ctx;
    const struct param *p = &s->m->params[param];
    uint16_t index[RUN];
    (void)err;
    for (size_t i = 0; p->ndim == 1 && i < count; i++)
        out[i] = constant_of(p);
    for (size_t at = from; p->ndim > 1 && at < from + count;) {
        size_t block = at / WEIGHT_BLOCK, within = at % WEIGHT_BLOCK, n = WEIGHT_BLOCK - within;
        n = n < from + count - at ? n : from + count - at;
        if (at == from || block % RUN == 0)
            run_draw(s, param, block / RUN, index);
        memcpy(out + (at - from), s->table[index[block % RUN]].value + within, n * sizeof *out);
        at += n;
    }
    return STATUS_OK;
}

static void blocks(void *ctx, int param, size_t block, size_t count, uint8_t *codes, float *scale)
{
    const struct synth *s = ctx;
    uint16_t index[RUN];
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || (block + i) % RUN == 0)
            run_draw(s, param, (block + i) / RUN, index);
        const struct block *b = &s->table[index[(block + i) % RUN]];
        memcpy(codes + i * sizeof b->code, b->code, sizeof b->code);
        scale[i] = b->absmax;
    }
}

static enum dtype dtype_of(void *ctx, int param)
{
    const struct synth *s = ctx;
    (void)param;
    return s->other;
}

static enum status table_make(struct synth *s, struct err *err)
{
    struct rng rng;
    rng_init(&rng, (uint64_t)s->seed, UINT64_MAX);
    s->table = malloc(TABLE * sizeof *s->table);
    if (!s->table)
        return err_set(err, STATUS_NO_MEMORY, "no memory for random values");
    for (int i = 0; i < TABLE; i++) {
        struct block *b = &s->table[i];
        for (int k = 0; k < WEIGHT_BLOCK; k++)
            b->value[k] = 0.02F * rng_normal(&rng);
        weight_pack(WEIGHT_NF4, b->value, 1, WEIGHT_BLOCK, b->code, &b->absmax);
    }
    return STATUS_OK;
}

/* ---- the directory ---- */

static enum status side_write(const struct synth *s, struct err *err)
{
    static const char *const specials[] = {"<unk>", "<s>", "</s>"};
    static const char *const texts[] = {
        "Question: what is in the picture? Answer: a dog and a cat on the grass.",
        "Describe the image. Is it day or night? How many people are there?"};
    struct mllm_config config = s->m->config;
    config.quantized_bits = !s->out.quantize ? 0 : s->out.type == WEIGHT_NF4 ? 4 : 8;
    TRY(mllm_config_save(io_posix(), s->dir.partial, &config, err));
    return tokenizer_train(io_posix(), s->dir.partial, texts, 2, TOKENS, specials, 3, err);
}

static enum status weights_write(struct synth *s, struct err *err)
{
    struct progress progress;
    int64_t total = 0;
    for (int i = 0; i < s->m->param_count; i++)
        total += (int64_t)param_count(&s->m->params[i]);
    progress_start(&progress, "synth", "values", total, 0, false);
    s->out.progress = &progress;
    enum status status = weights_out_write(&s->out, err);
    progress_finish(&progress, NULL);
    if (status == STATUS_OK)
        printf("%s: %s, %.2f billion values as %s, %.2f GiB\n", s->to, s->shape,
               (double)total / 1e9, s->kind, (double)s->out.bytes / 0x1p30);
    return status;
}

/* A last block of fewer values would have an absmax of its own. */
static bool whole_blocks(const struct mllm *m)
{
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i].ndim == 2 && param_count(&m->params[i]) % WEIGHT_BLOCK != 0)
            return false;
    return true;
}

static enum status synth_into(struct synth *s, struct err *err)
{
    TRY(model_dir_begin(io_posix(), s->to, &s->dir, err));
    enum status status = pool_create((int)s->threads, &s->out.pool, err);
    s->out.io = io_posix();
    s->out.dir = s->dir.partial;
    s->out.m = s->m;
    s->out.source =
        (struct weights_source){values, dtype_of, whole_blocks(s->m) ? blocks : NULL, s};
    s->out.shard_bytes = (size_t)s->shard_mib << 20;
    if (status == STATUS_OK)
        status = side_write(s, err);
    if (status == STATUS_OK)
        status = weights_write(s, err);
    if (status == STATUS_OK)
        status = model_dir_publish(&s->dir, err);
    if (status != STATUS_OK)
        model_dir_abandon(&s->dir);
    pool_destroy(s->out.pool);
    return status;
}

enum status synth_run(int argc, char **argv, struct err *err)
{
    struct synth s = {.kind = "nf4", .shard_mib = 2048, .seed = 1};
    int positional = 0;
    struct mllm_config config;
    const struct option table[] = {
        {"shape", OPTION_STRING, &s.shape, 0, 0, "SHAPE", SHAPE_NAMES},
        {"weights", OPTION_STRING, &s.kind, 0, 0, "TYPE", "nf4, q8, bf16 or f32"},
        {"out", OPTION_STRING, &s.to, 0, 0, "DIR", "a new directory"},
        {"seed", OPTION_INT, &s.seed, 0, 1e15, "N", "of the random numbers"},
        {"shard-mib", OPTION_INT, &s.shard_mib, 1, 1 << 20, "MIB", "files of at most this size"},
        {"threads", OPTION_INT, &s.threads, 0, 64, "N", "0: one a core"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model synth", "Random weights in the shape of a real model.", NULL, table, 0, 0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!s.shape || !s.to)
        return err_set(err, STATUS_USAGE, "--shape SHAPE and --out DIR are needed");
    if (!weights_out_type(&s.out, s.kind, &s.other))
        return err_set(err, STATUS_USAGE, "--weights %s: must be nf4, q8, bf16 or f32", s.kind);
    TRY(shape_config(s.shape, &config, err));
    TRY(mllm_skeleton(&config, &s.m, err));
    enum status status = table_make(&s, err);
    if (status == STATUS_OK)
        status = synth_into(&s, err);
    free(s.table);
    mllm_release(s.m);
    return status;
}
