/* Linear layers, bias, LoRA, embeddings, norms: outputs and gradients; packed matrices against the
 * same ones in F32. */
// links: tensor
#include "model/tensor/weight.h"
#include "op_case.h"

/* ---- linear: inputs x, weight, bias, lora_a, lora_b ---- */

struct linear_shape {
    int R, I, O, r;
    bool bias;
};

static struct tensor linear_op(struct tape *tape, struct tensor *x, struct param *p,
                               const void *ctx)
{
    const struct linear_shape *s = ctx;
    int at = s->bias ? 3 : 2;
    struct linear w = {.weight = &p[1], .bias = s->bias ? &p[2] : NULL, .lora_scale = 1.5f};
    if (s->r)
        w.lora_a = &p[at], w.lora_b = &p[at + 1];
    return op_linear(tape, x[0], &w);
}

static double low_rank(double *const *x, const struct linear_shape *s, int row, int o)
{
    int at = s->bias ? 3 : 2;
    double sum = 0;
    for (int j = 0; j < s->r; j++) {
        double low = 0;
        for (int i = 0; i < s->I; i++)
            low += x[0][row * s->I + i] * x[at][j * s->I + i];
        sum += low * x[at + 1][o * s->r + j];
    }
    return 1.5 * sum;
}

static void linear_reference(double *y, double *const *x, const void *ctx)
{
    const struct linear_shape *s = ctx;
    for (int row = 0; row < s->R; row++)
        for (int o = 0; o < s->O; o++) {
            double sum = s->bias ? x[2][o] : 0;
            for (int i = 0; i < s->I; i++)
                sum += x[0][row * s->I + i] * x[1][o * s->I + i];
            y[row * s->O + o] = sum + low_rank(x, s, row, o);
        }
}

static void linear_check(struct linear_shape s)
{
    struct op_case c = {.name = "linear", .op = linear_op, .reference = linear_reference};
    c.ctx = &s;
    c.inputs = 2 + s.bias + 2 * (s.r > 0);
    int at = 2;
    c.in[0].ndim = 2, c.in[0].dim[0] = s.R, c.in[0].dim[1] = s.I;
    c.in[1].ndim = 2, c.in[1].dim[0] = s.O, c.in[1].dim[1] = s.I;
    if (s.bias)
        c.in[at].ndim = 1, c.in[at++].dim[0] = s.O;
    c.in[at].ndim = 2, c.in[at].dim[0] = s.r, c.in[at].dim[1] = s.I;
    c.in[at + 1].ndim = 2, c.in[at + 1].dim[0] = s.O, c.in[at + 1].dim[1] = s.r;
    for (int i = 1; i < CASE_INPUTS; i++)
        c.in[i].param = true;
    case_check(&c);
}

static void test_linear(void **state)
{
    (void)state;
    linear_check((struct linear_shape){.R = 1, .I = 7, .O = 5});
    linear_check((struct linear_shape){.R = 1, .I = 40, .O = 19, .bias = true});
    linear_check((struct linear_shape){.R = 6, .I = 17, .O = 9, .bias = true});
    linear_check((struct linear_shape){.R = 13, .I = 8, .O = 21});
    linear_check((struct linear_shape){.R = 33, .I = 5, .O = 3, .bias = true});
}

static void test_linear_lora(void **state)
{
    (void)state;
    linear_check((struct linear_shape){.R = 5, .I = 11, .O = 6, .r = 2});
    linear_check((struct linear_shape){.R = 9, .I = 6, .O = 13, .r = 3, .bias = true});
    linear_check((struct linear_shape){.R = 1, .I = 16, .O = 8, .r = 1, .bias = true});
}

/* ---- embedding ---- */

static const int32_t embedding_ids[6] = {3, 0, 3, 6, 3, 1};

static struct tensor embedding_op(struct tape *tape, struct tensor *x, struct param *p,
                                  const void *ctx)
{
    (void)x, (void)ctx;
    return op_embedding(tape, &p[0], embedding_ids, 2, 3);
}

static void embedding_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 6; i++)
        for (int c = 0; c < 5; c++)
            y[i * 5 + c] = x[0][embedding_ids[i] * 5 + c];
}

static void test_embedding(void **state)
{
    (void)state;
    struct op_case c = {"embedding", 1,   {{2, {7, 5}, true}}, embedding_op, embedding_reference,
                        NULL,        1e-6};
    case_check(&c);
}

/* ---- packed matrices ---- */

enum { PACKED_O = 150, PACKED_I = 128, PACKED_R = 11, RANK = 2 };
enum { PARAM_WEIGHT, PARAM_BIAS, PARAM_A, PARAM_B, PARAMS };

