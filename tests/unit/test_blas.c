/* Matrix products of every form and odd sizes, through the library and through our own kernels. */
// links: tensor
#include "api/base/rng.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 400, PAD = 3 };

static float A[(SIDE + PAD) * (SIDE + PAD)], B[(SIDE + PAD) * (SIDE + PAD)];
static float C[SIDE * (SIDE + PAD)], before[SIDE * (SIDE + PAD)];
/* The last ones are blocks and panels of kernels_packed_gemm.h: one that fills them, one that is
 * over by a little, more rows than a block. */
static const int shapes[][3] = {{1, 1, 1},      {1, 37, 50},   {1, 50, 150}, {2, 9, 17},
                                {5, 33, 64},    {7, 15, 3},    {8, 64, 40},  {16, 150, 130},
                                {33, 1, 20},    {64, 100, 30}, {150, 19, 8}, {96, 192, 64},
                                {77, 209, 263}, {395, 200, 70}};

struct form {
    bool ta, tb;
    int M, N, K, lda, ldb, ldc;
};

static struct form form_of(const int *shape, int bits)
{
    struct form f = {bits & 1, bits & 2, shape[0], shape[1], shape[2], 0, 0, shape[1] + PAD};
    f.lda = (f.ta ? f.M : f.K) + PAD;
    f.ldb = (f.tb ? f.K : f.N) + PAD;
    return f;
}

static void fill(struct rng *rng)
{
    for (size_t i = 0; i < sizeof A / sizeof *A; i++) {
        A[i] = rng_normal(rng);
        B[i] = rng_normal(rng);
    }
    for (size_t i = 0; i < sizeof C / sizeof *C; i++)
        before[i] = C[i] = rng_normal(rng);
}

static void check(const char *name, const struct form *f, double alpha, double beta)
{
    for (int m = 0; m < f->M; m++)
        for (int n = 0; n < f->ldc; n++) {
            double sum = 0, old = (double)before[m * f->ldc + n];
            for (int k = 0; k < f->K && n < f->N; k++)
                sum += (double)(f->ta ? A[k * f->lda + m] : A[m * f->lda + k]) *
                       (double)(f->tb ? B[n * f->ldb + k] : B[k * f->ldb + n]);
            double want = n < f->N ? alpha * sum + (beta == 0 ? 0 : beta * old) : old;
            double got = (double)C[m * f->ldc + n];
            if (!(fabs(got - want) <= 1e-4))
                fail_msg("%s %d%d (%d,%d,%d): [%d,%d] is %g, should be %g", name, f->ta, f->tb,
                         f->M, f->N, f->K, m, n, got, want);
        }
}

static void test_gemm(void **state)
{
    static const float scales[][2] = {{1, 0}, {1, 1}, {-0.5f, 2}};
    struct rng rng;
    (void)state;
    rng_init(&rng, 1, 1);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bits = 0; bits < 12; bits++) {
            struct form f = form_of(shapes[s], bits & 3);
            const float *scale = scales[bits / 4];
            fill(&rng);
            gemm(f.ta, f.tb, f.M, f.N, f.K, scale[0], A, f.lda, B, f.ldb, scale[1], C, f.ldc);
            check("gemm", &f, (double)scale[0], (double)scale[1]);
        }
}

/* beta 0 overwrites even what is not a number. */
static void test_beta_zero_overwrites(void **state)
{
    float a[4] = {1, 2, 3, 4}, c[4] = {NAN, NAN, NAN, NAN};
    (void)state;
    gemm(false, false, 2, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    assert_true(c[0] == 7 && c[3] == 22);
    c[0] = NAN;
    gemm(false, true, 1, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    assert_true(c[0] == 5 && c[1] == 11);
}

static void own_check(const struct kernels *k)
{
    struct rng rng;
    rng_init(&rng, 2, 2);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bits = 0; bits < 8; bits++) {
            bool keep = bits & 4;
            struct form f = form_of(shapes[s], bits);
            fill(&rng);
            k->gemm(f.ta, f.tb, f.M, f.N, f.K, 0.5f, A, f.lda, B, f.ldb, keep, C, f.ldc);
            check(k->name, &f, 0.5, keep);
            if (f.M > 1 || f.ta)
                continue;
            fill(&rng);
            if (f.tb)
                k->gemv(f.N, f.K, 0.5f, B, f.ldb, A, C);
            else
                k->gevm(f.N, f.K, 0.5f, A, B, f.ldb, C);
            check(k->name, &f, 0.5, 1);
        }
}

static void test_own_kernels(void **state)
{
    static const char *const names[] = {"base", "avx2", "avx512"};
    (void)state;
    for (int i = 0; i < 3; i++)
        if (kernels_find(names[i]))
            own_check(kernels_find(names[i]));
    assert_null(kernels_find("abacus"));
}

static void test_kernel_is_named(void **state)
{
    struct err err;
    (void)state;
    assert_int_equal(blas_load(&err), STATUS_OK);
    assert_int_equal(blas_load(&err), STATUS_OK);
    assert_true(strlen(blas_kernel()) > 0);
    assert_string_not_equal(blas_kernel(), "Prescott");
}

/* A choice that fits the CPU, or one that is newer than we know, is left alone. */
static void test_a_good_choice_stays(void **state)
{
    (void)state;
    assert_null(blas_core_better("SkylakeX"));
    assert_null(blas_core_better("Cooperlake"));
    assert_null(blas_core_better("SapphireRapids"));
    assert_null(blas_core_better("a later one"));
    if (kernels_find("avx512")) {
        assert_string_equal(blas_core_better("Prescott"), "SKYLAKEX");
        assert_string_equal(blas_core_better("Zen"), "SKYLAKEX");
    } else if (kernels_find("avx2")) {
        assert_string_equal(blas_core_better("Prescott"), "HASWELL");
        assert_null(blas_core_better("Haswell"));
    } else {
        assert_null(blas_core_better("Prescott"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_beta_zero_overwrites),
        cmocka_unit_test(test_own_kernels),
        cmocka_unit_test(test_kernel_is_named),
        cmocka_unit_test(test_a_good_choice_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
