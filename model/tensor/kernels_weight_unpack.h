/* Packed weights to F32. Included once per instruction set, by kernels_weight_<set>.c. */
#ifndef CDCCA_KERNELS_WEIGHT_UNPACK_H
#define CDCCA_KERNELS_WEIGHT_UNPACK_H

#include "api/wire/safetensors.h"
#include "model/tensor/kernels_weight.h"
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

static void unpack_bf16(const uint16_t *code, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)code[i] << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void unpack_f16(const uint16_t *code, size_t count, float *out)
{
    size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(code + i))));
#endif
    dtype_to_f32(DTYPE_F16, code + i, count - i, out + i);
}

static void unpack_q8(const struct weight *w, size_t from, size_t count, float *out)
{
    const int8_t *code = (const int8_t *)w->codes + from;
    size_t cols = (size_t)w->cols, row = from / cols, col = from % cols;
    for (size_t i = 0, n; i < count; i += n, row++, col = 0) {
        float step = w->scale[row] / 127;
        n = cols - col < count - i ? cols - col : count - i;
        for (size_t k = i; k < i + n; k++)
            out[k] = (float)code[k] * step;
    }
}

#if defined(__AVX512F__)
/* 32 weights of 16 bytes */
static inline void unpack_nf4_32(const uint8_t *code, float scale, float *out)
{
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
                  second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    __m512 table = _mm512_mul_ps(_mm512_loadu_ps(weight_nf4), _mm512_set1_ps(scale));
    __m512i byte = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)code));
    __m512 even = _mm512_permutexvar_ps(_mm512_srli_epi32(byte, 4), table),
           odd = _mm512_permutexvar_ps(byte, table);
    _mm512_storeu_ps(out, _mm512_permutex2var_ps(even, first, odd));
    _mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(even, second, odd));
}
#elif defined(__AVX2__)
/* The value of each lane's low four bits: bit 3 picks the half of the table. */
static inline __m256 unpack_lookup(__m256i index, __m256 low, __m256 high)
{
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index),
                            _mm256_permutevar8x32_ps(high, index),
                            _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}

static inline void unpack_nf4_32(const uint8_t *code, float scale, float *out)
{
    __m256 step = _mm256_set1_ps(scale), low = _mm256_mul_ps(_mm256_loadu_ps(weight_nf4), step),
           high = _mm256_mul_ps(_mm256_loadu_ps(weight_nf4 + 8), step);
    for (int i = 0; i < 32; i += 16) {
        __m256i byte = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(code + i / 2)));
        __m256 even = unpack_lookup(_mm256_srli_epi32(byte, 4), low, high),
               odd = unpack_lookup(byte, low, high), a = _mm256_unpacklo_ps(even, odd),
               b = _mm256_unpackhi_ps(even, odd);
        _mm256_storeu_ps(out + i, _mm256_permute2f128_ps(a, b, 0x20));
        _mm256_storeu_ps(out + i + 8, _mm256_permute2f128_ps(a, b, 0x31));
    }
}
#else
static inline void unpack_nf4_32(const uint8_t *code, float scale, float *out)
{
    for (int i = 0; i < 32; i++)
        out[i] = weight_nf4[code[i / 2] >> (i % 2 ? 0 : 4) & 15] * scale;
}
#endif

static void unpack_nf4(const struct weight *w, size_t from, size_t count, float *out)
{
    const uint8_t *code = w->codes;
    for (size_t i = 0; i < count;) {
        size_t at = from + i;
        float scale = w->scale[at / WEIGHT_BLOCK];
        if (at % 32 == 0 && count - i >= 32) {
            unpack_nf4_32(code + at / 2, scale, out + i);
            i += 32;
        } else {
            out[i++] = weight_nf4[code[at / 2] >> (at % 2 ? 0 : 4) & 15] * scale;
        }
    }
}

static void unpack(const struct weight *w, size_t from, size_t count, float *out)
{
    const uint16_t *code = w->codes;
    switch (w->type) {
    case WEIGHT_BF16:
        unpack_bf16(code + from, count, out);
        break;
    case WEIGHT_F16:
        unpack_f16(code + from, count, out);
        break;
    case WEIGHT_Q8:
        unpack_q8(w, from, count, out);
        break;
    case WEIGHT_NF4:
        unpack_nf4(w, from, count, out);
        break;
    }
}

#endif
