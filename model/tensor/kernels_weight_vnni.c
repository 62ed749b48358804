/* Packed weights with AVX-512 and its 8-bit dot product (vpdpbusd: bytes without a sign times bytes
 * with one, so that W's codes are taken 128 too high and x's sums make up for it). */
#include "model/tensor/kernels_weight.h"
#if defined(__x86_64__)
#include "model/tensor/kernels_weight_512.h"
#include "model/tensor/kernels_weight_dot.h"
#include "model/tensor/kernels_weight_unpack.h"
#include <math.h>

void vnni_unpack(const struct weight *w, size_t from, size_t count, float *out)
{
    unpack(w, from, count, out);
}

void vnni_dot(const struct weight *w, int from, int to, const float *x, int M, float *y)
{
    dot(w, from, to, x, M, y);
}

/* ---- rounding x ---- */

INLINE __m128i round_16(__m512 x, __m512 levels)
{
    return _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, levels)));
}

/* A block of x: 64 codes, those at even places first if `split`; returns the step. A NaN makes the
 * step NaN, so that it is not lost. */
INLINE float round_block(const float *x, bool split, __m512i *code)
{
    const __m512i even =
                      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
                  odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16), c = _mm512_loadu_ps(x + 32),
           d = _mm512_loadu_ps(x + 48), p = a, q = b, r = c, s = d;
    unsigned nan = _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) | _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q);
    float max =
        _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)),
                                           _mm512_max_ps(_mm512_abs_ps(c), _mm512_abs_ps(d))));
    __m512 levels = _mm512_set1_ps(max > 0 ? 127 / max : 0);
    if (split) {
        p = _mm512_permutex2var_ps(a, even, b), q = _mm512_permutex2var_ps(c, even, d);
        r = _mm512_permutex2var_ps(a, odd, b), s = _mm512_permutex2var_ps(c, odd, d);
    }
    __m256i low = _mm256_set_m128i(round_16(q, levels), round_16(p, levels)),
            high = _mm256_set_m128i(round_16(s, levels), round_16(r, levels));
    *code = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    return nan ? NAN : max / 127;
}

/* -128 times what each 32-bit lane adds up */
INLINE __m512i lane_offset(__m512i code)
{
    __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)128), code);
    return _mm512_sub_epi32(_mm512_setzero_si512(), sum);
}

INLINE void few_pair(const float *x, int8_t *code, float *step, int32_t *offset)
{
    __m512i a, b;
    step[0] = round_block(x, true, &a);
    step[1] = round_block(x + WEIGHT_BLOCK, true, &b);
    __m512i even = _mm512_shuffle_i64x2(a, b, 0x44), odd = _mm512_shuffle_i64x2(a, b, 0xee);
    _mm512_store_si512(code, even);
    _mm512_store_si512(code + 64, odd);
    _mm512_store_si512(offset, _mm512_add_epi32(lane_offset(even), lane_offset(odd)));
}

void vnni_few_round(const struct weight *w, const float *x, struct rounded *out)
{
    bool split = w->type == WEIGHT_NF4;
    size_t blocks = (size_t)w->cols / WEIGHT_BLOCK;
    for (size_t m = 0; m < (size_t)out->M; m++) {
        size_t at = m * blocks, b = 0;
        const float *row = x + at * WEIGHT_BLOCK;
        int8_t *code = out->code + at * WEIGHT_BLOCK;
        int32_t *offset = out->offset + at * LANES16;
        for (; split && b + 2 <= blocks; b += 2)
            few_pair(row + b * WEIGHT_BLOCK, code + b * WEIGHT_BLOCK, out->step + at + b,
                     offset + b / 2 * LANES16);
        for (; b < blocks; b++) {
            __m512i rounded;
            out->step[at + b] = round_block(row + b * WEIGHT_BLOCK, split, &rounded);
            _mm512_store_si512(code + b * WEIGHT_BLOCK, rounded);
            _mm512_store_si512(offset + (split ? b / 2 : b) * LANES16, lane_offset(rounded));
        }
    }
}

