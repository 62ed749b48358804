/* The spool: order, idempotence, bounds, what it does with torn and altered files, and every io
 * call failing once. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/spool.h"
#include "edge_tiny.h"
#include "fault_io.h"
#include <inttypes.h>
#include <pthread.h>

enum { SPOOL_MAX = 1000, SPOOL_AGE = 3600 };

static const struct spool_facts one = {.instances = 1};

struct fixture {
    char dir[TINY_PATH];
    struct spool *spool;
};

static struct spool *open_aging(struct io *io, const char *dir, struct meter *meter)
{
    struct spool *spool = NULL;
    struct err err = {0};
    const struct spool_options options = {
        .max_bytes = SPOOL_MAX, .max_age_s = SPOOL_AGE, .meter = meter};
    if (spool_open(io, dir, &options, &spool, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return spool;
}

static struct spool *open_spool(struct io *io, const char *dir)
{
    return open_aging(io, dir, NULL);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->dir);
    f->spool = open_spool(io_posix(), f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    spool_close(f->spool);
    tiny_remove(f->dir);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    spool_close(f->spool);
    f->spool = open_spool(io_posix(), f->dir);
}

static enum status append(struct spool *spool, const char *text, uint32_t instances)
{
    const struct spool_facts facts = {.instances = instances, .jpeg_bytes = 10u * instances};
    return spool_append(spool, text, strlen(text), &facts, NULL);
}

/* Takes the oldest, which must be this text. */
static void expect_first(struct spool *spool, const char *text, struct spool_item *item)
{
    struct buf body = {.max = SPOOL_MAX};
    struct err err = {0};
    if (spool_first(spool, UINT64_MAX, item, &body, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(body.len, strlen(text));
    assert_memory_equal(body.data, text, body.len);
    buf_free(&body);
}

static void expect_empty(struct spool *spool)
{
    struct buf body = {.max = SPOOL_MAX};
    struct spool_item item;
    assert_int_equal(spool_first(spool, UINT64_MAX, &item, &body, NULL), STATUS_NOT_FOUND);
    buf_free(&body);
}

static void test_oldest_first_and_over_restarts(void **state)
{
    struct fixture *f = *state;
    struct spool_item item;
    assert_int_equal(append(f->spool, "one", 1), STATUS_OK);
    assert_int_equal(append(f->spool, "two", 2), STATUS_OK);
    reopen(f);
    assert_int_equal(append(f->spool, "three", 3), STATUS_OK);
    expect_first(f->spool, "one", &item);
    assert_int_equal(item.facts.instances, 1);
    assert_int_equal(item.facts.jpeg_bytes, 10);
    assert_int_equal(spool_done(f->spool, &item, NULL), STATUS_OK);
    expect_first(f->spool, "two", &item);
    assert_int_equal(spool_done(f->spool, &item, NULL), STATUS_OK);
    reopen(f);
    expect_first(f->spool, "three", &item);
    assert_int_equal(item.facts.instances, 3);
}

static void test_same_bytes_are_kept_once(void **state)
{
    struct fixture *f = *state;
    struct spool_counts counts;
    assert_int_equal(append(f->spool, "same", 1), STATUS_OK);
    assert_int_equal(append(f->spool, "same", 1), STATUS_OK);
    spool_count(f->spool, &counts);
    assert_int_equal(counts.files, 1);
    assert_int_equal(tiny_count(f->dir, ".upload"), 1);
}

static void test_the_oldest_gives_way_when_full(void **state)
{
    struct fixture *f = *state;
    char big[401] = "";
    struct spool_item item;
    struct spool_counts counts;
    for (int i = 0; i < 4; i++) {
        memset(big, 'a' + i, 400);
        assert_int_equal(append(f->spool, big, 5), STATUS_OK);
    }
    spool_count(f->spool, &counts);
    assert_int_equal(counts.files, 2);
    assert_int_equal(counts.dropped, 10);
    assert_true(counts.bytes <= SPOOL_MAX);
    memset(big, 'c', 400);
    expect_first(f->spool, big, &item);
}

static void test_larger_than_the_spool_is_refused(void **state)
{
    struct fixture *f = *state;
    char huge[SPOOL_MAX + 2];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    assert_int_equal(append(f->spool, "kept", 1), STATUS_OK);
    assert_int_equal(append(f->spool, huge, 1), STATUS_TOO_LARGE);
    struct spool_item item;
    expect_first(f->spool, "kept", &item);
}

static void write_raw(const char *dir, const char *name, const char *text)
{
    char path[2 * TINY_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_torn_and_strange_files(void **state)
{
    struct fixture *f = *state;
    struct spool_item item;
    write_raw(f->dir, "000000000001_1_10_whatever.upload", "x");
    write_raw(f->dir, "000000000001_1_10_abc.upload.tmp", "torn");
    write_raw(f->dir, "notes.txt", "mine");
    assert_int_equal(append(f->spool, "good", 1), STATUS_OK);
    reopen(f);
    expect_first(f->spool, "good", &item);
    assert_int_equal(tiny_count(f->dir, ".tmp"), 0);
    assert_int_equal(tiny_count(f->dir, "notes.txt"), 1);
}

/* Every file of the spool cut to half. */
static void truncate_all(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        char path[2 * TINY_PATH];
        if (!strstr(entry->d_name, ".upload"))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        assert_int_equal(truncate(path, 2), 0);
    }
    closedir(d);
}

static void test_an_altered_file_is_set_aside(void **state)
{
    struct fixture *f = *state;
    char rejected[2 * TINY_PATH];
    assert_int_equal(append(f->spool, "altered", 4), STATUS_OK);
    truncate_all(f->dir);
    assert_int_equal(append(f->spool, "good", 1), STATUS_OK);
    struct spool_item item;
    struct spool_counts counts;
    expect_first(f->spool, "good", &item);
    spool_count(f->spool, &counts);
    assert_int_equal(counts.rejected, 4);
    snprintf(rejected, sizeof rejected, "%s/rejected", f->dir);
    assert_int_equal(tiny_count(rejected, ".upload"), 1);
    assert_int_equal(tiny_count(rejected, ".reason"), 1);
}

static void test_rejected_ones_stay_away(void **state)
{
    struct fixture *f = *state;
    struct spool_item item;
    assert_int_equal(append(f->spool, "bad", 1), STATUS_OK);
    expect_first(f->spool, "bad", &item);
    assert_int_equal(spool_reject(f->spool, &item, "422: no such encoder", NULL), STATUS_OK);
    expect_empty(f->spool);
    reopen(f);
    expect_empty(f->spool);
}

/* Append with the n-th io call failing, for every n: an error leaves nothing, now or after a
 * restart; success leaves exactly the upload. */
static void test_append_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool succeeded = false;
    for (int n = 0; !succeeded && n < 100; n++) {
        struct fault_io fault = fault_io_make(-1, ENOSPC);
        struct spool_counts counts;
        struct spool_item item;
        struct err err = {0};
        struct spool *spool = open_spool(&fault.io, f->dir);
        fault.countdown = n;
        enum status status = spool_append(spool, "bytes", 5, &one, &err);
        succeeded = fault.countdown >= 0;
        fault.countdown = -1;
        if (status != STATUS_OK)
            assert_true(err.text[0] != '\0');
        spool_count(spool, &counts);
        assert_int_equal(counts.files, status == STATUS_OK);
        spool_close(spool);
        reopen(f);
        spool_count(f->spool, &counts);
        assert_int_equal(counts.files, status == STATUS_OK);
        if (status == STATUS_OK) {
            expect_first(f->spool, "bytes", &item);
            assert_int_equal(spool_done(f->spool, &item, NULL), STATUS_OK);
        }
    }
    assert_true(succeeded);
}

/* Reading, acknowledging and rejecting with each call failing once: nothing is lost but what was
 * acknowledged or rejected. */
static void test_taking_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    for (int n = 0; n < 12; n++) {
        struct fault_io fault = fault_io_make(-1, EIO);
        struct buf body = {.max = SPOOL_MAX};
        struct spool_item item;
        struct spool_counts counts;
        assert_int_equal(append(f->spool, "payload", 1), STATUS_OK);
        struct spool *spool = open_spool(&fault.io, f->dir);
        fault.countdown = n;
        bool gone = spool_first(spool, UINT64_MAX, &item, &body, NULL) == STATUS_OK &&
                    (n % 2 ? spool_done(spool, &item, NULL)
                           : spool_reject(spool, &item, "no", NULL)) == STATUS_OK;
        fault.countdown = -1;
        spool_close(spool);
        reopen(f);
        spool_count(f->spool, &counts);
        assert_int_equal(counts.files, gone ? 0 : 1);
        buf_free(&body);
    }
}

static void test_short_reads_and_writes_are_no_error(void **state)
{
    struct fixture *f = *state;
    struct fault_io fault = fault_io_make(-1, 0);
    struct spool_item item;
    fault.trickle = true;
    struct spool *spool = open_spool(&fault.io, f->dir);
    assert_int_equal(append(spool, "in many small pieces", 1), STATUS_OK);
    expect_first(spool, "in many small pieces", &item);
    spool_close(spool);
}

static void *append_many(void *ctx)
{
    for (int i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        spool_append(ctx, text, strlen(text), &one, NULL);
    }
    return NULL;
}

static void test_one_appends_while_another_takes(void **state)
{
    struct fixture *f = *state;
    struct buf body = {.max = SPOOL_MAX};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, append_many, f->spool), 0);
    for (int taken = 0; taken < 50;) {
        struct spool_item item;
        if (!spool_wait(f->spool, UINT64_MAX, 1000))
            continue;
        assert_int_equal(spool_first(f->spool, UINT64_MAX, &item, &body, NULL), STATUS_OK);
        assert_int_equal(item.sequence, taken + 1);
        assert_int_equal(spool_done(f->spool, &item, NULL), STATUS_OK);
        taken++;
    }
    pthread_join(thread, NULL);
    expect_empty(f->spool);
    buf_free(&body);
}

