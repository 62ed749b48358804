/* delivery: what the edge holds afterwards, way by way, and what it weighs. */
// links: tool
#include "model/tool/delivery.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct fixture {
    struct tiny_pair pair;
    float *before, *after, *now; /* pair.set.values each */
    size_t n;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    struct rng rng;
    if (tiny_pair_init(&f->pair, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    f->n = f->pair.set.values;
    f->before = calloc(3 * f->n, sizeof *f->before);
    f->after = f->before + f->n;
    f->now = f->after + f->n;
    trainable_read(&f->pair.set, f->before);
    rng_init(&rng, 4, 1);
    for (size_t i = 0; i < f->n; i++)
        f->after[i] = f->before[i] + 0.01f * rng_normal(&rng);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tiny_pair_deinit(&f->pair);
    free(f->before);
    free(f);
    return 0;
}

/* From f->before, towards f->after; what came out is in f->now. */
static struct delivered deliver(struct fixture *f, struct delivery_options options)
{
    struct delivered out;
    struct err err = {0};
    trainable_write(&f->pair.set, f->before);
    if (delivery_run(f->pair.student, &f->pair.set, f->before, f->after, 0, &options, &out, &err) !=
        STATUS_OK)
        fail_msg("%s", err.text);
    trainable_read(&f->pair.set, f->now);
    return out;
}

static double distance(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sqrt(sum);
}

static void exact_is_exact_and_its_difference_is_smaller(void **state)
{
    struct fixture *f = *state;
    struct delivered out = deliver(f, (struct delivery_options){.way = DELIVERY_EXACT});
    assert_memory_equal(f->now, f->after, f->n * sizeof(float));
    assert_in_range(out.difference_bytes, f->n, out.bytes - 1);
    assert_in_range(out.bytes, 2 * f->n, 4 * f->n + 2000);
}

static void halves_are_rounded_and_the_model_weighs_more_than_its_set(void **state)
{
    struct fixture *f = *state;
    uint16_t half;
    float rounded;
    struct delivered f16 = deliver(f, (struct delivery_options){.way = DELIVERY_F16});
    for (size_t i = 0; i < f->n; i++) {
        f32_to_f16(f->after + i, 1, &half);
        assert_int_equal(dtype_to_f32(DTYPE_F16, &half, 1, &rounded), STATUS_OK);
        assert_true(f->now[i] == rounded);
    }
    struct delivered bf16 = deliver(f, (struct delivery_options){.way = DELIVERY_BF16});
    for (size_t i = 0; i < f->n; i++) {
        f32_to_bf16(f->after + i, 1, &half);
        assert_int_equal(dtype_to_f32(DTYPE_BF16, &half, 1, &rounded), STATUS_OK);
        assert_true(f->now[i] == rounded);
    }
    size_t all = 0;
    for (int i = 0; i < f->pair.student->param_count; i++)
        all += param_count(&f->pair.student->params[i]);
    assert_true(all > 2 * f->n);
    assert_in_range(f16.bytes, f->n, 2 * f->n + 2000);
    assert_in_range(bf16.bytes, all, 2 * all + 2000);
}

static void bitdelta_has_one_scale_of_least_error(void **state)
{
    (void)state;
    static const float x[] = {0.5f, -1, 2, -0.25f, 0, 3, -4, 1, -1};
    uint8_t signs[2] = {0xff, 0xff};
    float scale = delivery_bitdelta(x, 9, signs);
    assert_true(fabsf(scale - 12.75f / 9) < 1e-6f);
    assert_int_equal(signs[0], 0xb5);
    assert_int_equal(signs[1], 0);
    double error[3] = {0};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 9; i++) {
            float s = scale * (1 + 0.01f * (float)(k - 1));
            double d = (double)(x[i] - (signs[i / 8] >> i % 8 & 1 ? s : -s));
            error[k] += d * d;
        }
    assert_true(error[1] < error[0] && error[1] < error[2]);
}