/* A frozen matrix once packed and once as what it unpacks to; bias and LoRA train. */
struct twin {
    struct arena arena;
    struct param param[PARAMS];
    struct weight weight;
    uint8_t codes[2 * PACKED_O * PACKED_I];
    float scale[PACKED_O * PACKED_I], unpacked[PACKED_O * PACKED_I], x[PACKED_R * PACKED_I];
    float rest[PACKED_O + RANK * (PACKED_I + PACKED_O)];
    float grads[PACKED_O + RANK * (PACKED_I + PACKED_O)];
    float y[PACKED_R * PACKED_O], dx[PACKED_R * PACKED_I];
};

static void twin_make(struct twin *t, enum weight_type type)
{
    static const int dims[PARAMS][2] = {
        {PACKED_O, PACKED_I}, {PACKED_O, 1}, {RANK, PACKED_I}, {PACKED_O, RANK}};
    struct rng rng;
    rng_init(&rng, 3, 3);
    for (int i = 0; i < PACKED_O * PACKED_I; i++)
        t->unpacked[i] = rng_normal(&rng);
    for (int i = 0; i < PACKED_R * PACKED_I; i++)
        t->x[i] = rng_normal(&rng);
    for (size_t i = 0; i < sizeof t->rest / sizeof *t->rest; i++)
        t->rest[i] = rng_normal(&rng);
    weight_pack(type, t->unpacked, PACKED_O, PACKED_I, t->codes, t->scale);
    t->weight = (struct weight){type, PACKED_O, PACKED_I, t->codes, t->scale};
    weight_unpack(&t->weight, 0, PACKED_O * PACKED_I, t->unpacked);
    int64_t at = 0;
    for (int i = 0; i < PARAMS; i++) {
        t->param[i] = (struct param){.ndim = 2, .dim = {dims[i][0], dims[i][1]}, .grad_at = -1};
        if (i == PARAM_WEIGHT)
            continue;
        t->param[i].data = t->rest + at;
        t->param[i].grad_at = at;
        at += dims[i][0] * dims[i][1];
    }
}

/* Forward and, when recording, backward with a gradient of 1, 2, 3, ..: into y, grads, dx */
static void twin_run(struct twin *t, bool packed, bool recording, struct pool *pool)
{
    struct tape tape = {.pool = pool, .exact = true};
    struct linear w = {&t->param[PARAM_WEIGHT], &t->param[PARAM_BIAS], &t->param[PARAM_A],
                       &t->param[PARAM_B], 0.5f};
    t->param[PARAM_WEIGHT].packed = packed ? &t->weight : NULL;
    t->param[PARAM_WEIGHT].data = packed ? NULL : t->unpacked;
    memset(t->grads, 0, sizeof t->grads);
    tape_begin(&tape, &t->arena, recording, t->grads);
    struct tensor x = tape_tensor(&tape, true, 2, (int[]){PACKED_R, PACKED_I});
    memcpy(x.data, t->x, sizeof t->x);
    struct tensor y = op_linear(&tape, x, &w);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    memcpy(t->y, y.data, sizeof t->y);
    if (!recording)
        return;
    for (int i = 0; i < PACKED_R * PACKED_O; i++)
        y.grad[i] = (float)(i % 7);
    tape_backward(&tape, y, true);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    memcpy(t->dx, x.grad, sizeof t->dx);
}

static void expect_close(const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 2e-4f * (1 + fabsf(want[i]))))
            fail_msg("%s[%zu] is %g, should be %g", what, i, (double)got[i], (double)want[i]);
}

static void test_packed_linear(void **state)
{
    static struct twin packed, plain;
    struct pool *pool;
    (void)state;
    assert_int_equal(pool_create(3, &pool, NULL), STATUS_OK);
    assert_true(arena_init(&packed.arena, 16 << 20) && arena_init(&plain.arena, 16 << 20));
    for (int i = 0; i < 8; i++) {
        twin_make(&packed, (enum weight_type)(i % 4));
        twin_make(&plain, (enum weight_type)(i % 4));
        twin_run(&packed, true, true, i < 4 ? NULL : pool);
        twin_run(&plain, false, true, NULL);
        expect_close("y", packed.y, plain.y, PACKED_R * PACKED_O);
        expect_close("dx", packed.dx, plain.dx, PACKED_R * PACKED_I);
        expect_close("gradient", packed.grads, plain.grads,
                     sizeof plain.grads / sizeof *plain.grads);
    }
    pool_destroy(pool);
    arena_deinit(&packed.arena), arena_deinit(&plain.arena);
}

