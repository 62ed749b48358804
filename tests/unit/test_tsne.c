/* tsne: the gradient is that of the divergence, rows have the perplexity that was asked for,
 * clusters stay apart, the same seed gives the same picture, and odd input does no harm. */
// links: learn
#include "api/base/rng.h"
#include "model/learn/tsne.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 60, C = 16 };

/* Two clouds, `apart` from each other along every channel. */
static void clouds(float x[N * C], float apart)
{
    struct rng rng;
    rng_init(&rng, 7, 7);
    for (int i = 0; i < N * C; i++)
        x[i] = rng_normal(&rng) + (i < N * C / 2 ? 0 : apart);
}

static void test_gradient_is_the_divergences(void **state)
{
    static float x[N * C];
    static double p[N * N], work[N * N], y[2 * N], gradient[2 * N];
    const double h = 1e-5;
    struct rng rng;
    (void)state;
    clouds(x, 1);
    rng_init(&rng, 1, 1);
    for (int i = 0; i < 2 * N; i++)
        y[i] = 2 * (double)rng_normal(&rng);
    assert_int_equal(tsne_affinities(x, N, C, 10, p, NULL), STATUS_OK);
    tsne_gradient(p, y, N, 1, work, gradient);
    for (int i = 0; i < 2 * N; i++) {
        double at = y[i];
        y[i] = at + h;
        double above = tsne_divergence(p, y, N);
        y[i] = at - h;
        double below = tsne_divergence(p, y, N);
        y[i] = at;
        assert_true(fabs((above - below) / (2 * h) - gradient[i]) < 1e-7);
    }
}

/* On a circle all rows are alike, so that n p_ij is the conditional affinity. */
static void test_rows_have_the_perplexity(void **state)
{
    static float x[N * 2];
    static double p[N * N];
    (void)state;
    for (int i = 0; i < N; i++) {
        x[2 * i] = (float)(1e3 * cos(2 * 3.14159265358979 * i / N));
        x[2 * i + 1] = (float)(1e3 * sin(2 * 3.14159265358979 * i / N));
    }
    for (int wanted = 2; wanted < 20; wanted += 3) {
        double sum = 0;
        assert_int_equal(tsne_affinities(x, N, 2, wanted, p, NULL), STATUS_OK);
        for (int i = 0; i < N; i++) {
            double entropy = 0;
            for (int j = 0; j < N; j++) {
                double conditional = p[i * N + j] * N;
                sum += p[i * N + j];
                entropy -= conditional > 0 ? conditional * log(conditional) : 0;
                assert_true(p[i * N + j] == p[j * N + i]);
            }
            assert_true(fabs(exp(entropy) - wanted) < 1e-3 * wanted);
        }
        assert_true(fabs(sum - 1) < 1e-9);
    }
    assert_true(tsne_perplexity(30, 1000) == 30);
    assert_true(tsne_perplexity(30, 31) == 10);
    assert_true(tsne_perplexity(30, 2) == 1);
}

/* Is each point's nearest neighbour in the picture of its own cloud? */
static int strangers(const double *y)
{
    int count = 0;
    for (int i = 0; i < N; i++) {
        int nearest = -1;
        double least = HUGE_VAL;
        for (int j = 0; j < N; j++) {
            double d = hypot(y[2 * i] - y[2 * j], y[2 * i + 1] - y[2 * j + 1]);
            if (j != i && d < least) {
                least = d;
                nearest = j;
            }
        }
        count += (nearest < N / 2) != (i < N / 2);
    }
    return count;
}

static void test_clusters_stay_apart(void **state)
{
    static float x[N * C];
    static double p[N * N], y[2 * N], again[2 * N], other[2 * N];
    struct tsne_options options = tsne_defaults();
    double centre[2] = {0, 0};
    (void)state;
    clouds(x, 4);
    assert_int_equal(tsne_embed(x, N, C, &options, y, NULL), STATUS_OK);
    assert_int_equal(strangers(y), 0);
    for (int i = 0; i < 2 * N; i++)
        centre[i % 2] += y[i];
    assert_true(fabs(centre[0]) + fabs(centre[1]) < 1e-6);

    /* better than where it started, and the same for the same seed alone */
    assert_int_equal(tsne_affinities(x, N, C, tsne_perplexity(options.perplexity, N), p, NULL),
                     STATUS_OK);
    assert_int_equal(tsne_embed(x, N, C, &options, again, NULL), STATUS_OK);
    assert_memory_equal(y, again, sizeof y);
    options.seed = 2;
    assert_int_equal(tsne_embed(x, N, C, &options, other, NULL), STATUS_OK);
    assert_memory_not_equal(y, other, sizeof y);
    options.steps = 0;
    assert_int_equal(tsne_embed(x, N, C, &options, again, NULL), STATUS_OK);
    assert_true(tsne_divergence(p, y, N) < 0.5 * tsne_divergence(p, again, N));
}

static void test_few_and_equal_points(void **state)
{
    static float x[N * C];
    static double y[2 * N];
    struct tsne_options options = tsne_defaults();
    (void)state;
    for (int n = 0; n <= N; n += n < 6 ? 1 : N - 6)
        for (int same = 0; same < 2; same++) {
            clouds(x, same ? 0 : 4);
            for (int i = 0; same && i < n * C; i++)
                x[i] = 3e37f;
            assert_int_equal(tsne_embed(x, n, C, &options, y, NULL), STATUS_OK);
            for (int i = 0; i < 2 * n; i++)
                if (!isfinite(y[i]) || fabs(y[i]) > 1e5)
                    fail_msg("%d points, same %d: %g", n, same, y[i]);
        }
}

static void test_bad_input_is_refused(void **state)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    static float x[N * C];
    static double y[2 * N];
    struct tsne_options options = tsne_defaults();
    volatile int cancel = 1;
    struct err err;
    (void)state;
    for (int i = 0; i < 3; i++) {
        clouds(x, 1);
        x[N * C - 1] = odd[i];
        assert_int_equal(tsne_embed(x, N, C, &options, y, &err), STATUS_MALFORMED);
    }
    assert_int_equal(tsne_embed(x, TSNE_POINTS_MAX + 1, C, &options, y, &err), STATUS_TOO_LARGE);
    assert_int_equal(tsne_embed(x, -1, C, &options, y, &err), STATUS_TOO_LARGE);
    clouds(x, 1);
    options.cancel = &cancel;
    assert_int_equal(tsne_embed(x, N, C, &options, y, &err), STATUS_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_is_the_divergences),
        cmocka_unit_test(test_rows_have_the_perplexity),
        cmocka_unit_test(test_clusters_stay_apart),
        cmocka_unit_test(test_few_and_equal_points),
        cmocka_unit_test(test_bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
