/* The watchdog's probe: it comes back from a writer that works, and not from one that hangs. */
// links: server
#include "api/base/clock.h"
#include "server/watchdog.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

struct place {
    char dir[64];
    struct store *store;
    struct writer *writer;
    struct watchdog watchdog;
};

static void place_open(struct place *place, int waiting)
{
    struct err err = {0};
    strcpy(place->dir, "/tmp/cdcca-watchdog-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_int_equal(store_open(io_posix(), place->dir, &place->store, &err), STATUS_OK);
    assert_int_equal(writer_create(place->store, waiting, &place->writer, &err), STATUS_OK);
    watchdog_init(&place->watchdog, place->writer);
}

static void place_close(struct place *place)
{
    char command[128];
    writer_destroy(place->writer);
    store_close(place->store);
    snprintf(command, sizeof command, "rm -rf %s", place->dir);
    assert_int_equal(system(command), 0);
}

/* A job that holds the writer until it is let go. */
struct hold {
    struct write write;
    pthread_mutex_t gate;
    atomic_int entered;
};

static enum status hold_run(struct store *store, void *ctx, struct err *err)
{
    struct hold *hold = ctx;
    (void)store, (void)err;
    atomic_fetch_add(&hold->entered, 1);
    pthread_mutex_lock(&hold->gate);
    pthread_mutex_unlock(&hold->gate);
    return STATUS_OK;
}

static void hold_done(struct write *write)
{
    (void)write;
}

static void hold_start(struct hold *hold, struct writer *writer)
{
    pthread_mutex_init(&hold->gate, NULL);
    pthread_mutex_lock(&hold->gate);
    hold->write = (struct write){.job = {.run = hold_run, .ctx = hold}, .done = hold_done};
    assert_int_equal(writer_submit(writer, &hold->write, NULL), STATUS_OK);
    while (!atomic_load(&hold->entered))
        clock_sleep_ms(1);
}

static void expect_alive(struct watchdog *watchdog)
{
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    while (!watchdog_alive(watchdog)) {
        assert_true(clock_monotonic_ms() < until);
        clock_sleep_ms(1);
    }
}

static void a_working_writer_is_alive(void **state)
{
    struct place place;
    (void)state;
    place_open(&place, 4);
    for (int i = 0; i < 5; i++)
        expect_alive(&place.watchdog);
    place_close(&place);
}

static void a_writer_that_hangs_is_not(void **state)
{
    struct place place;
    struct hold hold = {0};
    (void)state;
    place_open(&place, 4);
    hold_start(&hold, place.writer);
    assert_true(watchdog_alive(&place.watchdog)); /* nothing is known against it yet */
    for (int i = 0; i < 20; i++) {
        assert_false(watchdog_alive(&place.watchdog));
        clock_sleep_ms(1);
    }
    pthread_mutex_unlock(&hold.gate);
    expect_alive(&place.watchdog);
    place_close(&place);
}

static void a_full_queue_is_no_sign_of_life(void **state)
{
    struct place place;
    struct hold hold = {0}, queued = {0};
    (void)state;
    place_open(&place, 1);
    hold_start(&hold, place.writer);
    pthread_mutex_init(&queued.gate, NULL);
    queued.write = (struct write){.job = {.run = hold_run, .ctx = &queued}, .done = hold_done};
    assert_int_equal(writer_submit(place.writer, &queued.write, NULL), STATUS_OK);
    assert_false(watchdog_alive(&place.watchdog));
    assert_false(watchdog_alive(&place.watchdog));
    pthread_mutex_unlock(&hold.gate);
    expect_alive(&place.watchdog);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_working_writer_is_alive),
        cmocka_unit_test(a_writer_that_hangs_is_not),
        cmocka_unit_test(a_full_queue_is_no_sign_of_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
