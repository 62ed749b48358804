/* uncertainty: "ent2" draws from the most uncertain, tokens are picked by what the queries attend
 * to, and variance needs dropout. */
// links: learn
#include "model/learn/uncertainty.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { COUNT = 200 };

static void test_entropy_is_bounded(void **state)
{
    float logits[32];
    struct rng rng;
    (void)state;
    rng_init(&rng, 1, 1);
    for (int t = 0; t < 100; t++) {
        for (int i = 0; i < 32; i++)
            logits[i] = 50 * rng_normal(&rng);
        float u = entropy_row(logits, 32);
        assert_true(u >= 0 && u <= logf(32) + 1e-5f);
    }
    memset(logits, 0, sizeof logits);
    assert_true(fabsf(entropy_row(logits, 32) - logf(32)) < 1e-5f);
}

static void entropies(float *out)
{
    for (int i = 0; i < COUNT; i++)
        out[i] = (float)((i * 37) % COUNT); /* each value once */
}

static void test_most_instances_come_from_the_top(void **state)
{
    float entropy[COUNT];
    int32_t chosen[COUNT];
    bool above_n = false, rest = false;
    (void)state;
    entropies(entropy);
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rng rng;
        rng_init(&rng, seed, 0);
        assert_int_equal(uts_select_instances(entropy, COUNT, 20, 3, &rng, chosen), 20);
        int top = 0;
        for (int i = 0; i < 20; i++) {
            top += entropy[chosen[i]] >= COUNT - 60;
            assert_true(i == 0 || chosen[i] > chosen[i - 1]);
            above_n = above_n || entropy[chosen[i]] < COUNT - 20;
            rest = rest || entropy[chosen[i]] < COUNT - 60;
        }
        assert_true(top >= 6); /* of 20, the other 14 from all over */
    }
    assert_true(above_n); /* not merely the top n */
    assert_true(rest);    /* and some of what the model is sure of */
}

static void test_instances_factor_one_is_top_n(void **state)
{
    float entropy[COUNT];
    int32_t chosen[COUNT];
    struct rng rng;
    (void)state;
    entropies(entropy);
    rng_init(&rng, 5, 0);
    assert_int_equal(uts_select_instances(entropy, COUNT, 20, 1, &rng, chosen), 20);
    for (int i = 0; i < 20; i++)
        assert_true(entropy[chosen[i]] >= COUNT - 20);
}

static void test_instances_edges(void **state)
{
    float entropy[4] = {1, NAN, 3, 2};
    int32_t chosen[4];
    struct rng rng;
    (void)state;
    rng_init(&rng, 5, 0);
    assert_int_equal(uts_select_instances(entropy, 4, 9, 3, &rng, chosen), 4);
    assert_int_equal(uts_select_instances(entropy, 4, 0, 3, &rng, chosen), 0);
    assert_int_equal(uts_select_instances(entropy, 0, 3, 3, &rng, chosen), 0);
    assert_int_equal(uts_select_instances(entropy, 4, 3, 1, &rng, chosen), 3);
    for (int i = 0; i < 3; i++)
        assert_int_not_equal(chosen[i], 1); /* NaN ranks last */
}

/* ---- tokens ---- */

