/* Optimisers against PyTorch's formulas in double precision, clipping, schedules. */
// links: tensor
#include "model/tensor/optim.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 5, COLS = 7, BIAS = 3, COUNT = ROWS * COLS + BIAS, STEPS = 6 };

static float matrix_data[ROWS * COLS], bias_data[BIAS], grads[COUNT];
static struct param matrix = {.ndim = 2, .dim = {ROWS, COLS}, .data = matrix_data};
static struct param bias = {.ndim = 1, .dim = {BIAS}, .data = bias_data};
static struct param *const params[2] = {&matrix, &bias};
static double exact[COUNT];

static float *weight_at(int i)
{
    return i < ROWS * COLS ? &matrix_data[i] : &bias_data[i - ROWS * COLS];
}

static void weights_init(struct rng *rng)
{
    rng_init(rng, 1, 2);
    for (int i = 0; i < COUNT; i++)
        exact[i] = (double)(*weight_at(i) = rng_normal(rng));
    assert_int_equal(optim_assign(params, 2), COUNT);
    assert_int_equal(bias.grad_at, ROWS * COLS);
}

static void weights_check(void)
{
    for (int i = 0; i < COUNT; i++)
        if (fabs((double)*weight_at(i) - exact[i]) > 2e-6 * (1 + fabs(exact[i])))
            fail_msg("weight %d is %.9g, should be %.9g", i, (double)*weight_at(i), exact[i]);
}

static void adamw_check(bool matrices_only, struct pool *pool)
{
    static double m[COUNT], v[COUNT];
    const double lr = 1e-2, b1 = 0.9, b2 = 0.95, eps = 1e-6, decay = 0.1;
    struct adamw opt;
    struct rng rng;
    weights_init(&rng);
    memset(m, 0, sizeof m), memset(v, 0, sizeof v);
    assert_int_equal(adamw_init(&opt, COUNT, 0.9f, 0.95f, 1e-6f, 0.1f, NULL), STATUS_OK);
    for (int step = 1; step <= STEPS; step++) {
        for (int i = 0; i < COUNT; i++) {
            double g = (double)(grads[i] = rng_normal(&rng));
            exact[i] *= 1 - (matrices_only && i >= ROWS * COLS ? 0 : lr * decay);
            m[i] = b1 * m[i] + (1 - b1) * g;
            v[i] = b2 * v[i] + (1 - b2) * g * g;
            double root = sqrt(v[i]) / sqrt(1 - pow(b2, step)) + eps;
            exact[i] -= lr / (1 - pow(b1, step)) * m[i] / root;
        }
        adamw_step_shared(&opt, pool, params, 2, grads, 1e-2f, matrices_only);
    }
    weights_check();
    adamw_deinit(&opt);
}

static void test_adamw(void **state)
{
    struct pool *pool;
    (void)state;
    adamw_check(false, NULL);
    adamw_check(true, NULL);
    assert_int_equal(pool_create(2, &pool, NULL), STATUS_OK);
    adamw_check(true, pool);
    pool_destroy(pool);
}

static void sgd_check(float momentum)
{
    static float velocity[COUNT];
    static double exact_velocity[COUNT];
    struct rng rng;
    weights_init(&rng);
    memset(velocity, 0, sizeof velocity), memset(exact_velocity, 0, sizeof exact_velocity);
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < COUNT; i++) {
            grads[i] = rng_normal(&rng);
            exact_velocity[i] = (double)momentum * exact_velocity[i] + (double)grads[i];
            exact[i] -= 0.1 * exact_velocity[i];
        }
        sgd_step(params, 2, grads, 0.1f, momentum, momentum > 0 ? velocity : NULL);
    }
    weights_check();
}

static void test_sgd(void **state)
{
    (void)state;
    sgd_check(0);
    sgd_check(0.9f);
}

/* A parameter frozen after the optimiser was made stays as it is. */
static void test_frozen_parameters_stay(void **state)
{
    struct adamw opt;
    struct rng rng;
    (void)state;
    weights_init(&rng);
    assert_int_equal(adamw_init(&opt, COUNT, 0.9f, 0.999f, 1e-8f, 0.1f, NULL), STATUS_OK);
    for (int i = 0; i < COUNT; i++)
        grads[i] = 1;
    bias.grad_at = -1;
    float before = bias_data[0], moved = matrix_data[0];
    adamw_step(&opt, params, 2, grads, 0.1f, false);
    sgd_step(params, 2, grads, 0.1f, 0, NULL);
    assert_true(before == bias_data[0]);
    assert_true(moved != matrix_data[0]);
    adamw_deinit(&opt);
}

static void test_clip(void **state)
{
    float g[4] = {3, 0, 4, 0}, large[10000];
    (void)state;
    assert_true(fabsf(optim_clip(g, 4, 0) - 5) < 1e-6f);
    assert_true(g[0] == 3);
    assert_true(fabsf(optim_clip(g, 4, 10) - 5) < 1e-6f);
    assert_true(g[0] == 3);
    assert_true(fabsf(optim_clip(g, 4, 1) - 5) < 1e-6f);
    assert_true(fabsf(g[0] - 0.6f) < 1e-5f && fabsf(g[2] - 0.8f) < 1e-5f);
    for (int i = 0; i < 10000; i++)
        large[i] = 0.1f;
    assert_true(fabsf(optim_clip(large, 10000, 0) - 10) < 1e-4f);
    large[77] = NAN;
    assert_true(isnan(optim_clip(large, 10000, 1)));
}

static void test_sum_of_shards(void **state)
{
    enum { N = 200001 };
    static float a[N], b[N], c[N];
    float *shards[3] = {a, b, c};
    struct pool *pool;
    (void)state;
    assert_int_equal(pool_create(2, &pool, NULL), STATUS_OK);
    for (int i = 0; i < N; i++)
        a[i] = (float)i, b[i] = 1, c[i] = -(float)i;
    optim_sum(pool, shards, 3, N);
    for (int i = 0; i < N; i++)
        assert_true(a[i] == 1);
    pool_destroy(pool);
}

static void near(float got, double want)
{
    assert_true(fabs((double)got - want) < 1e-6);
}

static void test_schedules(void **state)
{
    (void)state;
    near(schedule_cosine(0, 100, 10, 1, 0.1f), 0.1);
    near(schedule_cosine(50, 100, 10, 2, 0.1f), 2 * 0.55);
    near(schedule_cosine(100, 100, 10, 1, 0.1f), 0.1);
    near(schedule_cosine(200, 100, 0, 1, 0), 0);
    near(schedule_linear(0, 100, 0, 1, 0), 1);
    near(schedule_linear(75, 100, 0, 1, 0.2f), 0.4);
    near(schedule_linear(4, 100, 10, 1, 1), 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_frozen_parameters_stay),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_sum_of_shards),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