/* F32 with a pool: the same up to the order of additions, and the same bits for any threads */
static void test_shared_linear(void **state)
{
    static struct twin alone, two, five;
    struct pool *pool;
    (void)state;
    twin_make(&alone, WEIGHT_BF16), twin_make(&two, WEIGHT_BF16), twin_make(&five, WEIGHT_BF16);
    assert_true(arena_init(&alone.arena, 16 << 20));
    two.arena = five.arena = alone.arena;
    twin_run(&alone, false, false, NULL);
    assert_int_equal(pool_create(2, &pool, NULL), STATUS_OK);
    twin_run(&two, false, false, pool);
    pool_destroy(pool);
    assert_int_equal(pool_create(5, &pool, NULL), STATUS_OK);
    twin_run(&five, false, false, pool);
    pool_destroy(pool);
    expect_close("y", two.y, alone.y, PACKED_R * PACKED_O);
    assert_memory_equal(two.y, five.y, sizeof two.y);
    arena_deinit(&alone.arena);
}

static void test_packed_embedding(void **state)
{
    static struct twin t;
    struct tape tape = {0};
    (void)state;
    twin_make(&t, WEIGHT_NF4);
    assert_true(arena_init(&t.arena, 16 << 20));
    t.param[PARAM_WEIGHT].packed = &t.weight;
    tape_begin(&tape, &t.arena, false, NULL);
    struct tensor y = op_embedding(&tape, &t.param[PARAM_WEIGHT], embedding_ids, 2, 3);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    for (int i = 0; i < 6; i++)
        assert_memory_equal(y.data + (ptrdiff_t)i * PACKED_I,
                            t.unpacked + (ptrdiff_t)embedding_ids[i] * PACKED_I,
                            PACKED_I * sizeof(float));
    arena_deinit(&t.arena);
}

/* ---- norms ---- */

static const float norm_eps = 1e-3f;

static struct tensor layernorm_op(struct tape *tape, struct tensor *x, struct param *p,
                                  const void *ctx)
{
    (void)ctx;
    return op_layernorm(tape, x[0], &p[1], &p[2], norm_eps);
}

static void layernorm_reference(double *y, double *const *x, const void *ctx)
{
    const int *shape = ctx, C = shape[1];
    for (int r = 0; r < shape[0]; r++) {
        const double *row = x[0] + r * C;
        double mean = 0, variance = 0;
        for (int i = 0; i < C; i++)
            mean += row[i] / C;
        for (int i = 0; i < C; i++)
            variance += (row[i] - mean) * (row[i] - mean) / C;
        for (int i = 0; i < C; i++)
            y[r * C + i] = (row[i] - mean) / sqrt(variance + (double)norm_eps) * x[1][i] + x[2][i];
    }
}

static struct tensor rmsnorm_op(struct tape *tape, struct tensor *x, struct param *p,
                                const void *ctx)
{
    (void)ctx;
    return op_rmsnorm(tape, x[0], &p[1], norm_eps);
}

static void rmsnorm_reference(double *y, double *const *x, const void *ctx)
{
    const int *shape = ctx, C = shape[1];
    for (int r = 0; r < shape[0]; r++) {
        const double *row = x[0] + r * C;
        double square = 0;
        for (int i = 0; i < C; i++)
            square += row[i] * row[i] / C;
        for (int i = 0; i < C; i++)
            y[r * C + i] = row[i] / sqrt(square + (double)norm_eps) * x[1][i];
    }
}

static void test_norms(void **state)
{
    static const int shapes[][2] = {{1, 3}, {4, 16}, {3, 37}, {5, 64}};
    (void)state;
    for (int i = 0; i < 4; i++) {
        int R = shapes[i][0], C = shapes[i][1];
        struct op_case layer = {"layernorm",
                                3,
                                {{2, {R, C}, false}, {1, {C}, true}, {1, {C}, true}},
                                layernorm_op,
                                layernorm_reference,
                                shapes[i],
                                5e-5};
        struct op_case rms = {
            "rmsnorm", 2,   {{2, {R, C}, false}, {1, {C}, true}}, rmsnorm_op, rmsnorm_reference,
            shapes[i], 5e-5};
        case_check(&layer);
        case_check(&rms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),        cmocka_unit_test(test_linear_lora),
        cmocka_unit_test(test_embedding),     cmocka_unit_test(test_packed_linear),
        cmocka_unit_test(test_shared_linear), cmocka_unit_test(test_packed_embedding),
        cmocka_unit_test(test_norms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
