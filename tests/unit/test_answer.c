/* Answers: a batch equals its items one by one, decoding with a cache equals full recomputation,
 * option scores equal those of the full forward pass; whatever the lengths and the pool. */
// links: mllm
#include "model/mllm/answer.h"
#include "model/mllm/completion.h"
#include "model/tensor/optim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 41, L = 17, NEW = 9, VOCAB = 300 };

static struct mllm *model;
static float *visual; /* (N, L, Cv) */
static struct ask asks[N];

static const char *const QUESTIONS[] = {
    "what color is the circle?",
    "how many?",
    "where is the small red square, left or right of it?",
    "is it?",
};

static struct mllm_config tiny_config(void)
{
    struct mllm_config c = {.multimodal = true, .queries = 4, .prompt = "Q: {question} A:"};
    c.vision.hidden = 16, c.vision.layers = 1, c.vision.heads = 2, c.vision.ffn = 32;
    c.vision.image = 32, c.vision.patch = 8, c.vision.eps = 1e-6F, c.vision.qkv_bias = true;
    c.qformer.hidden = 16, c.qformer.layers = 3, c.qformer.heads = 2, c.qformer.ffn = 32;
    c.qformer.vocab = VOCAB, c.qformer.positions = 128, c.qformer.encoder_hidden = 16;
    c.qformer.cross_every = 2, c.qformer.eps = 1e-12F, c.qformer.text = true;
    c.text.hidden = 24, c.text.layers = 2, c.text.heads = 4, c.text.kv_heads = 2, c.text.ffn = 48;
    c.text.vocab = VOCAB, c.text.positions = 256, c.text.eps = 1e-6F, c.text.theta = 10000;
    c.text.bos = 1, c.text.eos = 2, c.text.pad = 0;
    return c;
}

static struct tokenizer *make_tokenizer(void)
{
    static const char *const specials[] = {"<pad>", "<s>", "</s>"};
    char dir[] = "/tmp/cdcca-test-XXXXXX", path[64];
    struct tokenizer *t = NULL;
    if (!mkdtemp(dir) || tokenizer_train(io_posix(), dir, QUESTIONS, 4, VOCAB, specials, 3, NULL) ||
        tokenizer_load(io_posix(), dir, &t, NULL))
        return NULL;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    unlink(path);
    rmdir(dir);
    return t;
}

/* Weights far larger than at initialisation, so that answers differ, and the end token more likely,
 * so that they end at different lengths. */
static void shake(struct mllm *m)
{
    for (int i = 0; i < m->param_count; i++)
        for (size_t j = 0; m->params[i].ndim > 1 && j < param_count(&m->params[i]); j++)
            m->params[i].data[j] *= 12.0F;
    for (int j = 0; j < 24; j++)
        m->llama.head.weight->data[2 * 24 + j] *= 2.5F;
}

static int setup(void **state)
{
    (void)state;
    struct mllm_config config = tiny_config();
    if (mllm_create(&config, 3, &model, NULL) != STATUS_OK)
        return -1;
    shake(model);
    model->tokenizer = make_tokenizer();
    model->qformer_tokenizer = tokenizer_retain(model->tokenizer);
    visual = calloc((size_t)N * L * 16, sizeof *visual);
    struct rng rng;
    rng_init(&rng, 1, 0);
    for (size_t i = 0; i < (size_t)N * L * 16; i++)
        visual[i] = rng_normal(&rng);
    for (int i = 0; i < N; i++)
        asks[i] = (struct ask){.visual = visual + (size_t)i * L * 16,
                               .visual_count = 1 + (i * 5) % L,
                               .question = QUESTIONS[i % 4],
                               .option = {"red", "left of the circle", "no", "two"},
                               .options = i % 3 ? 4 : 0};
    return model->tokenizer ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mllm_release(model);
    free(visual);
    return 0;
}

