/* Packed weights: the codes against the reference, every kernel set's products against a loop in
 * double precision, at the edges of every shape. */
// links: tensor
#include "api/base/io.h"
#include "api/base/rng.h"
#include "api/wire/json.h"
#include "model/tensor/kernels_weight.h"
#include "model/tensor/weight.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { REFERENCE = 256 };
static const enum weight_type types[] = {WEIGHT_BF16, WEIGHT_F16, WEIGHT_Q8, WEIGHT_NF4};

/* ---- codes ---- */

static void numbers(const json *object, const char *key, double *out, size_t count)
{
    const json *list = NULL;
    assert_int_equal(json_get_array(object, key, count, &list, NULL), STATUS_OK);
    assert_int_equal(json_length(list), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(json_number_at(list, i, &out[i], NULL), STATUS_OK);
}

static void check_vector(const char *name, const json *vector)
{
    double value[REFERENCE], scale_want[REFERENCE / WEIGHT_BLOCK], packed[REFERENCE / 2];
    float x[REFERENCE], out[REFERENCE], scale[REFERENCE / WEIGHT_BLOCK];
    uint8_t codes[REFERENCE / 2];
    numbers(vector, "x", value, REFERENCE);
    for (int i = 0; i < REFERENCE; i++)
        x[i] = (float)value[i];
    weight_pack(WEIGHT_NF4, x, 4, REFERENCE / 4, codes, scale);
    numbers(vector, "absmax", scale_want, REFERENCE / WEIGHT_BLOCK);
    numbers(vector, "packed_bytes", packed, REFERENCE / 2);
    for (int i = 0; i < REFERENCE / WEIGHT_BLOCK; i++)
        assert_true(scale[i] == (float)scale_want[i]);
    for (int i = 0; i < REFERENCE / 2; i++)
        if (codes[i] != (int)packed[i])
            fail_msg("%s: byte %d is %d, should be %d", name, i, codes[i], (int)packed[i]);
    struct weight w = {WEIGHT_NF4, 4, REFERENCE / 4, codes, scale};
    weight_unpack(&w, 0, REFERENCE, out);
    numbers(vector, "dequantized", value, REFERENCE);
    for (int i = 0; i < REFERENCE; i++)
        assert_true(fabs((double)out[i] - value[i]) <= 1e-8 * fabs(value[i]));
}

static void test_nf4_reference(void **state)
{
    (void)state;
    if (!io_exists(SHARED_DATA "/reference/nf4.json")) {
        print_message("no reference data at %s\n", SHARED_DATA);
        skip();
    }
    struct buf file = {.max = 1 << 20};
    json *root = NULL;
    const json *vectors = NULL, *vector = NULL;
    void *cursor = NULL;
    int checked = 0;
    assert_int_equal(io_read_file(io_posix(), SHARED_DATA "/reference/nf4.json", &file, NULL),
                     STATUS_OK);
    assert_int_equal(json_parse(file.data, file.len, &root, NULL), STATUS_OK);
    assert_int_equal(json_get_object(root, "vectors", &vectors, NULL), STATUS_OK);
    for (const char *name; (name = json_next(vectors, &cursor, &vector)); checked++)
        check_vector(name, vector);
    assert_int_equal(checked, 4);
    json_free(root);
    buf_free(&file);
}

/* Each code by the nearest value in double precision, blocks of odd lengths and scales. */
static void test_nf4_codes_are_nearest(void **state)
{
    enum { N = 1000 * WEIGHT_BLOCK + 7 };
    static float x[N], scale[N / WEIGHT_BLOCK + 1];
    static uint8_t code[N / 2 + 1];
    struct rng rng;
    (void)state;
    rng_init(&rng, 1, 2);
    for (int i = 0; i < N; i++)
        x[i] = rng_normal(&rng) * expf((float)(i / WEIGHT_BLOCK % 100 - 50));
    weight_pack(WEIGHT_NF4, x, 1, N, code, scale);
    for (int i = 0; i < N; i++) {
        double at = (double)x[i] / (double)scale[i / WEIGHT_BLOCK], best = 9;
        int got = code[i / 2] >> (i % 2 ? 0 : 4) & 15;
        for (int k = 0; k < 16; k++)
            best = fmin(best, fabs(at - (double)weight_nf4[k]));
        assert_true(fabs(at - (double)weight_nf4[got]) <= best + 1e-15);
    }
    assert_int_equal(code[N / 2] & 15, 0);
}

static void test_q8_rows(void **state)
{
    static const float x[8] = {1, -2, 0.5f, 0, 0, 0, 0, 0};
    int8_t code[8];
    float scale[2], out[8];
    (void)state;
    weight_pack(WEIGHT_Q8, x, 2, 4, code, scale);
    assert_true(scale[0] == 2 && scale[1] == 0);
    assert_int_equal(code[0], 64); /* 63.5: to even */
    assert_int_equal(code[1], -127);
    assert_int_equal(code[2], 32);
    assert_int_equal(code[4], 0);
    struct weight w = {WEIGHT_Q8, 2, 4, code, scale};
    weight_unpack(&w, 1, 7, out);
    assert_true(fabsf(out[0] + 2) < 1e-6f && out[2] == 0 && out[6] == 0);
}

/* ---- products ---- */

/* A matrix, its values as unpacked in double precision, and a product's two sides. */
struct sample {
    int O, I, M;
    struct weight w;
    double *value;                      /* (O,I) */
    float *x, *y, *dy, *dx, *dx_before; /* (M,I), (M,O) */
    float *scale;
    void *codes;
};

static void *allocate(size_t size)
{
    void *data = malloc(size ? size : 1);
    if (!data)
        fail_msg("out of memory");
    return data;
}

/* Values with outliers, zero rows of x, zero blocks of W */
static void sample_fill(struct sample *s, struct rng *rng, float *values)
{
    size_t weights = (size_t)s->O * (size_t)s->I, inputs = (size_t)s->M * (size_t)s->I;
    for (size_t i = 0; i < weights; i++)
        values[i] = i / 192 % 3 == 2 && i % 192 < 70 ? 0 : 0.05f * rng_normal(rng);
    for (size_t i = 0; i < weights; i += 997)
        values[i] = 30;
    for (size_t i = 0; i < inputs; i++)
        s->x[i] = i / (size_t)s->I % 5 == 4 ? 0 : rng_normal(rng);
    for (size_t i = 3; i < inputs; i += 501)
        s->x[i] = -1000;
    for (size_t i = 0; i < inputs; i++)
        s->dx_before[i] = rng_normal(rng);
    for (size_t i = 0; i < (size_t)s->M * (size_t)s->O; i++)
        s->dy[i] = rng_normal(rng);
}

static void sample_make(struct sample *s, enum weight_type type, struct rng *rng)
{
    size_t weights = (size_t)s->O * (size_t)s->I, inputs = (size_t)s->M * (size_t)s->I;
    float *values = allocate(weights * sizeof *values);
    s->value = allocate(weights * sizeof *s->value);
    s->x = allocate(inputs * sizeof *s->x);
    s->dx = allocate(inputs * sizeof *s->dx);
    s->dx_before = allocate(inputs * sizeof *s->dx);
    s->y = allocate((size_t)s->M * (size_t)s->O * sizeof *s->y);
    s->dy = allocate((size_t)s->M * (size_t)s->O * sizeof *s->dy);
    s->codes = allocate(weight_code_bytes(type, s->O, s->I));
    s->scale = allocate(weight_scale_count(type, s->O, s->I) * sizeof *s->scale);
    sample_fill(s, rng, values);
    weight_pack(type, values, s->O, s->I, s->codes, s->scale);
    s->w = (struct weight){type, s->O, s->I, s->codes, s->scale};
    weight_kernels_find("base")->unpack(&s->w, 0, weights, values);
    for (size_t i = 0; i < weights; i++)
        s->value[i] = (double)values[i];
    free(values);
}

static void sample_free(struct sample *s)
{
    free(s->value), free(s->x), free(s->dx), free(s->dx_before), free(s->y), free(s->dy);
    free(s->scale), free(s->codes);
}

/* How far the fast product of a row of x and a row of W may be off: half a step of 1/127 of absmax
 * for each of both, block by block. */
static double rounding_bound(const float *x, const double *w, int I)
{
    double sum = 0;
    for (int i = 0; i < I; i += WEIGHT_BLOCK) {
        double x_max = 0, w_max = 0, x_sum = 0, w_sum = 0;
        for (int k = i; k < I && k < i + WEIGHT_BLOCK; k++) {
            x_max = fmax(x_max, fabs((double)x[k])), x_sum += fabs((double)x[k]);
            w_max = fmax(w_max, fabs(w[k])), w_sum += fabs(w[k]);
        }
        sum += (x_max * w_sum + w_max * x_sum + x_max * w_max) / 250;
    }
    return sum;
}

static void check_forward(const struct sample *s, const char *set, bool exact)
{
    for (int m = 0; m < s->M; m++)
        for (int o = 0; o < s->O; o++) {
            const float *x = s->x + (ptrdiff_t)m * s->I;
            const double *w = s->value + (ptrdiff_t)o * s->I;
            double want = 0, sum = 0, got = (double)s->y[(ptrdiff_t)m * s->O + o];
            for (int i = 0; i < s->I; i++)
                want += (double)x[i] * w[i], sum += fabs((double)x[i] * w[i]);
            double bound = 5e-6 * sum + (exact ? 0 : rounding_bound(x, w, s->I));
            if (!(fabs(got - want) <= bound))
                fail_msg("%s %s %s (%d,%d,%d) [%d,%d]: %g, should be %g +- %g", set,
                         weight_type_name(s->w.type), exact ? "exact" : "fast", s->M, s->O, s->I, m,
                         o, got, want, bound);
        }
}

static void check_back(const struct sample *s, const char *set)
{
    for (int m = 0; m < s->M; m++)
        for (int i = 0; i < s->I; i++) {
            double want = (double)s->dx_before[(ptrdiff_t)m * s->I + i], sum = fabs(want);
            for (int o = 0; o < s->O; o++) {
                double add =
                    (double)s->dy[(ptrdiff_t)m * s->O + o] * s->value[(ptrdiff_t)o * s->I + i];
                want += add, sum += fabs(add);
            }
            double got = (double)s->dx[(ptrdiff_t)m * s->I + i];
            if (!(fabs(got - want) <= 5e-6 * sum))
                fail_msg("%s %s back (%d,%d,%d) [%d,%d]: %g, should be %g", set,
                         weight_type_name(s->w.type), s->M, s->O, s->I, m, i, got, want);
        }
}

struct setting {
    const char *set;
    struct pool *pool;
    struct arena arena;
};

static void run_all(struct sample *s, struct setting *t, bool check)
{
    struct weight_how how = {.pool = t->pool, .arena = &t->arena};
    size_t dx_bytes = (size_t)s->M * (size_t)s->I * sizeof *s->dx;
    how.kernels = weight_kernels_find(t->set);
    memset(s->y, 0xff, (size_t)s->M * (size_t)s->O * sizeof *s->y);
    assert_int_equal(weight_multiply(&s->w, s->x, s->M, s->y, &how), STATUS_OK);
    assert_int_equal(t->arena.used, 0);
    if (!check)
        return;
    check_forward(s, t->set, false);
    how.exact = true;
    memset(s->y, 0xff, (size_t)s->M * (size_t)s->O * sizeof *s->y);
    assert_int_equal(weight_multiply(&s->w, s->x, s->M, s->y, &how), STATUS_OK);
    check_forward(s, t->set, true);
    memcpy(s->dx, s->dx_before, dx_bytes);
    weight_multiply_back(&s->w, s->dy, s->M, s->dx, &how);
    check_back(s, t->set);
}

static const char *const sets[] = {"base", "avx2", "vnni", "amx", "neon"};

static const int shapes[][3] = {/* O, I, M */
                                {1, 1, 1},      {1, 64, 1},    {7, 63, 3},     {3, 65, 33},
                                {5, 128, 1},    {33, 192, 2},  {64, 64, 4},    {17, 1088, 1},
                                {70, 320, 7},   {96, 256, 16}, {100, 448, 31}, {257, 128, 13},
                                {48, 1408, 40}, {130, 704, 65}};

static void test_products(void **state)
{
    struct setting t = {0};
    struct rng rng;
    (void)state;
    rng_init(&rng, 8, 8);
    assert_true(arena_init(&t.arena, 64 << 20));
    for (size_t set = 0; set < sizeof sets / sizeof *sets; set++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes * 4; i++) {
            const int *d = shapes[i / 4];
            struct sample s = {.O = d[0], .I = d[1], .M = d[2]};
            if (!weight_kernels_find(sets[set]))
                continue;
            t.set = sets[set];
            sample_make(&s, types[i % 4], &rng);
            run_all(&s, &t, true);
            sample_free(&s);
        }
    arena_deinit(&t.arena);
}

/* Root mean square of the difference of two (M,O), relative to that of another two */
static double noise_ratio(const float *a, const float *b, const float *c, const float *d, size_t n)
{
    double above = 0, below = 0;
    for (size_t i = 0; i < n; i++) {
        above += pow((double)a[i] - (double)b[i], 2);
        below += pow((double)c[i] - (double)d[i], 2);
    }
    return sqrt(above / below);
}

/* y of W as it was before it was packed */
static void multiply_plain(const float *values, const struct sample *s, float *y)
{
    for (int m = 0; m < s->M; m++)
        for (int o = 0; o < s->O; o++) {
            double sum = 0;
            for (int i = 0; i < s->I; i++)
                sum += (double)s->x[m * s->I + i] * (double)values[o * s->I + i];
            y[m * s->O + o] = (float)sum;
        }
}

/* What the fast products of NF4 add to the error that NF4 is: a tenth of it
 * with normally distributed x, a sixth where one in 64 is ten times larger. */
static void check_noise(const char *set, int M, bool outliers)
{
    enum { O = 96, I = 1024 };
    static float values[O * I], plain[16 * O], exact[16 * O];
    struct sample s = {.O = O, .I = I, .M = M};
    struct setting t = {.set = set};
    struct rng rng;
    rng_init(&rng, 5, 5);
    assert_true(arena_init(&t.arena, 16 << 20));
    sample_make(&s, WEIGHT_NF4, &rng);
    for (int i = 0; i < O * I; i++)
        values[i] = rng_normal(&rng);
    for (int i = 0; i < M * I; i++)
        s.x[i] = rng_normal(&rng) * (outliers && i % 64 == 9 ? 10 : 1);
    weight_pack(WEIGHT_NF4, values, O, I, s.codes, s.scale);
    struct weight_how how = {.arena = &t.arena, .kernels = weight_kernels_find(set)};
    assert_int_equal(weight_multiply(&s.w, s.x, M, s.y, &how), STATUS_OK);
    how.exact = true;
    assert_int_equal(weight_multiply(&s.w, s.x, M, exact, &how), STATUS_OK);
    multiply_plain(values, &s, plain);
    double ratio = noise_ratio(s.y, exact, exact, plain, (size_t)M * O);
    if (!(ratio < 0.2))
        fail_msg("%s: %d rows: fast products add %.3f of the quantization error", set, M, ratio);
    sample_free(&s);
    arena_deinit(&t.arena);
}

static void test_fast_products_add_little_noise(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (int M = 1; M <= 16 && weight_kernels_find(sets[i]); M += 5) {
            check_noise(sets[i], M, false);
            check_noise(sets[i], M, true);
        }
}

/* Rounding to integers must not lose a NaN, nor pass it to other rows. */
static void test_nan_shows(void **state)
{
    static const int rows[] = {1, 3, 12};
    struct setting t = {0};
    struct rng rng;
    (void)state;
    rng_init(&rng, 6, 6);
    assert_true(arena_init(&t.arena, 16 << 20));
    for (size_t i = 0; i < sizeof sets / sizeof *sets * 6; i++) {
        struct sample s = {.O = 37, .I = 192, .M = rows[i % 3]};
        t.set = sets[i / 6];
        if (!weight_kernels_find(t.set))
            continue;
        sample_make(&s, i / 3 % 2 ? WEIGHT_NF4 : WEIGHT_Q8, &rng);
        s.x[(s.M - 1) * s.I + 77] = NAN;
        run_all(&s, &t, false);
        for (int k = 0; k < s.M * s.O; k++)
            assert_int_equal(isnan(s.y[k]) != 0, k / s.O == s.M - 1);
        sample_free(&s);
    }
    arena_deinit(&t.arena);
}

/* Three threads and one give the same bits. */
static void test_threads_change_nothing(void **state)
{
    static const int rows[] = {1, 3, 24};
    struct setting t = {0};
    struct rng rng;
    (void)state;
    rng_init(&rng, 9, 9);
    assert_true(arena_init(&t.arena, 64 << 20));
    assert_int_equal(pool_create(3, &t.pool, NULL), STATUS_OK);
    struct pool *pool = t.pool;
    for (size_t set = 0; set < sizeof sets / sizeof *sets; set++)
        for (int i = 0; i < 12 && weight_kernels_find(sets[set]); i++) {
            struct sample s = {.O = 301, .I = 256, .M = rows[i / 4]};
            size_t bytes = (size_t)s.M * 301 * sizeof(float);
            float *one = allocate(bytes);
            t.set = sets[set];
            sample_make(&s, types[i % 4], &rng);
            t.pool = NULL, run_all(&s, &t, false);
            memcpy(one, s.y, bytes);
            t.pool = pool, run_all(&s, &t, true);
            t.pool = pool, run_all(&s, &t, false);
            assert_memory_equal(one, s.y, bytes);
            sample_free(&s), free(one);
        }
    pool_destroy(pool);
    arena_deinit(&t.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nf4_reference),
        cmocka_unit_test(test_nf4_codes_are_nearest),
        cmocka_unit_test(test_q8_rows),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_fast_products_add_little_noise),
        cmocka_unit_test(test_nan_shows),
        cmocka_unit_test(test_threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
