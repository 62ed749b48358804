/* Packed weights with AVX2: bytes are multiplied in pairs with vpmaddubsw, which wants one side
 * without a sign; so |w| meets x with w's sign. No pair can pass 2 * 127 * 127 < 2^15. Products of
 * many rows gain nothing over F32 here. */
#include "model/tensor/kernels_weight.h"
#if defined(__x86_64__)
#include "model/tensor/kernels_weight_dot.h"
#include "model/tensor/kernels_weight_unpack.h"
#include <math.h>

/* ---- rounding x ---- */

INLINE __m256 abs_8(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

INLINE float max_8(__m256 x)
{
    __m128 a = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_max_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps(a, a, 1)));
}

/* 32 values as bytes, in their order */
INLINE __m256i round_32(const float *x, __m256 levels)
{
    __m256i v[4];
    for (int i = 0; i < 4; i++)
        v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + (ptrdiff_t)i * 8), levels));
    __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 16 bytes at even places, then 16 at odd ones */
INLINE __m256i split_32(__m256i bytes)
{
    const __m256i apart = _mm256_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 0,
                                           2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(bytes, apart), 0xd8);
}

/* A block of x; returns the step, NaN when there is one in it. */
INLINE float round_block(const float *x, bool split, int8_t *code)
{
    __m256 max = _mm256_setzero_ps(), nan = max;
    for (int i = 0; i < WEIGHT_BLOCK; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i);
        max = _mm256_max_ps(abs_8(v), max);
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    }
    float top = max_8(max);
    __m256 levels = _mm256_set1_ps(top > 0 ? 127 / top : 0);
    __m256i a = round_32(x, levels), b = round_32(x + 32, levels);
    if (split) {
        __m256i low = split_32(a), high = split_32(b);
        a = _mm256_permute2x128_si256(low, high, 0x20);
        b = _mm256_permute2x128_si256(low, high, 0x31);
    }
    _mm256_store_si256((void *)code, a);
    _mm256_store_si256((void *)(code + 32), b);
    return _mm256_movemask_ps(nan) ? NAN : top / 127;
}

static void few_round(const struct weight *w, const float *x, struct rounded *out)
{
    size_t blocks = (size_t)w->cols / WEIGHT_BLOCK * (size_t)out->M;
    for (size_t b = 0; b < blocks; b++)
        out->step[b] =
            round_block(x + b * WEIGHT_BLOCK, w->type == WEIGHT_NF4, out->code + b * WEIGHT_BLOCK);
}

/* ---- products ---- */

/* What is needed of 64 codes of W: their magnitudes and themselves, for their signs */
struct codes {
    __m256i size[2], sign[2];
};

INLINE struct codes codes_nf4(const uint8_t *code)
{
    const __m256i value =
                      _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)weight_nf4_bytes)),
                  size = _mm256_abs_epi8(value), four = _mm256_set1_epi8(15);
    __m256i byte = _mm256_loadu_si256((const void *)code),
            high = _mm256_and_si256(_mm256_srli_epi16(byte, 4), four),
            low = _mm256_and_si256(byte, four);
    return (struct codes){{_mm256_shuffle_epi8(size, high), _mm256_shuffle_epi8(size, low)},
                          {_mm256_shuffle_epi8(value, high), _mm256_shuffle_epi8(value, low)}};
}

INLINE struct codes codes_q8(const int8_t *code)
{
    __m256i a = _mm256_loadu_si256((const void *)code),
            b = _mm256_loadu_si256((const void *)(code + 32));
    return (struct codes){{_mm256_abs_epi8(a), _mm256_abs_epi8(b)}, {a, b}};
}

/* 64 codes times a block of x, in 8 lanes */
INLINE __m256 codes_dot(const struct codes *c, const int8_t *x)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int i = 0; i < 2; i++) {
        __m256i xs = _mm256_load_si256((const void *)(x + (ptrdiff_t)i * 32));
        __m256i pairs = _mm256_maddubs_epi16(c->size[i], _mm256_sign_epi8(xs, c->sign[i]));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
    }
    return _mm256_cvtepi32_ps(sum);
}

INLINE float sum_8(__m256 x)
{
    __m128 a = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

/* Row o of W times M rows of x */
INLINE void few_row(const struct weight *w, size_t o, bool nf4, const struct rounded *x, int M,
                    float *y)
{
    size_t I = (size_t)w->cols, blocks = I / WEIGHT_BLOCK, bytes = nf4 ? 32 : 64;
    const uint8_t *code = (const uint8_t *)w->codes + o * blocks * bytes;
    __m256 sum[WEIGHT_FEW];
    for (int m = 0; m < M; m++)
        sum[m] = _mm256_setzero_ps();
    for (size_t b = 0; b < blocks; b++) {
        struct codes c = nf4 ? codes_nf4(code + b * bytes)
                             : codes_q8((const int8_t *)w->codes + o * I + b * bytes);
        float scale = nf4 ? w->scale[o * blocks + b] : w->scale[o];
        _mm_prefetch((const char *)(code + b * bytes + DOT_AHEAD), _MM_HINT_T0);
        for (size_t m = 0; m < (size_t)M; m++) {
            __m256 step = _mm256_set1_ps(scale * x->step[m * blocks + b]);
            sum[m] = _mm256_add_ps(
                sum[m], _mm256_mul_ps(codes_dot(&c, x->code + m * I + b * WEIGHT_BLOCK), step));
        }
    }
    for (size_t m = 0; m < (size_t)M; m++)
        y[m * (size_t)w->rows + o] = sum_8(sum[m]) / 127;
}

INLINE void few_rows(const struct weight *w, int from, int to, const struct rounded *x, int M,
                     float *y)
{
    for (size_t o = (size_t)from; o < (size_t)to; o++)
        if (w->type == WEIGHT_NF4)
            few_row(w, o, true, x, M, y);
        else
            few_row(w, o, false, x, M, y);
}

static void few(const struct weight *w, int from, int to, const struct rounded *x, float *y)
{
    switch (x->M) {
    case 1:
        few_rows(w, from, to, x, 1, y);
        break;
    case 2:
        few_rows(w, from, to, x, 2, y);
        break;
    case 3:
        few_rows(w, from, to, x, 3, y);
        break;
    default:
        few_rows(w, from, to, x, WEIGHT_FEW, y);
    }
}

const struct weight_kernels weight_kernels_avx2 = {
    .name = "avx2", .unpack = unpack, .dot = dot, .few_round = few_round, .few = few};
#endif
