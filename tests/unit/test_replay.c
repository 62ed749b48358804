/* The replay set: what it takes from a window, that its answers are repeated exactly by the version
 * that gave them, restarts, damage, and every io call failing once. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/replay.h"
#include "edge_window.h"
#include "fault_io.h"

enum { CAPACITY = 160 };

struct fixture {
    char root[TINY_PATH], model[2 * TINY_PATH];
    struct mllm *m;
    struct window *window;
    struct replay *replay;
};

static struct replay *open_with(struct fixture *f, struct io *io)
{
    struct replay *replay = NULL;
    struct err err = {0};
    if (replay_open(io, f->root, "device", f->m, &replay, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return replay;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->root);
    snprintf(f->model, sizeof f->model, "%s/model", f->root);
    tiny_sharp_student(f->model, 3, 2000);
    f->m = tiny_load(f->model);
    f->window = window_make(f->m, CAPACITY);
    f->replay = open_with(f, io_posix());
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    replay_close(f->replay);
    window_destroy(f->window);
    mllm_release(f->m);
    tiny_remove(f->root);
    free(f);
    return 0;
}

static void learn(struct fixture *f, struct replay *replay, int from)
{
    struct err err = {0};
    window_fill(f->window, f->m, from, CAPACITY);
    if (replay_learn(replay, f->window, f->m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    window_clear(f->window);
}

/* Every sample gets the answer again that is kept for it. */
static void expect_repeated(struct fixture *f, struct replay *replay)
{
    struct replay_set *set = NULL;
    struct err err = {0};
    assert_int_equal(replay_snapshot(replay, &set, NULL), STATUS_OK);
    assert_true(replay_set_count(set) > 0);
    if (replay_set_ask(set, f->m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < replay_set_count(set); i++)
        assert_string_equal(replay_set_answer(set, i), replay_set_said(set, i));
    replay_set_free(set);
}

static void test_takes_a_few_sure_samples_and_repeats_them(void **state)
{
    struct fixture *f = *state;
    learn(f, f->replay, 0);
    assert_in_range(replay_count(f->replay), 1, REPLAY_PER_WINDOW);
    expect_repeated(f, f->replay);
}

static void test_is_bounded_and_lets_the_oldest_go(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 8; i++)
        learn(f, f->replay, i * CAPACITY);
    assert_in_range(replay_count(f->replay), REPLAY_PER_WINDOW + 1, REPLAY_MAX);
    expect_repeated(f, f->replay);
}

static void test_unsure_samples_are_not_taken(void **state)
{
    struct fixture *f = *state;
    struct mllm *unsure;
    char model[3 * TINY_PATH];
    snprintf(model, sizeof model, "%s/unsure", f->root);
    tiny_student(model, 3);
    unsure = tiny_load(model);
    window_fill(f->window, unsure, 0, CAPACITY);
    assert_int_equal(replay_learn(f->replay, f->window, unsure, NULL), STATUS_OK);
    assert_int_equal(replay_count(f->replay), 0);
    mllm_release(unsure);
}

static void test_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    learn(f, f->replay, 0);
    struct replay *again = open_with(f, io_posix());
    assert_int_equal(replay_count(again), replay_count(f->replay));
    expect_repeated(f, again);
    replay_close(again);
}

static void test_a_damaged_file_or_another_encoder_begins_empty(void **state)
{
    struct fixture *f = *state;
    char path[2 * TINY_PATH], model[3 * TINY_PATH];
    struct replay *again = NULL;
    struct stat info;
    learn(f, f->replay, 0);
    snprintf(model, sizeof model, "%s/other", f->root);
    tiny_student(model, 4);
    struct mllm *other = tiny_load(model);
    assert_int_equal(replay_open(io_posix(), f->root, "device", other, &again, NULL), STATUS_OK);
    assert_int_equal(replay_count(again), 0);
    replay_close(again);
    mllm_release(other);
    snprintf(path, sizeof path, "%s/replay.tokens", f->root);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size / 2), 0);
    again = open_with(f, io_posix());
    assert_int_equal(replay_count(again), 0);
    replay_close(again);
}

/* After a new version has come into use its answers are those that count; where it is not sure, the
 * sample goes. */
static void test_adopts_what_the_new_version_says(void **state)
{
    struct fixture *f = *state;
    struct replay_set *set = NULL;
    char model[3 * TINY_PATH];
    learn(f, f->replay, 0);
    assert_int_equal(replay_snapshot(f->replay, &set, NULL), STATUS_OK);
    snprintf(model, sizeof model, "%s/unsure", f->root);
    tiny_student(model, 3);
    struct mllm *unsure = tiny_load(model);
    assert_int_equal(replay_set_ask(set, f->m, NULL), STATUS_OK);
    assert_int_equal(replay_adopt(f->replay, set, NULL), STATUS_OK);
    assert_int_equal(replay_count(f->replay), replay_set_count(set));
    expect_repeated(f, f->replay);
    assert_int_equal(replay_set_ask(set, unsure, NULL), STATUS_OK);
    assert_int_equal(replay_adopt(f->replay, set, NULL), STATUS_OK);
    assert_int_equal(replay_count(f->replay), 0);
    replay_set_free(set);
    mllm_release(unsure);
}

/* Whatever fails while it is saved: the next start has the set of before or the one of after. */
static void test_learning_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    learn(f, f->replay, 0);
    for (int n = 0; !finished && n < 50; n++) {
        struct fault_io fault = fault_io_make(-1, ENOSPC);
        struct replay *replay = open_with(f, &fault.io);
        int before = replay_count(replay);
        fault.countdown = n;
        window_fill(f->window, f->m, (n + 1) * CAPACITY, CAPACITY);
        enum status status = replay_learn(replay, f->window, f->m, NULL);
        window_clear(f->window);
        finished = fault.countdown >= 0;
        fault.countdown = -1;
        int after = replay_count(replay);
        replay_close(replay);
        replay = open_with(f, io_posix());
        if (status == STATUS_OK)
            assert_int_equal(replay_count(replay), after);
        else
            assert_true(replay_count(replay) == before || replay_count(replay) == after);
        expect_repeated(f, replay);
        replay_close(replay);
    }
    assert_true(finished);
}

#define REPLAY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPLAY_TEST(test_takes_a_few_sure_samples_and_repeats_them),
        REPLAY_TEST(test_is_bounded_and_lets_the_oldest_go),
        REPLAY_TEST(test_unsure_samples_are_not_taken),
        REPLAY_TEST(test_survives_a_restart),
        REPLAY_TEST(test_a_damaged_file_or_another_encoder_begins_empty),
        REPLAY_TEST(test_adopts_what_the_new_version_says),
        REPLAY_TEST(test_learning_with_every_io_call_failing_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
