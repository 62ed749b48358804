/* adapt: TENT makes the model surer and moves norms alone; CoTTA's average, its way back to the
 * source, and views. */
// links: learn
#include "model/learn/adapt.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N = 24 };

struct fixture {
    struct tiny_pair pair;
    struct distill_instance samples[N];
    float visual[N * TINY_TOKENS * TINY_WIDTH];
    float *before, *after;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    if (tiny_pair_init(&f->pair, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    tiny_uploads(f->samples, f->visual, N, 5);
    f->before = calloc(2 * f->pair.set.values, sizeof *f->before);
    f->after = f->before + f->pair.set.values;
    trainable_read(&f->pair.set, f->before);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tiny_pair_deinit(&f->pair);
    free(f->before);
    free(f);
    return 0;
}

static struct adapt *adapt_open(struct fixture *f, const struct adapt_options *options)
{
    struct adapt *a = NULL;
    struct err err = {0};
    if (adapt_create(f->pair.student, NULL, options, &a, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return a;
}

static float window_run(struct adapt *a, struct fixture *f, int n)
{
    struct err err = {0};
    float loss = NAN;
    if (adapt_window(a, f->samples, n, &loss, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return loss;
}

/* How many of the set's values moved, and of them those that are no norm's. */
static void moved(struct fixture *f, size_t *values, size_t *others)
{
    size_t at = 0;
    *values = *others = 0;
    trainable_read(&f->pair.set, f->after);
    for (int i = 0; i < f->pair.set.count; i++) {
        const struct param *p = f->pair.set.params[i];
        bool norm = strstr(p->name, "norm") || strstr(p->name, "Norm");
        for (size_t j = 0; j < param_count(p); j++, at++) {
            *values += f->after[at] != f->before[at];
            *others += f->after[at] != f->before[at] && !norm;
        }
    }
}

static void test_tent_lowers_entropy_by_norms_alone(void **state)
{
    struct fixture *f = *state;
    size_t values, others;
    struct adapt_options o = adapt_defaults(ADAPT_TENT);
    o.batch = 8;
    o.lr = 1e-2f;
    struct adapt *a = adapt_open(f, &o);
    float first = window_run(a, f, N), last = first;
    for (int i = 0; i < 9; i++)
        last = window_run(a, f, N);
    assert_true(first > 0 && last < 0.8f * first);
    moved(f, &values, &others);
    assert_true(values > 100);
    assert_int_equal(others, 0);
    assert_ptr_equal(adapt_model(a), f->pair.student);
    adapt_destroy(a);
}

static void test_cotta_average_follows(void **state)
{
    struct fixture *f = *state;
    struct trainable average;
    struct err err = {0};
    struct adapt_options o = adapt_defaults(ADAPT_COTTA);
    o.batch = N;
    o.lr = 1e-2f;
    o.restore = 0;
    o.momentum = 0.25f;
    struct adapt *a = adapt_open(f, &o);
    window_run(a, f, N);
    assert_ptr_not_equal(adapt_model(a), f->pair.student);
    assert_int_equal(trainable_list(adapt_model(a), &average, &err), STATUS_OK);
    float *mean = calloc(average.values, sizeof *mean);
    trainable_read(&average, mean);
    trainable_read(&f->pair.set, f->after);
    for (size_t i = 0; i < average.values; i++)
        assert_true(fabsf(mean[i] - (0.25f * f->before[i] + 0.75f * f->after[i])) < 1e-6f);
    free(mean);
    trainable_free(&average);
    adapt_destroy(a);
}

static void test_cotta_weights_return_to_their_source(void **state)
{
    struct fixture *f = *state;
    size_t values, others;
    struct adapt_options o = adapt_defaults(ADAPT_COTTA);
    o.lr = 1e-2f;
    o.restore = 1;
    struct adapt *a = adapt_open(f, &o);
    window_run(a, f, N);
    moved(f, &values, &others);
    assert_int_equal(values, 0);
    adapt_destroy(a);
}

/* The first step's loss is 0 when student and average are one and see the same; views that miss
 * tokens make the target another. */
static void test_cotta_views_are_asked_when_unsure(void **state)
{
    struct fixture *f = *state;
    struct adapt_options o = adapt_defaults(ADAPT_COTTA);
    o.batch = N;
    o.confidence = 0;
    struct adapt *sure = adapt_open(f, &o);
    assert_true(fabsf(window_run(sure, f, N)) < 1e-5f);
    adapt_destroy(sure);
    trainable_write(&f->pair.set, f->before);
    o.confidence = 1;
    struct adapt *unsure = adapt_open(f, &o);
    assert_true(window_run(unsure, f, N) > 1e-4f);
    adapt_destroy(unsure);
}

static void test_same_seed_same_result(void **state)
{
    struct fixture *f = *state;
    struct adapt_options o = adapt_defaults(ADAPT_COTTA);
    struct hash first, second;
    o.confidence = 1;
    o.seed = 3;
    struct adapt *a = adapt_open(f, &o);
    window_run(a, f, N);
    trainable_hash(&f->pair.set, &first);
    adapt_destroy(a);
    trainable_write(&f->pair.set, f->before);
    a = adapt_open(f, &o);
    window_run(a, f, N);
    trainable_hash(&f->pair.set, &second);
    adapt_destroy(a);
    assert_true(hash_equal(&first, &second));
}

static void test_bad_input(void **state)
{
    struct fixture *f = *state;
    struct adapt_options o = adapt_defaults(ADAPT_TENT);
    struct adapt *a = NULL;
    struct err err = {0};
    size_t values, others;
    o.lr = NAN;
    assert_int_equal(adapt_create(f->pair.student, NULL, &o, &a, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "lr"));
    o = adapt_defaults(ADAPT_TENT);
    a = adapt_open(f, &o);
    for (int i = 0; i < N; i++)
        f->visual[i * TINY_TOKENS * TINY_WIDTH] = INFINITY;
    assert_true(window_run(a, f, N) == 0); /* nothing of it can be used */
    assert_true(window_run(a, f, 0) == 0);
    moved(f, &values, &others);
    assert_int_equal(values, 0);
    adapt_destroy(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tent_lowers_entropy_by_norms_alone),
        TEST(test_cotta_average_follows),
        TEST(test_cotta_weights_return_to_their_source),
        TEST(test_cotta_views_are_asked_when_unsure),
        TEST(test_same_seed_same_result),
        TEST(test_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
