/* Kernels of layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019). */
#include "model/tensor/kernels.h"
#include "model/tensor/vecmath.h"
#include <math.h>

/* Sum of (x - mean)^2: one pass over a row that is in cache by then. */
static inline float norm_deviation(const float *x, float mean, int C)
{
    vec acc = {0}, a;
    float lane[LANES], tail = 0;
    int i = 0;
    for (; i + LANES <= C; i += LANES) {
        VEC_LOAD(a, x + i);
        a -= mean;
        acc += a * a;
    }
    for (; i < C; i++)
        tail += (x[i] - mean) * (x[i] - mean);
    VEC_STORE(lane, acc);
    return lanes_sum(lane) + tail;
}

/* y (R,C) = (x - mean) * rstd * w + b; x (R,C), w and b (C), mean and rstd (R) */
static void kernel_layernorm(float *y, float *mean, float *rstd, const float *x, const float *w,
                             const float *b, float eps, int R, int C)
{
    for (int r = 0; r < R; r++) {
        const float *xr = x + (size_t)r * (size_t)C;
        float *restrict yr = y + (size_t)r * (size_t)C;
        float m = vec_sum(xr, C) / (float)C;
        float s = 1.0f / sqrtf(norm_deviation(xr, m, C) / (float)C + eps);
        for (int i = 0; i < C; i++)
            yr[i] = (xr[i] - m) * s * w[i] + b[i];
        mean[r] = m;
        rstd[r] = s;
    }
}

/* The two means over a row that dx needs: of g = dy w, and of g times the normalised x. */
static inline void norm_means(const float *dy, const float *x, const float *w, float m, float s,
                              int C, float *mean_g, float *mean_gx)
{
    vec acc = {0}, accx = {0}, a, b, c;
    float lane[LANES], tail = 0, tailx = 0;
    int i = 0;
    for (; i + LANES <= C; i += LANES) {
        VEC_LOAD(a, dy + i);
        VEC_LOAD(b, w + i);
        VEC_LOAD(c, x + i);
        a *= b;
        acc += a;
        accx += a * (c - m);
    }
    for (; i < C; i++) {
        tail += dy[i] * w[i];
        tailx += dy[i] * w[i] * (x[i] - m);
    }
    VEC_STORE(lane, acc);
    *mean_g = (lanes_sum(lane) + tail) / (float)C;
    VEC_STORE(lane, accx);
    *mean_gx = (lanes_sum(lane) + tailx) * s / (float)C;
}

static inline void norm_dx(float *restrict dx, const float *restrict dy, const float *restrict x,
                           const float *restrict w, float m, float s, float mean_g, float mean_gx,
                           int C)
{
    for (int i = 0; i < C; i++)
        dx[i] += s * (dy[i] * w[i] - mean_g - (x[i] - m) * s * mean_gx);
}

static inline void norm_dw(float *restrict dw, const float *restrict dy, const float *restrict x,
                           float m, float s, int C)
{
    for (int i = 0; i < C; i++)
        dw[i] += dy[i] * (x[i] - m) * s;
}

static void kernel_layernorm_back(float *dx, float *dw, float *db, const float *dy, const float *x,
                                  const float *w, const float *mean, const float *rstd, int R,
                                  int C)
{
    for (int r = 0; r < R; r++) {
        size_t at = (size_t)r * (size_t)C;
        if (dw)
            norm_dw(dw, dy + at, x + at, mean[r], rstd[r], C);
        for (int i = 0; db && i < C; i++)
            db[i] += dy[at + (size_t)i];
        if (dx) {
            float g, gx;
            norm_means(dy + at, x + at, w, mean[r], rstd[r], C, &g, &gx);
            norm_dx(dx + at, dy + at, x + at, w, mean[r], rstd[r], g, gx, C);
        }
    }
}

/* y (R,C) = x * rstd * w, rstd = 1 / sqrt(mean(x^2) + eps) */
static void kernel_rmsnorm(float *y, float *rstd, const float *x, const float *w, float eps, int R,
                           int C)
{
    for (int r = 0; r < R; r++) {
        const float *xr = x + (size_t)r * (size_t)C;
        float *restrict yr = y + (size_t)r * (size_t)C;
        float s = 1.0f / sqrtf(vec_dot(xr, xr, C) / (float)C + eps);
        for (int i = 0; i < C; i++)
            yr[i] = xr[i] * s * w[i];
        rstd[r] = s;
    }
}

static void kernel_rmsnorm_back(float *dx, float *dw, const float *dy, const float *x,
                                const float *w, const float *rstd, int R, int C)
{
    for (int r = 0; r < R; r++) {
        size_t at = (size_t)r * (size_t)C;
        if (dw)
            norm_dw(dw, dy + at, x + at, 0, rstd[r], C);
        if (dx) {
            float g, gx;
            norm_means(dy + at, x + at, w, 0, rstd[r], C, &g, &gx);
            norm_dx(dx + at, dy + at, x + at, w, 0, rstd[r], 0, gx, C);
        }
    }
}
