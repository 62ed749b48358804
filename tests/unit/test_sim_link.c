/* A simulated link: what its description means, that it is busy as long as the bytes take, and that
 * it loses the share it should. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/sim_link.h"

static void a_description_is_read(void **state)
{
    struct sim_link_options o;
    (void)state;
    assert_int_equal(sim_link_parse("256kbit,2%loss,50ms", &o, NULL), STATUS_OK);
    assert_true(o.bits_per_second == 256000 && o.loss == 0.02 && o.latency_ms == 50);
    assert_int_equal(sim_link_parse("1.5mbit", &o, NULL), STATUS_OK);
    assert_true(o.bits_per_second == 1.5e6 && o.loss == 0 && o.latency_ms == 0);
    assert_int_equal(sim_link_parse("0%loss", &o, NULL), STATUS_OK);
    assert_int_equal(sim_link_parse("", &o, NULL), STATUS_OK);
    assert_int_equal(sim_link_parse(NULL, &o, NULL), STATUS_OK);
    assert_true(o.bits_per_second == 0);
}

static void nonsense_is_refused(void **state)
{
    static const char *const bad[] = {"fast",     "256",   "256kbits", "-1kbit", "0kbit",
                                      "100%loss", "2%",    "1kbit,",   ",",      "nan%loss",
                                      "-5ms",     "1e9ms", "2% loss",  "infms",  "1kbit;2%loss"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sim_link_options o;
        if (sim_link_parse(bad[i], &o, NULL) != STATUS_USAGE)
            fail_msg("'%s' was accepted", bad[i]);
    }
}

static void bytes_take_their_time(void **state)
{
    struct sim_link link;
    struct sim_link_options o = {.bits_per_second = 256000, .latency_ms = 50};
    (void)state;
    sim_link_init(&link, &o, 1, 1);
    sim_link_use(&link, 1000, 32000); /* a second, and there and back */
    assert_int_equal(link.free_ms, 2100);
    o = (struct sim_link_options){0};
    sim_link_init(&link, &o, 1, 1);
    sim_link_use(&link, 1000, 1 << 30);
    assert_int_equal(link.free_ms, 1000);
}

static void the_share_is_lost(void **state)
{
    struct sim_link link, again;
    struct sim_link_options o = {.loss = 0.2};
    int lost = 0;
    (void)state;
    sim_link_init(&link, &o, 7, 3);
    sim_link_init(&again, &o, 7, 3);
    for (int i = 0; i < 10000; i++) {
        bool loses = sim_link_loses(&link);
        assert_int_equal(loses, sim_link_loses(&again)); /* the same seed, the same losses */
        lost += loses;
    }
    assert_in_range(lost, 1850, 2150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_description_is_read),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(bytes_take_their_time),
        cmocka_unit_test(the_share_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
