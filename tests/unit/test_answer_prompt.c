/* What LLaMA and the Q-Former are given to read: a folder laid out as InstructBLIP-Vicuna's
 * (tokenizer.model, qformer_tokenizer/vocab.txt) is wrapped as those files say, the config's BOS is
 * for tokenizers without such files, and a question cannot write special tokens. */
// links: mllm
#include "model/mllm/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { VOCAB = 320, IDS = 64 };

#define CASES SOURCE_DIR "/tests/data/tokenizer"

static struct mllm_config tiny_config(const char *prompt)
{
    struct mllm_config c = {.multimodal = true, .queries = 4};
    snprintf(c.prompt, sizeof c.prompt, "%s", prompt);
    c.vision.hidden = 16, c.vision.layers = 1, c.vision.heads = 2, c.vision.ffn = 32;
    c.vision.image = 32, c.vision.patch = 8, c.vision.eps = 1e-6F, c.vision.qkv_bias = true;
    c.qformer.hidden = 16, c.qformer.layers = 2, c.qformer.heads = 2, c.qformer.ffn = 32;
    c.qformer.vocab = VOCAB, c.qformer.positions = 128, c.qformer.encoder_hidden = 16;
    c.qformer.cross_every = 2, c.qformer.eps = 1e-12F, c.qformer.text = true;
    c.text.hidden = 24, c.text.layers = 1, c.text.heads = 4, c.text.kv_heads = 2, c.text.ffn = 48;
    c.text.vocab = VOCAB, c.text.positions = 256, c.text.eps = 1e-6F, c.text.theta = 10000;
    c.text.bos = 5, c.text.eos = 2, c.text.pad = 0; /* no BOS that any file names */
    return c;
}

static void link_into(const char *dir, const char *name, const char *target)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(symlink(target, path), 0);
}

static void remove_all(const char *dir)
{
    static const char *const names[] = {"config.json",       "model.safetensors",
                                        "tokenizer.model",   "tokenizer.json",
                                        "qformer_tokenizer", "preprocessor_config.json"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* A model folder with a tokenizer of the cases, and another for the Q-Former (NULL: the same). */
static struct mllm *load(const char *prompt, const char *file, const char *target,
                         const char *qformer)
{
    char dir[] = "/tmp/cdcca-test-XXXXXX";
    struct mllm_config config = tiny_config(prompt);
    struct mllm *made = NULL, *loaded = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mllm_create(&config, 3, &made, &err), STATUS_OK);
    assert_int_equal(mllm_save(io_posix(), made, dir, DTYPE_F32, &err), STATUS_OK);
    mllm_release(made);
    link_into(dir, file, target);
    if (qformer)
        link_into(dir, "qformer_tokenizer", qformer);
    if (mllm_load(io_posix(), dir, &loaded, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    remove_all(dir);
    return loaded;
}

static void expect_ids(const int32_t *ids, int count, const int32_t *want, int want_count)
{
    assert_int_equal(count, want_count);
    assert_memory_equal(ids, want, (size_t)count * sizeof *ids);
}

#define EXPECT(ids, count, ...)                                                                    \
    expect_ids(ids, count, (const int32_t[]){__VA_ARGS__},                                         \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void both_tokenizers_wrap_what_they_read(void **state)
{
    int32_t text[IDS], question[IDS];
    int texts = 0, questions = 0;
    (void)state;
    struct mllm *m = load("ab {question}", "tokenizer.model", CASES "/model_bpe/tokenizer.model",
                          CASES "/vocab_bert");
    assert_int_equal(answer_prompt(m, "a", text, &texts, question, &questions, IDS, NULL),
                     STATUS_OK);
    EXPECT(text, texts, 1, 8, 3, 4);       /* <s> _ab _ a: the file's BOS, not the config's */
    EXPECT(question, questions, 2, 14, 3); /* [CLS] a [SEP] */
    assert_int_equal(answer_target(m, "a", text, &texts, IDS, NULL), STATUS_OK);
    EXPECT(text, texts, 3, 4, 2); /* _ a </s>: one blank, which the tokenizer puts */
    mllm_release(m);
}

static void special_tokens_count_in_the_template_alone(void **state)
{
    int32_t text[IDS], question[IDS];
    int texts = 0, questions = 0;
    (void)state;
    struct mllm *m = load("ab</s>{question}</s>", "tokenizer.model",
                          CASES "/model_bpe/tokenizer.model", CASES "/vocab_bert");
    assert_int_equal(answer_prompt(m, "</s>a", text, &texts, question, &questions, IDS, NULL),
                     STATUS_OK);
    EXPECT(text, texts, 1, 8, 2, 3, 0, 4, 2);
    assert_int_equal(answer_prompt(m, "[SEP]", text, &texts, question, &questions, IDS, NULL),
                     STATUS_OK);
    EXPECT(question, questions, 2, 1, 1, 1, 3); /* [CLS] [UNK] x 3 [SEP] */
    mllm_release(m);
}

static void without_a_template_the_config_gives_bos(void **state)
{
    int32_t text[IDS], question[IDS];
    int texts = 0, questions = 0;
    (void)state;
    struct mllm *m = load("{question}", "tokenizer.json", CASES "/json_gpt2/tokenizer.json", NULL);
    assert_int_equal(answer_prompt(m, "ab", text, &texts, question, &questions, IDS, NULL),
                     STATUS_OK);
    EXPECT(text, texts, 5, 256);
    EXPECT(question, questions, 256);
    assert_int_equal(answer_target(m, "ab", text, &texts, IDS, NULL), STATUS_OK);
    EXPECT(text, texts, 257, 2); /* " ab" */
    mllm_release(m);
}

/* A chat's history is longer than a question. */
static void a_long_prompt_is_read(void **state)
{
    enum { LONG = 5000 };
    static int32_t text[LONG + 8], question[LONG + 8];
    static char prompt[LONG + 1];
    int texts = 0, questions = 0;
    (void)state;
    struct mllm *m = load("{question}", "tokenizer.json", CASES "/json_gpt2/tokenizer.json", NULL);
    m->config.multimodal = false;
    for (int i = 0; i < LONG; i++)
        prompt[i] = i % 2 ? ' ' : 'b';
    assert_int_equal(answer_prompt(m, prompt, text, &texts, question, &questions, LONG + 8, NULL),
                     STATUS_OK);
    assert_true(texts > 2048);
    mllm_release(m);
}

static void a_prompt_that_does_not_fit_is_refused(void **state)
{
    int32_t text[IDS], question[IDS];
    int texts = 0, questions = 0;
    struct err err = {0};
    (void)state;
    struct mllm *m = load("{question}", "tokenizer.model", CASES "/model_bpe/tokenizer.model",
                          CASES "/vocab_bert");
    for (int max = 0; max < 4; max++)
        assert_int_equal(answer_prompt(m, "a a", text, &texts, question, &questions, max, &err),
                         STATUS_TOO_LARGE);
    mllm_release(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_tokenizers_wrap_what_they_read),
        cmocka_unit_test(special_tokens_count_in_the_template_alone),
        cmocka_unit_test(without_a_template_the_config_gives_bos),
        cmocka_unit_test(a_long_prompt_is_read),
        cmocka_unit_test(a_prompt_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