/* 16 rows of x, turned so that a 32-bit lane is a row: (I/64, 16, 16, 4) */
void vnni_many_round(const struct weight *w, const float *x, int first, struct rounded *out)
{
    size_t I = (size_t)w->cols, blocks = I / WEIGHT_BLOCK, tile = (size_t)first * blocks;
    int rows = out->M - first < LANES16 ? out->M - first : LANES16;
    for (size_t b = 0; b < blocks; b++) {
        __m512i code[16];
        float step[16] = {0};
        for (int m = 0; m < 16; m++)
            code[m] = _mm512_setzero_si512();
        for (int m = 0; m < rows; m++)
            step[m] = round_block(x + (size_t)(first + m) * I + b * WEIGHT_BLOCK,
                                  w->type == WEIGHT_NF4, &code[m]);
        turn_16x16(code);
        __m512i offset = _mm512_setzero_si512();
        for (int k = 0; k < 16; k++) {
            _mm512_store_si512(out->code + tile * WEIGHT_BLOCK + (b * 16 + (size_t)k) * 64,
                               code[k]);
            offset = _mm512_add_epi32(offset, lane_offset(code[k]));
        }
        _mm512_store_si512(out->offset + tile + b * LANES16, offset);
        _mm512_store_ps(out->step + tile + b * LANES16, _mm512_loadu_ps(step));
    }
}

/* ---- few rows ---- */

/* Memory is asked for ahead of the codes in use: of narrow rows, several at a time, into the first
 * cache, some turns ahead; of wide ones, one at a time, into the second cache and again, near, into
 * the first. So two threads read as much as plain loops do (`cdcca-model bench limits`). */
enum { AHEAD_NARROW = 8192, AHEAD_WIDE = 4096, AHEAD_NEAR = 512, NARROW_BYTES = 3072 };

INLINE size_t ahead_bytes(size_t row_bytes, int R)
{
    size_t turn = row_bytes * (size_t)R;
    return R == 1 ? AHEAD_WIDE : (AHEAD_NARROW + turn - 1) / turn * turn;
}

INLINE void ask_ahead(const void *at, size_t ahead, int R)
{
    const char *byte = at;
    if (R > 1) {
        _mm_prefetch(byte + ahead, _MM_HINT_T0);
        return;
    }
    _mm_prefetch(byte + ahead, _MM_HINT_T1);
    _mm_prefetch(byte + AHEAD_NEAR, _MM_HINT_T0);
}

/* Both kernels take R rows of W with M rows of x at a time, R * M <= 4; sum (R,M) has 16 lanes. */
enum { SUMS = WEIGHT_FEW };

/* The lanes of each of four sums added up */
INLINE __m128 sums_total(const __m512 *sum)
{
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(sum[0], sum[1]),
                             _mm512_unpackhi_ps(sum[0], sum[1])),
           b = _mm512_add_ps(_mm512_unpacklo_ps(sum[2], sum[3]),
                             _mm512_unpackhi_ps(sum[2], sum[3])),
           c = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    __m256 d = _mm256_add_ps(_mm512_castps512_ps256(c), _mm512_extractf32x8_ps(c, 1));
    return _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
}

INLINE void sums_store(const __m512 *sum, const float *factor, int R, int M, float *y, size_t O)
{
    _Alignas(16) float total[SUMS];
    _mm_store_ps(total, sums_total(sum));
    for (int r = 0; r < R; r++)
        for (int m = 0; m < M; m++)
            y[(size_t)m * O + (size_t)r] = total[r * M + m] * factor[r];
}

/* Up to 16 blocks of each row, in pairs (the lanes 0..7 and 8..15 of the products of codes): their
 * scales lie in one register a sum. */
INLINE void nf4_pairs(const uint8_t *code, const float *scale, size_t first, size_t pairs,
                      const struct rounded *x, int R, int M, __m512 *sum)
{
    const size_t ahead = ahead_bytes((size_t)x->I / 2, R);
    const __m512i table = nf4_table(128), four = _mm512_set1_epi8(15), two = _mm512_set1_epi32(2);
    __m512i lane = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    __mmask16 mask = (__mmask16)((1u << 2 * pairs) - 1);
    __m512 both[SUMS];
    size_t I = (size_t)x->I, blocks = I / WEIGHT_BLOCK;
    for (int r = 0; r < R; r++)
        for (int m = 0; m < M; m++)
            both[r * M + m] = _mm512_mul_ps(
                _mm512_maskz_loadu_ps(mask, scale + (size_t)r * blocks + 2 * first),
                _mm512_maskz_loadu_ps(mask, x->step + (size_t)m * blocks + 2 * first));
    for (size_t p = first; p < first + pairs; p++) {
        for (int r = 0; r < R; r++) {
            const uint8_t *at = code + (size_t)r * I / 2 + p * 64;
            __m512i byte = _mm512_loadu_si512(at), high = _mm512_srli_epi16(byte, 4);
            ask_ahead(at, ahead, R);
            high = _mm512_shuffle_epi8(table, _mm512_and_si512(high, four));
            byte = _mm512_shuffle_epi8(table, _mm512_and_si512(byte, four));
            for (int m = 0; m < M; m++) {
                const int8_t *xs = x->code + (size_t)m * I + p * 128;
                __m512i dot = _mm512_load_si512(x->offset + ((size_t)m * blocks + p) * LANES16);
                dot = _mm512_dpbusd_epi32(dot, high, _mm512_load_si512(xs));
                dot = _mm512_dpbusd_epi32(dot, byte, _mm512_load_si512(xs + 64));
                sum[r * M + m] =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot),
                                    _mm512_permutexvar_ps(lane, both[r * M + m]), sum[r * M + m]);
            }
        }
        lane = _mm512_add_epi32(lane, two);
    }
}

