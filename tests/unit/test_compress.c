/* compress: budgets are kept, what is applied is what was decoded, error feedback converges, and a
 * delta that is not exactly right changes nothing. */
// links: learn
#include "model/learn/compress.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    struct mllm *model;
    struct trainable set;
    float *base, *target, *decoded;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct mllm_config config = tiny_config(4);
    struct trainable_options options = trainable_defaults();
    struct err err;
    struct rng rng;
    if (!f || mllm_create(&config, 4, &f->model, &err) != STATUS_OK ||
        trainable_attach(f->model, &options, &f->set, &err) != STATUS_OK)
        return -1;
    f->base = calloc(3 * f->set.values, sizeof *f->base);
    f->target = f->base + f->set.values;
    f->decoded = f->target + f->set.values;
    trainable_read(&f->set, f->base);
    rng_init(&rng, 9, 0);
    for (size_t i = 0; i < f->set.values; i++)
        f->target[i] = f->base[i] + 0.01f * rng_normal(&rng);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    trainable_free(&f->set);
    mllm_release(f->model);
    free(f->base);
    free(f);
    return 0;
}

static void encode(struct fixture *f, const struct compress_options *options, struct delta *d)
{
    struct err err = {0};
    enum status s =
        compress_encode(&f->set, f->base, f->target, 0, 1, options, d, f->decoded, &err);
    if (s != STATUS_OK)
        fail_msg("%s", err.text);
}

static size_t wire_size(const struct delta *d)
{
    struct buf out = {.max = 1 << 24};
    struct err err;
    assert_int_equal(delta_encode(d, &out, &err), STATUS_OK);
    size_t n = out.len;
    buf_free(&out);
    return n;
}

static double error_of(const struct fixture *f)
{
    double sum = 0;
    for (size_t i = 0; i < f->set.values; i++)
        sum += pow((double)f->decoded[i] - (double)f->target[i], 2);
    return sqrt(sum);
}

static void expect_unchanged(const struct fixture *f)
{
    float *now = calloc(f->set.values, sizeof *now);
    trainable_read(&f->set, now);
    assert_memory_equal(now, f->base, f->set.values * sizeof *now);
    free(now);
}

static void test_apply_gives_what_was_decoded(void **state)
{
    struct fixture *f = *state;
    static const char codecs[] = "hbs2n8kf0";
    for (const char *codec = codecs; *codec; codec++) {
        struct compress_options options = compress_defaults();
        struct delta d, received;
        struct buf wire = {.max = 1 << 24};
        struct err err = {0};
        options.codec = *codec;
        trainable_write(&f->set, f->base);
        encode(f, &options, &d);
        assert_int_equal(delta_encode(&d, &wire, &err), STATUS_OK);
        assert_int_equal(delta_decode(wire.data, wire.len, &received, &err), STATUS_OK);
        assert_int_equal(compress_apply(&f->set, &received, &err), STATUS_OK);
        float *now = calloc(f->set.values, sizeof *now);
        trainable_read(&f->set, now);
        assert_memory_equal(now, f->decoded, f->set.values * sizeof *now);
        free(now);
        delta_free(&d);
        delta_free(&received);
        buf_free(&wire);
    }
}

/* What training goes through is what devices get, and its bytes are known beforehand. */
static void test_preview_and_expectation(void **state)
{
    struct fixture *f = *state;
    static const char codecs[] = "hb2";
    float *seen = calloc(f->set.values, sizeof *seen);
    char *chosen = calloc((size_t)f->set.count + 1, 1);
    for (const char *codec = codecs; *codec; codec++) {
        struct compress_options options = compress_defaults();
        struct delta d;
        size_t expected;
        options.codec = *codec;
        memset(chosen, 0, (size_t)f->set.count + 1);
        encode(f, &options, &d);
        assert_int_equal(
            compress_preview(&f->set, f->base, f->target, &options, chosen, seen, NULL), STATUS_OK);
        assert_memory_equal(seen, f->decoded, f->set.values * sizeof *seen);
        assert_memory_equal(chosen, d.codecs, d.tensors);
        assert_int_equal(compress_expect(&f->set, &options, &expected, NULL), STATUS_OK);
        assert_true(fabs((double)expected / (double)wire_size(&d) - 1) < 0.03);
        delta_free(&d);
    }
    free(seen);
    free(chosen);
}

static void test_budget_is_kept_and_used(void **state)
{
    struct fixture *f = *state;
    double last = HUGE_VAL;
    size_t share = f->set.values / 8; /* one bit a value and the tensors' headers */
    for (size_t budget = 2 * share; budget <= 12 * share; budget += 2 * share) {
        struct compress_options options = compress_defaults();
        struct delta d;
        options.budget_bytes = budget;
        encode(f, &options, &d);
        assert_true(wire_size(&d) <= budget);
        assert_true(error_of(f) <= last);
        last = error_of(f);
        delta_free(&d);
    }
    assert_true(last < 0.02 * 0.01 * sqrt((double)f->set.values));
}

static void test_budget_below_the_header(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d;
    struct err err;
    options.budget_bytes = 40;
    assert_int_equal(
        compress_encode(&f->set, f->base, f->target, 0, 1, &options, &d, f->decoded, &err),
        STATUS_TOO_LARGE);
}

/* A tensor that matters ten thousand times as much gets a finer code than the others. */
static void test_sensitivity_moves_bits(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    float *weight = calloc((size_t)f->set.count, sizeof *weight);
    struct delta d;
    int t = 0;
    while (param_count(f->set.params[t]) < 256)
        t++;
    for (int i = 0; i < f->set.count; i++)
        weight[i] = i == t ? 1e4f : 1;
    options.budget_bytes = 3500;
    options.sensitivity = weight;
    encode(f, &options, &d);
    assert_int_equal(d.codecs[t], '8');
    delta_free(&d);
    free(weight);
}

