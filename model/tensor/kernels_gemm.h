/* Our own matrix products, for the short matrices of attention and for skinny shapes (the larger
 * ones: kernels_packed_gemm.h). C (M,N) += A (M,K) B (K,N) in tiles of 4 rows by 2 vectors held in
 * registers; A through a row and a column stride, so that its transpose costs nothing. */
#ifndef CDCCA_KERNELS_GEMM_H
#define CDCCA_KERNELS_GEMM_H

#include "model/tensor/kernels.h"
#include "model/tensor/vecmath.h"

enum { TILE_ROWS = 4, TILE_VECTORS = 2, TILE_COLS = TILE_VECTORS * LANES };

typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));

/* A tile of ROWS rows by COUNT vectors: a (ROWS,K) with strides, b (K, COUNT vectors), c likewise.
 * The loops over ROWS and COUNT are unrolled, acc lives in registers. */
#define GEMM_TILE(name, vector, ROWS, COUNT)                                                       \
    static void name(int K, const float *a, ptrdiff_t row, ptrdiff_t col, const float *b,          \
                     ptrdiff_t ldb, float *c, ptrdiff_t ldc)                                       \
    {                                                                                              \
        enum { WIDTH = sizeof(vector) / sizeof(float) };                                           \
        vector acc[ROWS][COUNT], bv[COUNT];                                                        \
        _Pragma("GCC unroll 8") for (int r = 0; r < (ROWS); r++)                                   \
            _Pragma("GCC unroll 8") for (int j = 0; j < (COUNT); j++)                              \
                memcpy(&acc[r][j], c + r * ldc + j * WIDTH, sizeof(vector));                       \
        for (int k = 0; k < K; k++, a += col, b += ldb) {                                          \
            _Pragma("GCC unroll 8") for (int j = 0; j < (COUNT); j++)                              \
                memcpy(&bv[j], b + j * WIDTH, sizeof(vector));                                     \
            _Pragma("GCC unroll 8") for (int r = 0; r < (ROWS); r++)                               \
                _Pragma("GCC unroll 8") for (int j = 0; j < (COUNT); j++) acc[r][j] +=             \
                a[r * row] * bv[j];                                                                \
        }                                                                                          \
        _Pragma("GCC unroll 8") for (int r = 0; r < (ROWS); r++)                                   \
            _Pragma("GCC unroll 8") for (int j = 0; j < (COUNT); j++)                              \
                memcpy(c + r * ldc + j * WIDTH, &acc[r][j], sizeof(vector));                       \
    }

GEMM_TILE(tile_wide_4, vec, 4, TILE_VECTORS)
GEMM_TILE(tile_wide_1, vec, 1, TILE_VECTORS)
GEMM_TILE(tile_vec_4, vec, 4, 1)
GEMM_TILE(tile_vec_1, vec, 1, 1)
#if defined(__AVX512F__)
GEMM_TILE(tile_v8_4, v8, 4, 1)
GEMM_TILE(tile_v8_1, v8, 1, 1)
#endif
GEMM_TILE(tile_v4_4, v4, 4, 1)
GEMM_TILE(tile_v4_1, v4, 1, 1)

static void tile_one_4(int K, const float *a, ptrdiff_t row, ptrdiff_t col, const float *b,
                       ptrdiff_t ldb, float *c, ptrdiff_t ldc)
{
    for (int k = 0; k < K; k++)
        for (int r = 0; r < 4; r++)
            c[r * ldc] += a[r * row + k * col] * b[k * ldb];
}

static void tile_one_1(int K, const float *a, ptrdiff_t row, ptrdiff_t col, const float *b,
                       ptrdiff_t ldb, float *c, ptrdiff_t ldc)
{
    (void)row, (void)ldc;
    for (int k = 0; k < K; k++)
        c[0] += a[k * col] * b[k * ldb];
}

typedef void tile_fn(int K, const float *a, ptrdiff_t row, ptrdiff_t col, const float *b,
                     ptrdiff_t ldb, float *c, ptrdiff_t ldc);

/* One strip of columns, all M rows */
static inline void gemm_strip(tile_fn *four, tile_fn *one, int M, int K, const float *a,
                              ptrdiff_t row, ptrdiff_t col, const float *b, ptrdiff_t ldb, float *c,
                              ptrdiff_t ldc)
{
    int m = 0;
    for (; m + TILE_ROWS <= M; m += TILE_ROWS)
        four(K, a + m * row, row, col, b, ldb, c + m * ldc, ldc);
    for (; m < M; m++)
        one(K, a + m * row, row, col, b, ldb, c + m * ldc, ldc);
}

/* C (M,N) += A (M,K; element strides row, col) B (K,N) */
static void gemm_tiles(int M, int N, int K, const float *a, ptrdiff_t row, ptrdiff_t col,
                       const float *b, ptrdiff_t ldb, float *c, ptrdiff_t ldc)
{
    int n = 0;
    for (; n + TILE_COLS <= N; n += TILE_COLS)
        gemm_strip(tile_wide_4, tile_wide_1, M, K, a, row, col, b + n, ldb, c + n, ldc);
    for (; n + LANES <= N; n += LANES)
        gemm_strip(tile_vec_4, tile_vec_1, M, K, a, row, col, b + n, ldb, c + n, ldc);
#if defined(__AVX512F__)
    for (; n + 8 <= N; n += 8)
        gemm_strip(tile_v8_4, tile_v8_1, M, K, a, row, col, b + n, ldb, c + n, ldc);
#endif
    for (; n + 4 <= N; n += 4)
        gemm_strip(tile_v4_4, tile_v4_1, M, K, a, row, col, b + n, ldb, c + n, ldc);
    for (; n < N; n++)
        gemm_strip(tile_one_4, tile_one_1, M, K, a, row, col, b + n, ldb, c + n, ldc);
}

