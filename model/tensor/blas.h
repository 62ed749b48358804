/* The one file that knows OpenBLAS. Debian's 0.3.21 falls back to SSE3 code on CPUs it does not
 * know; where the library chooses a kernel below what the CPU can do, it is loaded again with one
 * from cpuid (dlopen after OPENBLAS_CORETYPE), else left alone. OPENBLAS_CORETYPE in the
 * environment wins. Always one thread; we parallelise above. */
#ifndef CDCCA_BLAS_H
#define CDCCA_BLAS_H

#include "api/base/status.h"
#include <stdbool.h>

/* Loads the library once (thread-safe, idempotent). Called by programs at start and by tape_init.
 */
enum status blas_load(struct err *err);
const char *blas_kernel(void); /* "SkylakeX", for --version and inspect */
/* The core type to load the library with when it chose `chosen` ("Prescott") by itself; NULL: that
 * is as good as what we know for this CPU. */
const char *blas_core_better(const char *chosen);

/* Row-major C (M,N) = alpha * op(A) op(B) + beta * C; ld*: row stride in floats.
 * op is transpose when the flag is set: A is (M,K), or (K,M) when ta. Small or skinny shapes take
 * our own kernels where those are faster (measured). */
void gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *A, int lda,
          const float *B, int ldb, float beta, float *C, int ldc);

#endif
