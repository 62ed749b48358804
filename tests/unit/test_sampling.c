/* Sampling: drawn frequencies are those of the softmax (chi-square), cuts keep what they should,
 * edges of temperature and top-p, and the figures of a token. */
// links: mllm
#include "model/mllm/sampling.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { V = 12, DRAWS = 60000 };

/* In no order; 3 and 8 are equally likely. */
static const float LOGITS[V] = {0.3F, -1.2F, 2.1F, 1.4F,  -3.0F, 0.9F,
                                0.0F, -0.4F, 1.4F, -2.2F, 0.6F,  -0.8F};

static void draw_many(const struct sampling *how, uint64_t seed, int *count)
{
    struct rng rng;
    float weight[V];
    int32_t order[V];
    rng_init(&rng, seed, 0);
    memset(count, 0, V * sizeof *count);
    for (int i = 0; i < DRAWS; i++) {
        int32_t id = sampling_draw(how, LOGITS, V, &rng, weight, order);
        assert_in_range(id, 0, V - 1);
        count[id]++;
    }
}

/* p (V): softmax(LOGITS / temperature) over the ids of the mask, else 0 */
static void expected(double temperature, unsigned mask, double *p)
{
    double sum = 0;
    for (int i = 0; i < V; i++) {
        p[i] = mask >> i & 1 ? exp((double)LOGITS[i] / temperature) : 0;
        sum += p[i];
    }
    for (int i = 0; i < V; i++)
        p[i] /= sum;
}

/* Pearson's statistic against the 0.999 quantile of chi-square (Wilson and Hilferty 1931). */
static void expect_frequencies(const struct sampling *how, unsigned mask)
{
    double p[V], statistic = 0;
    int count[V], cells = 0;
    expected((double)how->temperature, mask, p);
    draw_many(how, 5, count);
    for (int i = 0; i < V; i++) {
        if (p[i] <= 0) {
            assert_int_equal(count[i], 0);
            continue;
        }
        double want = p[i] * DRAWS;
        statistic += (count[i] - want) * (count[i] - want) / want;
        cells++;
    }
    double k = cells - 1, a = 2 / (9 * k), limit = k * pow(1 - a + 3.09 * sqrt(a), 3);
    if (!(statistic < limit))
        fail_msg("chi-square %g, limit %g, %d cells", statistic, limit, cells);
}

static void frequencies_are_the_softmax(void **state)
{
    static const float temperatures[] = {0.5F, 1, 1.7F};
    (void)state;
    for (int i = 0; i < 3; i++)
        expect_frequencies(&(struct sampling){.temperature = temperatures[i]}, (1U << V) - 1);
}

static unsigned ids(int n, const int *id)
{
    unsigned mask = 0;
    for (int i = 0; i < n; i++)
        mask |= 1U << id[i];
    return mask;
}

static void top_k_keeps_the_k_likeliest(void **state)
{
    (void)state;
    expect_frequencies(&(struct sampling){.temperature = 1, .top_k = 4},
                       ids(4, (int[]){2, 3, 8, 5}));
    expect_frequencies(&(struct sampling){.temperature = 2, .top_k = V + 3}, (1U << V) - 1);
    int count[V];
    draw_many(&(struct sampling){.temperature = 1, .top_k = 2}, 1, count);
    assert_int_equal(count[2] + count[3], DRAWS); /* of equals, the smaller id */
}

/* The smallest set that reaches p: the share before the last kept one is below p. */
static void top_p_keeps_the_smallest_set(void **state)
{
    static const int order[V] = {2, 3, 8, 5, 10, 0, 6, 7, 11, 1, 9, 4};
    static const float shares[] = {0.35F, 0.5F, 0.8F, 0.97F};
    double p[V];
    (void)state;
    expected(1, (1U << V) - 1, p);
    for (int i = 0; i < 4; i++) {
        double before = 0;
        int kept = 0;
        for (; before < (double)shares[i]; kept++)
            before += p[order[kept]];
        expect_frequencies(&(struct sampling){.temperature = 1, .top_p = shares[i]},
                           ids(kept, order));
    }
}

/* As in HF: first k, then p of what is left. */
static void both_cuts_together(void **state)
{
    double p[V], before = 0;
    static const int order[4] = {2, 3, 8, 5};
    int kept = 0;
    (void)state;
    expected(1, ids(4, order), p);
    for (; before < 0.6; kept++)
        before += p[order[kept]];
    assert_int_equal(kept, 2);
    expect_frequencies(&(struct sampling){.temperature = 1, .top_k = 4, .top_p = 0.6F},
                       ids(kept, order));
}

static void a_tiny_share_is_greedy(void **state)
{
    int count[V];
    (void)state;
    draw_many(&(struct sampling){.temperature = 3, .top_p = 1e-6F}, 9, count);
    assert_int_equal(count[2], DRAWS);
    draw_many(&(struct sampling){.temperature = 1e-4F}, 9, count);
    assert_int_equal(count[2], DRAWS);
    draw_many(&(struct sampling){.temperature = 0}, 9, count);
    assert_int_equal(count[2], DRAWS);
    draw_many(&(struct sampling){.temperature = 3, .top_k = 1}, 9, count);
    assert_int_equal(count[2], DRAWS);
}

/* p = 1 and p = 0 cut nothing: the very same draws. */
static void a_whole_share_cuts_nothing(void **state)
{
    int none[V], one[V];
    (void)state;
    draw_many(&(struct sampling){.temperature = 1}, 3, none);
    draw_many(&(struct sampling){.temperature = 1, .top_p = 1}, 3, one);
    assert_memory_equal(none, one, sizeof none);
    draw_many(&(struct sampling){.temperature = 1}, 4, one);
    assert_memory_not_equal(none, one, sizeof none); /* another seed, other draws */
}

static void a_token_knows_its_distribution(void **state)
{
    double p[V], entropy = 0;
    (void)state;
    expected(1, (1U << V) - 1, p);
    for (int i = 0; i < V; i++)
        entropy -= p[i] * log(p[i]);
    for (int32_t i = 0; i < V; i++) {
        struct token t = sampling_token(LOGITS, V, i);
        assert_int_equal(t.id, i);
        assert_float_equal(t.log_probability, log(p[i]), 1e-5);
        assert_float_equal(t.entropy, entropy, 1e-5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frequencies_are_the_softmax),
        cmocka_unit_test(top_k_keeps_the_k_likeliest),
        cmocka_unit_test(top_p_keeps_the_smallest_set),
        cmocka_unit_test(both_cuts_together),
        cmocka_unit_test(a_tiny_share_is_greedy),
        cmocka_unit_test(a_whole_share_cuts_nothing),
        cmocka_unit_test(a_token_knows_its_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
