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

/* Twenty devices with 4 items each: what `hostile` of them lose or gain does not count. */
static void counted(struct gate *gate, int hostile, bool hostile_lose, bool others_lose)
{
    enum { DEVICES = 20, EACH = 4, N = DEVICES * EACH };
    static struct exemplar exemplars[N];
    static const struct exemplar *items[N];
    static bool before[N], after[N];
    struct err err;
    for (int i = 0; i < N; i++) {
        exemplars[i] = (struct exemplar){.device = (uint64_t)(i % DEVICES)};
        bool lose = i % DEVICES < hostile ? hostile_lose : others_lose && i / DEVICES == 0;
        items[i] = &exemplars[i];
        before[i] = lose;
        after[i] = !lose && i % DEVICES < hostile;
    }
    *gate = (struct gate){.items = items, .count = N, .right = before};
    assert_int_equal(gate_count(gate, after, &err), STATUS_OK);
}

static void test_few_devices_cannot_turn_a_round_down(void **state)
{
    struct gate gate;
    (void)state;
    counted(&gate, 2, true, false);
    assert_int_equal(gate.lost, 0);
    assert_true(gate_passed(&gate));
    counted(&gate, 3, true, false);
    assert_int_equal(gate.lost, 4);
    assert_false(gate_passed(&gate));
}

static void test_few_devices_cannot_push_a_round_through(void **state)
{
    struct gate gate;
    (void)state;
    counted(&gate, 2, false, true);
    assert_int_equal(gate.gained, 0);
    assert_int_equal(gate.lost, 16); /* of 18 devices one each, but for the two worst */
    assert_true(gate.before == 16.0f / 64 && gate.after == 0);
    assert_false(gate_passed(&gate));
}

/* One device, or a few, are counted whole. */
static void test_one_device_is_counted_whole(void **state)
{
    static const struct exemplar one;
    const struct exemplar *items[3] = {&one, &one, &one};
    bool before[3] = {true, false, true}, after[3] = {false, true, false};
    struct gate gate = {.items = items, .count = 3, .right = before};
    struct err err;
    (void)state;
    assert_int_equal(gate_count(&gate, after, &err), STATUS_OK);
    assert_int_equal(gate.gained, 1);
    assert_int_equal(gate.lost, 2);
    assert_true(gate.before == 2.0f / 3 && gate.after == 1.0f / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_better_and_equal_pass),
        cmocka_unit_test(test_worse_within_noise_passes),
        cmocka_unit_test(test_few_devices_cannot_turn_a_round_down),
        cmocka_unit_test(test_few_devices_cannot_push_a_round_through),
        cmocka_unit_test(test_one_device_is_counted_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
