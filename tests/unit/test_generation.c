/* Generation: equal to recomputing everything at every step, row by row and whatever the lengths of
 * the others; stop tokens, the callback, and what it refuses. */
// links: mllm
#include "tiny_llama.h"

enum { ROWS = 5, LONGEST = 11, NEW = 9, V = 40 };

static struct mllm *model;
static const int LENGTHS[ROWS] = {3, 11, 1, 7, 7};
static int32_t prompts[ROWS][LONGEST];

struct made {
    int32_t ids[ROWS][NEW];
    struct token tokens[ROWS][NEW];
    struct generated out[ROWS];
};

static int setup(void **state)
{
    struct rng rng;
    (void)state;
    model = tiny_llama(V, 7, 12);
    rng_init(&rng, 4, 0);
    for (int r = 0; r < ROWS; r++)
        for (int t = 0; t < LONGEST; t++)
            prompts[r][t] = (int32_t)rng_below(&rng, V);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mllm_release(model);
    return 0;
}

/* Rows first .. first+n-1 in one call. */
static enum status generate(int first, int n, const struct generation *how, int eos,
                            struct made *made, struct err *err)
{
    struct arena arena;
    struct tape tape = {0};
    struct decoder d;
    uint8_t mask[ROWS * LONGEST] = {0};
    memset(made, 0, sizeof *made);
    assert_true(arena_init(&arena, 64 << 20));
    tape_begin(&tape, &arena, false, NULL);
    int T = 0;
    for (int r = 0; r < n; r++)
        T = LENGTHS[first + r] > T ? LENGTHS[first + r] : T;
    int32_t ids[ROWS * LONGEST];
    for (int r = 0; r < n; r++) {
        made->out[r] = (struct generated){.ids = made->ids[r], .tokens = made->tokens[r]};
        for (int t = 0; t < T; t++) {
            ids[r * T + t] = prompts[first + r][t]; /* the padding is not even zero */
            mask[r * T + t] = t < LENGTHS[first + r];
        }
    }
    struct mllm_batch batch = {.B = n, .text_T = T, .text = ids, .text_mask = mask};
    enum status status = decoder_start(&d, &tape, model, &batch, eos, NEW, err);
    if (status == STATUS_OK)
        status = generation_run(&d, how, made->out, err);
    arena_deinit(&arena);
    return status;
}