/* The caller keeps the target; what one delta lost goes into the next. */
static void test_error_feedback_converges(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    double first = 0;
    for (int round = 0; round < 9; round++) {
        struct delta d;
        encode(f, &options, &d);
        delta_free(&d);
        first = round ? first : error_of(f);
        memcpy(f->base, f->decoded, f->set.values * sizeof *f->base);
    }
    if (!(error_of(f) < 0.25 * first))
        fail_msg("%g of the first delta's error is left", error_of(f) / first);
}

static void test_infinite_update(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d;
    struct err err;
    f->target[7] = NAN;
    assert_int_equal(
        compress_encode(&f->set, f->base, f->target, 0, 1, &options, &d, f->decoded, &err),
        STATUS_MALFORMED);
}

static void test_wrong_base(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d;
    struct err err;
    encode(f, &options, &d);
    f->base[3] += 1;
    trainable_write(&f->set, f->base);
    assert_int_equal(compress_apply(&f->set, &d, &err), STATUS_WRONG_BASE);
    expect_unchanged(f);
    delta_free(&d);
}

static void test_applied_twice(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d;
    struct err err;
    encode(f, &options, &d);
    assert_int_equal(compress_apply(&f->set, &d, &err), STATUS_OK);
    memcpy(f->base, f->decoded, f->set.values * sizeof *f->base);
    assert_int_equal(compress_apply(&f->set, &d, &err), STATUS_WRONG_BASE);
    expect_unchanged(f);
    delta_free(&d);
}

static void refuse(struct fixture *f, const struct delta *d)
{
    struct err err;
    assert_int_not_equal(compress_apply(&f->set, d, &err), STATUS_OK);
    expect_unchanged(f);
}

static void test_altered_delta_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d;
    encode(f, &options, &d);
    for (size_t i = 0; i < d.codes_size; i += 13) {
        d.codes[i] ^= 1;
        refuse(f, &d);
        d.codes[i] ^= 1;
    }
    for (size_t i = 0; i < d.scales_size; i += 3) {
        d.scales[i] ^= 0x81;
        refuse(f, &d);
        d.scales[i] ^= 0x81;
    }
    d.hash.bytes[0] ^= 1;
    refuse(f, &d);
    d.hash.bytes[0] ^= 1;
    assert_int_equal(compress_apply(&f->set, &d, NULL), STATUS_OK);
    delta_free(&d);
}

static void test_mis_sized_delta(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d, other;
    encode(f, &options, &d);
    other = d, other.codes_size--;
    refuse(f, &other);
    other = d, other.scales_size--;
    refuse(f, &other);
    other = d, other.parameters++;
    refuse(f, &other);
    other = d, other.tensors--;
    refuse(f, &other);
    d.codecs[0] = '0'; /* leaves codes over */
    refuse(f, &d);
    d.codecs[0] = 'z';
    refuse(f, &d);
    delta_free(&d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static void test_an_exact_delta_leads_there_to_the_bit(void **state)
{
    struct fixture *f = *state;
    struct delta d;
    struct hash hash;
    float *saved = calloc(2 * f->set.values, sizeof *saved), *now = saved + f->set.values;
    memcpy(saved, f->target, f->set.values * sizeof *saved);
    f->target[0] = -0.0f; /* a sum cannot give it */
    f->target[1] = 1e-30f;
    assert_int_equal(compress_exact(&f->set, f->base, f->target, 3, 7, &d, NULL), STATUS_OK);
    memcpy(now, f->base, f->set.values * sizeof *now);
    assert_int_equal(compress_apply_values(&f->set, &d, now, NULL), STATUS_OK);
    assert_memory_equal(now, f->target, f->set.values * sizeof *now);
    trainable_hash_values(&f->set, f->target, &hash);
    assert_true(hash_equal(&hash, &d.hash));
    expect_unchanged(f);
    delta_free(&d);
    memcpy(f->target, saved, f->set.values * sizeof *saved);
    free(saved);
}

static void test_an_exact_delta_to_the_same_place_is_empty(void **state)
{
    struct fixture *f = *state;
    struct delta d;
    assert_int_equal(compress_exact(&f->set, f->base, f->base, 3, 7, &d, NULL), STATUS_OK);
    assert_int_equal(d.codes_size, 0);
    assert_true(hash_equal(&d.base_hash, &d.hash));
    delta_free(&d);
}

static void test_sizes_add_up(void **state)
{
    struct fixture *f = *state;
    struct compress_options options = compress_defaults();
    struct delta d;
    size_t *bytes = calloc((size_t)f->set.count, sizeof *bytes), sum = 0;
    encode(f, &options, &d);
    assert_int_equal(compress_sizes(&f->set, &d, bytes, NULL), STATUS_OK);
    for (int t = 0; t < f->set.count; t++)
        sum += bytes[t];
    assert_int_equal(sum, d.codes_size + d.scales_size);
    delta_free(&d);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_apply_gives_what_was_decoded),
        TEST(test_preview_and_expectation),
        TEST(test_budget_is_kept_and_used),
        TEST(test_budget_below_the_header),
        TEST(test_sensitivity_moves_bits),
        TEST(test_error_feedback_converges),
        TEST(test_infinite_update),
        TEST(test_wrong_base),
        TEST(test_applied_twice),
        TEST(test_altered_delta_changes_nothing),
        TEST(test_mis_sized_delta),
        TEST(test_an_exact_delta_leads_there_to_the_bit),
        TEST(test_an_exact_delta_to_the_same_place_is_empty),
        TEST(test_sizes_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
