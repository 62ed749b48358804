/* See delivery.h. */
#include "model/tool/delivery.h"
#include "api/wire/limits.h"
#include "api/wire/safetensors.h"
#include "model/tensor/weight.h"
#include "model/tool/bsdiff.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char LETTER = 'x'; /* no codec of codec.h */

/* ---- the service's own ---- */

struct compress_options delivery_code(const struct delivery_options *o)
{
    struct compress_options options = compress_defaults();
    options.codec = o->codec;
    options.budget_bytes = o->budget_bytes;
    options.selected_share = o->selected_share;
    return options;
}

static enum status delta_deliver(const struct trainable *edge, const float *before,
                                 const float *after, int round, const struct delivery_options *o,
                                 struct delivered *out, struct err *err)
{
    const struct compress_options options = delivery_code(o);
    struct delta delta, received;
    struct buf wire = {.max = LIMIT_DELTA_BYTES};
    TRY(compress_encode(edge, before, after, round, round + 1, &options, &delta, NULL, err));
    enum status s = delta_encode(&delta, &wire, err);
    if (s == STATUS_OK)
        s = delta_decode(wire.data, wire.len, &received, err);
    if (s == STATUS_OK) {
        s = compress_apply(edge, &received, err);
        delta_free(&received);
    }
    out->bytes = wire.len;
    delta_free(&delta);
    buf_free(&wire);
    return s;
}

/* ---- the others ---- */

struct codes {
    const struct trainable *edge;
    const float *before;
    float *now; /* (edge->values) what the edge has afterwards; the master's values until then */
    int round;
    struct buf codes, scales;
};

static enum status codes_open(struct codes *c, const struct trainable *edge, const float *before,
                              const float *after, int round, struct err *err)
{
    *c = (struct codes){.edge = edge,
                        .before = before,
                        .round = round,
                        .codes = {.max = LIMIT_DELTA_RAW_BYTES},
                        .scales = {.max = LIMIT_DELTA_RAW_BYTES}};
    c->now = calloc(edge->values + 1, sizeof *c->now);
    if (!c->now)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu parameters", edge->values);
    memcpy(c->now, after, edge->values * sizeof *c->now);
    return STATUS_OK;
}

static void codes_close(struct codes *c)
{
    free(c->now);
    buf_free(&c->codes);
    buf_free(&c->scales);
}

/* What the codes weigh in a delta's envelope. */
static enum status codes_measure(const struct codes *c, size_t *bytes, struct err *err)
{
    struct delta d = {.base_version = c->round, .version = c->round + 1};
    struct buf wire = {.max = LIMIT_DELTA_BYTES};
    TRY(delta_reserve(&d, (size_t)c->edge->count, c->codes.len, c->scales.len, err));
    d.parameters = (int64_t)c->edge->values;
    memset(d.codecs, LETTER, d.tensors);
    if (c->codes.len)
        memcpy(d.codes, c->codes.data, c->codes.len);
    if (c->scales.len)
        memcpy(d.scales, c->scales.data, c->scales.len);
    trainable_hash_values(c->edge, c->before, &d.base_hash);
    trainable_hash_values(c->edge, c->now, &d.hash);
    enum status s = delta_encode(&d, &wire, err);
    *bytes = wire.len;
    delta_free(&d);
    buf_free(&wire);
    return s;
}

static enum status codes_append(struct codes *c, const void *data, size_t bytes, struct err *err)
{
    enum status s = buf_append(&c->codes, data, bytes);
    return s == STATUS_OK ? s : err_set(err, s, "%zu bytes are too many for a delta", bytes);
}

/* Rounds n values to dtype, in place, and appends them. */
static enum status half_append(struct codes *c, enum dtype dtype, float *x, size_t n,
                               struct err *err)
{
    uint16_t *half = calloc(n + 1, sizeof *half);
    if (!half)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu values", n);
    if (dtype == DTYPE_F16)
        f32_to_f16(x, n, half);
    else
        f32_to_bf16(x, n, half);
    enum status s = codes_append(c, half, n * sizeof *half, err);
    if (s == STATUS_OK)
        s = dtype_to_f32(dtype, half, n, x);
    free(half);
    return s;
}

/* The model's parameters that are not of the set, which is appended by itself. */
static enum status frozen_append(struct codes *c, const struct mllm *model, struct err *err)
{
    for (int i = 0; i < model->param_count; i++) {
        const struct param *p = &model->params[i];
        size_t n = param_count(p);
        bool own = false;
        for (int t = 0; t < c->edge->count; t++)
            own = own || c->edge->params[t] == p;
        if (own || (!p->data && !p->packed))
            continue;
        float *copy = calloc(n + 1, sizeof *copy);
        if (!copy)
            return err_set(err, STATUS_NO_MEMORY, "no memory for %s", p->name);
        if (p->data)
            memcpy(copy, p->data, n * sizeof *copy);
        else
            weight_unpack(p->packed, 0, n, copy);
        enum status s = half_append(c, DTYPE_BF16, copy, n, err);
        free(copy);
        TRY(s);
    }
    return STATUS_OK;
}

