/* The notebook: what is written is read again, a damaged one starts at zero, and the waits of the
 * backoff grow, stay under their bound and are not the same for two devices. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/backoff.h"
#include "client/board.h"
#include "edge_tiny.h"

static int set_up(void **state)
{
    char *dir = calloc(1, TINY_PATH);
    assert_non_null(dir);
    tiny_folder(dir);
    *state = dir;
    return 0;
}

static int tear_down(void **state)
{
    tiny_remove(*state);
    free(*state);
    return 0;
}

static void test_counters_survive_a_restart(void **state)
{
    struct board board;
    struct board_fields fields;
    struct board_applied applied = {.version = 3, .delta_bytes = 1000, .parameters = 4000};
    assert_int_equal(board_open(io_posix(), *state, &board, NULL), STATUS_OK);
    struct board_fields *f = board_lock(&board);
    f->seen = 910;
    f->uplink_bytes = 1LL << 40;
    f->answered = 5;
    snprintf(f->source, sizeof f->source, "a \"quoted\" folder");
    board_add_applied(f, &applied);
    assert_int_equal(board_commit(&board, NULL), STATUS_OK);
    board_close(&board);
    assert_int_equal(board_open(io_posix(), *state, &board, NULL), STATUS_OK);
    board_read_fields(&board, &fields);
    assert_int_equal(fields.seen, 910);
    assert_int_equal(fields.uplink_bytes, 1LL << 40);
    assert_int_equal(fields.answered, 0); /* by this process */
    assert_string_equal(fields.source, "a \"quoted\" folder");
    assert_int_equal(fields.applied_count, 1);
    assert_int_equal(fields.applied[0].version, 3);
    board_close(&board);
}

static void test_a_damaged_notebook_starts_at_zero(void **state)
{
    static const char *const bad[] = {"", "{", "{}", "[1]", "{\"seen\": \"many\"}"};
    char path[2 * TINY_PATH];
    snprintf(path, sizeof path, "%s/status.json", (const char *)*state);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct board board;
        struct board_fields fields;
        struct err err = {0};
        assert_int_equal(io_write_file(io_posix(), path, bad[i], strlen(bad[i]), NULL), STATUS_OK);
        assert_int_not_equal(board_read(io_posix(), *state, &fields, &err), STATUS_OK);
        assert_non_null(strstr(err.text, "status.json"));
        assert_int_equal(board_open(io_posix(), *state, &board, NULL), STATUS_OK);
        board_read_fields(&board, &fields);
        assert_int_equal(fields.seen, 0);
        board_close(&board);
    }
}

static void test_only_the_last_versions_are_kept(void **state)
{
    struct board_fields *f = calloc(1, sizeof *f);
    (void)state;
    assert_non_null(f);
    for (int i = 1; i <= BOARD_APPLIED_MAX + 10; i++) {
        struct board_applied applied = {.version = i};
        board_add_applied(f, &applied);
    }
    assert_int_equal(f->applied_count, BOARD_APPLIED_MAX);
    assert_int_equal(f->applied[0].version, 11);
    assert_int_equal(f->applied[BOARD_APPLIED_MAX - 1].version, BOARD_APPLIED_MAX + 10);
    free(f);
}

static void test_both_forms_print(void **state)
{
    struct board_fields *f = calloc(1, sizeof *f);
    struct buf text = {.max = 1 << 16}, small = {.max = 10};
    (void)state;
    assert_non_null(f);
    f->applied_count = 1;
    assert_int_equal(board_print_text(f, &text), STATUS_OK);
    buf_clear(&text);
    assert_int_equal(board_print_json(f, false, &text), STATUS_OK);
    assert_int_not_equal(board_print_text(f, &small), STATUS_OK);
    buf_free(&text);
    buf_free(&small);
    free(f);
}

static void test_backoff(void **state)
{
    struct backoff a, b;
    int same = 0;
    (void)state;
    backoff_init(&a, 1);
    backoff_init(&b, 2);
    for (int i = 0; i < 40; i++) {
        int64_t x = backoff_next(&a, 0), y = backoff_next(&b, 0);
        int64_t range = i < 7 ? (int64_t)BACKOFF_FIRST_MS << i : BACKOFF_LAST_MS;
        range = range > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : range;
        assert_true(x >= range / 2 && x <= range);
        same += x == y;
    }
    assert_true(same < 5);
    assert_true(backoff_next(&a, 100000) >= 100000); /* Retry-After */
    backoff_reset(&a);
    assert_true(backoff_next(&a, 0) <= BACKOFF_FIRST_MS);
    a.last_ms = BACKOFF_PATIENT_MS;
    int64_t longest = 0;
    for (int i = 0; i < 20; i++) {
        int64_t wait = backoff_next(&a, 0);
        assert_true(wait <= BACKOFF_PATIENT_MS);
        longest = wait > longest ? wait : longest;
    }
    assert_true(longest >= BACKOFF_PATIENT_MS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counters_survive_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_damaged_notebook_starts_at_zero, set_up, tear_down),
        cmocka_unit_test(test_only_the_last_versions_are_kept),
        cmocka_unit_test(test_both_forms_print),
        cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