/* The last block of a row that has an odd number of them */
INLINE void nf4_last(const uint8_t *code, float scale, const struct rounded *x, int M, __m512 *sum)
{
    size_t I = (size_t)x->I, blocks = I / WEIGHT_BLOCK, last = blocks - 1;
    __m512i byte = nf4_block(code + last * 32, nf4_table(128));
    for (size_t m = 0; m < (size_t)M; m++) {
        __m512i dot =
            _mm512_dpbusd_epi32(_mm512_load_si512(x->offset + (m * blocks + last / 2) * LANES16),
                                byte, _mm512_load_si512(x->code + m * I + last * WEIGHT_BLOCK));
        sum[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot),
                                 _mm512_set1_ps(scale * x->step[m * blocks + last]), sum[m]);
    }
}

INLINE void nf4_rows(const struct weight *w, int o, const struct rounded *x, int R, int M, float *y)
{
    static const float factor[SUMS] = {1.0f / 127, 1.0f / 127, 1.0f / 127, 1.0f / 127};
    size_t blocks = (size_t)w->cols / WEIGHT_BLOCK, pairs = blocks / 2;
    const uint8_t *code = (const uint8_t *)w->codes + (size_t)o * blocks * (WEIGHT_BLOCK / 2);
    const float *scale = w->scale + (size_t)o * blocks;
    __m512 sum[SUMS];
    for (int i = 0; i < SUMS; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t p = 0; p < pairs; p += 8)
        nf4_pairs(code, scale, p, pairs - p < 8 ? pairs - p : 8, x, R, M, sum);
    for (int r = 0; blocks % 2 && r < R; r++)
        nf4_last(code + (size_t)r * blocks * (WEIGHT_BLOCK / 2),
                 scale[(size_t)(r + 1) * blocks - 1], x, M, sum + r * M);
    sums_store(sum, factor, R, M, y + o, (size_t)w->rows);
}

INLINE void q8_rows(const struct weight *w, int o, const struct rounded *x, int R, int M, float *y)
{
    const __m512i flip = _mm512_set1_epi8((char)128);
    size_t I = (size_t)w->cols, blocks = I / WEIGHT_BLOCK, ahead = ahead_bytes(I, R);
    const int8_t *code = (const int8_t *)w->codes + (size_t)o * I;
    float factor[SUMS];
    __m512 sum[SUMS];
    for (int i = 0; i < SUMS; i++)
        sum[i] = _mm512_setzero_ps();
    for (size_t b = 0; b < blocks; b++)
        for (int r = 0; r < R; r++) {
            const int8_t *at = code + (size_t)r * I + b * WEIGHT_BLOCK;
            __m512i byte = _mm512_xor_si512(_mm512_loadu_si512(at), flip);
            ask_ahead(at, ahead, R);
            for (size_t m = 0; m < (size_t)M; m++) {
                __m512i dot = _mm512_load_si512(x->offset + (m * blocks + b) * LANES16);
                dot = _mm512_dpbusd_epi32(dot, byte,
                                          _mm512_load_si512(x->code + m * I + b * WEIGHT_BLOCK));
                __m512 *to = &sum[(size_t)(r * M) + m];
                *to = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot),
                                      _mm512_set1_ps(x->step[m * blocks + b]), *to);
            }
        }
    for (int r = 0; r < R; r++)
        factor[r] = w->scale[o + r] / 127;
    sums_store(sum, factor, R, M, y + o, (size_t)w->rows);
}

INLINE void few_rows(const struct weight *w, int from, int to, const struct rounded *x, int R,
                     int M, float *y)
{
    int o = from;
    if (w->type == WEIGHT_NF4) {
        for (; o + R <= to; o += R)
            nf4_rows(w, o, x, R, M, y);
        for (; o < to; o++)
            nf4_rows(w, o, x, 1, M, y);
    } else {
        for (; o + R <= to; o += R)
            q8_rows(w, o, x, R, M, y);
        for (; o < to; o++)
            q8_rows(w, o, x, 1, M, y);
    }
}

