/* The tape: sticky errors, memory that never comes from the heap, recording or not. */
// links: tensor
#include "model/tensor/ops.h"
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static float weights[64 * 64], norm[64], grads[64 * 64 + 64];
static struct param matrix = {.name = "matrix", .ndim = 2, .dim = {64, 64}, .data = weights};
static struct param scale = {.name = "scale", .ndim = 1, .dim = {64}, .data = norm};

static void begin(struct tape *tape, struct arena *arena, bool recording)
{
    for (int i = 0; i < 64 * 64; i++)
        weights[i] = 0.01f * (float)(i % 13 - 6);
    for (int i = 0; i < 64; i++)
        norm[i] = 1;
    matrix.grad_at = 0;
    scale.grad_at = 64 * 64;
    tape_begin(tape, arena, recording, recording ? grads : NULL);
}

/* A step that goes through most ops */
static struct tensor step(struct tape *tape)
{
    static const int32_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct linear w = {.weight = &matrix, .lora_a = &matrix, .lora_b = &matrix, .lora_scale = 0.1f};
    struct attention a = {.heads = 4, .kv_heads = 4, .causal = true, .dropout = 0.1f};
    struct tensor x = op_embedding(tape, &matrix, ids, 2, 4);
    struct tensor q = op_rope(tape, op_linear(tape, x, &w), 4, 10000, 0);
    x = op_add(tape, x, op_attention(tape, q, x, x, &a));
    x = op_dropout(tape, op_gelu(tape, op_rmsnorm(tape, x, &scale, 1e-5f)), 0.1f);
    x = op_rows(tape, x, ids, 4);
    return op_cross_entropy(tape, op_linear(tape, x, &w), ids);
}

static void test_a_full_arena_is_a_sticky_error(void **state)
{
    struct arena arena;
    struct tape tape = {0};
    struct err err;
    (void)state;
    for (size_t cap = 4096; cap <= 65536; cap += 4096) {
        assert_true(arena_init(&arena, cap));
        begin(&tape, &arena, true);
        struct tensor loss = step(&tape);
        tape_backward(&tape, loss, false);
        if (tape_check(&tape, &err) != STATUS_OK) {
            assert_int_equal(err.code, STATUS_NO_MEMORY);
            assert_non_null(strstr(err.text, "arena"));
        }
        if (cap == 4096)
            assert_null(loss.data);
        arena_deinit(&arena);
    }
    assert_int_equal(tape_check(&tape, &err), STATUS_OK); /* the last one is large enough */
}

static void test_the_first_error_stays(void **state)
{
    struct arena arena;
    struct tape tape = {0};
    struct err err;
    (void)state;
    assert_true(arena_init(&arena, 1 << 20));
    begin(&tape, &arena, true);
    struct tensor a = tape_tensor(&tape, true, 2, (int[]){2, 3});
    struct tensor b = tape_tensor(&tape, true, 2, (int[]){3, 2});
    memset(a.data, 0, 24), memset(b.data, 0, 24);
    struct tensor c = op_add(&tape, a, b);
    assert_null(c.data);
    assert_null(op_gelu(&tape, c).data);
    assert_null(op_gelu(&tape, a).data);
    assert_int_equal(tape_check(&tape, &err), STATUS_SHAPE);
    assert_non_null(strstr(err.text, "add"));
    tape_backward(&tape, a, false);
    tape_begin(&tape, &arena, true, grads);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    arena_deinit(&arena);
}

/* Every op with an argument that does not fit: a shape error, no crash. */
static void bad_rows(struct tape *tape, int which, struct tensor x, struct tensor v)
{
    static const int32_t bad_ids[2] = {0, 64}, negative[2] = {0, -1};
    struct linear narrow = {.weight = &matrix}, half_lora = {.weight = &matrix, .lora_a = &matrix};
    if (which == 0)
        op_linear(tape, v, &narrow);
    else if (which == 1)
        op_linear(tape, x, &half_lora);
    else if (which == 2)
        op_embedding(tape, &matrix, bad_ids, 1, 2);
    else if (which == 3)
        op_embedding(tape, &matrix, negative, 1, 2);
    else if (which == 4)
        op_layernorm(tape, x, &scale, &matrix, 1e-5f);
    else if (which == 5)
        op_rmsnorm(tape, v, &scale, 1e-5f);
    else if (which == 6)
        op_swiglu(tape, x, v);
    else if (which == 7)
        op_dropout(tape, x, 1);
    else if (which == 8)
        op_rows(tape, x, bad_ids, 2);
    else if (which == 9)
        op_kl(tape, x, x.data, 0, NULL);
}

