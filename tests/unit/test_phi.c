/* phi: the regression finds a linear map through noise, survives columns that say nothing, and
 * refuses features that are not finite. */
// links: learn
#include "model/learn/phi.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { IN = 6, OUT = 3, ROWS = 4000 };

struct data {
    float x[ROWS * IN], y[ROWS * OUT], weight[OUT * IN], bias[OUT];
};

/* y = W x + b + noise; the last column of x is always 0 */
static void data_make(struct data *d, float noise)
{
    struct rng rng;
    rng_init(&rng, 6, 6);
    for (int i = 0; i < OUT * IN; i++)
        d->weight[i] = rng_normal(&rng);
    for (int o = 0; o < OUT; o++)
        d->bias[o] = 3 * rng_normal(&rng);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < IN; i++)
            d->x[r * IN + i] = i == IN - 1 ? 0 : 2 * rng_normal(&rng);
        for (int o = 0; o < OUT; o++) {
            float sum = d->bias[o] + noise * rng_normal(&rng);
            for (int i = 0; i < IN; i++)
                sum += d->weight[o * IN + i] * d->x[r * IN + i];
            d->y[r * OUT + o] = sum;
        }
    }
}

static void test_finds_the_map(void **state)
{
    struct data *d = malloc(sizeof *d);
    struct phi phi;
    struct err err;
    (void)state;
    data_make(d, 0.1f);
    assert_int_equal(phi_init(&phi, 2, IN, OUT, &err), STATUS_OK);
    assert_int_equal(phi_fit(&phi, 1, d->x, d->y, ROWS, &err), STATUS_OK);
    for (int o = 0; o < OUT; o++) {
        for (int i = 0; i < IN - 1; i++)
            assert_true(fabsf(phi.weight[1].data[o * IN + i] - d->weight[o * IN + i]) < 0.03f);
        assert_true(phi.weight[1].data[o * IN + IN - 1] == 0);
        assert_true(fabsf(phi.bias[1].data[o] - d->bias[o]) < 0.02f * fabsf(d->bias[o]) + 0.02f);
    }
    for (int i = 0; i < OUT * IN; i++)
        assert_true(phi.weight[0].data[i] == 0); /* the other map is untouched */
    phi_deinit(&phi);
    free(d);
}

static void test_refuses_what_is_not_finite(void **state)
{
    struct data *d = malloc(sizeof *d);
    struct phi phi;
    struct err err;
    (void)state;
    data_make(d, 0);
    d->x[7] = NAN;
    assert_int_equal(phi_init(&phi, 1, IN, OUT, &err), STATUS_OK);
    assert_int_equal(phi_fit(&phi, 0, d->x, d->y, ROWS, &err), STATUS_MALFORMED);
    phi_deinit(&phi);
    free(d);
}

static void test_params_are_weight_and_bias_in_turn(void **state)
{
    struct param *list[2 * EXEMPLAR_FEATURES];
    struct phi phi;
    struct err err;
    (void)state;
    assert_int_equal(phi_init(&phi, 3, IN, OUT, &err), STATUS_OK);
    assert_int_equal(phi_params(&phi, list), 6);
    assert_ptr_equal(list[2], &phi.weight[1]);
    assert_ptr_equal(list[5], &phi.bias[2]);
    phi_deinit(&phi);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_map),
        cmocka_unit_test(test_refuses_what_is_not_finite),
        cmocka_unit_test(test_params_are_weight_and_bias_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
