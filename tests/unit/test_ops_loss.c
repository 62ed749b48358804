/* Losses: values and gradients, labels left out, weights, temperature; softmax and entropy. */
// links: tensor
#include "op_case.h"

enum { R = 5, V = 21 };
static const int32_t labels[R] = {3, -1, 20, 0, 3};
static const float row_weight[R] = {0.5f, 7, 2, 0, 1};
static float target[R * V];

static double log_sum_exp(const double *x, double factor)
{
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp(factor * x[i]);
    return log(sum);
}

static struct tensor cross_entropy_op(struct tape *tape, struct tensor *x, struct param *p,
                                      const void *ctx)
{
    (void)p;
    return ctx ? op_cross_entropy_weighted(tape, x[0], labels, ctx)
               : op_cross_entropy(tape, x[0], labels);
}

static void cross_entropy_reference(double *y, double *const *x, const void *ctx)
{
    const float *weight = ctx;
    double sum = 0, total = 0;
    for (int r = 0; r < R; r++) {
        double w = weight ? (double)weight[r] : 1;
        if (labels[r] < 0)
            continue;
        sum += w * (log_sum_exp(x[0] + r * V, 1) - x[0][r * V + labels[r]]);
        total += w;
    }
    y[0] = sum / total;
}

static void test_cross_entropy(void **state)
{
    (void)state;
    struct op_case c = {"cross_entropy",
                        1,
                        {{2, {R, V}, false}},
                        cross_entropy_op,
                        cross_entropy_reference,
                        NULL,
                        0};
    case_check(&c);
    c.ctx = row_weight;
    case_check(&c);
}

static struct tensor mse_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    return op_mse(tape, x[0], target);
}

static void mse_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    y[0] = 0;
    for (int i = 0; i < R * V; i++)
        y[0] += (x[0][i] - (double)target[i]) * (x[0][i] - (double)target[i]) / (R * V);
}

struct kl_setting {
    float temperature;
    const float *weight;
};

static struct tensor kl_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    const struct kl_setting *k = ctx;
    (void)p;
    return op_kl(tape, x[0], target, k->temperature, k->weight);
}

static double kl_row(const double *x, const float *t, double factor)
{
    double exact[V], sum = 0;
    for (int i = 0; i < V; i++)
        exact[i] = (double)t[i];
    double lse_t = log_sum_exp(exact, factor), lse_x = log_sum_exp(x, factor);
    for (int i = 0; i < V; i++) {
        double log_t = factor * exact[i] - lse_t;
        sum += exp(log_t) * (log_t - factor * x[i] + lse_x);
    }
    return sum;
}

static void kl_reference(double *y, double *const *x, const void *ctx)
{
    const struct kl_setting *k = ctx;
    double sum = 0, total = 0, T = (double)k->temperature;
    for (int r = 0; r < R; r++) {
        double w = k->weight ? (double)k->weight[r] : 1;
        sum += w * T * T * kl_row(x[0] + r * V, target + r * V, 1 / T);
        total += w;
    }
    y[0] = sum / total;
}

static void test_mse_and_kl(void **state)
{
    static const float zero_one[R] = {1, 0, 1, 1, 0};
    struct kl_setting settings[] = {{1, NULL}, {2, NULL}, {1.5f, zero_one}};
    struct rng rng;
    (void)state;
    rng_init(&rng, 11, 0);
    for (int i = 0; i < R * V; i++)
        target[i] = rng_normal(&rng);
    struct op_case mse = {"mse", 1, {{2, {R, V}, false}}, mse_op, mse_reference, NULL, 0};
    case_check(&mse);
    for (int i = 0; i < 3; i++) {
        struct op_case c = {"kl", 1, {{2, {R, V}, false}}, kl_op, kl_reference, &settings[i], 0};
        case_check(&c);
    }
}

