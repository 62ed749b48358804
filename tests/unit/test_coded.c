/* coded: a step is taken at the values devices would have, and moves the full-precision ones. */
// links: learn
#include "model/learn/coded.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    struct tiny_pair pair;
    struct coded coded;
    float *edge, *master, *now; /* set.values each */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    if (tiny_pair_init(&f->pair, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    size_t n = f->pair.set.values;
    f->edge = calloc(3 * n, sizeof *f->edge);
    f->master = f->edge + n;
    f->now = f->master + n;
    trainable_read(&f->pair.set, f->edge);
    for (size_t i = 0; i < n; i++)
        f->master[i] = f->edge[i] + 0.01f * sinf((float)i);
    trainable_write(&f->pair.set, f->master);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    coded_close(&f->coded);
    tiny_pair_deinit(&f->pair);
    free(f->edge);
    free(f);
    return 0;
}

static void open_coded(struct fixture *f, const float *edge, size_t budget)
{
    struct compress_options options = compress_defaults();
    options.budget_bytes = budget;
    assert_int_equal(coded_open(&f->coded, &f->pair.set, edge, &options, NULL), STATUS_OK);
}

static void expect_values(struct fixture *f, const float *wanted)
{
    trainable_read(&f->pair.set, f->now);
    assert_memory_equal(f->now, wanted, f->pair.set.values * sizeof *wanted);
}

static void test_shows_what_devices_have(void **state)
{
    struct fixture *f = *state;
    open_coded(f, f->edge, 0);
    coded_show_edge(&f->coded);
    expect_values(f, f->edge);
    coded_hide(&f->coded);
    expect_values(f, f->master);
}

static void test_shows_what_devices_will_have(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta delta;
    float *decoded = calloc(f->pair.set.values, sizeof *decoded);
    assert_int_equal(
        compress_encode(&f->pair.set, f->edge, f->master, 0, 1, &options, &delta, decoded, NULL),
        STATUS_OK);
    open_coded(f, f->edge, 0);
    assert_int_equal(coded_show(&f->coded, NULL), STATUS_OK);
    expect_values(f, decoded);
    coded_hide(&f->coded);
    expect_values(f, f->master);
    delta_free(&delta);
    free(decoded);
}

/* The patch of a budget is fitted as a whole, whatever numbers the versions have. */
static void test_shows_what_a_budget_releases(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta delta;
    struct buf wire = {.max = 1 << 20};
    float *decoded = calloc(f->pair.set.values, sizeof *decoded);
    options.budget_bytes = f->pair.set.values / 4 + 4096;
    assert_int_equal(compress_encode(&f->pair.set, f->edge, f->master, 98765, 98766, &options,
                                     &delta, decoded, NULL),
                     STATUS_OK);
    assert_int_equal(delta_encode(&delta, &wire, NULL), STATUS_OK);
    assert_true(wire.len <= options.budget_bytes);
    open_coded(f, f->edge, options.budget_bytes);
    assert_int_equal(coded_show_release(&f->coded, NULL), STATUS_OK);
    expect_values(f, decoded);
    coded_hide(&f->coded);
    expect_values(f, f->master);
    buf_free(&wire);
    delta_free(&delta);
    free(decoded);
}

static void test_a_step_there_moves_the_master(void **state)
{
    struct fixture *f = *state;
    open_coded(f, f->edge, 0);
    assert_int_equal(coded_show(&f->coded, NULL), STATUS_OK);
    for (int t = 0; t < f->pair.set.count; t++)
        for (size_t i = 0; i < param_count(f->pair.set.params[t]); i++)
            f->pair.set.params[t]->data[i] += 0.25f;
    coded_move(&f->coded);
    coded_hide(&f->coded);
    trainable_read(&f->pair.set, f->now);
    for (size_t i = 0; i < f->pair.set.values; i++)
        assert_true(fabsf(f->now[i] - f->master[i] - 0.25f) < 1e-5f);
}

/* The first choice is made when there is no update yet: it must not stay. */
static void test_a_budget_is_chosen_for_anew(void **state)
{
    struct fixture *f = *state;
    size_t budget = f->pair.set.values / 4 + 4096;
    trainable_write(&f->pair.set, f->edge);
    open_coded(f, f->edge, budget);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(coded_show(&f->coded, NULL), STATUS_OK);
        expect_values(f, f->edge);
        coded_hide(&f->coded);
    }
    trainable_write(&f->pair.set, f->master);
    assert_int_equal(coded_show(&f->coded, NULL), STATUS_OK);
    trainable_read(&f->pair.set, f->now);
    assert_memory_not_equal(f->now, f->edge, f->pair.set.values * sizeof *f->now);
}

static void test_without_an_edge_nothing_happens(void **state)
{
    struct fixture *f = *state;
    open_coded(f, NULL, 0);
    coded_show_edge(&f->coded);
    assert_int_equal(coded_show(&f->coded, NULL), STATUS_OK);
    coded_move(&f->coded);
    coded_hide(&f->coded);
    expect_values(f, f->master);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_shows_what_devices_have),      TEST(test_shows_what_devices_will_have),
        TEST(test_shows_what_a_budget_releases), TEST(test_a_step_there_moves_the_master),
        TEST(test_a_budget_is_chosen_for_anew),  TEST(test_without_an_edge_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
