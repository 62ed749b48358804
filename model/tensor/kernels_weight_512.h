/* What the AVX-512 sets of kernels over packed weights share (kernels_weight_vnni.c,
 * kernels_weight_amx.c): rounding x, decoding W to bytes, turning tiles. */
#ifndef CDCCA_KERNELS_WEIGHT_512_H
#define CDCCA_KERNELS_WEIGHT_512_H

#include "model/tensor/kernels_weight.h"
#include <immintrin.h>
#include <string.h>

enum { LANES16 = 16, PANEL_BLOCKS = 64, PANEL_ROWS_MAX = 32, PANEL_AHEAD = 2048 };

/* The parts of the VNNI set that the AMX set takes over. */
void vnni_unpack(const struct weight *w, size_t from, size_t count, float *out);
void vnni_dot(const struct weight *w, int from, int to, const float *x, int M, float *y);
void vnni_few_round(const struct weight *w, const float *x, struct rounded *out);
void vnni_few(const struct weight *w, int from, int to, const struct rounded *x, float *y);
void vnni_many_round(const struct weight *w, const float *x, int first, struct rounded *out);

/* weight_nf4_bytes + bias in each 16 bytes */
static inline __m512i nf4_table(int bias)
{
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)weight_nf4_bytes));
    return _mm512_add_epi8(table, _mm512_set1_epi8((char)bias));
}

