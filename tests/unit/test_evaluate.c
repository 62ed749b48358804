// Evaluation: what counts as the same answer, and scores that agree with answers taken one by one.
// links: task
#include "model/task/caption_tokens.h"
#include "model/task/evaluate.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A toy model with random weights and a tokenizer of its own. */
static struct mllm *model_of(uint64_t seed)
{
    static const char *const texts[] = {"what color is the circle?", "red", "green", "yes", "no"};
    static const char *const specials[] = {"<pad>", "<s>", "</s>"};
    struct mllm_config config = {.multimodal = true,
                                 .vision = {16, 1, 2, 32, 64, 16, 1e-6f, true},
                                 .qformer = {16, 2, 2, 32, 300, 128, 16, 2, 1e-12f, true},
                                 .text = {16, 1, 2, 2, 32, 300, 256, 1e-5f, 10000.f, true, 1, 2, 0},
                                 .queries = 4,
                                 .prompt = "{question}"};
    char dir[] = "/tmp/test-evaluate-XXXXXX", path[64];
    struct tokenizer *tokenizer;
    struct mllm *model;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(tokenizer_train(io_posix(), dir, texts, 5, 270, specials, 3, &err), STATUS_OK);
    assert_int_equal(tokenizer_load(io_posix(), dir, &tokenizer, &err), STATUS_OK);
    if (mllm_create(&config, seed, &model, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    model->tokenizer = tokenizer;
    model->qformer_tokenizer = tokenizer_retain(tokenizer);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    unlink(path);
    rmdir(dir);
    return model;
}

static bool equal(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void expect_equal(const struct evaluation *a, const struct evaluation *b)
{
    for (int k = 0; k < KINDS; k++) {
        assert_int_equal(a->kind[k].count, b->kind[k].count);
        assert_true(equal(a->kind[k].mc, b->kind[k].mc) && equal(a->kind[k].da, b->kind[k].da));
    }
    assert_int_equal(a->five.count, b->five.count);
    assert_int_equal(a->new_concepts.count, b->new_concepts.count);
    assert_true(equal(a->all.mc, b->all.mc) && equal(a->all.da, b->all.da));
    assert_true(equal(a->new_concepts.mc, b->new_concepts.mc));
    assert_true(fabs(a->entropy - b->entropy) < 1e-6);
}

/* ---- the same answer ---- */

static void same_answers_are_seen_through_their_spelling(void **state)
{
    (void)state;
    assert_true(evaluate_same("red circle", "Red  circle."));
    assert_true(evaluate_same("the red circle", "a red circle"));
    assert_true(evaluate_same(" yes", "yes!"));
    assert_true(evaluate_same("", "the"));
    assert_false(evaluate_same("red", "red circle"));
    assert_false(evaluate_same("light green", "green"));
    assert_false(evaluate_same("redcircle", "red circle"));
    assert_false(evaluate_same("", "no"));
    assert_false(evaluate_same("theater", "ater"));
}

static void long_answers_are_safe_to_compare(void **state)
{
    (void)state;
    char *text = malloc(5000);
    memset(text, 'a', 4999);
    text[4999] = '\0';
    assert_true(evaluate_same(text, text));
    assert_false(evaluate_same(text, "a a"));
    free(text);
}

/* ---- scores ---- */

static void scores_agree_with_answers_one_by_one(void **state)
{
    (void)state;
    enum { N = 60 };
    struct mllm *m = model_of(3);
    struct evaluation e;
    struct stream *stream;
    struct err err = {0};
    struct sample s;
    int mc = 0, da = 0, five = 0, new_concepts = 0;
    size_t tokens = (size_t)(1 + 16) * 16;
    float *visual = malloc(tokens * sizeof *visual);
    assert_int_equal(evaluate(m, NULL, "world:target", 9, N, true, &e, &err), STATUS_OK);
    assert_int_equal(stream_open(io_posix(), "world:target", 64, 9, &stream, &err), STATUS_OK);
    for (int i = 0; i < N; i++) {
        struct answer answer;
        assert_int_equal(stream_next(stream, &s, &err), STATUS_OK);
        assert_int_equal(answer_encode(m, NULL, s.pixels, 1, visual, &err), STATUS_OK);
        struct ask ask = {.visual = visual, .visual_count = 17, .question = s.question.text};
        for (ask.options = 0; ask.options < s.question.options; ask.options++)
            ask.option[ask.options] = s.question.option[ask.options];
        assert_int_equal(answer_batch(m, NULL, &ask, 1, 16, &answer, &err), STATUS_OK);
        mc += answer.choice == s.question.answer_option;
        da += evaluate_same(answer.text, s.question.answer);
        five += s.question.kind <= KIND_EXIST;
        new_concepts += s.question.kind <= KIND_EXIST && s.question.new_concept;
    }
    assert_int_equal(e.all.count, N);
    assert_int_equal(e.all.choices, N);
    assert_int_equal(e.five.count, five);
    assert_int_equal(e.new_concepts.count, new_concepts);
    assert_true(equal(e.all.mc, 100.0 * mc / N));
    assert_true(equal(e.all.da, 100.0 * da / N));
    assert_true(e.entropy > 0);
    stream_close(stream);
    free(visual);
    mllm_release(m);
}

static void a_kept_set_scores_as_a_streamed_one(void **state)
{
    (void)state;
    struct mllm *m = model_of(3), *other = model_of(4);
    struct evaluation streamed, kept, threaded;
    struct evalset *set;
    struct pool *pool;
    struct err err = {0};
    assert_int_equal(pool_create(2, &pool, &err), STATUS_OK);
    assert_int_equal(evaluate(m, NULL, "world:all", 1, 150, true, &streamed, &err), STATUS_OK);
    assert_int_equal(evaluate(m, pool, "world:all", 1, 150, true, &threaded, &err), STATUS_OK);
    assert_int_equal(evalset_create(m, NULL, "world:all", 1, 150, &set, &err), STATUS_OK);
    assert_int_equal(evalset_score(set, m, pool, &kept, &err), STATUS_OK);
    expect_equal(&streamed, &kept);
    expect_equal(&streamed, &threaded);
    assert_int_equal(evalset_score(set, other, NULL, &kept, &err), STATUS_WRONG_BASE);
    assert_non_null(strstr(err.text, "encoder"));
    evalset_destroy(set);
    pool_destroy(pool);
    mllm_release(m);
    mllm_release(other);
}

static void captions_count_by_themselves(void **state)
{
    (void)state;
    struct mllm *m = model_of(3);
    struct evaluation e;
    struct err err = {0};
    assert_int_equal(evaluate(m, NULL, "world:source/caption", 1, 10, true, &e, &err), STATUS_OK);
    assert_int_equal(e.kind[KIND_CAPTION].count, 10);
    assert_int_equal(e.kind[KIND_CAPTION].choices, 0);
    assert_int_equal(e.all.count, 0);
    assert_int_equal(e.captions.count, 10);
    assert_int_equal(e.captions_new.count, 0); /* the source has none */
    assert_true(e.captions_new.scores.cider == 0.0);
    assert_int_equal(evaluate(m, NULL, "world:source/color", 1, 10, true, &e, &err), STATUS_OK);
    assert_int_equal(e.captions.count, 0);
    mllm_release(m);
}

/* A caption's answer and its scene's references, as words. */
static void caption_add(struct caption_corpus *c, const struct sample *s, const char *caption)
{
    char text[WORLD_REFERENCES][WORLD_CAPTION];
    const char *references[WORLD_REFERENCES];
    struct buf words[WORLD_REFERENCES + 1] = {0};
    world_captions(&s->scene, text);
    for (int i = 0; i <= WORLD_REFERENCES; i++) {
        words[i].max = 1 << 12;
        assert_int_equal(caption_tokenize(i ? text[i - 1] : caption, &words[i]), STATUS_OK);
        if (i)
            references[i - 1] = (const char *)words[i].data;
    }
    assert_int_equal(
        caption_corpus_add(c, (const char *)words[0].data, references, WORLD_REFERENCES, NULL),
        STATUS_OK);
    for (int i = 0; i <= WORLD_REFERENCES; i++)
        buf_free(&words[i]);
}

static void caption_scores_agree_with_captions_one_by_one(void **state)
{
    (void)state;
    enum { N = 30 };
    static const char spec[] = "world:target/caption";
    struct mllm *m;
    struct caption_corpus all = {0}, about_new = {0};
    struct caption_scores scores;
    struct evaluation e, kept;
    struct evalset *set;
    struct stream *stream;
    struct sample s;
    /* random weights caption nothing right */
    assert_int_equal(mllm_load(io_posix(), SOURCE_DIR "/models/student", &m, NULL), STATUS_OK);
    size_t side = (size_t)(m->config.vision.image / m->config.vision.patch), L = 1 + side * side;
    float *visual = malloc(L * (size_t)m->config.vision.hidden * sizeof *visual);
    assert_int_equal(evaluate(m, NULL, spec, 9, N, true, &e, NULL), STATUS_OK);
    assert_int_equal(evalset_create(m, NULL, spec, 9, N, &set, NULL), STATUS_OK);
    assert_int_equal(evalset_score(set, m, NULL, &kept, NULL), STATUS_OK);
    assert_int_equal(stream_open(io_posix(), spec, 64, 9, &stream, NULL), STATUS_OK);
    for (int i = 0; i < N; i++) {
        struct answer answer;
        assert_int_equal(stream_next(stream, &s, NULL), STATUS_OK);
        assert_int_equal(answer_encode(m, NULL, s.pixels, 1, visual, NULL), STATUS_OK);
        struct ask ask = {.visual = visual, .visual_count = (int)L, .question = s.question.text};
        assert_int_equal(answer_batch(m, NULL, &ask, 1, ANSWER_IDS, &answer, NULL), STATUS_OK);
        caption_add(&all, &s, answer.text);
        if (s.question.new_concept)
            caption_add(&about_new, &s, answer.text);
    }
    assert_int_equal(caption_score(&all, &scores, NULL, NULL), STATUS_OK);
    assert_true(equal(scores.bleu[0], e.captions.scores.bleu[0]) && scores.bleu[0] > .1);
    assert_true(equal(scores.cider, e.captions.scores.cider));
    assert_true(equal(scores.rouge_l, kept.captions.scores.rouge_l));
    assert_int_equal(e.captions_new.count, about_new.count);
    assert_in_range(about_new.count, 1, N - 1);
    assert_int_equal(caption_score(&about_new, &scores, NULL, NULL), STATUS_OK);
    assert_true(equal(scores.cider, kept.captions_new.scores.cider));
    caption_corpus_free(&all);
    caption_corpus_free(&about_new);
    evalset_destroy(set);
    stream_close(stream);
    free(visual);
    mllm_release(m);
}

static void write_text(const char *dir, const char *name, const void *data, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    fclose(file);
}

static void directories_count_what_is_answered(void **state)
{
    (void)state;
    static const char lines[] = "{\"image\":\"a.png\",\"question\":\"what?\"}\n"
                                "{\"image\":\"a.png\",\"question\":\"what?\",\"answer\":\"red\"}\n"
                                "{\"image\":\"a.png\",\"question\":\"what?\",\"answer\":\"no\","
                                "\"choices\":[\"yes\",\"no\"]}\n";
    char dir[] = "/tmp/test-evaluate-XXXXXX", path[64];
    struct buf png = {.max = 1 << 16};
    struct mllm *m = model_of(3);
    struct evaluation e;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(image_encode_png((const uint8_t[]){1, 2, 3}, 1, 1, &png, NULL), STATUS_OK);
    write_text(dir, "a.png", png.data, png.len);
    write_text(dir, "questions.jsonl", lines, sizeof lines - 1);
    assert_int_equal(evaluate(m, NULL, dir, 1, 1000, true, &e, &err), STATUS_OK);
    assert_int_equal(e.all.count, 2);
    assert_int_equal(e.all.choices, 1);
    assert_int_equal(e.five.count, 0);
    write_text(dir, "questions.jsonl", "{}\n", 3);
    assert_int_equal(evaluate(m, NULL, dir, 1, 1000, true, &e, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "line 1"));
    snprintf(path, sizeof path, "%s/a.png", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/questions.jsonl", dir);
    unlink(path);
    rmdir(dir);
    buf_free(&png);
    mllm_release(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_answers_are_seen_through_their_spelling),
        cmocka_unit_test(long_answers_are_safe_to_compare),
        cmocka_unit_test(scores_agree_with_answers_one_by_one),
        cmocka_unit_test(a_kept_set_scores_as_a_streamed_one),
        cmocka_unit_test(captions_count_by_themselves),
        cmocka_unit_test(caption_scores_agree_with_captions_one_by_one),
        cmocka_unit_test(directories_count_what_is_answered),
    };
    return cmocka_run_group_tests_name("evaluate", tests, NULL, NULL);
}
