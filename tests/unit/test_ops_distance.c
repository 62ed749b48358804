/* Distances between features: values against the definitions, gradients, the wavelet's filters. */
// links: tensor
#include "op_case.h"

enum { B = 3, Q = 8, C = 5 };
static float target[B * Q * C];

static void target_fill(void)
{
    struct rng rng;
    rng_init(&rng, 5, 9);
    for (int i = 0; i < B * Q * C; i++)
        target[i] = rng_normal(&rng);
}

/* ---- entropy ---- */

static struct tensor entropy_op(struct tape *tape, struct tensor *x, struct param *p,
                                const void *ctx)
{
    (void)p, (void)ctx;
    return op_entropy(tape, x[0]);
}

static void entropy_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    y[0] = 0;
    for (int r = 0; r < B * Q; r++) {
        double sum = 0;
        for (int c = 0; c < C; c++)
            sum += exp(x[0][r * C + c]);
        for (int c = 0; c < C; c++) {
            double p = exp(x[0][r * C + c]) / sum;
            y[0] -= p * log(p) / (B * Q);
        }
    }
}

static void test_entropy(void **state)
{
    (void)state;
    case_check(&(struct op_case){
        "entropy", 1, {{3, {B, Q, C}, false}}, entropy_op, entropy_reference, NULL, 0});
}

/* ---- Pearson ---- */

static struct tensor pearson_op(struct tape *tape, struct tensor *x, struct param *p,
                                const void *ctx)
{
    (void)p, (void)ctx;
    return op_pearson(tape, x[0], target);
}

static double at_x(const void *x, int i)
{
    return ((const double *)x)[i];
}

static double at_target(const void *x, int i)
{
    return (double)((const float *)x)[i];
}

static void standardise(double *out, double (*at)(const void *, int), const void *x, int c)
{
    double mean = 0, squares = 0;
    for (int r = 0; r < B * Q; r++)
        mean += at(x, r * C + c) / (B * Q);
    for (int r = 0; r < B * Q; r++)
        squares += pow(at(x, r * C + c) - mean, 2);
    for (int r = 0; r < B * Q; r++)
        out[r] = (at(x, r * C + c) - mean) / (sqrt(squares / (B * Q - 1)) + 1e-6);
}

static void pearson_reference(double *y, double *const *x, const void *ctx)
{
    double u[B * Q], v[B * Q];
    (void)ctx;
    y[0] = 0;
    for (int c = 0; c < C; c++) {
        standardise(u, at_x, x[0], c);
        standardise(v, at_target, target, c);
        for (int r = 0; r < B * Q; r++)
            y[0] += (u[r] - v[r]) * (u[r] - v[r]) / 2 / (B * Q * C);
    }
}

static void test_pearson(void **state)
{
    (void)state;
    target_fill();
    case_check(&(struct op_case){
        "pearson", 1, {{3, {B, Q, C}, false}}, pearson_op, pearson_reference, NULL, 0});
}

static void test_pearson_does_not_see_scale(void **state)
{
    float scaled[B * Q * C];
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    target_fill();
    assert_true(arena_init(&arena, 1 << 20));
    tape_begin(&tape, &arena, false, NULL);
    for (int i = 0; i < B * Q * C; i++)
        scaled[i] = 3 * target[i] + (float)(i % C);
    struct tensor x = tensor_view(scaled, 3, (int[]){B, Q, C});
    assert_true(fabsf(op_pearson(&tape, x, target).data[0]) < 1e-6f);
    arena_deinit(&arena);
}

/* ---- channels ---- */

static struct tensor channel_op(struct tape *tape, struct tensor *x, struct param *p,
                                const void *ctx)
{
    (void)p;
    return op_channel_kl(tape, x[0], target, *(const float *)ctx);
}

static void channel_reference(double *y, double *const *x, const void *ctx)
{
    double T = (double)*(const float *)ctx;
    y[0] = 0;
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c++) {
            double zx = 0, zt = 0;
            for (int q = 0; q < Q; q++) {
                zx += exp(x[0][(b * Q + q) * C + c] / T);
                zt += exp((double)target[(b * Q + q) * C + c] / T);
            }
            for (int q = 0; q < Q; q++) {
                int i = (b * Q + q) * C + c;
                double px = exp(x[0][i] / T) / zx, pt = exp((double)target[i] / T) / zt;
                y[0] += T * T / (B * C) * pt * log(pt / px);
            }
        }
}

