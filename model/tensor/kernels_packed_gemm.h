/* Matrix products whose operands do not fit the first cache, after Goto and van de Geijn 2008: a
 * block of A that stays in the second cache and a panel of B that stays in the first are copied
 * into the order in which the inner loop reads them, so that neither the stride of a matrix nor its
 * transpose costs anything there. Each element of C is the sum over k of one block after the other,
 * whatever tile it lies in. */
#ifndef CDCCA_KERNELS_PACKED_GEMM_H
#define CDCCA_KERNELS_PACKED_GEMM_H

#include "model/tensor/kernels_gemm.h"

/* The accumulators of a tile fill the registers but for two vectors of B and one of A. */
#if defined(__AVX512F__)
enum { PACK_ROWS = 12 };
#elif defined(__AVX2__)
enum { PACK_ROWS = 6 };
#else
enum { PACK_ROWS = 4 };
#endif
enum { PACK_COLS = TILE_COLS, PACK_K = 256, PACK_M = 32 * PACK_ROWS, PACK_N = 1024 };

/* c (PACK_ROWS,COLS) = a b + (keep ? c : 0); a (K,PACK_ROWS), b (K,PACK_COLS) as packed */
#define PACKED_TILE(name, VECTORS)                                                                 \
    static void name(int K, const float *restrict a, const float *restrict b, bool keep,           \
                     float *restrict c, ptrdiff_t ldc)                                             \
    {                                                                                              \
        vec acc[PACK_ROWS][VECTORS] = {{{0}}}, bv[VECTORS], cv;                                    \
        for (int k = 0; k < K; k++, a += PACK_ROWS, b += PACK_COLS) {                              \
            _Pragma("GCC unroll 2") for (int j = 0; j < (VECTORS); j++)                            \
                VEC_LOAD(bv[j], b + j * LANES);                                                    \
            _Pragma("GCC unroll 12") for (int r = 0; r < PACK_ROWS; r++)                           \
                _Pragma("GCC unroll 2") for (int j = 0; j < (VECTORS); j++) acc[r][j] +=           \
                a[r] * bv[j];                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 12") for (int r = 0; r < PACK_ROWS; r++)                               \
            _Pragma("GCC unroll 2") for (int j = 0; j < (VECTORS); j++)                            \
        {                                                                                          \
            float *at = c + r * ldc + j * LANES;                                                   \
            if (keep) {                                                                            \
                VEC_LOAD(cv, at);                                                                  \
                acc[r][j] += cv;                                                                   \
            }                                                                                      \
            VEC_STORE(at, acc[r][j]);                                                              \
        }                                                                                          \
    }

PACKED_TILE(packed_tile_wide, TILE_VECTORS)
PACKED_TILE(packed_tile_narrow, 1)

/* to: tile after tile of PACK_ROWS rows, (K,PACK_ROWS) each; rows past M are 0. */
static void pack_a(float *to, bool ta, int M, int K, const float *A, ptrdiff_t lda)
{
    for (int m = 0; m < M; m += PACK_ROWS, to += (ptrdiff_t)K * PACK_ROWS) {
        int rows = M - m < PACK_ROWS ? M - m : PACK_ROWS;
        if (rows < PACK_ROWS)
            memset(to, 0, (size_t)K * PACK_ROWS * sizeof *to);
        if (!ta)
            turn(to, PACK_ROWS, A + m * lda, lda, K, rows, 1);
        else if (rows == PACK_ROWS)
            for (int k = 0; k < K; k++)
                memcpy(to + (ptrdiff_t)k * PACK_ROWS, A + k * lda + m, PACK_ROWS * sizeof *to);
        else
            for (int k = 0; k < K; k++)
                memcpy(to + (ptrdiff_t)k * PACK_ROWS, A + k * lda + m, (size_t)rows * sizeof *to);
    }
}

/* to (K,PACK_COLS) = alpha * N columns of op(B); columns past N are 0. */
static void pack_b(float *to, bool tb, int N, int K, float alpha, const float *B, ptrdiff_t ldb)
{
    if (N < PACK_COLS)
        memset(to, 0, (size_t)K * PACK_COLS * sizeof *to);
    if (tb) {
        turn(to, PACK_COLS, B, ldb, K, N, alpha);
        return;
    }
    for (int k = 0; k < K; k++, to += PACK_COLS, B += ldb) {
        if (N == PACK_COLS)
            for (int n = 0; n < PACK_COLS; n++)
                to[n] = alpha * B[n];
        else
            for (int n = 0; n < N; n++)
                to[n] = alpha * B[n];
    }
}

/* A tile that sticks out of C, by way of a whole one. */
static void packed_edge(int K, const float *a, const float *b, bool keep, float *c, ptrdiff_t ldc,
                        int rows, int cols)
{
    _Alignas(64) float whole[PACK_ROWS * PACK_COLS];
    if (cols <= LANES)
        packed_tile_narrow(K, a, b, false, whole, PACK_COLS);
    else
        packed_tile_wide(K, a, b, false, whole, PACK_COLS);
    for (int r = 0; r < rows; r++)
        for (int n = 0; n < cols; n++)
            c[r * ldc + n] = whole[r * PACK_COLS + n] + (keep ? c[r * ldc + n] : 0);
}

/* M rows of a packed block by one panel of `cols` columns */
static void packed_strip(int M, int cols, int K, const float *a, const float *b, bool keep,
                         float *c, ptrdiff_t ldc)
{
    for (int m = 0; m < M; m += PACK_ROWS, a += (ptrdiff_t)K * PACK_ROWS, c += PACK_ROWS * ldc) {
        int rows = M - m < PACK_ROWS ? M - m : PACK_ROWS;
        if (rows == PACK_ROWS && cols == PACK_COLS)
            packed_tile_wide(K, a, b, keep, c, ldc);
        else if (rows == PACK_ROWS && cols == LANES)
            packed_tile_narrow(K, a, b, keep, c, ldc);
        else
            packed_edge(K, a, b, keep, c, ldc, rows, cols);
    }
}

/* Copying pays when each copied element of A is used often enough: measured, GFLOP/s on one core
 * with AVX-512, packed against gemm_panels: 768x256x256 160:154, 1024x256x768 with A transposed
 * 152:94, 1024^3 140:105; 640x96x96 147:165, 768x256x8 117:137. */
static bool packed_gemm_pays(int M, int N, int K)
{
    return M >= 64 && N >= 192 && K >= 64;
}

/* All rows of A, K columns of them, by N columns of op(B), at most PACK_K and PACK_N: these are
 * packed once for all blocks of A. */
static void packed_columns(bool ta, bool tb, int M, int N, int K, float alpha, const float *A,
                           ptrdiff_t lda, const float *B, ptrdiff_t ldb, bool keep, float *C,
                           ptrdiff_t ldc)
{
    _Alignas(64) float block[PACK_M * PACK_K], panels[PACK_K * PACK_N];
    for (int n = 0; n < N; n += PACK_COLS)
        pack_b(panels + n * K, tb, N - n < PACK_COLS ? N - n : PACK_COLS, K, alpha,
               tb ? B + n * ldb : B + n, ldb);
    for (int m = 0; m < M; m += PACK_M) {
        int rows = M - m < PACK_M ? M - m : PACK_M;
        pack_a(block, ta, rows, K, ta ? A + m : A + m * lda, lda);
        for (int n = 0; n < N; n += PACK_COLS)
            packed_strip(rows, N - n < PACK_COLS ? N - n : PACK_COLS, K, block, panels + n * K,
                         keep, C + m * ldc + n, ldc);
    }
}

/* C (M,N) = alpha op(A) op(B) + (keep ? C : 0); K > 0 */
static void packed_gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *A,
                        ptrdiff_t lda, const float *B, ptrdiff_t ldb, bool keep, float *C,
                        ptrdiff_t ldc)
{
    for (int n = 0; n < N; n += PACK_N)
        for (int k = 0; k < K; k += PACK_K)
            packed_columns(ta, tb, M, N - n < PACK_N ? N - n : PACK_N,
                           K - k < PACK_K ? K - k : PACK_K, alpha, ta ? A + k * lda : A + k, lda,
                           tb ? B + n * ldb + k : B + k * ldb + n, ldb, keep || k > 0, C + n, ldc);
}

/* C (M,N) = alpha op(A) op(B) + (keep ? C : 0) */
static void kernel_gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *A, int lda,
                        const float *B, int ldb, bool keep, float *C, int ldc)
{
    if (packed_gemm_pays(M, N, K)) {
        packed_gemm(ta, tb, M, N, K, alpha, A, lda, B, ldb, keep, C, ldc);
        return;
    }
    for (int m = 0; m < M && !keep; m++)
        memset(C + (ptrdiff_t)m * ldc, 0, (size_t)N * sizeof *C);
    gemm_panels(ta, tb, M, N, K, alpha, A, lda, B, ldb, C, ldc);
}

#endif