static void bitdelta_moves_every_value_by_its_tensors_scale(void **state)
{
    struct fixture *f = *state;
    struct delivered out = deliver(f, (struct delivery_options){.way = DELIVERY_BITDELTA});
    size_t at = 0;
    for (int t = 0; t < f->pair.set.count; t++) {
        size_t n = param_count(f->pair.set.params[t]);
        double mean = 0;
        for (size_t i = at; i < at + n; i++)
            mean += (double)fabsf(f->after[i] - f->before[i]) / (double)n;
        for (size_t i = at; i < at + n; i++) {
            double move = (double)(f->now[i] - f->before[i]);
            assert_true(fabs(fabs(move) - mean) < 1e-6);
            assert_true((move > 0) == (f->after[i] - f->before[i] >= 0));
        }
        at += n;
    }
    double error = distance(f->now, f->after, f->n) / distance(f->before, f->after, f->n);
    assert_true(error > 0.5 && error < 0.7); /* sqrt(1 - 2 / pi) = 0.60 of a normal density */
    assert_true(out.bytes < deliver(f, (struct delivery_options){.codec = 'n'}).bytes);
}

/* What one delivery loses the next one has in its difference. */
static void errors_come_down_round_after_round(void **state)
{
    struct fixture *f = *state;
    float *factory = calloc(f->n, sizeof *factory);
    double last = distance(f->before, f->after, f->n);
    memcpy(factory, f->before, f->n * sizeof *factory);
    for (int round = 0; round < 3; round++) {
        deliver(f, (struct delivery_options){.way = DELIVERY_BITDELTA});
        double now = distance(f->now, f->after, f->n);
        assert_true(now < 0.8 * last);
        last = now;
        memcpy(f->before, f->now, f->n * sizeof *f->before);
    }
    memcpy(f->before, factory, f->n * sizeof *factory);
    free(factory);
}

static void a_budget_is_kept_and_a_share_selects(void **state)
{
    struct fixture *f = *state;
    struct delivered most =
        deliver(f, (struct delivery_options){.codec = 'k', .selected_share = 1});
    double near = distance(f->now, f->after, f->n);
    struct delivered half =
        deliver(f, (struct delivery_options){.codec = 'k', .selected_share = 0.5f});
    assert_true(half.bytes < most.bytes && distance(f->now, f->after, f->n) > near);
    struct delivered within = deliver(f, (struct delivery_options){.budget_bytes = half.bytes});
    assert_in_range(within.bytes, 1, half.bytes);
    assert_int_equal(within.difference_bytes + within.bsdiff_bytes, 0);
}

/* zigzag and planes undone, by the definition in the header */
static void the_difference_can_be_undone(void **state)
{
    (void)state;
    static const float before[] = {0, 1, -1, 1e-40f, -3.5f, 1e30f, 2, -0.0f};
    static const float after[] = {-0.0f, 1.0000001f, -0.9999f, 0, 3.5f, -1e30f, 2, 1};
    enum { N = 8 };
    uint8_t packed[4 * N];
    delivery_difference(before, after, N, packed);
    for (size_t i = 0; i < N; i++) {
        uint32_t zigzag = 0, bits;
        for (size_t b = 0; b < 4; b++)
            zigzag |= (uint32_t)packed[b * N + i] << 8 * b;
        memcpy(&bits, before + i, sizeof bits);
        bits += zigzag >> 1 ^ (0u - (zigzag & 1));
        assert_memory_equal(&bits, after + i, sizeof bits);
    }
    assert_int_equal(packed[6] | packed[N + 6] | packed[2 * N + 6] | packed[3 * N + 6], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_is_exact_and_its_difference_is_smaller),
        cmocka_unit_test(halves_are_rounded_and_the_model_weighs_more_than_its_set),
        cmocka_unit_test(bitdelta_has_one_scale_of_least_error),
        cmocka_unit_test(bitdelta_moves_every_value_by_its_tensors_scale),
        cmocka_unit_test(errors_come_down_round_after_round),
        cmocka_unit_test(a_budget_is_kept_and_a_share_selects),
        cmocka_unit_test(the_difference_can_be_undone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