static int64_t test_monotonic;

static int64_t monotonic(void)
{
    return test_monotonic;
}

/* 400 bytes of one letter that carry so much entropy. */
static enum status append_worth(struct spool *spool, char letter, double entropy,
                                uint32_t corrections)
{
    char bytes[401] = "";
    memset(bytes, letter, 400);
    const struct spool_facts facts = {
        .instances = 1, .corrections = corrections, .entropy = entropy};
    return spool_append(spool, bytes, 400, &facts, NULL);
}

static void expect_letters(struct spool *spool, const char *letters)
{
    for (const char *c = letters; *c; c++) {
        struct spool_item item;
        char bytes[401] = "";
        memset(bytes, *c, 400);
        expect_first(spool, bytes, &item);
        assert_int_equal(spool_done(spool, &item, NULL), STATUS_OK);
    }
    expect_empty(spool);
}

static void test_what_tells_least_per_byte_gives_way(void **state)
{
    struct fixture *f = *state;
    struct spool_counts counts;
    assert_int_equal(append_worth(f->spool, 'a', 2.0, 0), STATUS_OK);
    assert_int_equal(append_worth(f->spool, 'b', 0.5, 0), STATUS_OK);
    assert_int_equal(append_worth(f->spool, 'c', 1.0, 0), STATUS_OK); /* b goes */
    assert_int_equal(append_worth(f->spool, 'd', 0.9, 0), STATUS_OK); /* d itself */
    spool_count(f->spool, &counts);
    assert_int_equal(counts.dropped, 2);
    reopen(f);                                                        /* the names remember */
    assert_int_equal(append_worth(f->spool, 'e', 1.5, 0), STATUS_OK); /* c goes */
    expect_letters(f->spool, "ae");
}

