/* Adaptation without a teacher, on the device's own stream: the baselines that CD-CCA is held
 * against. Nothing travels.
 *
 *   TENT-continual (arXiv 2006.10726): the entropy of the model's own answers is minimised; norm
 *     weights and offsets alone are trained.
 *   CoTTA (arXiv 2203.13591): the student follows a moving average of itself by cross-entropy with
 *     its soft predictions, averaged over views where the average is unsure; then each weight goes
 *     back to its source with a small probability. The average answers. Views are of the visual
 *     tokens (a random part stays away), as pixels are not kept.
 *
 * Both go over a window batch by batch, one step a batch, in the order of the stream. */
#ifndef CDCCA_ADAPT_H
#define CDCCA_ADAPT_H

#include "model/learn/distill.h"

enum adapt_method { ADAPT_TENT, ADAPT_COTTA };

struct adapt_options {
    enum adapt_method method;
    float lr;         /* Adam, constant */
    int batch;        /* 32 */
    float momentum;   /* CoTTA: of the average, 0.999 */
    float restore;    /* CoTTA: probability that a weight returns to its source, 0.01 */
    float confidence; /* CoTTA: views are averaged below this mean probability of a token, 0.92 */
    int views;        /* CoTTA: 8 */
    float view_drop;  /* CoTTA: a view misses up to this share of the tokens, 0.5 */
    uint64_t seed;
};
struct adapt_options adapt_defaults(enum adapt_method method);
enum status adapt_options_check(const struct adapt_options *options, struct err *err);

struct adapt;
/* model: with a trainable set attached, a private clone that is trained; retained. */
enum status adapt_create(struct mllm *model, struct pool *pool, const struct adapt_options *options,
                         struct adapt **out, struct err *err);
void adapt_destroy(struct adapt *a);
/* One pass over a window. *loss: mean over its steps. Diverging (a loss that is not finite) is
 * STATUS_MALFORMED and leaves the steps before it. */
enum status adapt_window(struct adapt *a, const struct distill_instance *samples, int n,
                         float *loss, struct err *err);
/* The model that answers: the trained one (TENT), the average (CoTTA). Borrowed. */
const struct mllm *adapt_model(const struct adapt *a);

#endif
