/* exp, sigmoid and the normal distribution as branch-free float code that compilers turn into
 * vector code, and the few reductions they will not vectorise by themselves (order of additions).
 * Included by the kernels only, once per instruction set.
 *
 * Accuracy, held by tests/unit/test_kernels.c: vec_exp 3e-7 relative on [-87, 88] (beyond: held at
 * the ends; NaN stays NaN); vec_normal_cdf 3e-7 absolute; vec_sincos 3e-7 absolute up to |x| =
 * 8192. */
#ifndef CDCCA_VECMATH_H
#define CDCCA_VECMATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A register's worth of floats. Never an argument or a result, so that no calling convention
 * depends on it. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX2__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * LANES)));

#define VEC_LOAD(v, p) memcpy(&(v), (p), sizeof(vec))
#define VEC_STORE(p, v) memcpy((p), &(v), sizeof(vec))

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

/* Both of x: a multiple of pi/2 taken off in three parts, Cephes' polynomials on [-pi/4, pi/4],
 * then swapped and signed by the quadrant. */
static inline void vec_sincos(float x, float *sine, float *cosine)
{
    union {
        float f;
        uint32_t u;
    } t, s, c;
    t.f = x * 0.636619772367581343f + 12582912.0f;
    float j = t.f - 12582912.0f;
    float r = x - j * 1.5703125f;
    r = r - j * 4.837512969970703125e-4f;
    r = r - j * 7.549789948768648e-8f;
    float z = r * r;
    float sin_r = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
    float cos_r =
        ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z -
        0.5f * z + 1.0f;
    s.f = t.u & 1 ? cos_r : sin_r;
    c.f = t.u & 1 ? sin_r : cos_r;
    s.u ^= (t.u & 2) << 30;
    c.u ^= ((t.u + 1) & 2) << 30;
    *sine = s.f;
    *cosine = c.f;
}

/* Adds the halves of lane (LANES) until one is left. */
static inline float lanes_sum(float *lane)
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static inline float vec_sum(const float *x, int n)
{
    vec acc = {0}, a;
    float lane[LANES], tail = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        VEC_LOAD(a, x + i);
        acc += a;
    }
    for (; i < n; i++)
        tail += x[i];
    VEC_STORE(lane, acc);
    return lanes_sum(lane) + tail;
}

static inline float vec_dot(const float *x, const float *y, int n)
{
    vec acc = {0}, more = {0}, a, b;
    float lane[LANES], tail = 0;
    int i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        VEC_LOAD(a, x + i);
        VEC_LOAD(b, y + i);
        acc += a * b;
        VEC_LOAD(a, x + i + LANES);
        VEC_LOAD(b, y + i + LANES);
        more += a * b;
    }
    for (; i + LANES <= n; i += LANES) {
        VEC_LOAD(a, x + i);
        VEC_LOAD(b, y + i);
        acc += a * b;
    }
    for (; i < n; i++)
        tail += x[i] * y[i];
    acc += more;
    VEC_STORE(lane, acc);
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