struct fixture {
    struct tiny_pair pair;
    float visual[TINY_TOKENS * TINY_WIDTH];
};

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};
    struct distill_instance one;
    memset(&f, 0, sizeof f);
    if (tiny_pair_init(&f.pair, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    tiny_uploads(&one, f.visual, 1, 8);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tiny_pair_deinit(&f->pair);
    return 0;
}

static void select_tokens(struct fixture *f, const struct uts_options *o, uint64_t seed,
                          uint16_t *positions, int *kept)
{
    struct err err = {0};
    if (uts_select_tokens(f->pair.student, f->visual, TINY_TOKENS, "what color is the cat", o, seed,
                          positions, kept, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < *kept; i++)
        assert_true(positions[i] < TINY_TOKENS && (i == 0 || positions[i] > positions[i - 1]));
}

static void test_tokens_every_score(void **state)
{
    struct fixture *f = *state;
    static const enum uts_score scores[] = {UTS_ATTENTION, UTS_VARIANCE, UTS_NORM, UTS_RANDOM};
    uint16_t a[TINY_TOKENS], b[TINY_TOKENS];
    int kept;
    for (int i = 0; i < 4; i++) {
        struct uts_options o = uts_defaults();
        o.score = scores[i];
        o.keep = 6;
        select_tokens(f, &o, 3, a, &kept);
        assert_int_equal(kept, 6);
        select_tokens(f, &o, 3, b, &kept);
        assert_memory_equal(a, b, 6 * sizeof *a);
        o.keep = 100;
        select_tokens(f, &o, 3, a, &kept);
        assert_int_equal(kept, TINY_TOKENS);
    }
}

/* Silence all tokens but three: a zero token still gets attention, but has no value to add beyond
 * the bias, which the tiny model's cross-attention does not have. */
static void test_attention_picks_what_contributes(void **state)
{
    struct fixture *f = *state;
    static const uint16_t loud[] = {2, 9, 14};
    struct uts_options o = uts_defaults();
    uint16_t positions[TINY_TOKENS];
    int kept;
    for (int t = 0; t < TINY_TOKENS; t++)
        if (t != 2 && t != 9 && t != 14)
            memset(f->visual + t * TINY_WIDTH, 0, TINY_WIDTH * sizeof(float));
    o.keep = 3;
    select_tokens(f, &o, 1, positions, &kept);
    assert_memory_equal(positions, loud, sizeof loud);
}

/* Without dropout every pass is the same: all variances are 0 and the order of tokens decides. */
static void test_variance_needs_dropout(void **state)
{
    struct fixture *f = *state;
    struct uts_options o = uts_defaults();
    uint16_t positions[TINY_TOKENS];
    int kept;
    bool differs = false;
    o.score = UTS_VARIANCE;
    o.keep = 4;
    o.dropout = 0.3f;
    select_tokens(f, &o, 1, positions, &kept);
    for (int i = 0; i < 4; i++)
        differs = differs || positions[i] != i;
    assert_true(differs);
    /* a token of zeros has nothing that could drop out, so it does not vary by its value */
    memset(f->visual + 5 * TINY_WIDTH, 0, TINY_WIDTH * sizeof(float));
    o.keep = TINY_TOKENS - 1;
    select_tokens(f, &o, 1, positions, &kept);
    for (int i = 0; i < kept; i++)
        assert_int_not_equal(positions[i], 5);
}

/* The rest's token is the mean of what stays behind, and stands for as many; attention over it is
 * attention over that many equal tokens. */
static void test_the_rest_travels_as_its_mean(void **state)
{
    struct fixture *f = *state;
    struct uts_options o = uts_defaults();
    uint16_t positions[TINY_TOKENS + 1];
    float out[(TINY_TOKENS + 1) * TINY_WIDTH], sum = 0;
    struct err err;
    int n, k = 0;
    o.keep = 5;
    assert_int_equal(uts_take_tokens(f->pair.student, f->visual, TINY_TOKENS, "red", &o, 0,
                                     positions, out, &n, &err),
                     STATUS_OK);
    assert_int_equal(n, 6);
    assert_int_equal(positions[5], UTS_REST);
    assert_int_equal(uts_rest_weight(positions, n, TINY_TOKENS), TINY_TOKENS - 5);
    for (int t = 0; t < TINY_TOKENS; t++) {
        const float *token = f->visual + t * TINY_WIDTH;
        if (k < 5 && positions[k] == t)
            assert_memory_equal(out + k++ * TINY_WIDTH, token, TINY_WIDTH * sizeof *out);
        else
            sum += token[3];
    }
    assert_true(fabsf(out[5 * TINY_WIDTH + 3] - sum / (float)(TINY_TOKENS - 5)) < 1e-5f);
}

static void test_nothing_stays_behind(void **state)
{
    struct fixture *f = *state;
    struct uts_options o = uts_defaults();
    uint16_t positions[TINY_TOKENS + 1];
    float out[(TINY_TOKENS + 1) * TINY_WIDTH];
    struct err err;
    int n;
    o.keep = TINY_TOKENS;
    assert_int_equal(uts_take_tokens(f->pair.student, f->visual, TINY_TOKENS, "red", &o, 0,
                                     positions, out, &n, &err),
                     STATUS_OK);
    assert_int_equal(n, TINY_TOKENS);
    assert_int_equal(uts_rest_weight(positions, n, TINY_TOKENS), 1);
    o.keep = 3;
    o.rest = false;
    assert_int_equal(uts_take_tokens(f->pair.student, f->visual, TINY_TOKENS, "red", &o, 0,
                                     positions, out, &n, &err),
                     STATUS_OK);
    assert_int_equal(n, 3);
}

static void test_tokens_refusals(void **state)
{
    struct fixture *f = *state;
    struct uts_options o = uts_defaults();
    uint16_t positions[TINY_TOKENS];
    struct err err;
    int kept;
    o.passes = 1;
    assert_int_equal(uts_select_tokens(f->pair.student, f->visual, TINY_TOKENS, "red", &o, 0,
                                       positions, &kept, &err),
                     STATUS_MALFORMED);
    o = uts_defaults();
    o.dropout = 1;
    assert_int_equal(uts_select_tokens(f->pair.student, f->visual, TINY_TOKENS, "red", &o, 0,
                                       positions, &kept, &err),
                     STATUS_MALFORMED);
    o = uts_defaults();
    assert_int_equal(
        uts_select_tokens(f->pair.student, f->visual, 0, "red", &o, 0, positions, &kept, &err),
        STATUS_TOO_LARGE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entropy_is_bounded),
        cmocka_unit_test(test_most_instances_come_from_the_top),
        cmocka_unit_test(test_instances_factor_one_is_top_n),
        cmocka_unit_test(test_instances_edges),
        TEST(test_tokens_every_score),
        TEST(test_attention_picks_what_contributes),
        TEST(test_variance_needs_dropout),
        TEST(test_the_rest_travels_as_its_mean),
        TEST(test_nothing_stays_behind),
        TEST(test_tokens_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
