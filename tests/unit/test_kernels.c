/* The approximations against libm, and every instruction set's kernels against the plain ones. */
// links: tensor
#include "api/base/rng.h"
#include "model/tensor/kernels.h"
#include "model/tensor/vecmath.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N = 203, ROWS = 7, COLS = 29 };

static void test_exp(void **state)
{
    (void)state;
    for (int i = 0; i < 23900; i++) {
        double x = -86.9 + 0.00731 * i, want = exp((double)(float)x);
        assert_true(fabs((double)vec_exp((float)x) - want) <= 3e-7 * want);
    }
    assert_true(vec_exp(-1000) >= 0 && vec_exp(-1000) < 1e-37f);
    assert_true(isfinite(vec_exp(1000)) && vec_exp(1000) > 1e38f);
    assert_true(isnan(vec_exp(NAN)));
    assert_true(vec_exp(0) == 1);
}

static void test_normal_cdf(void **state)
{
    (void)state;
    for (int i = 0; i < 13870; i++) {
        double x = -12 + 0.00173 * i;
        float density, cdf = vec_normal_cdf((float)x, &density);
        assert_true(fabs((double)cdf - 0.5 * erfc(-(double)(float)x / sqrt(2))) < 3e-7);
        assert_true(fabs((double)density - exp(-0.5 * x * x) / sqrt(2 * acos(-1))) < 1e-6);
    }
    float density;
    assert_true(isnan(vec_normal_cdf(NAN, &density)));
}

static void test_sincos(void **state)
{
    (void)state;
    for (int i = 0; i < 174800; i++) {
        double v = -8192 + 0.0937 * i;
        float sine, cosine;
        vec_sincos((float)v, &sine, &cosine);
        assert_true(fabs((double)sine - sin((double)(float)v)) < 3e-7);
        assert_true(fabs((double)cosine - cos((double)(float)v)) < 3e-7);
    }
}

static float x[ROWS * COLS], y[ROWS * COLS], w[COLS], b[COLS];
static float got[4][ROWS * COLS + 64], want[4][ROWS * COLS + 64];
static uint8_t keep[N];

static void fill(void)
{
    struct rng rng;
    rng_init(&rng, 4, 4);
    for (int i = 0; i < N; i++) {
        x[i] = 2 * rng_normal(&rng);
        y[i] = rng_normal(&rng);
        keep[i] = (uint8_t)rng_below(&rng, 2);
    }
    for (int i = 0; i < COLS; i++) {
        w[i] = rng_normal(&rng);
        b[i] = rng_normal(&rng);
    }
    memset(got, 0, sizeof got), memset(want, 0, sizeof want);
}

static void same(const char *what)
{
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < ROWS * COLS + 64; i++)
            if (!(fabsf(got[k][i] - want[k][i]) <= 2e-5f * (1 + fabsf(want[k][i]))))
                fail_msg("%s: %d[%d] is %g, should be %g", what, k, i, (double)got[k][i],
                         (double)want[k][i]);
    fill();
}

typedef void probe(const struct kernels *k, float (*out)[ROWS * COLS + 64]);

static void probe_vectors(const struct kernels *k, float (*out)[ROWS * COLS + 64])
{
    k->add(out[0], x, y, N);
    k->accumulate(out[0], x, 0.5f, N);
    k->scale(out[1], x, 3, N);
    k->select(out[2], x, keep, 2, N);
    k->select_back(out[2], y, keep, 2, N);
    k->column_sum(out[3], x, ROWS, COLS);
    out[3][COLS] = k->dot(x, y, N);
    out[3][COLS + 1] = (float)k->square_sum(x, N);
}

static void probe_activations(const struct kernels *k, float (*out)[ROWS * COLS + 64])
{
    k->gelu(out[0], x, N);
    k->gelu_back(out[1], y, x, N);
    k->swiglu(out[2], x, y, N);
    k->swiglu_back(out[3], out[0], y, x, y, N);
}

static void probe_rope(const struct kernels *k, float (*out)[ROWS * COLS + 64])
{
    static const float frequency[6] = {1, 0.7f, 0.1f, 0.03f, 0.001f, 1e-4f};
    k->rope_tables(out[0], out[1], frequency, 5, 6, 300);
    k->rope(out[2], x, out[0], out[1], 5, 3, 12, 1, false);
    k->rope(out[3], x, out[0], out[1], 5, 3, 12, -1, true);
}

static void probe_norms(const struct kernels *k, float (*out)[ROWS * COLS + 64])
{
    float mean[ROWS], rstd[ROWS];
    k->layernorm(out[0], mean, rstd, x, w, b, 1e-5f, ROWS, COLS);
    k->layernorm_back(out[1], out[2], out[2] + COLS, y, x, w, mean, rstd, ROWS, COLS);
    k->rmsnorm(out[3], rstd, x, w, 1e-5f, ROWS, COLS);
    k->rmsnorm_back(out[1], out[2] + 2 * COLS, y, x, w, rstd, ROWS, COLS);
}

static void probe_softmax(const struct kernels *k, float (*out)[ROWS * COLS + 64])
{
    float lse = k->log_sum_exp(x, 0.7f, N), lse_y = k->log_sum_exp(y, 0.7f, N);
    k->softmax(out[0], x, 0.7f, N);
    k->softmax_accumulate(out[1], x, 0.7f, lse, 2, N);
    out[2][0] = lse;
    out[2][1] = (float)k->kl_row(x, y, 0.7f, lse, lse_y, N);
}

static void probe_optimiser(const struct kernels *k, float (*out)[ROWS * COLS + 64])
{
    struct adamw_rates r = {0.9f, 0.99f, 1e-8f, 0.999f, 0.01f, 0.5f};
    memcpy(out[0], x, sizeof x);
    k->adamw(out[0], out[1], out[2], y, &r, N);
    k->adamw(out[0], out[1], out[2], y, &r, N);
}

static void test_instruction_sets_agree(void **state)
{
    static const struct {
        const char *name;
        probe *run;
    } probes[] = {{"vectors", probe_vectors}, {"activations", probe_activations},
                  {"rope", probe_rope},       {"norms", probe_norms},
                  {"softmax", probe_softmax}, {"optimiser", probe_optimiser}};
    static const char *const names[] = {"avx2", "avx512"};
    (void)state;
    for (int i = 0; i < 2; i++)
        for (size_t p = 0; p < sizeof probes / sizeof *probes && kernels_find(names[i]); p++) {
            fill();
            probes[p].run(kernels_find(names[i]), got);
            probes[p].run(kernels_find("base"), want);
            same(probes[p].name);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_normal_cdf),
        cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_instruction_sets_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
