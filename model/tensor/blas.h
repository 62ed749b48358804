/* The one file that knows OpenBLAS. Its kernel is chosen from cpuid before it loads (dlopen after
 * OPENBLAS_CORETYPE): Debian's 0.3.21 falls back to SSE3 code on CPUs it does not know. Always one
 * thread; we parallelise above. */
#ifndef CDCCA_BLAS_H
#define CDCCA_BLAS_H

#include "api/base/status.h"
#include <stdbool.h>

/* Loads the library once (thread-safe, idempotent). Called by programs at start and by tape_init.
 */
enum status blas_load(struct err *err);
const char *blas_kernel(void); /* "SKYLAKEX", for --version and inspect */

/* Row-major C (M,N) = alpha * op(A) op(B) + beta * C; ld*: row stride in floats.
 * op is transpose when the flag is set: A is (M,K), or (K,M) when ta. Small or skinny shapes take
 * our own kernels where those are faster (measured). */
void gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *A, int lda,
          const float *B, int ldb, float beta, float *C, int ldc);

#endif
