/* gate: what counts as no worse. */
// links: learn
#include "model/learn/gate.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool passes(int gained, int lost)
{
    const struct gate gate = {.count = 100, .gained = gained, .lost = lost};
    return gate_passed(&gate);
}

static void test_better_and_equal_pass(void **state)
{
    (void)state;
    assert_true(passes(0, 0));
    assert_true(passes(9, 2));
    assert_true(passes(5, 5));
}

/* One or two answers out of a few are noise; a clear loss is not. */
static void test_worse_within_noise_passes(void **state)
{
    (void)state;
    assert_true(passes(0, 1));
    assert_true(passes(3, 6));
    assert_true(passes(0, 2));
    assert_false(passes(0, 3));
    assert_false(passes(3, 9));
    assert_false(passes(0, 30));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_better_and_equal_pass),
        cmocka_unit_test(test_worse_within_noise_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
