/* See reach.h. */
#include "model/mllm/reach.h"
#include <math.h>

double reach_radius(const struct mllm *m, const float *token, double slack)
{
    const float *gamma = m->vision.post_norm_w->data, *beta = m->vision.post_norm_b->data;
    int C = m->config.vision.hidden;
    double sum = 0;
    for (int c = 0; c < C; c++) {
        double off = fabs((double)token[c] - (double)beta[c]) - slack;
        double scale = fabs((double)gamma[c]);
        if (!isfinite(token[c]))
            return (double)INFINITY;
        if (off > 0)
            sum += scale > 0 ? off * off / (scale * scale) : (double)INFINITY;
    }
    return sqrt(sum / C);
}
