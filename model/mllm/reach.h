/* Reach: which visual tokens a vision encoder can make at all. It ends in a layer norm, so that
 * every token is gamma x + beta with a sum of squares of x of at most C: an ellipsoid, which the
 * mean of several tokens does not leave either. What lies outside is no picture's. */
#ifndef CDCCA_REACH_H
#define CDCCA_REACH_H

#include "model/mllm/mllm.h"

/* The least radius that token (C) can have when each channel may be off by `slack` (half a step of
 * quantization): up to 1 the encoder can make it, but for rounding (REACH_MOST). Not finite:
 * INFINITY. m must have a vision encoder. */
double reach_radius(const struct mllm *m, const float *token, double slack);
static const double REACH_MOST = 1.01;

#endif
