/* Decoding on ids: a batch of prompts goes through the model once, into a KV cache; options are
 * scored and tokens generated (generation.h) from there. */
#ifndef CDCCA_DECODER_H
#define CDCCA_DECODER_H

#include "model/mllm/forward.h"

struct decoder {
    struct tape *tape; /* not recording; its arena holds the cache */
    const struct mllm *m;
    int B, eos;  /* eos: -1: none */
    int longest; /* positions of the longest prompt */
    struct kv_cache cache;
    const float *logits; /* (B,V) of each prompt's last position */
};

/* One option of one prompt, and its score: mean log-likelihood per token, the end token included.
 */
struct option_row {
    int prompt;
    const int32_t *ids;
    int count;
    float score;
};

/* Runs the prompts with room for max_new more tokens. They may differ in length: right-padded, with
 * batch->text_mask; what a row gets does not depend on the others' lengths, but for
 * the rounding of packed products, which goes by the number of rows (weight.h; tape->exact: none).
 */
enum status decoder_start(struct decoder *d, struct tape *tape, const struct mllm *m,
                          const struct mllm_batch *batch, int eos, int max_new, struct err *err);
/* Any number of rows; before or instead of a generation, which uses the cache up. */
enum status decoder_score(struct decoder *d, struct option_row *rows, int n, struct err *err);
/* One token for each of the first n rows of a cache (d->cache, or one selected from it), which
 * grows by them -> logits (n,V) in the tape's arena; errors are the tape's. */
struct tensor decoder_step(struct decoder *d, struct kv_cache *cache, const int32_t *token, int n);

#endif
