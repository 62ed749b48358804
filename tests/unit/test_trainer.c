/* trainer: shards add up to the whole batch, a checkpoint continues bit for bit, divergence changes
 * nothing. */
// links: tensor
#include "model/tensor/trainer.h"

#include "model/tensor/ops.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { B = 8, I = 5, O = 3 };

/* a linear classifier on fixed inputs */
struct problem {
    struct param weight, bias, *list[2];
    float w[O * I], b[O], x[B * I];
    int32_t labels[B];
    bool poison, greedy;
};

static void problem_init(struct problem *p)
{
    struct rng rng;
    rng_init(&rng, 3, 0);
    memset(p, 0, sizeof(*p));
    for (int i = 0; i < O * I; i++)
        p->w[i] = .3f * rng_normal(&rng);
    for (int i = 0; i < B * I; i++)
        p->x[i] = rng_normal(&rng);
    for (int i = 0; i < B; i++)
        p->labels[i] = (int32_t)rng_below(&rng, O);
    p->weight = (struct param){.name = "w", .ndim = 2, .dim = {O, I}, .data = p->w, .grad_at = -1};
    p->bias = (struct param){.name = "b", .ndim = 1, .dim = {O}, .data = p->b, .grad_at = -1};
    p->list[0] = &p->weight;
    p->list[1] = &p->bias;
}

static struct tensor problem_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    struct problem *p = ctx;
    int from = B * shard / shards, n = B * (shard + 1) / shards - from;
    if (p->greedy)
        tape_alloc(tape, 2 << 20);
    struct linear layer = {.weight = &p->weight, .bias = &p->bias};
    struct tensor x = tensor_view(p->x + (ptrdiff_t)from * I, 2, (int[]){n, I});
    struct tensor loss = op_cross_entropy(tape, op_linear(tape, x, &layer), p->labels + from);
    return op_scale(tape, loss, (p->poison ? NAN : 1.f) * (float)n / B);
}

static const struct adamw OPT = {.beta1 = .9f, .beta2 = .99f, .eps = 1e-8f};

static float problem_train(struct problem *p, int threads, int steps)
{
    struct pool *pool = NULL;
    struct trainer t;
    struct err err = {0};
    float loss = 0;
    assert_int_equal(pool_create(threads, &pool, &err), STATUS_OK);
    assert_int_equal(trainer_init(&t, pool, p->list, 2, OPT, threads, 1 << 20, &err), STATUS_OK);
    for (int i = 0; i < steps; i++)
        assert_int_equal(trainer_step(&t, problem_loss, p, 1, .05f, 1.f, &loss, &err), STATUS_OK);
    trainer_deinit(&t);
    pool_destroy(pool);
    return loss;
}

static void test_shards_equal_one_batch(void **state)
{
    (void)state;
    struct problem one, four;
    problem_init(&one);
    problem_init(&four);
    float first = problem_train(&one, 1, 20), second = problem_train(&four, 4, 20);
    assert_float_equal(first, second, 1e-4);
    for (int i = 0; i < O * I; i++)
        assert_float_equal(one.w[i], four.w[i], 1e-3);
}

static void test_loss_falls(void **state)
{
    (void)state;
    struct problem p;
    problem_init(&p);
    float first = problem_train(&p, 2, 1), last = problem_train(&p, 2, 200);
    assert_true(last < .5f * first);
}

static void test_checkpoint_continues_bit_for_bit(void **state)
{
    (void)state;
    char path[] = "/tmp/cdcca-trainer-XXXXXX";
    close(mkstemp(path));
    struct problem p, q;
    struct trainer t;
    struct err err = {0};
    float loss;
    problem_init(&p);
    assert_int_equal(trainer_init(&t, NULL, p.list, 2, OPT, 1, 1 << 20, &err), STATUS_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(trainer_step(&t, problem_loss, &p, 1, .05f, 1.f, &loss, &err), 0);
    assert_int_equal(trainer_save(io_posix(), &t, path, &err), STATUS_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(trainer_step(&t, problem_loss, &p, 1, .05f, 1.f, &loss, &err), 0);
    trainer_deinit(&t);
    problem_init(&q);
    assert_int_equal(trainer_init(&t, NULL, q.list, 2, OPT, 1, 1 << 20, &err), STATUS_OK);
    assert_int_equal(trainer_load(io_posix(), &t, path, &err), STATUS_OK);
    assert_int_equal(t.opt.step, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(trainer_step(&t, problem_loss, &q, 1, .05f, 1.f, &loss, &err), 0);
    trainer_deinit(&t);
    assert_memory_equal(p.w, q.w, sizeof(p.w));
    assert_memory_equal(p.b, q.b, sizeof(p.b));
    unlink(path);
}

static void test_divergence_changes_nothing(void **state)
{
    (void)state;
    struct problem p, before;
    struct trainer t;
    struct err err = {0};
    float loss;
    problem_init(&p);
    before = p;
    p.poison = true;
    assert_int_equal(trainer_init(&t, NULL, p.list, 2, OPT, 1, 1 << 20, &err), STATUS_OK);
    assert_int_equal(trainer_step(&t, problem_loss, &p, 1, .05f, 1.f, &loss, &err),
                     STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "diverged"));
    trainer_deinit(&t);
    assert_memory_equal(p.w, before.w, sizeof(p.w));
}

static void test_full_arena_is_an_error(void **state)
{
    (void)state;
    struct problem p;
    struct trainer t;
    struct err err = {0};
    float loss;
    problem_init(&p);
    p.greedy = true;
    assert_int_equal(trainer_init(&t, NULL, p.list, 2, OPT, 1, 1 << 20, &err), STATUS_OK);
    assert_int_equal(trainer_step(&t, problem_loss, &p, 1, .05f, 1.f, &loss, &err),
                     STATUS_NO_MEMORY);
    trainer_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_equal_one_batch),
        cmocka_unit_test(test_loss_falls),
        cmocka_unit_test(test_checkpoint_continues_bit_for_bit),
        cmocka_unit_test(test_divergence_changes_nothing),
        cmocka_unit_test(test_full_arena_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
