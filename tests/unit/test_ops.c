/* Elementwise ops and ops along time: outputs and gradients. */
// links: tensor
#include "op_case.h"

enum { B = 2, T = 3, C = 10, COUNT = B * T * C };

/* ---- elementwise ---- */

static struct tensor gelu_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_gelu(tape, x[0]);
}

static void gelu_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++)
        y[i] = 0.5 * x[0][i] * (1 + erf(x[0][i] / sqrt(2)));
}

static struct tensor swiglu_op(struct tape *tape, struct tensor *x, struct param *p,
                               const void *ctx)
{
    (void)p, (void)ctx;
    return op_swiglu(tape, x[0], x[1]);
}

static void swiglu_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++)
        y[i] = x[0][i] / (1 + exp(-x[0][i])) * x[1][i];
}

static struct tensor add_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_add(tape, x[0], x[1]);
}

static void add_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++)
        y[i] = x[0][i] + x[1][i];
}

static struct tensor scale_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_scale(tape, x[0], -2.5f);
}

static void scale_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++)
        y[i] = -2.5 * x[0][i];
}

static void test_elementwise(void **state)
{
    struct op_case cases[] = {
        {"gelu", 1, {{3, {B, T, C}, false}}, gelu_op, gelu_reference, NULL, 5e-6},
        {"swiglu",
         2,
         {{3, {B, T, C}, false}, {3, {B, T, C}, false}},
         swiglu_op,
         swiglu_reference,
         NULL,
         5e-6},
        {"add",
         2,
         {{3, {B, T, C}, false}, {3, {B, T, C}, false}},
         add_op,
         add_reference,
         NULL,
         1e-6},
        {"scale", 1, {{3, {B, T, C}, false}}, scale_op, scale_reference, NULL, 1e-6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        case_check(&cases[i]);
}

/* ---- dropout ---- */

/* The kept set depends on the seed alone, so the op is y = x * mask with a mask read off y. */
static void test_dropout(void **state)
{
    enum { N = 20001 };
    struct arena arena;
    struct tape tape = {0};
    int kept = 0;
    (void)state;
    assert_true(arena_init(&arena, 1 << 22));
    tape_begin(&tape, &arena, true, NULL);
    rng_init(&tape.rng, 1, 1);
    struct tensor x = tape_tensor(&tape, true, 2, (int[]){1, N});
    for (int i = 0; i < N; i++)
        x.data[i] = (float)(i + 1);
    assert_ptr_equal(op_dropout(&tape, x, 0).data, x.data);
    struct tensor y = op_dropout(&tape, x, 0.2f);
    struct tensor other = op_dropout(&tape, x, 0.2f);
    assert_memory_not_equal(y.data, other.data, N * sizeof(float));
    rng_init(&tape.rng, 1, 1);
    struct tensor same = op_dropout(&tape, x, 0.2f);
    assert_memory_equal(y.data, same.data, N * sizeof(float));
    for (int i = 0; i < N; i++) {
        y.grad[i] = 2;
        kept += y.data[i] != 0;
    }
    tape_backward(&tape, y, true);
    assert_in_range(kept, N * 78 / 100, N * 82 / 100);
    for (int i = 0; i < N; i++) {
        float factor = y.data[i] == 0 ? 0 : 1.25f;
        assert_true(fabsf(y.data[i] - factor * x.data[i]) <= 1e-2f);
        assert_true(fabsf(x.grad[i] - 2 * factor) < 1e-6f);
    }
    arena_deinit(&arena);
}

/* ---- along time ---- */

static struct tensor positions_op(struct tape *tape, struct tensor *x, struct param *p,
                                  const void *ctx)
{
    (void)ctx;
    return op_add_positions(tape, x[0], &p[1]);
}

static void positions_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++)
        y[i] = x[0][i] + x[1][i % (T * C)];
}

static struct tensor broadcast_op(struct tape *tape, struct tensor *x, struct param *p,
                                  const void *ctx)
{
    (void)x, (void)ctx;
    return op_broadcast(tape, &p[0], B);
}

static void broadcast_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++)
        y[i] = x[0][i % (T * C)];
}

/* (B,T,C) ++ (B,2,C), then rows 1 .. T of it */
static struct tensor concat_slice_op(struct tape *tape, struct tensor *x, struct param *p,
                                     const void *ctx)
{
    (void)p, (void)ctx;
    return op_slice(tape, op_concat(tape, x[0], x[1]), 1, T);
}