static void test_corrections_outlive_all_else(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(append_worth(f->spool, 'a', 0.0, 1), STATUS_OK);
    assert_int_equal(append_worth(f->spool, 'b', 9.0, 0), STATUS_OK);
    assert_int_equal(append_worth(f->spool, 'c', 0.1, 1), STATUS_OK);
    assert_int_equal(append_worth(f->spool, 'd', 9.0, 0), STATUS_OK);
    expect_letters(f->spool, "ac");
}

static void test_old_uploads_go_but_for_corrections(void **state)
{
    struct fixture *f = *state;
    struct meter *meter = NULL;
    struct spool_counts counts;
    test_monotonic = 0;
    assert_int_equal(
        meter_open(io_posix(), f->dir, (struct meter_clock){monotonic, monotonic}, 0, &meter, NULL),
        STATUS_OK);
    struct spool *spool = open_aging(io_posix(), f->dir, meter);
    assert_int_equal(append_worth(spool, 'a', 1.0, 0), STATUS_OK);
    assert_int_equal(append_worth(spool, 'b', 1.0, 1), STATUS_OK);
    test_monotonic += SPOOL_AGE * INT64_C(1000);
    spool_expire(spool);
    spool_count(spool, &counts);
    assert_int_equal(counts.files, 2);
    test_monotonic += 1000;
    spool_close(spool);
    spool = open_aging(io_posix(), f->dir, meter); /* a start drops as well */
    spool_count(spool, &counts);
    assert_int_equal(counts.dropped, 1);
    expect_letters(spool, "b");
    spool_close(spool);
    meter_close(meter);
}