static void test_channel_kl(void **state)
{
    static const float temperatures[] = {1, 4};
    (void)state;
    target_fill();
    for (int i = 0; i < 2; i++)
        case_check(&(struct op_case){"channel_kl",
                                     1,
                                     {{3, {B, Q, C}, false}},
                                     channel_op,
                                     channel_reference,
                                     &temperatures[i],
                                     0});
}

/* ---- wavelet ---- */

static struct tensor wavelet_op(struct tape *tape, struct tensor *x, struct param *p,
                                const void *ctx)
{
    (void)p, (void)ctx;
    return op_wavelet(tape, x[0], target);
}

/* db6, as PyWavelets' dec_lo and dec_hi */
static const double LOW[12] = {-0.00107730108499558,  0.004777257511010651, 0.0005538422009938016,
                               -0.031582039318031156, 0.02752286553001629,  0.09750160558707936,
                               -0.12976686756709563,  -0.22626469396516913, 0.3152503517092432,
                               0.7511339080215775,    0.4946238903983854,   0.11154074335008017};
static const double HIGH[12] = {-0.11154074335008017,  0.4946238903983854,    -0.7511339080215775,
                                0.3152503517092432,    0.22626469396516913,   -0.12976686756709563,
                                -0.09750160558707936,  0.02752286553001629,   0.031582039318031156,
                                0.0005538422009938016, -0.004777257511010651, -0.00107730108499558};

/* Full convolution, every second value from the second on. */
static int convolve(const double *x, int n, const double *filter, double *out)
{
    int count = (n + 11) / 2;
    for (int i = 0; i < count; i++) {
        out[i] = 0;
        for (int j = 0; j < n; j++)
            if (2 * i + 1 - j >= 0 && 2 * i + 1 - j < 12)
                out[i] += filter[2 * i + 1 - j] * x[j];
    }
    return count;
}

static void wavelet_reference(double *y, double *const *x, const void *ctx)
{
    (void)ctx;
    y[0] = 0;
    for (int b = 0; b < B; b++)
        for (int c = 0; c < C; c++) {
            double band[64], low[64], high[64];
            int n = Q;
            for (int q = 0; q < Q; q++)
                band[q] = x[0][(b * Q + q) * C + c] - (double)target[(b * Q + q) * C + c];
            for (int level = 0; level < 3; level++) {
                convolve(band, n, HIGH, high);
                n = convolve(band, n, LOW, low);
                for (int i = 0; i < n; i++)
                    y[0] += fabs(high[i]) / n / (B * C);
                memcpy(band, low, sizeof band);
            }
        }
}

static void test_wavelet(void **state)
{
    (void)state;
    target_fill();
    case_check(&(struct op_case){
        "wavelet", 1, {{3, {B, Q, C}, false}}, wavelet_op, wavelet_reference, NULL, 1e-4});
}

/* Six vanishing moments: away from the ends the high band of a polynomial of degree 5 is nothing.
 */
static void test_wavelet_filter_vanishes(void **state)
{
    (void)state;
    for (int power = 0; power < 6; power++) {
        double sum = 0;
        for (int k = 0; k < 12; k++)
            sum += HIGH[k] * pow(k / 11.0, power);
        assert_true(fabs(sum) < 1e-9);
    }
}

static void test_wrong_shapes_are_refused(void **state)
{
    float x[C] = {0};
    struct arena arena;
    struct tape tape = {0};
    (void)state;
    assert_true(arena_init(&arena, 1 << 20));
    struct tensor row = tensor_view(x, 2, (int[]){1, C});
    tape_begin(&tape, &arena, false, NULL);
    op_pearson(&tape, row, target);
    assert_int_equal(tape.status, STATUS_SHAPE);
    tape_begin(&tape, &arena, false, NULL);
    op_channel_kl(&tape, row, target, 1);
    assert_int_equal(tape.status, STATUS_SHAPE);
    tape_begin(&tape, &arena, false, NULL);
    op_wavelet(&tape, row, target);
    assert_int_equal(tape.status, STATUS_SHAPE);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entropy),
        cmocka_unit_test(test_pearson),
        cmocka_unit_test(test_pearson_does_not_see_scale),
        cmocka_unit_test(test_channel_kl),
        cmocka_unit_test(test_wavelet),
        cmocka_unit_test(test_wavelet_filter_vanishes),
        cmocka_unit_test(test_wrong_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