/* rows[i] lane k becomes rows[k] lane i */
static inline void turn_16x16(__m512i *rows)
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        rows[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        rows[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        rows[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        rows[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* ---- panels of W ---- */

/* Rows of W as bytes, code + bias, and each block's scale, its step of 1/127 included. A line of
 * padding after each row keeps the same block of all rows out of one set of the first cache. Rows
 * that W has not are 0. */
struct panel {
    int rows, blocks;
    size_t stride;                              /* bytes from row to row */
    float scale[PANEL_BLOCKS * PANEL_ROWS_MAX]; /* (blocks, 32) */
    _Alignas(64) uint8_t bytes[(PANEL_BLOCKS + 1) * PANEL_ROWS_MAX * WEIGHT_BLOCK];
};

static inline __m512i nf4_block(const uint8_t *code, __m512i table)
{
    __m256i byte = _mm256_loadu_si256((const void *)code), four = _mm256_set1_epi8(15),
            high = _mm256_and_si256(_mm256_srli_epi16(byte, 4), four),
            low = _mm256_and_si256(byte, four);
    return _mm512_shuffle_epi8(table, _mm512_inserti64x4(_mm512_castsi256_si512(high), low, 1));
}

/* A row, two blocks at a time: a line of its codes */
static inline void panel_nf4(uint8_t *to, int blocks, __m512i table, const uint8_t *code)
{
    const __m512i four = _mm512_set1_epi8(15);
    int b = 0;
    for (; b + 2 <= blocks; b += 2, code += 64, to += 128) {
        __m512i byte = _mm512_loadu_si512(code), high = _mm512_srli_epi16(byte, 4);
        _mm_prefetch((const char *)(code + PANEL_AHEAD), _MM_HINT_T0);
        high = _mm512_shuffle_epi8(table, _mm512_and_si512(high, four));
        byte = _mm512_shuffle_epi8(table, _mm512_and_si512(byte, four));
        _mm512_store_si512(to, _mm512_shuffle_i64x2(high, byte, 0x44));
        _mm512_store_si512(to + 64, _mm512_shuffle_i64x2(high, byte, 0xee));
    }
    if (b < blocks)
        _mm512_store_si512(to, nf4_block(code, table));
}

static inline void panel_q8(uint8_t *to, int blocks, __m512i flip, const int8_t *code)
{
    for (int b = 0; b < blocks; b++, code += WEIGHT_BLOCK, to += WEIGHT_BLOCK) {
        _mm_prefetch((const char *)(code + PANEL_AHEAD), _MM_HINT_T0);
        _mm512_store_si512(to, _mm512_xor_si512(_mm512_loadu_si512(code), flip));
    }
}

static inline void panel_scales(struct panel *p, const struct weight *w, int from, int first)
{
    size_t blocks = (size_t)w->cols / WEIGHT_BLOCK;
    for (int r = 0; r < p->rows; r++) {
        size_t row = (size_t)from + (size_t)r;
        const float *scale =
            w->scale + (w->type == WEIGHT_NF4 ? row * blocks + (size_t)first : row);
        for (int b = 0; b < p->blocks; b++)
            p->scale[b * PANEL_ROWS_MAX + r] = scale[w->type == WEIGHT_NF4 ? b : 0] * (1.0f / 127);
    }
}

/* Rows from..to-1, `blocks` blocks from block `first` on */
static inline void panel_fill(struct panel *p, const struct weight *w, int bias, int from, int to,
                              int first, int blocks)
{
    size_t I = (size_t)w->cols, at = (size_t)from * I + (size_t)first * WEIGHT_BLOCK;
    p->rows = to - from;
    p->blocks = blocks;
    p->stride = ((size_t)blocks + 1) * WEIGHT_BLOCK;
    if (p->rows < PANEL_ROWS_MAX) {
        memset(p->scale, 0, sizeof p->scale);
        size_t filled = (size_t)p->rows * p->stride;
        memset(p->bytes + filled, 0, PANEL_ROWS_MAX * p->stride - filled);
    }
    for (int r = 0; r < p->rows; r++, at += I) {
        uint8_t *row = p->bytes + (size_t)r * p->stride;
        if (w->type == WEIGHT_NF4)
            panel_nf4(row, blocks, nf4_table(bias), (const uint8_t *)w->codes + at / 2);
        else
            panel_q8(row, blocks, _mm512_set1_epi8((char)bias), (const int8_t *)w->codes + at);
    }
    panel_scales(p, w, from, first);
}

/* 16 columns of y from sums (16 o, 32 m): `rows` rows, `columns` of them, added to what is there
 * when `add` */
static inline void tile_store(const float *sum, float *y, size_t stride, int rows, int columns,
                              bool add)
{
    __mmask16 mask = (__mmask16)((1u << columns) - 1);
    __m512i turned[16];
    for (int i = 0; i < 16; i++)
        turned[i] = _mm512_loadu_si512(sum + (ptrdiff_t)i * 2 * LANES16);
    turn_16x16(turned);
    for (int m = 0; m < rows; m++) {
        float *at = y + (size_t)m * stride;
        __m512 value = _mm512_castsi512_ps(turned[m]);
        if (add)
            value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, at));
        _mm512_mask_storeu_ps(at, mask, value);
    }
}

/* sum (32 o, 32 m) to y (rows, columns), each up to 32 */
static inline void tiles_store(const float *sum, float *y, size_t stride, int rows, int columns,
                               bool add)
{
    for (int o = 0; o < columns; o += LANES16)
        for (int m = 0; m < rows; m += LANES16)
            tile_store(sum + (ptrdiff_t)o * 2 * LANES16 + m, y + (size_t)m * stride + o, stride,
                       rows - m < LANES16 ? rows - m : LANES16,
                       columns - o < LANES16 ? columns - o : LANES16, add);
}

/* sum (32 o, 32 m) = a panel times T tiles of 16 rows of x. `block`: its blocks' place in them,
 * from the start of x */
typedef void tiles_fn(const struct panel *p, const struct rounded *x, size_t block, int T,
                      float *sum);

/* `many` of struct weight_kernels, from what computes two tiles */
static inline void many_panels(const struct weight *w, int bias, int from, int to,
                               const struct rounded *x, float *y, tiles_fn *tiles)
{
    _Alignas(64) float sum[4 * LANES16 * LANES16];
    struct panel p;
    int blocks = w->cols / WEIGHT_BLOCK, stride = w->rows;
    for (int b = 0; b < blocks; b += PANEL_BLOCKS) {
        panel_fill(&p, w, bias, from, to, b, blocks - b < PANEL_BLOCKS ? blocks - b : PANEL_BLOCKS);
        for (int m = 0; m < x->M; m += 2 * LANES16) {
            int rows = x->M - m < 2 * LANES16 ? x->M - m : 2 * LANES16;
            tiles(&p, x, (size_t)(m / LANES16) * (size_t)blocks + (size_t)b, rows > LANES16 ? 2 : 1,
                  sum);
            tiles_store(sum, y + (size_t)m * (size_t)stride + from, (size_t)stride, rows, to - from,
                        b > 0);
        }
    }
}

#endif
