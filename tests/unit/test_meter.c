/* Device time over restarts and clock steps, and the day's budget over kills and full disks. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/meter.h"
#include "edge_tiny.h"
#include "fault_io.h"

static int64_t test_monotonic, test_wall; /* what the clocks of these tests say */

static int64_t monotonic(void)
{
    return test_monotonic;
}

static int64_t wall(void)
{
    return test_wall;
}

static const struct meter_clock test_clock = {monotonic, wall};
static const int64_t hour = 3600 * 1000, year = INT64_C(365) * 24 * 3600 * 1000;

struct fixture {
    char dir[TINY_PATH];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->dir);
    test_monotonic = 5000;
    test_wall = 50 * year;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tiny_remove(f->dir);
    free(f);
    return 0;
}

static struct meter *open_meter(struct fixture *f, struct io *io, uint64_t daily)
{
    struct meter *meter = NULL;
    struct err err = {0};
    if (meter_open(io, f->dir, test_clock, daily, &meter, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return meter;
}

/* Runs for `running`, is away for `away` by the wall clock; the monotonic clock starts anew. */
static int64_t after(struct fixture *f, int64_t running, int64_t away)
{
    struct meter *meter = open_meter(f, io_posix(), 0);
    test_monotonic += running;
    test_wall += running;
    meter_close(meter);
    test_monotonic = 100;
    test_wall += away;
    meter = open_meter(f, io_posix(), 0);
    int64_t now = meter_now_s(meter);
    meter_close(meter);
    return now;
}

static void test_device_time_goes_on_over_a_restart(void **state)
{
    assert_int_equal(after(*state, 2 * hour, hour), 3 * 3600);
}

static void test_a_life_that_is_cut_short_counts(void **state)
{
    struct fixture *f = *state;
    struct meter *gone = open_meter(f, io_posix(), 0);
    test_wall += hour;
    struct meter *meter = open_meter(f, io_posix(), 0);
    assert_int_equal(meter_now_s(meter), 3600);
    meter_close(meter);
    meter_close(gone);
}

static void test_clock_steps_move_it_by_a_day_at_most(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(after(f, hour, -40 * year), 3600);
    assert_int_equal(after(f, 0, 10 * year), 3600 + METER_PAUSE_S);
    struct meter *meter = open_meter(f, io_posix(), 0);
    int64_t before = meter_now_s(meter);
    test_wall += 10 * year; /* while it runs: no effect */
    assert_int_equal(meter_now_s(meter), before);
    meter_close(meter);
}

static void test_a_damaged_file_begins_anew(void **state)
{
    struct fixture *f = *state;
    char path[2 * TINY_PATH];
    assert_int_equal(after(f, hour, 0), 3600);
    snprintf(path, sizeof path, "%s/meter.json", f->dir);
    assert_int_equal(truncate(path, 9), 0);
    struct meter *meter = open_meter(f, io_posix(), 0);
    assert_int_equal(meter_now_s(meter), 0);
    meter_close(meter);
}

static void test_the_budget_ends_and_a_day_later_there_is_a_new_one(void **state)
{
    struct fixture *f = *state;
    struct meter *meter = open_meter(f, io_posix(), 1000);
    assert_int_equal(meter_take(meter, 700, NULL), STATUS_OK);
    assert_int_equal(meter_take(meter, 301, NULL), STATUS_BUSY);
    assert_int_equal(meter_left(meter), 300);
    meter_give_back(meter, 100);
    assert_int_equal(meter_left(meter), 400);
    test_monotonic += 24 * hour - 1;
    assert_int_equal(meter_left(meter), 400);
    test_monotonic += 1;
    assert_int_equal(meter_left(meter), 1000);
    meter_close(meter);
    meter = open_meter(f, io_posix(), 0);
    assert_true(meter_left(meter) == UINT64_MAX);
    meter_close(meter);
}

/* The process is gone right after a take: what was taken stays taken, whatever the clock says. */
static void test_a_kill_spends_nothing_twice(void **state)
{
    struct fixture *f = *state;
    struct meter *gone = open_meter(f, io_posix(), 1000);
    assert_int_equal(meter_take(gone, 600, NULL), STATUS_OK);
    test_wall -= hour;
    struct meter *meter = open_meter(f, io_posix(), 1000);
    assert_int_equal(meter_left(meter), 400);
    meter_close(meter);
    meter_close(gone);
}

static void test_taking_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    for (int n = 0; !finished && n < 50; n++) {
        struct fault_io fault = fault_io_make(-1, EIO);
        tiny_remove(f->dir);
        assert_int_equal(mkdir(f->dir, 0700), 0);
        struct meter *meter = open_meter(f, &fault.io, 1000);
        fault.countdown = n;
        enum status status = meter_take(meter, 600, NULL);
        finished = fault.countdown >= 0;
        fault.countdown = -1;
        assert_int_equal(meter_left(meter), status == STATUS_OK ? 400 : 1000);
        struct meter *next = open_meter(f, io_posix(), 1000);
        assert_true(meter_left(next) <= meter_left(meter));
        meter_close(next);
        meter_close(meter);
    }
    assert_true(finished);
}

static void test_a_full_disk_does_not_stop_what_makes_room(void **state)
{
    struct fixture *f = *state;
    struct fault_io fault = fault_io_make(-1, ENOSPC);
    struct meter *meter = open_meter(f, &fault.io, 1000);
    fault.countdown = 0;
    assert_int_equal(meter_take(meter, 600, NULL), STATUS_OK);
    assert_int_equal(meter_left(meter), 400);
    fault.countdown = -1;
    assert_int_equal(meter_take(meter, 100, NULL), STATUS_OK);
    struct meter *next = open_meter(f, io_posix(), 1000);
    assert_int_equal(meter_left(next), 300);
    meter_close(next);
    meter_close(meter);
}

#define METER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        METER_TEST(test_device_time_goes_on_over_a_restart),
        METER_TEST(test_a_life_that_is_cut_short_counts),
        METER_TEST(test_clock_steps_move_it_by_a_day_at_most),
        METER_TEST(test_a_damaged_file_begins_anew),
        METER_TEST(test_the_budget_ends_and_a_day_later_there_is_a_new_one),
        METER_TEST(test_a_kill_spends_nothing_twice),
        METER_TEST(test_a_full_disk_does_not_stop_what_makes_room),
        METER_TEST(test_taking_with_every_io_call_failing_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