float delivery_bitdelta(const float *x, size_t n, uint8_t *signs)
{
    double sum = 0;
    memset(signs, 0, (n + 7) / 8);
    for (size_t i = 0; i < n; i++) {
        sum += (double)fabsf(x[i]);
        if (x[i] >= 0)
            signs[i / 8] |= (uint8_t)(1u << i % 8);
    }
    return n ? (float)(sum / (double)n) : 0;
}

static enum status tensor_sign(struct codes *c, size_t at, size_t n, float *update, uint8_t *signs,
                               struct err *err)
{
    for (size_t i = 0; i < n; i++)
        update[i] = c->now[at + i] - c->before[at + i];
    float scale = delivery_bitdelta(update, n, signs);
    for (size_t i = 0; i < n; i++)
        c->now[at + i] = c->before[at + i] + (signs[i / 8] >> i % 8 & 1 ? scale : -scale);
    TRY(codes_append(c, signs, (n + 7) / 8, err));
    return buf_append(&c->scales, &scale, sizeof scale);
}

static enum status signs_append(struct codes *c, struct err *err)
{
    size_t at = 0;
    float *update = calloc(c->edge->values + 1, sizeof *update);
    uint8_t *signs = calloc(c->edge->values / 8 + 1, 1);
    enum status s = update && signs ? STATUS_OK : STATUS_NO_MEMORY;
    for (int t = 0; t < c->edge->count && s == STATUS_OK; t++) {
        size_t n = param_count(c->edge->params[t]);
        s = tensor_sign(c, at, n, update, signs, err);
        at += n;
    }
    free(update);
    free(signs);
    return s == STATUS_OK ? s : err_set(err, s, "no memory for the signs of an update");
}

static enum status codes_make(struct codes *c, const struct mllm *model, enum delivery_way way,
                              struct err *err)
{
    switch (way) {
    case DELIVERY_BITDELTA:
        return signs_append(c, err);
    case DELIVERY_F16:
        return half_append(c, DTYPE_F16, c->now, c->edge->values, err);
    case DELIVERY_BF16:
        TRY(frozen_append(c, model, err));
        return half_append(c, DTYPE_BF16, c->now, c->edge->values, err);
    default:
        return codes_append(c, c->now, c->edge->values * sizeof *c->now, err);
    }
}

/* ---- lossless differences ---- */

void delivery_difference(const float *before, const float *after, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t from, to;
        memcpy(&from, before + i, sizeof from);
        memcpy(&to, after + i, sizeof to);
        uint32_t difference = to - from;
        uint32_t zigzag = difference << 1 ^ (0u - (difference >> 31));
        for (size_t b = 0; b < 4; b++)
            out[b * n + i] = (uint8_t)(zigzag >> 8 * b);
    }
}

static enum status differences_measure(struct codes *c, struct delivered *out, struct err *err)
{
    size_t bytes = c->edge->values * sizeof *c->now;
    buf_clear(&c->codes);
    TRY(codes_append(c, c->now, bytes, err)); /* room */
    delivery_difference(c->before, c->now, c->edge->values, c->codes.data);
    TRY(codes_measure(c, &out->difference_bytes, err));
    enum status s = bsdiff_size(c->before, bytes, c->now, bytes, &out->bsdiff_bytes, err);
    return s == STATUS_UNSUPPORTED ? STATUS_OK : s;
}

/* ---- all ways ---- */

enum status delivery_run(const struct mllm *model, const struct trainable *edge,
                         const float *before, const float *after, int round,
                         const struct delivery_options *options, struct delivered *out,
                         struct err *err)
{
    struct codes c;
    memset(out, 0, sizeof *out);
    if (options->way == DELIVERY_DELTA)
        return delta_deliver(edge, before, after, round, options, out, err);
    TRY(codes_open(&c, edge, before, after, round, err));
    enum status s = codes_make(&c, model, options->way, err);
    if (s == STATUS_OK)
        s = codes_measure(&c, &out->bytes, err);
    if (s == STATUS_OK && options->way == DELIVERY_EXACT)
        s = differences_measure(&c, out, err);
    if (s == STATUS_OK)
        trainable_write(edge, c.now);
    codes_close(&c);
    return s;
}