/* A loss over losses, as training builds it */
static struct tensor sum_op(struct tape *tape, struct tensor *x, struct param *p, const void *ctx)
{
    (void)p, (void)ctx;
    struct tensor terms[2] = {op_cross_entropy(tape, x[0], labels), op_mse(tape, x[0], target)};
    return op_weighted_sum(tape, terms, (const float[]){0.3f, 2}, 2);
}

static void sum_reference(double *y, double *const *x, const void *ctx)
{
    double a, b;
    (void)ctx;
    cross_entropy_reference(&a, x, NULL);
    mse_reference(&b, x, NULL);
    y[0] = (double)0.3f * a + 2 * b;
}

static void test_weighted_sum(void **state)
{
    (void)state;
    struct op_case c = {"sum", 1, {{2, {R, V}, false}}, sum_op, sum_reference, NULL, 0};
    case_check(&c);
}

static struct tensor begin(struct tape *tape, struct arena *arena, float *logits)
{
    tape_begin(tape, arena, true, NULL);
    struct tensor x = tape_tensor(tape, true, 2, (int[]){R, V});
    memcpy(x.data, logits, sizeof(float) * R * V);
    return x;
}

static void test_no_label_and_wrong_label(void **state)
{
    static const int32_t none[R] = {-1, -1, -1, -1, -1}, beyond[R] = {0, 0, V, 0, 0};
    struct arena arena;
    struct tape tape = {0};
    struct err err;
    (void)state;
    assert_true(arena_init(&arena, 1 << 20));
    struct tensor x = begin(&tape, &arena, target);
    struct tensor loss = op_cross_entropy(&tape, x, none);
    tape_backward(&tape, loss, false);
    assert_true(loss.data[0] == 0);
    for (int i = 0; i < R * V; i++)
        assert_true(x.grad[i] == 0);
    op_cross_entropy(&tape, x, beyond);
    assert_int_equal(tape_check(&tape, &err), STATUS_SHAPE);
    assert_non_null(strstr(err.text, "cross_entropy"));
    arena_deinit(&arena);
}

/* Large logits neither overflow nor lose the answer; NaN is not hidden. */
static void test_extreme_logits(void **state)
{
    static float x[R * V];
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    assert_true(arena_init(&arena, 1 << 20));
    for (int i = 0; i < R * V; i++)
        x[i] = i % V == 3 ? 3e4f : -3e4f;
    struct tensor loss = op_cross_entropy(&tape, begin(&tape, &arena, x), labels);
    assert_true(isfinite(loss.data[0]) && loss.data[0] > 1e4f);
    x[0] = NAN;
    loss = op_cross_entropy(&tape, begin(&tape, &arena, x), labels);
    assert_true(isnan(loss.data[0]));
    arena_deinit(&arena);
}

static void test_softmax_and_entropy(void **state)
{
    float x[700], p[700];
    double sum = 0, h = 0;
    (void)state;
    for (int i = 0; i < 700; i++)
        x[i] = 4 * sinf((float)i);
    softmax_row(x, 700, 2, p);
    for (int i = 0; i < 700; i++)
        sum += (double)p[i];
    assert_true(fabs(sum - 1) < 1e-5);
    assert_true(fabs((double)(p[1] / p[0]) - exp(((double)x[1] - (double)x[0]) / 2)) < 1e-4);
    softmax_row(x, 700, 1, p);
    for (int i = 0; i < 700; i++)
        h -= (double)p[i] * log((double)p[i]);
    assert_true(fabs((double)entropy_row(x, 700) - h) < 1e-4);
    for (int i = 0; i < 700; i++)
        x[i] = 1;
    assert_true(fabs((double)entropy_row(x, 700) - log(700)) < 1e-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),  cmocka_unit_test(test_mse_and_kl),
        cmocka_unit_test(test_weighted_sum),   cmocka_unit_test(test_no_label_and_wrong_label),
        cmocka_unit_test(test_extreme_logits), cmocka_unit_test(test_softmax_and_entropy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