static void bad_time(struct tape *tape, int which, struct tensor x, struct tensor v)
{
    static const int counts[2] = {1, 99};
    struct attention three = {.heads = 3, .kv_heads = 3}, many = {.heads = 2, .kv_heads = 2};
    many.key_count = counts;
    if (which == 10)
        op_add_positions(tape, v, &matrix);
    else if (which == 11)
        op_concat(tape, x, v);
    else if (which == 12)
        op_slice(tape, x, 1, 4);
    else if (which == 13)
        op_slice(tape, x, -1, 1);
    else if (which == 14)
        op_rope(tape, v, 2, 10000, 0);
    else if (which == 15)
        op_attention(tape, x, x, x, &three);
    else if (which == 16)
        op_attention(tape, x, v, v, &many);
    else if (which == 17)
        op_attention(tape, x, x, x, &many);
    else if (which == 18)
        op_weighted_sum(tape, &x, norm, 1);
    else if (which == 19)
        op_broadcast(tape, &scale, 0);
    else if (which == 20)
        tape_tensor(tape, true, 3, (int[]){1 << 20, 1 << 20, 1 << 20});
}

static void test_arguments_that_do_not_fit(void **state)
{
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    assert_true(arena_init(&arena, 1 << 20));
    for (int which = 0; which <= 20; which++) {
        begin(&tape, &arena, true);
        struct tensor x = tape_tensor(&tape, true, 3, (int[]){2, 4, 64});
        struct tensor v = tape_tensor(&tape, true, 3, (int[]){2, 4, 7});
        memset(x.data, 0, 2 * 4 * 64 * 4), memset(v.data, 0, 2 * 4 * 7 * 4);
        bad_rows(&tape, which, x, v);
        bad_time(&tape, which, x, v);
        if (tape_check(&tape, NULL) != STATUS_SHAPE)
            fail_msg("case %d: status %d", which, (int)tape.status);
    }
    arena_deinit(&arena);
}

static void test_reshape(void **state)
{
    float data[12] = {0};
    struct tensor t = tensor_view(data, 2, (int[]){3, 4});
    (void)state;
    assert_int_equal(tensor_count(t), 12);
    assert_int_equal(tensor_rows(t), 3);
    assert_int_equal(tensor_cols(t), 4);
    assert_int_equal(tensor_rows(tensor_reshape(t, 3, (int[]){2, 2, 3})), 4);
    assert_null(tensor_reshape(t, 2, (int[]){3, 5}).data);
    assert_int_equal(tensor_count((struct tensor){0}), 0);
}

static void test_not_recording_keeps_nothing(void **state)
{
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    assert_true(arena_init(&arena, 1 << 20));
    begin(&tape, &arena, false);
    struct tensor loss = step(&tape);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    assert_null(loss.grad);
    assert_null(tape.last);
    tape_backward(&tape, loss, false);
    arena_deinit(&arena);
}

static void test_a_step_allocates_nothing_from_the_heap(void **state)
{
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    assert_true(arena_init(&arena, 1 << 22));
    begin(&tape, &arena, true);
    tape_backward(&tape, step(&tape), false); /* loads the library */
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 3; i++) {
        begin(&tape, &arena, true);
        tape_backward(&tape, step(&tape), false);
    }
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    assert_int_equal(before.uordblks, after.uordblks);
    assert_int_equal(before.hblks, after.hblks);
    arena_deinit(&arena);
}

/* Two runs with one seed: the same bits. */
static void test_a_step_is_deterministic(void **state)
{
    static float first[64 * 64 + 64];
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    assert_true(arena_init(&arena, 1 << 22));
    for (int i = 0; i < 2; i++) {
        memset(grads, 0, sizeof grads);
        begin(&tape, &arena, true);
        rng_init(&tape.rng, 1, 2);
        tape_backward(&tape, step(&tape), false);
        if (i == 0)
            memcpy(first, grads, sizeof grads);
    }
    assert_memory_equal(first, grads, sizeof grads);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_arena_is_a_sticky_error),
        cmocka_unit_test(test_the_first_error_stays),
        cmocka_unit_test(test_arguments_that_do_not_fit),
        cmocka_unit_test(test_reshape),
        cmocka_unit_test(test_not_recording_keeps_nothing),
        cmocka_unit_test(test_a_step_allocates_nothing_from_the_heap),
        cmocka_unit_test(test_a_step_is_deterministic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
