/* The self-test: a version like the one in use passes; one that answers rubbish, one thing, or
 * nothing finite does not; an unsure one in use decides nothing. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/selftest.h"
#include "edge_window.h"
#include <math.h>

enum { CAPACITY = 160, SHARP = 2000 };

struct fixture {
    char root[TINY_PATH], model[2 * TINY_PATH];
    struct mllm *m;
    struct selftest test;
    struct replay *replay;
    struct replay_set *set;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->root);
    snprintf(f->model, sizeof f->model, "%s/model", f->root);
    tiny_sharp_student(f->model, 3, SHARP);
    f->m = tiny_load(f->model);
    assert_int_equal(selftest_init(f->m, &f->test, NULL), STATUS_OK);
    assert_int_equal(replay_open(io_posix(), f->root, "device", f->m, &f->replay, NULL), STATUS_OK);
    struct window *window = window_make(f->m, CAPACITY);
    for (int i = 0; i < 4; i++) {
        window_fill(window, f->m, i * CAPACITY, CAPACITY);
        assert_int_equal(replay_learn(f->replay, window, f->m, NULL), STATUS_OK);
        window_clear(window);
    }
    window_destroy(window);
    assert_int_equal(replay_snapshot(f->replay, &f->set, NULL), STATUS_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    replay_set_free(f->set);
    replay_close(f->replay);
    selftest_deinit(&f->test);
    mllm_release(f->m);
    tiny_remove(f->root);
    free(f);
    return 0;
}

/* The model in use with noise on its output head. */
static struct mllm *candidate(struct fixture *f, float noise)
{
    struct mllm *m = tiny_load(f->model);
    struct param *head = m->llama.head.weight;
    struct rng rng;
    rng_init(&rng, 1, 1);
    for (size_t i = 0; i < param_count(head); i++)
        head->data[i] += noise * rng_normal(&rng);
    return m;
}

static enum status run(struct fixture *f, const struct mllm *m, double share,
                       struct selftest_report *report, struct err *err)
{
    return selftest_run(&f->test, f->m, m, f->set, share, report, err);
}

static void test_the_same_again_passes_with_all_answers(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    struct mllm *same = candidate(f, 0);
    assert_int_equal(run(f, same, 1.0, &report, NULL), STATUS_OK);
    assert_true(report.finite);
    assert_true(report.golden >= SELFTEST_GOLDEN_LEAST);
    assert_int_equal(report.golden_right, report.golden);
    assert_true(report.replay >= SELFTEST_REPLAY_LEAST);
    assert_int_equal(report.replay_agreed, report.replay);
    mllm_release(same);
}

static void test_rubbish_is_refused(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    struct err err = {0};
    struct mllm *rubbish = candidate(f, 200);
    assert_int_equal(run(f, rubbish, SELFTEST_SHARE, &report, &err), STATUS_REFUSED);
    assert_non_null(strstr(err.text, "self-test"));
    assert_true(report.finite);
    assert_true(report.golden_right < report.golden);
    mllm_release(rubbish);
}

/* What the golden prompts do not show, the device's own samples do. */
static void test_own_samples_alone_can_refuse(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    struct err err = {0};
    struct mllm *rubbish = candidate(f, 200);
    assert_int_equal(
        selftest_run(&f->test, rubbish, rubbish, f->set, SELFTEST_SHARE, &report, &err),
        STATUS_REFUSED);
    assert_int_equal(report.golden_right, report.golden);
    assert_non_null(strstr(err.text, "own samples"));
    mllm_release(rubbish);
}

static void test_one_answer_to_everything_is_refused_whatever_the_share(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    struct err err = {0};
    struct mllm *dull = candidate(f, 0);
    struct param *head = dull->llama.head.weight;
    for (size_t i = 0; i < param_count(head); i++)
        head->data[i] = 0;
    assert_int_equal(run(f, dull, 0, &report, &err), STATUS_REFUSED);
    assert_non_null(strstr(err.text, "everything"));
    mllm_release(dull);
}

static void test_wild_numbers_are_refused(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    struct mllm *wild = candidate(f, 0);
    wild->llama.head.weight->data[5] = NAN;
    assert_int_equal(run(f, wild, 0, &report, NULL), STATUS_REFUSED);
    assert_false(report.finite);
    mllm_release(wild);
}

/* A version in use that says nothing usable must not keep a better one out. */
static void test_a_broken_version_in_use_does_not_decide(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    struct mllm *wild = candidate(f, 0);
    wild->llama.head.weight->data[5] = NAN;
    assert_int_equal(selftest_run(&f->test, wild, f->m, NULL, 1, &report, NULL), STATUS_OK);
    assert_int_equal(report.golden, 0);
    mllm_release(wild);
}

static void test_an_unsure_version_in_use_does_not_decide(void **state)
{
    struct fixture *f = *state;
    struct selftest_report report;
    char model[3 * TINY_PATH];
    snprintf(model, sizeof model, "%s/unsure", f->root);
    tiny_student(model, 3);
    struct mllm *unsure = tiny_load(model), *rubbish = candidate(f, 200);
    assert_int_equal(selftest_run(&f->test, unsure, rubbish, NULL, 1, &report, NULL), STATUS_OK);
    assert_int_equal(report.golden, 0);
    mllm_release(unsure);
    mllm_release(rubbish);
}

#define SELF_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SELF_TEST(test_the_same_again_passes_with_all_answers),
        SELF_TEST(test_rubbish_is_refused),
        SELF_TEST(test_own_samples_alone_can_refuse),
        SELF_TEST(test_one_answer_to_everything_is_refused_whatever_the_share),
        SELF_TEST(test_wild_numbers_are_refused),
        SELF_TEST(test_a_broken_version_in_use_does_not_decide),
        SELF_TEST(test_an_unsure_version_in_use_does_not_decide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