void vnni_few(const struct weight *w, int from, int to, const struct rounded *x, float *y)
{
    bool narrow = weight_code_bytes(w->type, 4, w->cols) <= NARROW_BYTES;
    switch (x->M) {
    case 1:
        if (narrow)
            few_rows(w, from, to, x, 4, 1, y);
        else
            few_rows(w, from, to, x, 1, 1, y);
        break;
    case 2:
        few_rows(w, from, to, x, 2, 2, y);
        break;
    case 3:
        few_rows(w, from, to, x, 1, 3, y);
        break;
    default:
        few_rows(w, from, to, x, 1, 4, y);
    }
}

/* ---- many rows ---- */

/* Sums enough to hide that one takes five cycles, few enough for the registers: 6 rows of W by 2
 * tiles of x, or 10 by 1. */
enum { TILE_R = 10, TILE_R_OF_TWO = 6, MANY_ROWS = 30 };

/* One block: R rows of W times T tiles of 16 rows of x */
INLINE void tile_block(const uint8_t *byte, size_t stride, const int8_t *x, const int32_t *offset,
                       size_t next, int R, int T, __m512i dot[TILE_R][2])
{
    for (int r = 0; r < R; r++)
        for (int t = 0; t < T; t++)
            dot[r][t] = _mm512_load_si512(offset + (size_t)t * next * LANES16);
    _Pragma("GCC unroll 16") for (int k = 0; k < 16; k++)
    {
        __m512i column[2];
        for (int t = 0; t < T; t++)
            column[t] = _mm512_load_si512(x + (size_t)t * next * 1024 + k * 64);
        for (int r = 0; r < R; r++) {
            int32_t four;
            memcpy(&four, byte + (size_t)r * stride + k * 4, sizeof four);
            for (int t = 0; t < T; t++)
                dot[r][t] = _mm512_dpbusd_epi32(dot[r][t], _mm512_set1_epi32(four), column[t]);
        }
    }
}

/* R rows of a panel from row r0 on, times T tiles */
INLINE void tile_sums(const struct panel *p, int r0, const struct rounded *x, size_t block, int R,
                      int T, float *out)
{
    __m512 sum[TILE_R][2];
    size_t next = (size_t)x->I / WEIGHT_BLOCK;
    for (int r = 0; r < R; r++)
        for (int t = 0; t < T; t++)
            sum[r][t] = _mm512_setzero_ps();
    for (size_t b = 0; b < (size_t)p->blocks; b++) {
        __m512i dot[TILE_R][2];
        size_t at = block + b, row = b * PANEL_ROWS_MAX + (size_t)r0;
        tile_block(p->bytes + (size_t)r0 * p->stride + b * WEIGHT_BLOCK, p->stride,
                   x->code + at * 1024, x->offset + at * LANES16, next, R, T, dot);
        for (int t = 0; t < T; t++) {
            __m512 step = _mm512_load_ps(x->step + (at + (size_t)t * next) * LANES16);
            for (int r = 0; r < R; r++)
                sum[r][t] = _mm512_fmadd_ps(
                    _mm512_cvtepi32_ps(dot[r][t]),
                    _mm512_mul_ps(step, _mm512_set1_ps(p->scale[row + (size_t)r])), sum[r][t]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int t = 0; t < T; t++)
            _mm512_store_ps(out + ((r0 + r) * 2 + t) * LANES16, sum[r][t]);
}

static void vnni_tiles(const struct panel *p, const struct rounded *x, size_t block, int T,
                       float *sum)
{
    int R = T == 2 ? TILE_R_OF_TWO : TILE_R;
    for (int r = 0; r < p->rows; r += R)
        if (T == 2)
            tile_sums(p, r, x, block, TILE_R_OF_TWO, 2, sum);
        else
            tile_sums(p, r, x, block, TILE_R, 1, sum);
}

static void vnni_many(const struct weight *w, int from, int to, const struct rounded *x, float *y)
{
    many_panels(w, 128, from, to, x, y, vnni_tiles);
}

const struct weight_kernels weight_kernels_vnni = {.name = "vnni",
                                                   .unpack = vnni_unpack,
                                                   .dot = vnni_dot,
                                                   .few_round = vnni_few_round,
                                                   .few = vnni_few,
                                                   .many_round = vnni_many_round,
                                                   .many = vnni_many,
                                                   .many_rows = MANY_ROWS,
                                                   .many_from = 2 * WEIGHT_FEW + 1};
#endif