static void answer_all(struct pool *pool, struct answer *out)
{
    struct err err = {0};
    if (answer_batch(model, pool, asks, N, NEW, out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static void expect_same(const struct answer *a, const struct answer *b, int options)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, (size_t)a->count * sizeof *a->ids);
    assert_string_equal(a->text, b->text);
    assert_int_equal(a->choice, b->choice);
    assert_float_equal(a->entropy, b->entropy, 1e-4F);
    assert_float_equal(a->log_probability, b->log_probability, 1e-4F);
    for (int o = 0; o < options; o++)
        assert_float_equal(a->option_score[o], b->option_score[o], 1e-4F);
}

static void a_batch_equals_its_items(void **state)
{
    static struct answer all[N], one;
    (void)state;
    answer_all(NULL, all);
    for (int i = 0; i < N; i++) {
        assert_int_equal(answer_batch(model, NULL, &asks[i], 1, NEW, &one, NULL), STATUS_OK);
        expect_same(&all[i], &one, asks[i].options);
    }
}

static void the_pool_changes_nothing(void **state)
{
    static struct answer alone[N], pooled[N];
    struct pool *pool = NULL;
    (void)state;
    assert_int_equal(pool_create(3, &pool, NULL), STATUS_OK);
    answer_all(NULL, alone);
    answer_all(pool, pooled);
    assert_memory_equal(alone, pooled, sizeof alone);
    pool_destroy(pool);
}

/* ---- prompts of any lengths in one batch ---- */

/* What a chunk of prompts of one length gets, and what all lengths together get. */
static void completions_of_unequal_prompts_equal_the_answers(void **state)
{
    enum { ROWS = 12, IDS = 128 };
    static int32_t text[ROWS][IDS], question[ROWS][IDS];
    static struct answer all[N];
    struct prompt prompts[ROWS];
    struct completion out[ROWS];
    const struct completion_settings how = {.generation = {.max_new = NEW}};
    struct err err = {0};
    int lengths = 0;
    (void)state;
    answer_all(NULL, all);
    for (int i = 0; i < ROWS; i++) {
        prompts[i] = (struct prompt){.text = text[i],
                                     .question = question[i],
                                     .visual = asks[i].visual,
                                     .visual_count = asks[i].visual_count};
        assert_int_equal(answer_prompt(model, asks[i].question, text[i], &prompts[i].text_count,
                                       question[i], &prompts[i].question_count, IDS, NULL),
                         STATUS_OK);
        lengths += prompts[i].text_count != prompts[0].text_count;
    }
    assert_true(lengths > 0);
    if (completion_run(model, NULL, prompts, ROWS, &how, out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(out[i].made.count, all[i].count);
        assert_memory_equal(out[i].made.ids, all[i].ids, (size_t)all[i].count * sizeof(int32_t));
        assert_float_equal(out[i].made.entropy, all[i].entropy, 1e-4F);
        assert_float_equal(out[i].made.log_probability, all[i].log_probability, 1e-4F);
    }
    completion_free(out, ROWS);
}

/* ---- against the plain forward pass ---- */

struct full {
    struct arena arena;
    struct tape tape;
};

/* Logits (V) of the last position of [queries][ids], recomputed in full. */
static const float *full_logits(struct full *f, const struct ask *ask, const int32_t *ids, int n)
{
    int32_t text[256], question[256];
    int text_count, question_count;
    tape_begin(&f->tape, &f->arena, false, NULL);
    assert_int_equal(answer_prompt(model, ask->question, text, &text_count, question,
                                   &question_count, 200, NULL),
                     STATUS_OK);
    memcpy(text + text_count, ids, (size_t)n * sizeof *ids);
    float *tokens = tape_alloc(&f->tape, (size_t)ask->visual_count * 16 * sizeof *tokens);
    memcpy(tokens, ask->visual, (size_t)ask->visual_count * 16 * sizeof *tokens);
    struct mllm_batch batch = {.B = 1,
                               .question_T = question_count,
                               .question = question,
                               .text_T = text_count + n,
                               .text = text};
    batch.visual = tensor_view(tokens, 3, (int[]){1, ask->visual_count, 16});
    struct tensor hidden = mllm_forward(&f->tape, model, &batch, NULL);
    int32_t last = hidden.dim[1] - 1;
    struct tensor logits = mllm_logits(&f->tape, model, hidden, &last, 1);
    assert_int_equal(f->tape.status, STATUS_OK);
    return logits.data;
}

static float log_softmax(const float *x, int id)
{
    double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)(x[i] - x[id]));
    return (float)-log(sum);
}

static void the_cache_equals_full_recomputation(void **state)
{
    static struct answer out[N];
    struct full f = {0};
    (void)state;
    assert_true(arena_init(&f.arena, 64 << 20));
    answer_all(NULL, out);
    int lengths = 0;
    for (int i = 0; i < N; i++) {
        float entropy = 0, log_probability = 0;
        int steps = out[i].count < NEW ? out[i].count + 1 : NEW;
        for (int t = 0; t < steps; t++) {
            const float *x = full_logits(&f, &asks[i], out[i].ids, t);
            int best = 0;
            for (int v = 1; v < VOCAB; v++)
                best = x[v] > x[best] ? v : best;
            assert_int_equal(best, t < out[i].count ? out[i].ids[t] : 2);
            entropy += entropy_row(x, VOCAB);
            log_probability += log_softmax(x, best);
        }
        assert_float_equal(out[i].entropy, entropy / (float)steps, 1e-4F);
        assert_float_equal(out[i].log_probability, log_probability / (float)steps, 1e-4F);
        lengths |= 1 << out[i].count;
    }
    assert_true(lengths & (lengths - 1)); /* answers of different lengths were among them */
    arena_deinit(&f.arena);
}

static void option_scores_equal_full_forward(void **state)
{
    static struct answer out[N];
    struct full f = {0};
    (void)state;
    assert_true(arena_init(&f.arena, 64 << 20));
    answer_all(NULL, out);
    for (int i = 0; i < N; i++) {
        int best = -1;
        for (int o = 0; o < asks[i].options; o++) {
            int32_t ids[64];
            int n = 0;
            float sum = 0;
            assert_int_equal(answer_target(model, asks[i].option[o], ids, &n, 64, NULL), STATUS_OK);
            assert_int_equal(ids[n - 1], 2);
            for (int t = 0; t < n; t++)
                sum += log_softmax(full_logits(&f, &asks[i], ids, t), ids[t]);
            assert_float_equal(out[i].option_score[o], sum / (float)n, 1e-4F);
            if (best < 0 || out[i].option_score[o] > out[i].option_score[best])
                best = o;
        }
        assert_int_equal(out[i].choice, best);
    }
    arena_deinit(&f.arena);
}

