/* akd: the loss does not depend on how the batch is cut, its gradients are those of finite
 * differences, and corrections count as labels alone. */
// links: learn
#include "model/learn/akd.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { N = 7 };

struct fixture {
    struct tiny_pair pair;
    struct exemplar_match match;
    struct phi phi;
    struct exemplars list;
    const struct exemplar *items[N];
    struct param *params[512];
    int count;
    size_t values;
    float *grads;
    struct arena arena;
    struct akd_step step;
};

static enum status fixture_open(struct fixture *f, struct err *err)
{
    struct distill_instance uploads[N];
    float visual[N * TINY_TOKENS * TINY_WIDTH];
    TRY(tiny_pair_init(&f->pair, err));
    exemplar_match_init(&f->match, f->pair.student, f->pair.teacher);
    TRY(phi_init(&f->phi, 1 + f->match.pairs, 16, 16, err));
    tiny_uploads(uploads, visual, N, 5);
    uploads[2].correction = "red";
    TRY(exemplars_reserve(&f->list, N, err));
    for (int i = 0; i < N; i++) {
        TRY(exemplar_init(&f->list.item[i], f->pair.student, &uploads[i], err));
        f->items[i] = &f->list.item[i];
        f->list.count++;
    }
    TRY(exemplar_teach(f->pair.teacher, NULL, &f->match, f->list.item, N, err));
    return akd_phi_fit(&f->phi, f->pair.student, &f->match, f->items, N, err);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    if (fixture_open(f, &err) != STATUS_OK || !arena_init(&f->arena, (size_t)1 << 28)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    memcpy(f->params, f->pair.set.params, (size_t)f->pair.set.count * sizeof *f->params);
    f->count = f->pair.set.count + phi_params(&f->phi, f->params + f->pair.set.count);
    f->values = optim_assign(f->params, f->count);
    f->grads = calloc(f->values, sizeof *f->grads);
    f->step = (struct akd_step){.student = f->pair.student,
                                .match = &f->match,
                                .phi = &f->phi,
                                .items = f->items,
                                .count = N,
                                .weight = {0.5f, 0.5f, 1, 1},
                                .temperature = 2,
                                .variance = {0.5f, 2}};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    exemplars_truncate(&f->list, 0);
    phi_deinit(&f->phi);
    tiny_pair_deinit(&f->pair);
    arena_deinit(&f->arena);
    free(f->grads);
    free(f);
    return 0;
}

/* The batch's loss, cut into shards; gradients add up in f->grads. */
static double loss_of(struct fixture *f, int shards, bool recording)
{
    double sum = 0;
    memset(f->grads, 0, f->values * sizeof *f->grads);
    for (int s = 0; s < shards; s++) {
        struct tape tape = {0};
        arena_reset(&f->arena, 0);
        tape_begin(&tape, &f->arena, recording, f->grads);
        struct tensor loss = akd_loss(&f->step, &tape, s, shards);
        assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
        sum += (double)loss.data[0];
        if (recording)
            tape_backward(&tape, loss, false);
    }
    return sum;
}

static void test_shards_add_up(void **state)
{
    struct fixture *f = *state;
    double whole = loss_of(f, 1, true);
    float *grads = calloc(f->values, sizeof *grads);
    memcpy(grads, f->grads, f->values * sizeof *grads);
    for (int shards = 2; shards <= 9; shards += 3) { /* 8: one shard has nothing */
        assert_true(fabs(loss_of(f, shards, true) - whole) < 1e-4 * whole);
        for (size_t i = 0; i < f->values; i++)
            assert_true(fabsf(grads[i] - f->grads[i]) < 1e-3f * (1 + fabsf(grads[i])));
    }
    free(grads);
}

/* one shard, because PKD standardises over what a shard has */
static void gradients_check(struct fixture *f)
{
    int checked = 0;
    loss_of(f, 1, true);
    float *grads = calloc(f->values, sizeof *grads);
    memcpy(grads, f->grads, f->values * sizeof *grads);
    for (int p = 0; p < f->count; p += 3) {
        float *x = f->params[p]->data, before = *x, h = 4e-3f;
        double up, down, slope = (double)grads[f->params[p]->grad_at];
        *x = before + h;
        up = loss_of(f, 1, false);
        *x = before - h;
        down = loss_of(f, 1, false);
        *x = before;
        double measured = (up - down) / (2 * (double)h);
        if (fabs(measured - slope) > 0.02 + 0.05 * fabs(slope))
            fail_msg("%s: gradient %g, measured %g", f->params[p]->name, slope, measured);
        checked += fabs(slope) > 0.02;
    }
    assert_true(checked > 5);
    free(grads);
}

static void test_gradients(void **state)
{
    gradients_check(*state);
}

static void test_gradients_of_the_distances(void **state)
{
    struct fixture *f = *state;
    f->step.weight[AKD_WAVELET] = 0.5f;
    gradients_check(f);
    assert_true(akd_part_sum(&f->step, AKD_WAVELET, 1) > 0);
    f->step.weight[AKD_WAVELET] = 0;
    f->step.features = FEATURES_PKD;
    gradients_check(f);
    f->step.features = FEATURES_CWD;
    gradients_check(f);
}

static void test_correction_has_no_soft_label(void **state)
{
    struct fixture *f = *state;
    const struct exemplar *corrected[1] = {f->items[2]};
    f->step.items = corrected;
    f->step.count = 1;
    loss_of(f, 1, false);
    assert_true(akd_part_sum(&f->step, AKD_KL, 1) == 0);
    assert_true(akd_part_sum(&f->step, AKD_CE, 1) > 0);
}

/* The regression is better than no map at all, whose error is the target's size. */
static void test_phi_starts_close(void **state)
{
    struct fixture *f = *state;
    loss_of(f, 1, false);
    float fitted = akd_part_sum(&f->step, AKD_QUERY, 1);
    memset(f->phi.weight[0].data, 0, 16 * 16 * sizeof(float));
    memset(f->phi.bias[0].data, 0, 16 * sizeof(float));
    loss_of(f, 1, false);
    assert_true(fitted < 0.6f * akd_part_sum(&f->step, AKD_QUERY, 1));
}

static void test_match_by_depth(void **state)
{
    struct fixture *f = *state;
    struct exemplar_match match;
    assert_int_equal(f->match.pairs, 1); /* the tiny student has one cross output */
    assert_int_equal(f->match.student[0], 0);
    assert_int_equal(f->match.teacher[0], 1);
    exemplar_match_init(&match, f->pair.teacher, f->pair.teacher);
    assert_int_equal(match.pairs, 2);
    assert_int_equal(match.student[0], 0);
    assert_int_equal(match.teacher[1], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_shards_add_up),
        TEST(test_gradients),
        TEST(test_gradients_of_the_distances),
        TEST(test_correction_has_no_soft_label),
        TEST(test_phi_starts_close),
        TEST(test_match_by_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
