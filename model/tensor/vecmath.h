/* exp, sigmoid and the normal distribution as branch-free float code that compilers turn into
 * vector code, and the few reductions they will not vectorise by themselves (order of additions).
 * Included by the kernels only, once per instruction set.
 *
 * Accuracy, held by tests/unit/test_kernels.c: vec_exp 3e-7 relative on [-87, 88] (beyond: held at
 * the ends; NaN stays NaN); vec_normal_cdf 3e-7 absolute. */
#ifndef CDCCA_VECMATH_H
#define CDCCA_VECMATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* 16 lanes whatever the machine has: lowered to 1 AVX-512, 2 AVX2 or 4 SSE / NEON registers. Never
 * an argument or a result, so that no calling convention depends on it. */
typedef float v16 __attribute__((vector_size(64)));
enum { LANES = 16 };

#define V16_LOAD(v, p) memcpy(&(v), (p), sizeof(v16))
#define V16_STORE(p, v) memcpy((p), &(v), sizeof(v16))

/* e^x = 2^n e^r, n = round(x / ln 2): a polynomial (Cephes) for e^r, n put into the exponent.
 * Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
static inline float vec_exp(float x)
{
    x = x > 88.0f ? 88.0f : x;
    x = x < -87.0f ? -87.0f : x;
    union {
        float f;
        uint32_t u;
    } t, scale;
    t.f = x * 1.44269504088896341f + 12582912.0f;
    float n = t.f - 12582912.0f;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    scale.u = (t.u << 23) + 0x3f800000u;
    return y * scale.f;
}

static inline float vec_sigmoid(float x)
{
    return 1.0f / (1.0f + vec_exp(-x));
}

/* P(N(0,1) < x) and, in *density, its derivative. Abramowitz and Stegun 7.1.26 for erfc of |x|: the
 * e^(-x^2/2) it needs is the density's too. */
static inline float vec_normal_cdf(float x, float *density)
{
    float a = x < 0 ? -x : x;
    float e = vec_exp(-0.5f * a * a);
    float t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * a);
    float y = 1.061405429f;
    y = y * t - 1.453152027f;
    y = y * t + 1.421413741f;
    y = y * t - 0.284496736f;
    y = y * t + 0.254829592f;
    float tail = 0.5f * y * t * e;
    *density = 0.398942280f * e;
    return x < 0 ? tail : 1.0f - tail;
}

static inline float lanes_sum(const float *lane)
{
    float half[8];
    for (int i = 0; i < 8; i++)
        half[i] = lane[i] + lane[i + 8];
    return ((half[0] + half[4]) + (half[1] + half[5])) +
           ((half[2] + half[6]) + (half[3] + half[7]));
}

static inline float vec_sum(const float *x, int n)
{
    v16 acc = {0}, a;
    float lane[LANES], tail = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        V16_LOAD(a, x + i);
        acc += a;
    }
    for (; i < n; i++)
        tail += x[i];
    V16_STORE(lane, acc);
    return lanes_sum(lane) + tail;
}

static inline float vec_dot(const float *x, const float *y, int n)
{
    v16 acc = {0}, more = {0}, a, b;
    float lane[LANES], tail = 0;
    int i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        V16_LOAD(a, x + i);
        V16_LOAD(b, y + i);
        acc += a * b;
        V16_LOAD(a, x + i + LANES);
        V16_LOAD(b, y + i + LANES);
        more += a * b;
    }
    for (; i + LANES <= n; i += LANES) {
        V16_LOAD(a, x + i);
        V16_LOAD(b, y + i);
        acc += a * b;
    }
    for (; i < n; i++)
        tail += x[i] * y[i];
    acc += more;
    V16_STORE(lane, acc);
    return lanes_sum(lane) + tail;
}

/* The largest element; NaNs may be passed over (what follows shows them). */
static inline float vec_max(const float *x, int n)
{
    float lane[LANES], m = x[0];
    int i = 0;
    for (int l = 0; l < LANES; l++)
        lane[l] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++)
        m = x[i] > m ? x[i] : m;
    for (int l = 0; l < LANES; l++)
        m = lane[l] > m ? lane[l] : m;
    return m;
}

#endif
