/* Decoding on ids: a batch of prompts goes through the model once, into a KV cache;
 * options are scored and answers generated from there. answer.h is the same on texts. */
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

/* What greedy decoding made of one prompt. */
struct generated {
    int32_t *ids; /* room for max_new; the end token is left out */
    int count;
    float entropy, log_probability; /* means over the generated tokens, the end token included */
};

/* Runs the prompts with room for max_new more tokens. They may differ in length: right-padded, with
 * batch->text_mask; what a row gets does not depend on the others' lengths. */
enum status decoder_start(struct decoder *d, struct tape *tape, const struct mllm *m,
                          const struct mllm_batch *batch, int eos, int max_new, struct err *err);
/* Any number of rows; before or instead of decoder_greedy, which uses the cache up. */
enum status decoder_score(struct decoder *d, struct option_row *rows, int n, struct err *err);
/* out: B. Each ends at eos or after max_new tokens. */
enum status decoder_greedy(struct decoder *d, int max_new, struct generated *out, struct err *err);

#endif
