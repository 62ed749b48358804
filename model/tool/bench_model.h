/* A LLaMA of random weights in memory, for benches: a size by name (shape.h) and a type of weights.
 */
#ifndef CDCCA_BENCH_MODEL_H
#define CDCCA_BENCH_MODEL_H

#include "model/mllm/mllm.h"
#include "model/tensor/weight.h"

struct bench_model {
    struct mllm *m;
    double bytes;    /* of weights that a token reads: all but the embedding table, once */
    double products; /* multiplications of a token by weights; the head's apart */
    double head_products;
};

/* weights: f32|bf16|f16|q8|nf4, of the matrices, head included; norms and embeddings are F32. */
enum status bench_model_create(const char *shape, const char *weights, struct bench_model *out,
                               struct err *err);
void bench_model_destroy(struct bench_model *model);

/* "bf16", "f16", "q8", "nf4"; false: another word. */
bool bench_weight_type(const char *name, enum weight_type *out);
/* Packs the matrices of a model's LLaMA, in place; of one without values, random ones. */
enum status bench_model_pack(struct mllm *m, enum weight_type type, struct err *err);

#endif
