/* Token buckets: what passes, how long to wait, and that memory is bounded. */
// links: server
#include "server/buckets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct buckets *make(int places, double full, double per_s)
{
    struct buckets *buckets = NULL;
    assert_int_equal(buckets_create(places, full, per_s, &buckets, NULL), STATUS_OK);
    return buckets;
}

static void a_bucket_empties_and_fills(void **state)
{
    struct buckets *b = make(8, 3, 0.1);
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(buckets_take(b, "a", 1, 1000), 0);
    assert_int_equal(buckets_take(b, "a", 1, 1000), 1);
    assert_int_equal(buckets_take(b, "b", 1, 1000), 0);
    assert_int_equal(buckets_take(b, "a", 1, 2000), 0); /* a tenth of one is something */
    assert_int_equal(buckets_wait(b, "a", 2000), 9);
    assert_int_equal(buckets_take(b, "a", 1, 12000), 0);
    assert_int_equal(buckets_wait(b, "a", 1000000000), 0);
    buckets_destroy(b);
}

/* Debt is paid back: over a day it comes to what the rate allows. */
static void the_wait_that_is_said_is_enough(void **state)
{
    struct buckets *b = make(8, 100, 1);
    int64_t now = 0, taken = 0;
    (void)state;
    while (now < 86400 * 1000) {
        int64_t wait = buckets_take(b, "a", 250, now);
        if (wait == 0) {
            taken += 250;
            continue;
        }
        now += wait * 1000;
        if (buckets_wait(b, "a", now) > 1)
            fail_msg("%lld s were not enough", (long long)wait);
        now += 1;
    }
    assert_in_range(taken, 86400 - 500, 86400 + 100 + 500);
    buckets_destroy(b);
}

static void what_is_larger_than_the_bucket_passes_when_it_is_full(void **state)
{
    struct buckets *b = make(8, 10, 1);
    (void)state;
    assert_int_equal(buckets_take(b, "a", 100, 0), 0);
    assert_int_equal(buckets_take(b, "a", 1, 0), 90);
    buckets_give(b, "a", 100, 0);
    assert_int_equal(buckets_take(b, "a", 1, 0), 0);
    buckets_destroy(b);
}

static void a_clock_that_steps_back_gives_nothing(void **state)
{
    struct buckets *b = make(8, 1, 1);
    (void)state;
    assert_int_equal(buckets_take(b, "a", 1, 5000), 0);
    assert_int_equal(buckets_take(b, "a", 1, 1000), 1);
    assert_int_equal(buckets_take(b, "a", 1, 5000), 1);
    assert_int_equal(buckets_take(b, "a", 1, 5500), 0);
    buckets_destroy(b);
}

static void the_oldest_gives_way(void **state)
{
    struct buckets *b = make(64, 1, 0.001);
    char name[16];
    int known = 0;
    (void)state;
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "device-%d", i);
        assert_int_equal(buckets_take(b, name, 1, i), 0);
        assert_true(buckets_know(b, name));
    }
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "device-%d", i);
        known += buckets_know(b, name);
    }
    assert_int_equal(known, 64);
    assert_false(buckets_know(b, "device-0"));
    buckets_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_empties_and_fills),
        cmocka_unit_test(the_wait_that_is_said_is_enough),
        cmocka_unit_test(what_is_larger_than_the_bucket_passes_when_it_is_full),
        cmocka_unit_test(a_clock_that_steps_back_gives_nothing),
        cmocka_unit_test(the_oldest_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
