/* Kernels around softmax: log-sum-exp, probabilities, the rows of the losses. V: vocabulary. */
#include "model/tensor/kernels.h"
#include "model/tensor/vecmath.h"
#include <math.h>

/* y = exp(factor * x - shift) */
static inline void softmax_exp(float *restrict y, const float *restrict x, float factor,
                               float shift, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = vec_exp(factor * x[i] - shift);
}

/* In blocks through a small buffer: no scratch as long as the row, and sums in vectors. */
static float kernel_log_sum_exp(const float *x, float factor, int V)
{
    float block[512], m = factor * vec_max(x, V);
    double sum = 0; /* at least 1 in the end: the largest term is e^0 */
    for (int i = 0; i < V; i += 512) {
        int n = V - i < 512 ? V - i : 512;
        softmax_exp(block, x + i, factor, m, n);
        sum += (double)vec_sum(block, n);
    }
    return m + (float)log(sum);
}

/* y may be x */
static void kernel_softmax(float *y, const float *x, float factor, int V)
{
    float m = factor * vec_max(x, V);
    for (int i = 0; i < V; i++)
        y[i] = vec_exp(factor * x[i] - m);
    float scale = 1.0f / vec_sum(y, V);
    for (int i = 0; i < V; i++)
        y[i] *= scale;
}

static void kernel_softmax_accumulate(float *restrict dx, const float *restrict x, float factor,
                                      float lse, float weight, int V)
{
    for (int i = 0; i < V; i++)
        dx[i] += weight * vec_exp(factor * x[i] - lse);
}

static double kernel_kl_row(const float *t, const float *x, float factor, float lse_t, float lse_x,
                            int V)
{
    float block[512];
    double sum = 0;
    for (int i = 0; i < V; i += 512) {
        int n = V - i < 512 ? V - i : 512;
        for (int j = 0; j < n; j++) {
            float log_t = factor * t[i + j] - lse_t;
            block[j] = vec_exp(log_t) * (log_t - factor * x[i + j] + lse_x);
        }
        sum += (double)vec_sum(block, n);
    }
    return sum;
}