/* The meter's file was lost: uploads from a later time are sent all the same, and age from now. */
static void test_uploads_of_a_later_time_are_sent(void **state)
{
    struct fixture *f = *state;
    struct meter *meter = NULL;
    char path[2 * TINY_PATH];
    const struct meter_clock clock = {monotonic, monotonic};
    test_monotonic = 0;
    assert_int_equal(meter_open(io_posix(), f->dir, clock, 0, &meter, NULL), STATUS_OK);
    test_monotonic = 5000;
    struct spool *spool = open_aging(io_posix(), f->dir, meter);
    assert_int_equal(append_worth(spool, 'a', 1.0, 0), STATUS_OK);
    spool_close(spool);
    meter_close(meter);
    snprintf(path, sizeof path, "%s/meter.json", f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(meter_open(io_posix(), f->dir, clock, 0, &meter, NULL), STATUS_OK);
    spool = open_aging(io_posix(), f->dir, meter);
    expect_letters(spool, "a");
    spool_close(spool);
    meter_close(meter);
}

static void test_a_smaller_spool_drops_at_the_start(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = NULL;
    const struct spool_options small = {.max_bytes = 500};
    assert_int_equal(append_worth(f->spool, 'a', 1.0, 0), STATUS_OK);
    assert_int_equal(append_worth(f->spool, 'b', 2.0, 0), STATUS_OK);
    assert_int_equal(spool_open(io_posix(), f->dir, &small, &spool, NULL), STATUS_OK);
    expect_letters(spool, "b");
    spool_close(spool);
}

static void test_a_small_one_may_pass_a_large_one(void **state)
{
    struct fixture *f = *state;
    struct buf body = {.max = SPOOL_MAX};
    struct spool_item item;
    assert_int_equal(append_worth(f->spool, 'a', 1.0, 0), STATUS_OK);
    assert_false(spool_wait(f->spool, 399, 0));
    assert_int_equal(spool_first(f->spool, 399, &item, &body, NULL), STATUS_NOT_FOUND);
    assert_int_equal(append(f->spool, "small", 1), STATUS_OK);
    assert_true(spool_wait(f->spool, 399, 0));
    assert_int_equal(spool_first(f->spool, 399, &item, &body, NULL), STATUS_OK);
    assert_int_equal(item.size, 5);
    buf_free(&body);
}

static enum status hold(struct spool *spool, const char *text, uint64_t window)
{
    return spool_hold(spool, text, strlen(text), &one, window, NULL);
}

/* The process may be gone before the window's notebook is written, or right after it. */
static void test_held_uploads_go_with_their_window(void **state)
{
    struct fixture *f = *state;
    struct spool_item item;
    assert_int_equal(hold(f->spool, "closed", 4), STATUS_OK);
    assert_int_equal(hold(f->spool, "open", 5), STATUS_OK);
    expect_empty(f->spool);
    reopen(f);
    expect_empty(f->spool);
    assert_int_equal(spool_release(f->spool, 5, NULL), STATUS_OK);
    spool_discard(f->spool, 5);
    expect_first(f->spool, "closed", &item);
    assert_int_equal(spool_done(f->spool, &item, NULL), STATUS_OK);
    reopen(f);
    assert_int_equal(spool_release(f->spool, 6, NULL), STATUS_OK);
    expect_empty(f->spool);
}

static void test_release_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    struct spool_item item;
    bool finished = false;
    for (int n = 0; !finished && n < 20; n++) {
        struct fault_io fault = fault_io_make(-1, EIO);
        assert_int_equal(hold(f->spool, "first", 0), STATUS_OK);
        assert_int_equal(hold(f->spool, "second", 0), STATUS_OK);
        struct spool *spool = open_spool(&fault.io, f->dir);
        fault.countdown = n;
        finished = spool_release(spool, 1, NULL) == STATUS_OK;
        fault.countdown = -1;
        spool_close(spool);
        reopen(f);
        assert_int_equal(spool_release(f->spool, 1, NULL), STATUS_OK);
        for (int i = 0; i < 2; i++) {
            expect_first(f->spool, i ? "second" : "first", &item);
            assert_int_equal(spool_done(f->spool, &item, NULL), STATUS_OK);
        }
    }
    assert_true(finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_oldest_first_and_over_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_same_bytes_are_kept_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_oldest_gives_way_when_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_larger_than_the_spool_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torn_and_strange_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_altered_file_is_set_aside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rejected_ones_stay_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_append_with_every_io_call_failing_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_taking_with_every_io_call_failing_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_short_reads_and_writes_are_no_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_one_appends_while_another_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_tells_least_per_byte_gives_way, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_corrections_outlive_all_else, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_uploads_go_but_for_corrections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_uploads_of_a_later_time_are_sent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_smaller_spool_drops_at_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_small_one_may_pass_a_large_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_held_uploads_go_with_their_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_release_with_every_io_call_failing_once, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