/* Logits and gradients of a few rows, with the last layer computed in full or for them alone. */
static void logits_of_rows_equal_those_of_all(void **state)
{
    enum { TEXT = 6, ROWS = 3 };
    static const int32_t text[2 * TEXT] = {1, 9, 33, 70, 12, 2, 1, 8, 7, 90, 41, 2};
    static const int32_t rows[ROWS] = {8, 13, 19}, labels[ROWS] = {12, 90, 2};
    struct full f = {0};
    float *grads[2] = {NULL, NULL}, loss[2];
    struct param **params = calloc((size_t)model->param_count, sizeof *params);
    (void)state;
    assert_true(arena_init(&f.arena, 64 << 20));
    for (int i = 0; i < model->param_count; i++)
        params[i] = &model->params[i];
    size_t values = optim_assign(params, model->param_count);
    for (int way = 0; way < 2; way++) {
        grads[way] = calloc(values, sizeof *grads[way]);
        tape_begin(&f.tape, &f.arena, true, grads[way]);
        struct mllm_batch batch = {
            .B = 2, .question_T = 4, .question = text, .text_T = TEXT, .text = text};
        batch.visual = tensor_view(visual, 3, (int[]){2, L, 16});
        struct tensor logits =
            way ? mllm_row_logits(&f.tape, model, &batch, NULL, rows, ROWS)
                : mllm_logits(&f.tape, model, mllm_forward(&f.tape, model, &batch, NULL), rows,
                              ROWS);
        struct tensor l = op_cross_entropy(&f.tape, logits, labels);
        tape_backward(&f.tape, l, false);
        assert_int_equal(f.tape.status, STATUS_OK);
        loss[way] = l.data[0];
    }
    assert_float_equal(loss[0], loss[1], 1e-5F);
    for (size_t i = 0; i < values; i++)
        assert_float_equal(grads[0][i], grads[1][i], 1e-3F * (1 + fabsf(grads[0][i])));
    for (int i = 0; i < model->param_count; i++)
        params[i]->grad_at = -1;
    free(grads[0]);
    free(grads[1]);
    free(params);
    arena_deinit(&f.arena);
}

/* ---- encoding and bad input ---- */

static void encoding_does_not_depend_on_the_batch(void **state)
{
    enum { IMAGES = 19, TOKENS = 17 * 16 };
    static uint8_t rgb[IMAGES][32 * 32 * 3];
    static float all[IMAGES][TOKENS], one[TOKENS];
    struct rng rng;
    (void)state;
    rng_init(&rng, 9, 0);
    for (size_t i = 0; i < sizeof rgb; i++)
        ((uint8_t *)rgb)[i] = (uint8_t)rng_below(&rng, 256);
    assert_int_equal(answer_encode(model, NULL, rgb[0], IMAGES, all[0], NULL), STATUS_OK);
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(answer_encode(model, NULL, rgb[i], 1, one, NULL), STATUS_OK);
        for (int j = 0; j < TOKENS; j++)
            assert_float_equal(all[i][j], one[j], 1e-4F);
    }
}

static void bad_asks_are_errors(void **state)
{
    static struct answer out[2];
    char long_question[3000];
    struct err err = {0};
    struct ask ask = asks[1];
    (void)state;
    memset(long_question, 'q', sizeof long_question - 1);
    long_question[sizeof long_question - 1] = 0;
    ask.question = long_question;
    assert_int_equal(answer_batch(model, NULL, &ask, 1, NEW, out, &err), STATUS_TOO_LARGE);
    ask.question = "\xC3(";
    assert_int_equal(answer_batch(model, NULL, &ask, 1, NEW, out, &err), STATUS_MALFORMED);
    ask = asks[1];
    ask.visual_count = 0;
    assert_int_equal(answer_batch(model, NULL, &ask, 1, NEW, out, &err), STATUS_SHAPE);
    assert_int_equal(answer_batch(model, NULL, asks, 1, ANSWER_IDS + 1, out, &err), STATUS_USAGE);
    assert_int_equal(answer_batch(model, NULL, asks, 0, NEW, out, &err), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_equals_its_items),
        cmocka_unit_test(the_pool_changes_nothing),
        cmocka_unit_test(completions_of_unequal_prompts_equal_the_answers),
        cmocka_unit_test(the_cache_equals_full_recomputation),
        cmocka_unit_test(option_scores_equal_full_forward),
        cmocka_unit_test(logits_of_rows_equal_those_of_all),
        cmocka_unit_test(encoding_does_not_depend_on_the_batch),
        cmocka_unit_test(bad_asks_are_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
