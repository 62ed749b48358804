/* cdcca-model bench accuracy: what packing a model's weights costs in accuracy, and what the fast
 * products on top of it cost. Texts are drawn from the model itself (and, of a multimodal one, are
 * answers about scenes of the built-in world); three ways of computing read the same texts, the
 * first half as a prompt, the rest token by token, and their next-token distributions are compared.
 */
#ifndef CDCCA_BENCH_ACCURACY_H
#define CDCCA_BENCH_ACCURACY_H

#include "model/mllm/mllm.h"
#include "model/tensor/weight.h"

/* How far one way of computing is from another, over the same positions. */
struct accuracy_gap {
    double divergence; /* mean KL(first || second), nats */
    double largest;    /* difference of two logits */
    double same;       /* share of positions whose likeliest token is the same */
};

struct accuracy {
    int positions;
    struct accuracy_gap packed; /* F32 weights -> packed ones, products in F32 */
    struct accuracy_gap fast;   /* packed weights, products in F32 -> in integers */
};

/* texts: how many, each from a seed of its own. A multimodal model needs a tokenizer. */
enum status bench_accuracy_measure(const struct mllm *m, enum weight_type type, int texts,
                                   uint64_t seed, struct accuracy *out, struct err *err);

enum status bench_accuracy_run(int argc, char **argv, struct err *err);

#endif