static void expect_generates(int first, int n, const struct generation *how, int eos,
                             struct made *made)
{
    struct err err = {0};
    if (generate(first, n, how, eos, made, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

/* Every token, its log-probability and entropy, against full recomputation without a cache. */
static void expect_recomputed(int row, const struct generation *how, const struct generated *out)
{
    int32_t ids[LONGEST + NEW], order[V];
    float logits[V], weight[V];
    double log_probability = 0;
    struct rng rng;
    rng_init(&rng, how->seed, (uint64_t)row);
    memcpy(ids, prompts[row], sizeof prompts[row]);
    for (int t = 0; t < out->taken; t++) {
        tiny_logits(model, ids, LENGTHS[row] + t, logits);
        int32_t id = sampling_draw(&how->sampling, logits, V, &rng, weight, order);
        assert_int_equal(out->tokens[t].id, id);
        assert_float_equal(out->tokens[t].log_probability, tiny_log_probability(logits, V, id),
                           1e-4);
        assert_float_equal(out->tokens[t].entropy, entropy_row(logits, V), 1e-4);
        log_probability += tiny_log_probability(logits, V, id);
        ids[LENGTHS[row] + t] = id;
    }
    assert_float_equal(out->log_probability, (float)(log_probability / out->taken), 1e-4);
    assert_memory_equal(out->ids, ids + LENGTHS[row], (size_t)out->count * sizeof *ids);
}

static void greedy_equals_recomputation(void **state)
{
    static struct made made;
    const struct generation how = {.max_new = NEW};
    (void)state;
    expect_generates(0, ROWS, &how, -1, &made);
    for (int r = 0; r < ROWS; r++) {
        assert_int_equal(made.out[r].count, NEW);
        assert_int_equal(made.out[r].taken, NEW);
        expect_recomputed(r, &how, &made.out[r]);
    }
}

static void sampling_equals_recomputation(void **state)
{
    static struct made made, again, other;
    struct generation how = {.max_new = NEW, .seed = 11};
    (void)state;
    how.sampling = (struct sampling){.temperature = 1.3F, .top_p = 0.95F, .top_k = 30};
    expect_generates(0, ROWS, &how, -1, &made);
    for (int r = 0; r < ROWS; r++)
        expect_recomputed(r, &how, &made.out[r]);
    expect_generates(0, ROWS, &how, -1, &again);
    assert_memory_equal(made.ids, again.ids, sizeof made.ids);
    how.seed = 12;
    expect_generates(0, ROWS, &how, -1, &other);
    assert_memory_not_equal(made.ids, other.ids, sizeof made.ids);
}

static void rows_of_unequal_length_equal_each_alone(void **state)
{
    static struct made all, one;
    const struct generation how = {.max_new = NEW};
    float worst = 0;
    (void)state;
    expect_generates(0, ROWS, &how, -1, &all);
    for (int r = 0; r < ROWS; r++) {
        expect_generates(r, 1, &how, -1, &one);
        assert_int_equal(one.out[0].count, all.out[r].count);
        assert_memory_equal(one.ids[0], all.ids[r], sizeof one.ids[0]);
        for (int t = 0; t < NEW; t++) {
            float d = fabsf(one.tokens[0][t].log_probability - all.tokens[r][t].log_probability);
            worst = d > worst ? d : worst;
        }
    }
    print_message("  log-probabilities differ by at most %.2g\n", (double)worst);
    assert_true(worst < 2e-5F);
}

/* ---- stops ---- */

static void a_stop_token_ends_a_row(void **state)
{
    static struct made free_run, made;
    int32_t stop[2];
    struct generation how = {.max_new = NEW};
    (void)state;
    expect_generates(0, ROWS, &how, -1, &free_run);
    stop[0] = free_run.ids[0][4], stop[1] = free_run.ids[3][2];
    how.stop = stop, how.stop_count = 2;
    expect_generates(0, ROWS, &how, free_run.ids[1][6], &made);
    for (int r = 0; r < ROWS; r++) {
        int n = 0;
        const int32_t *ids = free_run.ids[r];
        while (n < NEW && ids[n] != stop[0] && ids[n] != stop[1] && ids[n] != free_run.ids[1][6])
            n++;
        assert_int_equal(made.out[r].count, n);
        assert_int_equal(made.out[r].taken, n < NEW ? n + 1 : NEW);
        assert_memory_equal(made.ids[r], ids, (size_t)n * sizeof *ids);
        for (int t = 0; t < made.out[r].taken; t++)
            assert_int_equal(made.tokens[r][t].id, ids[t]);
    }
}

/* ---- the callback ---- */

struct seen {
    int tokens[ROWS];
    int stop_row, stop_after;
    const struct made *made;
};

static bool see(void *ctx, int row, const struct token *token)
{
    struct seen *seen = ctx;
    assert_int_equal(token->id, seen->made->tokens[row][seen->tokens[row]].id);
    seen->tokens[row]++;
    return row != seen->stop_row || seen->tokens[row] < seen->stop_after;
}

static void the_callback_sees_every_token_and_may_stop(void **state)
{
    static struct made plain, made;
    struct generation how = {.max_new = NEW};
    struct seen seen = {.stop_row = 3, .stop_after = 4, .made = &plain};
    (void)state;
    expect_generates(0, ROWS, &how, -1, &plain);
    how.on_token = see, how.ctx = &seen;
    expect_generates(0, ROWS, &how, -1, &made);
    for (int r = 0; r < ROWS; r++) {
        int n = r == 3 ? 4 : NEW;
        assert_int_equal(seen.tokens[r], n);
        assert_int_equal(made.out[r].count, n);
        assert_memory_equal(made.ids[r], plain.ids[r], (size_t)n * sizeof *made.ids[r]);
    }
}

/* ---- what it refuses ---- */

static void bad_settings_are_errors(void **state)
{
    static struct made made;
    static const struct generation bad[] = {
        {.max_new = 0},
        {.max_new = NEW + 1},
        {.max_new = 1, .sampling = {.temperature = -1}},
        {.max_new = 1, .sampling = {.temperature = NAN}},
        {.max_new = 1, .sampling = {.temperature = 1, .top_p = 1.5F}},
        {.max_new = 1, .sampling = {.temperature = 1, .top_k = -1}},
        {.max_new = 1, .beams = GENERATION_BEAMS + 1},
        {.max_new = 1, .beams = 2, .length_penalty = INFINITY},
        {.max_new = 1, .beams = 2, .sampling = {.temperature = 1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        assert_int_equal(generate(0, 2, &bad[i], -1, &made, &err), STATUS_USAGE);
        assert_true(err.text[0] != '\0');
    }
}

static void empty_and_overlong_prompts_are_errors(void **state)
{
    struct arena arena;
    struct tape tape = {0};
    struct decoder d;
    static const int32_t ids[128] = {1};
    static const uint8_t mask[4] = {1, 1, 0, 0};
    struct mllm_batch batch = {.B = 2, .text_T = 2, .text = ids, .text_mask = mask};
    (void)state;
    assert_true(arena_init(&arena, 64 << 20));
    tape_begin(&tape, &arena, false, NULL);
    assert_int_equal(decoder_start(&d, &tape, model, &batch, -1, 4, NULL), STATUS_MALFORMED);
    batch = (struct mllm_batch){.B = 1, .text_T = 96, .text = ids};
    assert_int_equal(decoder_start(&d, &tape, model, &batch, -1, 1, NULL), STATUS_TOO_LARGE);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_equals_recomputation),
        cmocka_unit_test(sampling_equals_recomputation),
        cmocka_unit_test(rows_of_unequal_length_equal_each_alone),
        cmocka_unit_test(a_stop_token_ends_a_row),
        cmocka_unit_test(the_callback_sees_every_token_and_may_stop),
        cmocka_unit_test(bad_settings_are_errors),
        cmocka_unit_test(empty_and_overlong_prompts_are_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