#define PICK(name, x, y, a, b, c, d, e, f, g, h)                                                   \
    v8 name = __builtin_shufflevector(x, y, a, b, c, d, e, f, g, h)

/* to (8,8) = factor * from^T, by interleaving pairs, then quadruples, then halves of rows */
static inline void turn_8x8(float *to, ptrdiff_t to_stride, const float *from, ptrdiff_t stride,
                            float factor)
{
    v8 r[8], s[8];
    _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++)
    {
        memcpy(&r[i], from + i * stride, sizeof(v8));
        r[i] *= factor;
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 8; i += 2)
    {
        PICK(low, r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        PICK(high, r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
        s[i] = low, s[i + 1] = high;
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
    {
        int at = i / 2 * 4 + i % 2;
        PICK(low, s[at], s[at + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        PICK(high, s[at], s[at + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[i / 2 * 4 + i % 2 * 2] = low, r[i / 2 * 4 + i % 2 * 2 + 1] = high;
    }
    _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)
    {
        PICK(low, r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        PICK(high, r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        memcpy(to + i * to_stride, &low, sizeof(v8));
        memcpy(to + (i + 4) * to_stride, &high, sizeof(v8));
    }
}

/* to (K,N) = factor * from^T, from (N,K); squares at the ends overlap the ones before. */
static void turn(float *to, ptrdiff_t to_stride, const float *from, ptrdiff_t stride, int K, int N,
                 float factor)
{
    if (K < 8 || N < 8) {
        for (int n = 0; n < N; n++)
            for (int k = 0; k < K; k++)
                to[k * to_stride + n] = factor * from[n * stride + k];
        return;
    }
    for (int n = 0; n < N; n += 8)
        for (int k = 0; k < K; k += 8) {
            int n8 = n + 8 <= N ? n : N - 8, k8 = k + 8 <= K ? k : K - 8;
            turn_8x8(to + k8 * to_stride + n8, to_stride, from + n8 * stride + k8, stride, factor);
        }
}

/* A panel of B fills the first cache; for so few rows that packing does not pay, none is made. */
enum { PANEL_K = 192, PANEL_N = 32, GEMM_UNPACKED = 16 };

/* panel (PANEL_K,PANEL_N) = alpha * a block of B, turned if tb. */
static void gemm_pack(float *panel, bool tb, int K, int N, float alpha, const float *B,
                      ptrdiff_t ldb)
{
    if (tb) {
        turn(panel, PANEL_N, B, ldb, K, N, alpha);
        return;
    }
    for (int k = 0; k < K; k++)
        for (int n = 0; n < N; n++)
            panel[k * PANEL_N + n] = alpha * B[k * ldb + n];
}

/* C (M,N) += alpha op(A) op(B): panels of B small enough for the first cache */
static void gemm_panels(bool ta, bool tb, int M, int N, int K, float alpha, const float *A, int lda,
                        const float *B, int ldb, float *C, int ldc)
{
    _Alignas(64) float panel[PANEL_K * PANEL_N];
    ptrdiff_t row = ta ? 1 : lda, col = ta ? lda : 1, b_k = tb ? 1 : ldb, b_n = tb ? ldb : 1;
    if (!tb && alpha == 1 && M <= GEMM_UNPACKED) {
        gemm_tiles(M, N, K, A, row, col, B, ldb, C, ldc);
        return;
    }
    for (int n = 0; n < N; n += PANEL_N)
        for (int k = 0; k < K; k += PANEL_K) {
            int width = N - n < PANEL_N ? N - n : PANEL_N,
                depth = K - k < PANEL_K ? K - k : PANEL_K;
            gemm_pack(panel, tb, depth, width, alpha, B + n * b_n + k * b_k, ldb);
            gemm_tiles(M, width, depth, A + k * col, row, col, panel, PANEL_N, C + n, ldc);
        }
}

/* y (N) += alpha * B (N,K) x (K): four rows share the loads of x. */
static void kernel_gemv(int N, int K, float alpha, const float *B, int ldb, const float *x,
                        float *y)
{
    int n = 0;
    for (; n + 4 <= N; n += 4) {
        const float *b = B + (ptrdiff_t)n * ldb;
        vec acc[4] = {{0}}, xv, bv;
        float lane[LANES], tail[4] = {0};
        int k = 0;
        for (; k + LANES <= K; k += LANES) {
            VEC_LOAD(xv, x + k);
            _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
            {
                VEC_LOAD(bv, b + (ptrdiff_t)j * ldb + k);
                acc[j] += xv * bv;
            }
        }
        for (; k < K; k++)
            for (int j = 0; j < 4; j++)
                tail[j] += x[k] * b[(ptrdiff_t)j * ldb + k];
        for (int j = 0; j < 4; j++) {
            VEC_STORE(lane, acc[j]);
            y[n + j] += alpha * (lanes_sum(lane) + tail[j]);
        }
    }
    for (; n < N; n++)
        y[n] += alpha * vec_dot(B + (ptrdiff_t)n * ldb, x, K);
}

/* y (N) += alpha * x (K) B (K,N) */
static void kernel_gevm(int N, int K, float alpha, const float *x, const float *B, int ldb,
                        float *restrict y)
{
    for (int k = 0; k < K; k++) {
        const float *restrict b = B + (ptrdiff_t)k * ldb;
        float a = alpha * x[k];
        for (int n = 0; n < N; n++)
            y[n] += a * b[n];
    }
}

#endif
