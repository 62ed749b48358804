/* UTS, uncertainty-guided token sampling (CD-CCA section 3.2). Stage 1 picks instances by the
 * entropy of the answer; stage 2 picks visual tokens. */
#ifndef CDCCA_UNCERTAINTY_H
#define CDCCA_UNCERTAINTY_H

#include "api/base/rng.h"
#include "model/mllm/answer.h"

/* Stage 1 over a finished window: rank by entropy, take the top pool_factor * n, draw from them at
 * random, but leave 7 of 10 picks to the whole of the window: what the model is sure of must
 * stay in the cloud's buffer, or it is forgotten. pool_factor 1: plainly the top n. chosen: n
 * indices, ascending. Returns how many (min(n, count)). */
int uts_select_instances(const float *entropy, int count, int n, float pool_factor, struct rng *rng,
                         int32_t *chosen);

enum uts_score {
    UTS_ATTENTION /* attention mass x |value|, the default */,
    UTS_VARIANCE /* Monte-Carlo dropout variance, Eq. 3 */,
    UTS_NORM,
    UTS_RANDOM
};
struct uts_options {
    enum uts_score score;
    int passes;    /* Monte-Carlo passes, 8 */
    float dropout; /* 0.2 */
    int keep;      /* tokens kept per instance, 10 */
    bool rest;     /* one more: the mean of those that stay behind, in their place; true */
};
enum { UTS_REST = 0xffff }; /* its position: that of every token which is not named */
struct uts_options uts_defaults(void);

/* Stage 2: positions (ascending) of the `keep` highest-scoring tokens of one image for a question.
 * visual (count, C). Returns how many. */
enum status uts_select_tokens(const struct mllm *m, const float *visual, int count,
                              const char *question, const struct uts_options *options,
                              uint64_t seed, uint16_t *positions, int *kept, struct err *err);
/* The same with the tokens themselves, and the rest's behind them: what is uploaded. positions and
 * out (., C): room for keep + 1. To attend to the mean of n tokens n times is what attention does
 * to n equal ones, so the cloud's models see as much background as the device's does. */
enum status uts_take_tokens(const struct mllm *m, const float *visual, int count,
                            const char *question, const struct uts_options *options, uint64_t seed,
                            uint16_t *positions, float *out, int *taken, struct err *err);
/* How many of an encoder's `tokens` the last of an upload's stands for (distill_instance.rest). */
int uts_rest_weight(const uint16_t *positions, int count, int tokens);

#endif
