/* Kernels of the activations (GELU, SwiGLU) and of rotary positions. */
#include "model/tensor/kernels.h"
#include "model/tensor/vecmath.h"

/* y = x Phi(x), Hendrycks and Gimpel 2016, the exact form */
static void kernel_gelu(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float density;
        y[i] = x[i] * vec_normal_cdf(x[i], &density);
    }
}

static void kernel_gelu_back(float *restrict dx, const float *restrict dy, const float *restrict x,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float density, cdf = vec_normal_cdf(x[i], &density);
        dx[i] += dy[i] * (cdf + x[i] * density);
    }
}

/* y = gate sigmoid(gate) up, Shazeer 2020 */
static void kernel_swiglu(float *restrict y, const float *restrict gate, const float *restrict up,
                          size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] * vec_sigmoid(gate[i]) * up[i];
}

static void kernel_swiglu_back(float *restrict dgate, float *restrict dup, const float *restrict dy,
                               const float *restrict gate, const float *restrict up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float s = vec_sigmoid(gate[i]), silu = gate[i] * s;
        dgate[i] += dy[i] * up[i] * (s + silu * (1 - s));
        dup[i] += dy[i] * silu;
    }
}

/* cosine and sine (T,half) of (first + t) * frequency[i], in float32 as HF computes them */
static void kernel_rope_tables(float *restrict cosine, float *restrict sine,
                               const float *restrict frequency, int T, int half, int first)
{
    for (int t = 0; t < T; t++) {
        float position = (float)(first + t);
        for (int i = 0; i < half; i++)
            vec_sincos(position * frequency[i], &sine[t * half + i], &cosine[t * half + i]);
    }
}

/* The pair (x[i], x[i + D/2]) turned by the angle of position t; Su et al. 2021, in HF's layout. */
static void kernel_rope_set(float *restrict y, const float *restrict x, const float *restrict c,
                            const float *restrict s, int half, float sign)
{
    for (int i = 0; i < half; i++) {
        y[i] = x[i] * c[i] - sign * x[i + half] * s[i];
        y[i + half] = x[i + half] * c[i] + sign * x[i] * s[i];
    }
}

static void kernel_rope_add(float *restrict y, const float *restrict x, const float *restrict c,
                            const float *restrict s, int half, float sign)
{
    for (int i = 0; i < half; i++) {
        y[i] += x[i] * c[i] - sign * x[i + half] * s[i];
        y[i + half] += x[i + half] * c[i] + sign * x[i] * s[i];
    }
}

/* x and y (T,H,D), cosine and sine (T,D/2) */
static void kernel_rope(float *y, const float *x, const float *cosine, const float *sine, int T,
                        int H, int D, float sign, bool accumulate)
{
    int half = D / 2;
    for (int t = 0; t < T; t++)
        for (int h = 0; h < H; h++) {
            size_t at = ((size_t)t * (size_t)H + (size_t)h) * (size_t)D;
            size_t row = (size_t)t * (size_t)half;
            if (accumulate)
                kernel_rope_add(y + at, x + at, cosine + row, sine + row, half, sign);
            else
                kernel_rope_set(y + at, x + at, cosine + row, sine + row, half, sign);
        }
}
