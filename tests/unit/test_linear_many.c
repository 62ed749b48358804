/* Several layers of one input: the same numbers together as one by one, with packed weights, bias
 * and LoRA, for one row and many; a layer that does not fit is refused by its name. */
// links: tensor
#include "model/tensor/ops.h"
#include "model/tensor/weight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { I = 128, ROWS_MAX = 40, LAYERS = 3, RANK = 4 };
static const int outputs[LAYERS] = {96, 32, 161};

static struct rng rng;

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rng_normal(&rng);
}

struct layer {
    struct param weight, bias, a, b;
    struct weight packed;
    void *codes;
    float *scale;
    struct linear linear;
};

static struct param param_make(int rows, int cols)
{
    struct param p = {.ndim = 2, .dim = {rows, cols}, .grad_at = -1};
    p.data = malloc((size_t)rows * (size_t)cols * sizeof(float));
    assert_non_null(p.data);
    fill(p.data, (size_t)rows * (size_t)cols);
    return p;
}

static void layer_make(struct layer *l, enum weight_type type, int O)
{
    *l = (struct layer){.weight = param_make(O, I), .bias = param_make(1, O)};
    l->a = param_make(RANK, I);
    l->b = param_make(O, RANK);
    l->codes = malloc(weight_code_bytes(type, O, I));
    l->scale = calloc(weight_scale_count(type, O, I) + 1, sizeof *l->scale);
    assert_true(l->codes && l->scale);
    weight_pack(type, l->weight.data, O, I, l->codes, l->scale);
    l->packed = (struct weight){type, O, I, l->codes, l->scale};
    l->weight.name = "layer";
    l->weight.packed = &l->packed;
    l->linear = (struct linear){.weight = &l->weight, .bias = &l->bias, .lora_scale = 0.5F};
    l->linear.lora_a = &l->a;
    l->linear.lora_b = &l->b;
}

static void layer_free(struct layer *l)
{
    free(l->codes);
    free(l->scale);
    free(l->weight.data);
    free(l->bias.data);
    free(l->a.data);
    free(l->b.data);
}

static void together_check(struct tape *tape, const struct layer *layer, int rows)
{
    static float x[ROWS_MAX * I];
    const struct linear *w[LAYERS] = {&layer[0].linear, &layer[1].linear, &layer[2].linear};
    struct tensor y[LAYERS], in = tensor_view(x, 2, (int[]){rows, I});
    fill(x, (size_t)rows * I);
    op_linear_many(tape, in, w, LAYERS, y);
    assert_int_equal(tape->status, STATUS_OK);
    for (int i = 0; i < LAYERS; i++) {
        struct tensor one = op_linear(tape, in, w[i]);
        assert_int_equal(tape->status, STATUS_OK);
        assert_int_equal(y[i].dim[0], rows);
        assert_int_equal(y[i].dim[1], outputs[i]);
        assert_memory_equal(y[i].data, one.data, tensor_count(one) * sizeof(float));
    }
}

static void test_together(void **state)
{
    (void)state;
    struct arena arena;
    struct tape tape = {0};
    struct pool *pool = NULL;
    assert_true(arena_init(&arena, 64 << 20));
    assert_int_equal(pool_create(2, &pool, NULL), STATUS_OK);
    rng_init(&rng, 1, 0);
    for (int type = WEIGHT_BF16; type <= WEIGHT_NF4; type++) {
        struct layer layer[LAYERS];
        for (int i = 0; i < LAYERS; i++)
            layer_make(&layer[i], (enum weight_type)type, outputs[i]);
        for (int how = 0; how < 4; how++) {
            tape.exact = how & 1;
            tape.pool = how & 2 ? pool : NULL;
            tape_begin(&tape, &arena, false, NULL);
            together_check(&tape, layer, 1);
            together_check(&tape, layer, 3);
            together_check(&tape, layer, ROWS_MAX);
        }
        for (int i = 0; i < LAYERS; i++)
            layer_free(&layer[i]);
    }
    pool_destroy(pool);
    arena_deinit(&arena);
}

static void test_misfit(void **state)
{
    (void)state;
    struct arena arena;
    struct tape tape = {0};
    struct layer layer[2];
    assert_true(arena_init(&arena, 1 << 20));
    layer_make(&layer[0], WEIGHT_NF4, 64);
    layer_make(&layer[1], WEIGHT_NF4, 64);
    layer[1].weight.dim[1] = I / 2;
    float x[I] = {0};
    const struct linear *w[] = {&layer[0].linear, &layer[1].linear};
    struct tensor y[2];
    tape_begin(&tape, &arena, false, NULL);
    op_linear_many(&tape, tensor_view(x, 2, (int[]){1, I}), w, 2, y);
    assert_int_equal(tape.status, STATUS_SHAPE);
    assert_non_null(strstr(tape.err.text, "layer"));
    layer_free(&layer[0]);
    layer_free(&layer[1]);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_together),
        cmocka_unit_test(test_misfit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
