/* See reach.h. Every token of every upload comes through here: sums in lanes, no branch, so that
 * the compiler makes vectors of it. */
#include "model/mllm/reach.h"
#include <float.h>
#include <math.h>

enum { LANES = 16 };

/* The square of channel c's x, at the least. Not finite if the token is not, or is off where gamma
 * is 0. */
static inline float squared(const float *token, const float *gamma, const float *beta, float slack,
                            int c)
{
    float off = fabsf(token[c] - beta[c]) - slack;
    float x = (off <= 0 ? 0 : off) / (fabsf(gamma[c]) + FLT_MIN);
    return x * x;
}

double reach_radius(const struct mllm *m, const float *token, double slack)
{
    const float *gamma = m->vision.post_norm_w->data, *beta = m->vision.post_norm_b->data;
    int C = m->config.vision.hidden, c = 0;
    float lane[LANES] = {0};
    double sum = 0;
    for (; c + LANES <= C; c += LANES)
        for (int i = 0; i < LANES; i++)
            lane[i] += squared(token, gamma, beta, (float)slack, c + i);
    for (int i = 0; c + i < C; i++)
        lane[i] += squared(token, gamma, beta, (float)slack, c + i);
    for (int i = 0; i < LANES; i++)
        sum += (double)lane[i];
    return isfinite(sum) ? sqrt(sum / C) : (double)INFINITY;
}
