/* Exact products of few rows from BF16, F16 and Q8: each vector of W is widened once, in registers,
 * and meets up to WEIGHT_FEW rows of x. Included once per instruction set. */
#ifndef CDCCA_KERNELS_WEIGHT_DOT_H
#define CDCCA_KERNELS_WEIGHT_DOT_H

#include "model/tensor/kernels_weight.h"
#include "model/tensor/vecmath.h"
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum { DOT_AHEAD = 2048 }; /* bytes; kernels_weight_vnni.c says why */

/* LANES weights from `at` on */
#if defined(__AVX512F__)
INLINE void widen(enum weight_type type, const uint8_t *at, vec *out)
{
    __m512 v;
    if (type == WEIGHT_BF16)
        v = _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)at)), 16));
    else if (type == WEIGHT_F16)
        v = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)at));
    else
        v = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)at)));
    memcpy(out, &v, sizeof v);
}
#else
INLINE void widen(enum weight_type type, const uint8_t *at, vec *out)
{
    __m256 v;
    if (type == WEIGHT_BF16)
        v = _mm256_castsi256_ps(
            _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)at)), 16));
    else if (type == WEIGHT_F16)
        v = _mm256_cvtph_ps(_mm_loadu_si128((const void *)at));
    else
        v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)at)));
    memcpy(out, &v, sizeof v);
}
#endif

/* y of row o of W and M rows of x, in M * U sums of a vector each */
INLINE void dot_row(const struct weight *w, enum weight_type type, size_t o, const float *x, int M,
                    int U, float *y)
{
    size_t I = (size_t)w->cols, each = type == WEIGHT_Q8 ? 1 : 2;
    const uint8_t *code = (const uint8_t *)w->codes + o * I * each;
    vec sum[WEIGHT_FEW][4] = {{{0}}}, wide, xv;
    for (size_t i = 0; i < I; i += (size_t)(U * LANES)) {
        __builtin_prefetch(code + i * each + DOT_AHEAD);
        for (int u = 0; u < U; u++) {
            size_t at = i + (size_t)(u * LANES);
            widen(type, code + at * each, &wide);
            for (int m = 0; m < M; m++) {
                VEC_LOAD(xv, x + (size_t)m * I + at);
                sum[m][u] += wide * xv;
            }
        }
    }
    float lane[LANES], scale = type == WEIGHT_Q8 ? w->scale[o] / 127 : 1;
    for (int m = 0; m < M; m++) {
        for (int u = 1; u < U; u++)
            sum[m][0] += sum[m][u];
        VEC_STORE(lane, sum[m][0]);
        y[(size_t)m * (size_t)w->rows + o] = lanes_sum(lane) * scale;
    }
}

INLINE void dot_rows(const struct weight *w, enum weight_type type, int from, int to,
                     const float *x, int M, float *y)
{
    for (size_t o = (size_t)from; o < (size_t)to; o++)
        switch (M) {
        case 1:
            dot_row(w, type, o, x, 1, 4, y);
            break;
        case 2:
            dot_row(w, type, o, x, 2, 2, y);
            break;
        case 3:
            dot_row(w, type, o, x, 3, 1, y);
            break;
        default:
            dot_row(w, type, o, x, WEIGHT_FEW, 1, y);
        }
}

static void dot(const struct weight *w, int from, int to, const float *x, int M, float *y)
{
    if (w->type == WEIGHT_BF16)
        dot_rows(w, WEIGHT_BF16, from, to, x, M, y);
    else if (w->type == WEIGHT_F16)
        dot_rows(w, WEIGHT_F16, from, to, x, M, y);
    else
        dot_rows(w, WEIGHT_Q8, from, to, x, M, y);
}

#endif
