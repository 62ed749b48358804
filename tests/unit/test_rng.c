// Random numbers: the pinned sequence (from an independent implementation), ranges and moments.
// links: base m
#include "api/base/rng.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_sequence_is_pinned(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, stream, first[4];
    } known[] = {
        {0, 0, {0xfb5405f7bd79c540, 0x780c98e26cea5883, 0x2a146e0980febc66, 0x4851477db8791fca}},
        {1, 2, {0x5f147c977b052899, 0x3beb7d2db94e1f5d, 0x2263ee6c6d422ac7, 0x27bc9820b49bdb7b}},
        {2, 1, {0x84f02f195ab5fd66, 0x46ff6f0daaf44911, 0x8276408e60c29367, 0x9d7cf08eef179a7b}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct rng rng;
        rng_init(&rng, known[i].seed, known[i].stream);
        for (int j = 0; j < 4; j++)
            assert_true(rng_u64(&rng) == known[i].first[j]);
    }
}

static void below_is_even_and_in_range(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3, 0);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint32_t v = rng_below(&rng, 7);
        assert_true(v < 7);
        counts[v]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rng_below(&rng, 1), 0);
        assert_true(rng_below(&rng, 0xffffffffu) < 0xffffffffu);
    }
}

static void floats_have_their_range_and_moments(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct rng rng;
    rng_init(&rng, 4, 9);
    double sum = 0, square = 0, uniform = 0;
    for (int i = 0; i < N; i++) {
        float u = rng_uniform(&rng), r = rng_range(&rng, -2, 3), n = rng_normal(&rng);
        assert_true(u >= 0 && u < 1);
        assert_true(r >= -2 && r <= 3);
        assert_true(isfinite(n));
        uniform += (double)u;
        sum += (double)n;
        square += (double)n * (double)n;
    }
    assert_true(fabs(uniform / N - 0.5) < 0.01);
    assert_true(fabs(sum / N) < 0.02);
    assert_true(fabs(square / N - 1) < 0.03);
}

static void a_shuffle_is_a_permutation(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5, 0);
    int32_t items[100];
    int moved = 0, seen[100] = {0};
    for (int i = 0; i < 100; i++)
        items[i] = i;
    rng_shuffle(&rng, items, 100);
    for (int i = 0; i < 100; i++) {
        moved += items[i] != i;
        seen[items[i]]++;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
    rng_shuffle(&rng, items, 1);
    rng_shuffle(&rng, items, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sequence_is_pinned),
        cmocka_unit_test(below_is_even_and_in_range),
        cmocka_unit_test(floats_have_their_range_and_moments),
        cmocka_unit_test(a_shuffle_is_a_permutation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
