/* Kernels on plain vectors: sums, scaling, selection (dropout), the optimiser's update. */
#include "model/tensor/kernels.h"
#include "model/tensor/vecmath.h"
#include <math.h>

static float kernel_dot(const float *x, const float *y, int n)
{
    return vec_dot(x, y, n);
}

static double kernel_square_sum(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i += 4096) {
        int block = (int)(n - i < 4096 ? n - i : 4096);
        sum += (double)vec_dot(x + i, x + i, block);
    }
    return sum;
}

static void kernel_add(float *restrict y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void kernel_accumulate(float *restrict y, const float *restrict x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += factor * x[i];
}

static void kernel_scale(float *restrict y, const float *restrict x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = factor * x[i];
}

/* keep (n) of 0 and 1 */
static void kernel_select(float *restrict y, const float *restrict x, const uint8_t *restrict keep,
                          float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = keep[i] ? factor * x[i] : 0.0f;
}

static void kernel_select_back(float *restrict dx, const float *restrict dy,
                               const uint8_t *restrict keep, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dx[i] += keep[i] ? factor * dy[i] : 0.0f;
}

/* Four rows at a time, so that sum is read and written a quarter as often. */
static void kernel_column_sum(float *restrict sum, const float *restrict x, int R, int C)
{
    int r = 0;
    for (; r + 4 <= R; r += 4) {
        const float *a = x + (size_t)r * (size_t)C, *b = a + C, *c = b + C, *d = c + C;
        for (int i = 0; i < C; i++)
            sum[i] += (a[i] + b[i]) + (c[i] + d[i]);
    }
    for (; r < R; r++)
        for (int i = 0; i < C; i++)
            sum[i] += x[(size_t)r * (size_t)C + (size_t)i];
}

/* Loshchilov and Hutter 2019, in PyTorch's order of operations. */
static void kernel_adamw(float *restrict w, float *restrict m, float *restrict v,
                         const float *restrict g, const struct adamw_rates *r, size_t n)
{
    float b1 = r->beta1, b2 = r->beta2, c1 = 1 - b1, c2 = 1 - b2;
    float eps = r->eps, keep = r->keep, step = r->step_size, root = r->root_correction;
    for (size_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * g[i] * g[i];
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) / root + eps);
    }
}
