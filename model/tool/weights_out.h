/* Writes the weights of a model directory from any source of values, matrix by matrix, shard by
 * shard: what `quantize` and `synth` share. Memory: one packed matrix and a few rows a thread. */
#ifndef CDCCA_WEIGHTS_OUT_H
#define CDCCA_WEIGHTS_OUT_H

#include "api/base/progress.h"
#include "model/mllm/mllm.h"
#include "model/tensor/parallel.h"
#include "model/tensor/weight.h"

/* Where values come from; called by several threads at once. */
struct weights_source {
    enum status (*values)(void *ctx, int param, size_t from, size_t count, float *out,
                          struct err *err);
    enum dtype (*dtype)(void *ctx, int param); /* of a parameter that is not quantized */
    /* May be NULL: the same values as NF4, blocks of 64 from `block` on. */
    void (*blocks)(void *ctx, int param, size_t block, size_t count, uint8_t *codes, float *scale);
    void *ctx;
};

struct weights_out {
    struct io *io;
    const char *dir;
    const struct mllm *m; /* names and shapes */
    struct weights_source source;
    bool quantize; /* params_quantizable matrices become `type`: WEIGHT_NF4 or WEIGHT_Q8 */
    enum weight_type type;
    bool nested;        /* NF4 with double quantization */
    size_t shard_bytes; /* at most, but for a single matrix that is larger */
    struct pool *pool;
    struct progress *progress; /* in values */
    /* out */
    int shards, quantized;
    uint64_t bytes; /* of tensors */
};

/* model.safetensors, or shards with their index. */
enum status weights_out_write(struct weights_out *o, struct err *err);

/* "nf4" -> quantize to it; "f32", "bf16" -> *other. False: neither. */
bool weights_out_type(struct weights_out *o, const char *name, enum dtype *other);

#endif
