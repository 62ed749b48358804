/* From logits to the next token: what a token's probability was, and which token to take. */
#ifndef CDCCA_SAMPLING_H
#define CDCCA_SAMPLING_H

#include "api/base/rng.h"
#include <stdint.h>

/* A token that was taken, and the model's distribution (V) it was taken from. Both figures are of
 * that distribution as the model gives it: at temperature 1, with nothing cut off, however the
 * token was chosen. */
struct token {
    int32_t id;
    float log_probability; /* ln p(id), nats */
    float entropy;         /* of the whole distribution, nats */
};

/* Applied in this order, as HF transformers does: logits are divided by the temperature, all but
 * the top_k likeliest are cut, then all but the smallest set of likeliest that together reach top_p
 * (Holtzman et al. 2020, nucleus sampling); at least one is left. */
struct sampling {
    float temperature; /* 0: the likeliest token, without chance */
    float top_p;       /* 0 or 1: no cut */
    int top_k;         /* 0: no cut */
};

/* The first of the largest of x (n). */
int32_t sampling_largest(const float *x, int n);
/* ln sum exp(logits): a token's log-probability is its logit minus this. */
float sampling_normaliser(const float *logits, int V);
struct token sampling_token(const float *logits, int V, int32_t id);

/* A token id, drawn with one number from rng (none at temperature 0). Scratch: weight (V), order
 * (V); both may be NULL at temperature 0. */
int32_t sampling_draw(const struct sampling *how, const float *logits, int V, struct rng *rng,
                      float *weight, int32_t *order);

#endif
