/* Beam search: with enough beams it is exhaustive search, with few it is a plain beam search over
 * full recomputation; batches equal their rows; HF transformers' own result. */
// links: mllm
#include "tiny_llama.h"

enum { V = 5, EOS = 2, PROMPT = 4, ROWS = 3, NEW_MAX = 5 };

static const int32_t PROMPTS[ROWS][PROMPT] = {{1, 3, 4, 0}, {1, 4, 4, 3}, {1, 0, 3, 3}};

struct made {
    int32_t ids[ROWS][NEW_MAX];
    struct token tokens[ROWS][NEW_MAX];
    struct generated out[ROWS];
};

static void search(const struct mllm *m, int first, int n, const struct generation *how, int eos,
                   struct made *made)
{
    struct arena arena;
    struct tape tape = {0};
    struct decoder d;
    struct err err = {0};
    assert_true(arena_init(&arena, 256 << 20));
    tape_begin(&tape, &arena, false, NULL);
    for (int r = 0; r < n; r++)
        made->out[r] = (struct generated){.ids = made->ids[r], .tokens = made->tokens[r]};
    struct mllm_batch batch = {.B = n, .text_T = PROMPT, .text = PROMPTS[first]};
    if (decoder_start(&d, &tape, m, &batch, eos, how->max_new, &err) != STATUS_OK ||
        generation_run(&d, how, made->out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    arena_deinit(&arena);
}

static double worth_of(const struct generated *out, float penalty)
{
    double sum = 0;
    for (int t = 0; t < out->taken; t++)
        sum += (double)out->tokens[t].log_probability;
    return sum / pow(out->taken, (double)penalty);
}

/* ---- exhaustive search ---- */

struct exhaustive {
    const struct mllm *m;
    int32_t ids[PROMPT + NEW_MAX];
    int max_new;
    double penalty, best;
    int32_t best_ids[NEW_MAX];
    int best_taken;
};

static void extend(struct exhaustive *e, int taken, double sum)
{
    float logits[V];
    bool over = taken == e->max_new || (taken > 0 && e->ids[PROMPT + taken - 1] == EOS);
    if (over) {
        double worth = sum / pow(taken, e->penalty);
        if (worth > e->best) {
            e->best = worth;
            e->best_taken = taken;
            memcpy(e->best_ids, e->ids + PROMPT, (size_t)taken * sizeof *e->ids);
        }
        return;
    }
    tiny_logits(e->m, e->ids, PROMPT + taken, logits);
    for (int32_t id = 0; id < V; id++) {
        e->ids[PROMPT + taken] = id;
        extend(e, taken + 1, sum + tiny_log_probability(logits, V, id));
    }
}

/* With 64 beams no sequence of 4 tokens out of 5 is ever dropped. A penalty above 1 favours long
 * ones, so the search must not stop early either. */
static void enough_beams_are_exhaustive(void **state)
{
    static const float penalties[] = {0, 1, 2};
    int lengths = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct mllm *m = tiny_llama(V, seed, 10);
        for (int p = 0; p < 3; p++) {
            static struct made made;
            struct generation how = {.max_new = 4, .beams = 64, .length_penalty = penalties[p]};
            search(m, 0, ROWS, &how, EOS, &made);
            for (int r = 0; r < ROWS; r++) {
                struct exhaustive e = {.m = m, .max_new = 4, .best = -1e30};
                e.penalty = (double)penalties[p];
                memcpy(e.ids, PROMPTS[r], sizeof PROMPTS[r]);
                extend(&e, 0, 0);
                assert_int_equal(made.out[r].taken, e.best_taken);
                for (int t = 0; t < e.best_taken; t++)
                    assert_int_equal(made.tokens[r][t].id, e.best_ids[t]);
                assert_float_equal(worth_of(&made.out[r], penalties[p]), e.best, 1e-4);
                lengths |= 1 << e.best_taken;
            }
        }
        mllm_release(m);
    }
    assert_true(lengths & (lengths - 1)); /* not all of one length */
}

/* ---- plain beam search without end token ---- */

enum { K = 3, SPREAD = K * V };

struct plain {
    int32_t ids[PROMPT + NEW_MAX];
    double sum;
};

static int by_sum(const void *a, const void *b)
{
    double x = ((const struct plain *)a)->sum, y = ((const struct plain *)b)->sum;
    return (x < y) - (x > y);
}

static void plain_search(const struct mllm *m, int row, int max_new, struct plain *best)
{
    struct plain beam[SPREAD] = {{{0}, 0}}, next[SPREAD];
    int beams = 1;
    memcpy(beam[0].ids, PROMPTS[row], sizeof PROMPTS[row]);
    for (int t = 0; t < max_new; t++) {
        int n = 0;
        for (int k = 0; k < beams; k++) {
            float logits[V];
            tiny_logits(m, beam[k].ids, PROMPT + t, logits);
            for (int32_t id = 0; id < V; id++) {
                next[n] = beam[k];
                next[n].ids[PROMPT + t] = id;
                next[n++].sum += tiny_log_probability(logits, V, id);
            }
        }
        qsort(next, (size_t)n, sizeof *next, by_sum);
        beams = n < K ? n : K;
        memcpy(beam, next, (size_t)beams * sizeof *beam);
    }
    *best = beam[0];
}

static void few_beams_equal_a_plain_search(void **state)
{
    int differ = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        static struct made made, greedy;
        struct mllm *m = tiny_llama(V, seed, 10);
        struct generation how = {.max_new = NEW_MAX, .beams = K, .length_penalty = 1};
        search(m, 0, ROWS, &how, -1, &made);
        search(m, 0, ROWS, &(struct generation){.max_new = NEW_MAX}, -1, &greedy);
        for (int r = 0; r < ROWS; r++) {
            struct plain best;
            plain_search(m, r, NEW_MAX, &best);
            assert_int_equal(made.out[r].count, NEW_MAX);
            assert_memory_equal(made.ids[r], best.ids + PROMPT, sizeof made.ids[r]);
            assert_float_equal(worth_of(&made.out[r], 0), best.sum, 1e-4);
        }
        differ += memcmp(made.ids, greedy.ids, sizeof made.ids) != 0;
        mllm_release(m);
    }
    assert_true(differ > 0); /* else greedy search would pass */
}

static void a_batch_equals_its_rows(void **state)
{
    int ended = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        static struct made all, one;
        struct mllm *m = tiny_llama(V, seed, 10);
        struct generation how = {.max_new = NEW_MAX, .beams = K, .length_penalty = 0.5F};
        search(m, 0, ROWS, &how, EOS, &all);
        for (int r = 0; r < ROWS; r++) {
            search(m, r, 1, &how, EOS, &one);
            assert_int_equal(one.out[0].taken, all.out[r].taken);
            assert_memory_equal(one.ids[0], all.ids[r], (size_t)one.out[0].count * 4);
            ended += one.out[0].taken > one.out[0].count;
        }
        mllm_release(m);
    }
    assert_in_range(ended, 1, 4 * ROWS - 1); /* some end by the end token, some do not */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enough_beams_are_exhaustive),
        cmocka_unit_test(few_beams_equal_a_plain_search),
        cmocka_unit_test(a_batch_equals_its_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