static void concat_slice_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++) {
        int b = i / (T * C), t = i / C % T + 1, c = i % C;
        y[i] = t < T ? x[0][(b * T + t) * C + c] : x[1][(b * 2 + t - T) * C + c];
    }
}

static const int32_t picked[4] = {5, 0, 5, 2};

static struct tensor rows_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_rows(tape, x[0], picked, 4);
}

static void rows_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < 4 * C; i++)
        y[i] = x[0][picked[i / C] * C + i % C];
}

static struct tensor mean_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_mean_time(tape, x[0]);
}

static void mean_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    memset(y, 0, B * C * sizeof *y);
    for (int i = 0; i < COUNT; i++)
        y[i / (T * C) * C + i % C] += x[0][i] / T;
}

static struct tensor columns_op(struct tape *tape, struct tensor *x, struct param *p,
                                const void *ctx)
{
    (void)p, (void)ctx;
    return op_columns(tape, x[0], 3, 4);
}

static void columns_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < B * T * 4; i++)
        y[i] = x[0][i / 4 * C + 3 + i % 4];
}

/* two heads of C/2 -> D must be even: C = 8 here */
static struct tensor rope_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_rope(tape, x[0], 2, 100, 4);
}

static struct tensor rope_rows_op(struct tape *tape, struct tensor *x, struct param *p,
                                  const void *ctx)
{
    (void)p;
    return op_rope_rows(tape, x[0], 2, 100, ctx);
}

static void rope_rows_reference(double *y, double *const *x, const void *ctx)
{
    const int *first = ctx;
    for (int i = 0; i < B * T * 8; i++) {
        int t = i / 8 % T, d = i % 4, j = d % 2;
        double angle = (first[i / 8 / T] + t) * pow(100, -2.0 * j / 4);
        const double *pair = x[0] + i - d + j;
        y[i] = d < 2 ? pair[0] * cos(angle) - pair[2] * sin(angle)
                     : pair[2] * cos(angle) + pair[0] * sin(angle);
    }
}

static void rope_reference(double *y, double *const *x, const void *ctx)
{
    int first[B];
    (void)ctx;
    for (int b = 0; b < B; b++)
        first[b] = 4;
    rope_rows_reference(y, x, first);
}

static void test_along_time(void **state)
{
    static const int first[B] = {3, 11};
    struct op_case cases[] = {
        {"add_positions",
         2,
         {{3, {B, T, C}, false}, {2, {T + 2, C}, true}},
         positions_op,
         positions_reference,
         NULL,
         2e-6},
        {"broadcast", 1, {{3, {1, T, C}, true}}, broadcast_op, broadcast_reference, NULL, 2e-6},
        {"concat and slice",
         2,
         {{3, {B, T, C}, false}, {3, {B, 2, C}, false}},
         concat_slice_op,
         concat_slice_reference,
         NULL,
         1e-6},
        {"rows", 1, {{3, {B, T, C}, false}}, rows_op, rows_reference, NULL, 1e-6},
        {"mean_time", 1, {{3, {B, T, C}, false}}, mean_op, mean_reference, NULL, 1e-6},
        {"columns", 1, {{3, {B, T, C}, false}}, columns_op, columns_reference, NULL, 1e-6},
        {"rope", 1, {{3, {B, T, 8}, false}}, rope_op, rope_reference, NULL, 3e-6},
        {"rope of rows",
         1,
         {{3, {B, T, 8}, false}},
         rope_rows_op,
         rope_rows_reference,
         first,
         3e-6},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        case_check(&cases[i]);
}

/* A tensor used twice gets both gradients. */
static struct tensor twice_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    struct tensor h = op_gelu(tape, x[0]);
    return op_add(tape, op_scale(tape, h, 3), op_swiglu(tape, h, x[0]));
}

static void twice_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    for (int i = 0; i < COUNT; i++) {
        double h = 0.5 * x[0][i] * (1 + erf(x[0][i] / sqrt(2)));
        y[i] = 3 * h + h / (1 + exp(-h)) * x[0][i];
    }
}

static void test_gradients_add_up(void **state)
{
    struct op_case c = {"twice", 1, {{3, {B, T, C}, false}}, twice_op, twice_reference, NULL, 1e-5};
    (void)state;
    case_check(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_along_time),
        cmocka_unit_test(test_gradients_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
