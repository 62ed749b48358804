/* exact: any float leads to any other to the bit, small steps are small codes, and codes that end
 * early are refused. */
// links: learn
#include "api/base/rng.h"
#include "model/learn/exact.h"
#include "tests/unit/guard.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void expect_exact(const float *base, const float *target, size_t n)
{
    struct buf codes = {.max = 1 << 20};
    float out[64];
    size_t used = 0;
    assert_true(n <= 64);
    assert_int_equal(exact_encode(base, target, n, &codes), STATUS_OK);
    assert_int_equal(exact_decode(n, codes.data, codes.len, &used, base, out, NULL), STATUS_OK);
    assert_int_equal(used, codes.len);
    assert_memory_equal(out, target, n * sizeof *out);
    buf_free(&codes);
}

static void every_pair_of_odd_floats_is_reached(void **state)
{
    static const float odd[] = {0.0f,     -0.0f,   1.0f,     -1.0f,    FLT_MIN,
                                -FLT_MIN, FLT_MAX, -FLT_MAX, 1.4e-45f, -1.4e-45f,
                                1e-9f,    -1e-9f,  3.5f,     -3.5f,    0.333333343f};
    enum { ODD = sizeof odd / sizeof *odd };
    (void)state;
    for (size_t i = 0; i < ODD; i++)
        for (size_t j = 0; j < ODD; j++)
            expect_exact(odd + i, odd + j, 1);
}

static void random_updates_are_reached(void **state)
{
    struct rng rng;
    float base[64], target[64];
    (void)state;
    rng_init(&rng, 1, 2);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 64; i++) {
            base[i] = rng_normal(&rng);
            target[i] = base[i] + powf(10, (float)(round % 12) - 9) * rng_normal(&rng);
        }
        expect_exact(base, target, 64);
    }
}

static void a_small_step_is_a_small_code(void **state)
{
    struct buf codes = {.max = 64};
    float base[2] = {1, -1}, target[2] = {nextafterf(1, 2), nextafterf(-1, -2)};
    const unsigned char expected[] = {2, 1, 0, 0, 0, 0, 0, 0};
    (void)state;
    assert_int_equal(exact_encode(base, target, 2, &codes), STATUS_OK);
    assert_int_equal(codes.len, sizeof expected);
    assert_memory_equal(codes.data, expected, sizeof expected);
    buf_free(&codes);
}

static void codes_that_end_early_are_refused(void **state)
{
    struct buf codes = {.max = 64};
    float base[3] = {1, 2, 3}, target[3] = {3, 2, 1}, out[3];
    size_t used;
    struct err err;
    struct guard guard;
    (void)state;
    assert_int_equal(guard_init(&guard, 64), 0);
    assert_int_equal(exact_encode(base, target, 3, &codes), STATUS_OK);
    for (size_t len = 0; len < codes.len; len++) {
        const unsigned char *flush = guard_put(&guard, codes.data, len);
        assert_int_equal(exact_decode(3, flush, len, &used, base, out, &err), STATUS_SHAPE);
    }
    guard_deinit(&guard);
    buf_free(&codes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_odd_floats_is_reached),
        cmocka_unit_test(random_updates_are_reached),
        cmocka_unit_test(a_small_step_is_a_small_code),
        cmocka_unit_test(codes_that_end_early_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
