/* OpenBLAS by dlopen, its kernel chosen from what the CPU can do and not from its model number; our
 * own kernels where there is no library, for vectors, and for shapes too small to be worth a call.
 */
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 }; /* cblas.h */

typedef void sgemm_fn(int order, int ta, int tb, int M, int N, int K, float alpha, const float *A,
                      int lda, const float *B, int ldb, float beta, float *C, int ldc);

/* Written once, under the once flag. */
static struct {
    sgemm_fn *sgemm; /* NULL: our own */
    const char *kernel;
} blas;
static pthread_once_t blas_once = PTHREAD_ONCE_INIT;

/* Kernels of the library that use less than AVX2, and those with AVX2 alone. A name that is in
 * neither list is newer than these and left alone. */
static const char *const blas_old[] = {
    "Prescott", "Core2",     "Penryn",     "Dunnington",  "Nehalem",   "Sandybridge", "Atom",
    "Nano",     "Athlon",    "Opteron",    "Barcelona",   "Bobcat",    "Bulldozer",   "Piledriver",
    "Katmai",   "Northwood", "Coppermine", "Steamroller", "Excavator", "Banias",      "Generic"};
static const char *const blas_avx2[] = {"Haswell", "Zen"};

static bool name_listed(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(name, list[i]) == 0)
            return true;
    return false;
}

const char *blas_core_better(const char *chosen)
{
    bool old = name_listed(chosen, blas_old, sizeof blas_old / sizeof *blas_old);
    bool avx2 = name_listed(chosen, blas_avx2, sizeof blas_avx2 / sizeof *blas_avx2);
    if ((old || avx2) && kernels_find("avx512"))
        return "SKYLAKEX";
    return old && kernels_find("avx2") ? "HASWELL" : NULL;
}

/* The library reads the environment when it loads; afterwards we take back what we put there.
 * core NULL: its own choice. */
static void *blas_open(const char *core)
{
    bool set_threads = !getenv("OPENBLAS_NUM_THREADS");
    if (core)
        setenv("OPENBLAS_CORETYPE", core, 1);
    if (set_threads)
        setenv("OPENBLAS_NUM_THREADS", "1", 0);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (core)
        unsetenv("OPENBLAS_CORETYPE");
    if (set_threads)
        unsetenv("OPENBLAS_NUM_THREADS");
    return library;
}

static const char *blas_core(void *library)
{
    char *(*core_name)(void) = NULL;
    *(void **)&core_name = dlsym(library, "openblas_get_corename");
    return core_name ? core_name() : "unknown";
}

/* As the library chooses or as the user says; once more, with our choice, where that is better. */
static void *blas_open_best(void)
{
    void *library = blas_open(NULL);
    const char *better =
        library && !getenv("OPENBLAS_CORETYPE") ? blas_core_better(blas_core(library)) : NULL;
    if (!better)
        return library;
    dlclose(library);
    return blas_open(better);
}

static void blas_load_once(void)
{
    void (*set_threads)(int) = NULL;
    const char *own = getenv("CDCCA_BLAS");
    void *library = own && strcmp(own, "own") == 0 ? NULL : blas_open_best();
    blas.kernel = "own";
    if (!library)
        return;
    *(void **)&blas.sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    if (set_threads)
        set_threads(1);
    if (blas.sgemm)
        blas.kernel = blas_core(library);
}

enum status blas_load(struct err *err)
{
    if (pthread_once(&blas_once, blas_load_once) != 0)
        return err_set(err, STATUS_NO_MEMORY, "OpenBLAS: pthread_once failed");
    return STATUS_OK;
}

const char *blas_kernel(void)
{
    blas_load(NULL);
    return blas.kernel;
}

static void blas_scale(int M, int N, float beta, float *C, int ldc)
{
    for (int m = 0; m < M && beta != 1.0f; m++) {
        float *row = C + (ptrdiff_t)m * ldc;
        for (int n = 0; n < N; n++)
            row[n] = beta == 0.0f ? 0.0f : row[n] * beta;
    }
}

/* Where our kernels win, by measurement on one core, GFLOP/s, ours against the library's.
 *   Zen 4, AVX-512:            640x96x96 112:98, 768x688x256 108:91, 1024^3 98:98
 *   Sapphire Rapids, AVX-512:  640x96x96 165:145, 768x256x256 160:156, 688x256x768 with A
 * transposed 163:150, 32x768x768 125:92, 1024^3 140:145, 2048^3 108:156 So: not when all of B is
 * much larger than the second cache, not for many rows of it, and not for a few rows when B must be
 * turned (4 rows 55:77, 8 rows 94:107) or for columns that fill no vector. The library's AVX2 code
 * is as good as ours from 32 rows on. */
static bool blas_own_is_faster(const struct kernels *k, bool tb, int M, int N, int K)
{
    if (M == 1)
        return true;
    if (k == &kernels_base || N < 16 || M < (tb ? 12 : 4) ||
        (ptrdiff_t)N * K > (ptrdiff_t)768 * 768)
        return false;
    return M <= (k == &kernels_avx512 ? 2048 : 32);
}

static void gemm_own(const struct kernels *k, bool ta, bool tb, int M, int N, int K, float alpha,
                     const float *A, int lda, const float *B, int ldb, float beta, float *C,
                     int ldc)
{
    bool vector = M == 1 && (!ta || lda == 1);
    if (vector || beta != 0)
        blas_scale(M, N, beta, C, ldc);
    if (vector && tb)
        k->gemv(N, K, alpha, B, ldb, A, C);
    else if (vector)
        k->gevm(N, K, alpha, A, B, ldb, C);
    else
        k->gemm(ta, tb, M, N, K, alpha, A, lda, B, ldb, beta != 0, C, ldc);
}

void gemm(bool ta, bool tb, int M, int N, int K, float alpha, const float *A, int lda,
          const float *B, int ldb, float beta, float *C, int ldc)
{
    if (M <= 0 || N <= 0)
        return;
    const struct kernels *k = kernels();
    blas_load(NULL);
    if (blas.sgemm && !blas_own_is_faster(k, tb, M, N, K)) {
        blas.sgemm(ROW_MAJOR, ta ? TRANSPOSE : NO_TRANSPOSE, tb ? TRANSPOSE : NO_TRANSPOSE, M, N, K,
                   alpha, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    gemm_own(k, ta, tb, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
}
