/* Probation: a version that answers badly too often is to be left, whatever is killed in between;
 * one that is no worse than the version before is not. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/probation.h"
#include "edge_tiny.h"
#include "fault_io.h"

enum { ALLOWED = 10 }; /* 5% of 200 */

struct fixture {
    char dir[TINY_PATH];
    struct probation *p;
};

static struct probation *open_probation(struct io *io, const char *dir)
{
    struct probation *p = NULL;
    assert_int_equal(probation_open(io, dir, &p, NULL), STATUS_OK);
    return p;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->dir);
    f->p = open_probation(io_posix(), f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    probation_close(f->p);
    tiny_remove(f->dir);
    free(f);
    return 0;
}

static void test_leaves_at_the_first_answer_beyond_the_bound(void **state)
{
    struct fixture *f = *state;
    assert_false(probation_note(f->p, 1, 20, 0));
    for (int i = 0; i < ALLOWED; i++)
        assert_false(probation_note(f->p, 1, 1, 1));
    assert_true(probation_note(f->p, 1, 1, 1));
}

static void test_ends_after_its_answers(void **state)
{
    struct fixture *f = *state;
    assert_false(probation_note(f->p, 1, PROBATION_ANSWERS, ALLOWED));
    assert_false(probation_note(f->p, 1, 100, 100));
}

static void test_the_factory_model_cannot_be_left(void **state)
{
    struct fixture *f = *state;
    assert_false(probation_note(f->p, 0, 100, 100));
}

static void test_no_worse_than_before_is_good_enough(void **state)
{
    struct fixture *f = *state;
    assert_false(probation_note(f->p, 0, 1000, 300));
    assert_false(probation_note(f->p, 1, 190, 57)); /* 30% */
    assert_false(probation_note(f->p, 1, 9, 9));
    assert_false(probation_note(f->p, 2, 100, 70)); /* 33.2% and 5% of 200 are 76 */
    assert_true(probation_note(f->p, 2, 10, 7));
}

static void test_a_kill_forgets_good_answers_alone(void **state)
{
    struct fixture *f = *state;
    assert_false(probation_note(f->p, 1, 10, 0));
    assert_false(probation_note(f->p, 1, 10, ALLOWED));
    assert_false(probation_note(f->p, 1, 100, 0));
    struct probation *next = open_probation(io_posix(), f->dir); /* f->p was not closed */
    assert_false(probation_note(next, 1, 50, 0));
    assert_true(probation_note(next, 1, 1, 1));
    probation_close(next);
}

static void test_a_kill_after_the_end_begins_no_second_one(void **state)
{
    struct fixture *f = *state;
    assert_false(probation_note(f->p, 1, PROBATION_ANSWERS, 0));
    struct probation *next = open_probation(io_posix(), f->dir);
    assert_false(probation_note(next, 1, 100, 100));
    probation_close(next);
}

static void test_a_damaged_file_begins_again(void **state)
{
    struct fixture *f = *state;
    char path[2 * TINY_PATH];
    assert_false(probation_note(f->p, 1, PROBATION_ANSWERS, 0));
    snprintf(path, sizeof path, "%s/probation.json", f->dir);
    assert_int_equal(truncate(path, 20), 0);
    struct probation *next = open_probation(io_posix(), f->dir);
    assert_true(probation_note(next, 1, 20, ALLOWED + 1));
    probation_close(next);
}

/* A disk that fails changes no decision. */
static void test_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    for (int n = 0; n < 30; n++) {
        struct fault_io fault = fault_io_make(-1, ENOSPC);
        tiny_remove(f->dir);
        assert_int_equal(mkdir(f->dir, 0700), 0);
        struct probation *p = open_probation(&fault.io, f->dir);
        fault.countdown = n;
        assert_false(probation_note(p, 1, 20, ALLOWED));
        assert_true(probation_note(p, 1, 1, 1));
        fault.countdown = -1;
        probation_close(p);
        p = open_probation(io_posix(), f->dir);
        assert_true(probation_note(p, 1, 1, 1));
        probation_close(p);
    }
}

#define PROBATION_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROBATION_TEST(test_leaves_at_the_first_answer_beyond_the_bound),
        PROBATION_TEST(test_ends_after_its_answers),
        PROBATION_TEST(test_the_factory_model_cannot_be_left),
        PROBATION_TEST(test_no_worse_than_before_is_good_enough),
        PROBATION_TEST(test_a_kill_forgets_good_answers_alone),
        PROBATION_TEST(test_a_kill_after_the_end_begins_no_second_one),
        PROBATION_TEST(test_a_damaged_file_begins_again),
        PROBATION_TEST(test_with_every_io_call_failing_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
