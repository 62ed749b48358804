// Caption scores: small cases counted by hand, the official scorer's values, odd input.
// links: task
#include "api/base/io.h"
#include "api/base/rng.h"
#include "api/wire/json.h"
#include "model/task/caption_score.h"
#include "model/task/caption_tokens.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double got, double should)
{
    if (!(fabs(got - should) < 1e-7))
        fail_msg("%.12g, should be %.12g", got, should);
}

static void add(struct caption_corpus *c, const char *candidate, const char *one, const char *two)
{
    const char *const references[] = {one, two};
    struct err err = {0};
    if (caption_corpus_add(c, candidate, references, two ? 2 : 1, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static struct caption_scores score(const struct caption_corpus *c)
{
    struct caption_scores scores;
    struct err err = {0};
    if (caption_score(c, &scores, NULL, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return scores;
}

/* One image by itself. */
static struct caption_scores score_one(const char *candidate, const char *one, const char *two)
{
    struct caption_corpus c = {0};
    add(&c, candidate, one, two);
    struct caption_scores scores = score(&c);
    caption_corpus_free(&c);
    return scores;
}

static void expect_sound(const struct caption_scores *s)
{
    for (int k = 0; k < CAPTION_ORDERS; k++)
        assert_true(s->bleu[k] >= 0 && s->bleu[k] <= 1 + 1e-9);
    assert_true(s->cider >= 0 && s->cider <= 10 + 1e-9);
    assert_true(s->rouge_l >= 0 && s->rouge_l <= 1 + 1e-9);
}

/* ---- by hand ---- */

static void bleu_clips_counts(void **state)
{
    (void)state;
    near(score_one("the the the the the the the", "the cat is on the mat", NULL).bleu[0], 2.0 / 7);
    near(score_one("a a b", "a b", "a a").bleu[0], 1); /* the best reference for each word */
    struct caption_scores s = score_one("a b c d", "a b c d", NULL);
    for (int k = 0; k < CAPTION_ORDERS; k++)
        near(s.bleu[k], 1);
    s = score_one("a b c x", "a b c d", NULL);
    near(s.bleu[0], .75);
    near(s.bleu[1], sqrt(.75 * 2 / 3));
    near(s.bleu[2], cbrt(.75 * 2 / 3 * 1 / 2));
}

static void bleu_takes_the_closest_length(void **state)
{
    (void)state;
    near(score_one("a b", "a b c d", NULL).bleu[0], exp(-1));
    near(score_one("a b", "a b c d", "a b c").bleu[0], exp(1 - 1.5));
    near(score_one("a b", "a b c", "a").bleu[0], 1); /* both as close: the shorter */
}

static void bleu_of_a_corpus_is_no_mean(void **state)
{
    (void)state;
    struct caption_corpus c = {0};
    add(&c, "a", "a", NULL);
    add(&c, "x y z", "a b c", NULL);
    near(score(&c).bleu[0], 1.0 / 4);
    caption_corpus_free(&c);
}

static void rouge_is_the_longest_common_subsequence(void **state)
{
    (void)state;
    near(score_one("a b c", "a x b", NULL).rouge_l, 2.0 / 3);
    near(score_one("a b", "b a", NULL).rouge_l, .5);
    near(score_one("a b", "a b c d", NULL).rouge_l, 2.44 * .5 / (.5 + 1.44));
    /* precision of the one reference, recall of the other */
    near(score_one("a b", "a b c d", "a").rouge_l, 1);
}

static void cider_weighs_rare_words(void **state)
{
    (void)state;
    struct caption_corpus c = {0};
    struct caption_scores each[2], total;
    add(&c, "a b", "a b", NULL); /* one and two words: orders 3 and 4 are 0 */
    add(&c, "a d", "c d", NULL); /* half of the words, none of the pairs */
    assert_int_equal(caption_score(&c, &total, each, NULL), STATUS_OK);
    near(each[0].cider, 5);
    near(each[1].cider, 1.25);
    near(total.cider, 3.125);
    caption_corpus_free(&c);
}

static void cider_clips_and_punishes_length(void **state)
{
    (void)state;
    struct caption_corpus c = {0};
    struct caption_scores each[2], total;
    add(&c, "a b b", "a b", NULL);
    add(&c, "x", "c d", NULL);
    assert_int_equal(caption_score(&c, &total, each, NULL), STATUS_OK);
    near(each[0].cider, 10 * exp(-1.0 / 72) * (2 / sqrt(10) + 1 / sqrt(2)) / 4);
    near(each[1].cider, 0);
    caption_corpus_free(&c);
}

static void cider_ignores_what_all_images_have(void **state)
{
    (void)state;
    struct caption_corpus c = {0};
    struct caption_scores each[2], total;
    add(&c, "the", "the cat", NULL);
    add(&c, "the dog", "the dog", "the");
    assert_int_equal(caption_score(&c, &total, each, NULL), STATUS_OK);
    near(each[0].cider, 0);
    near(each[1].cider, 10 * (1 + 1) / 4.0 / 2);
    near(score_one("a b", "a b", NULL).cider, 0); /* so of one image, nothing counts */
    caption_corpus_free(&c);
}

/* ---- the official scorer's values ---- */

static json *json_of(const char *text, size_t n)
{
    json *value;
    struct err err = {0};
    if (json_parse(text, n, &value, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return value;
}

static bool shared_read(const char *name, struct buf *out)
{
    char path[512];
    snprintf(path, sizeof path, "%s/caption-metrics/%s", SHARED_DATA, name);
    return io_read_file(io_posix(), path, out, NULL) == STATUS_OK;
}

static const char *tokens_of(const char *text, struct buf *out)
{
    assert_int_equal(caption_tokenize(text, out), STATUS_OK);
    return (const char *)out->data;
}

static void line_add(struct caption_corpus *c, const json *line)
{
    const char *candidate, *references[8], *text;
    const json *list;
    struct buf words = {.max = 1 << 16}, word[8];
    assert_int_equal(json_get_string(line, "candidate", 1000, &candidate, NULL), STATUS_OK);
    assert_int_equal(json_get_array(line, "refs", 8, &list, NULL), STATUS_OK);
    int n = (int)json_length(list);
    for (int i = 0; i < n; i++) {
        word[i] = (struct buf){.max = 1 << 16};
        assert_int_equal(json_string_at(list, (size_t)i, 1000, &text, NULL), STATUS_OK);
        references[i] = tokens_of(text, &word[i]);
        assert_string_equal(references[i], text); /* tokenized before: unchanged */
    }
    assert_int_equal(caption_corpus_add(c, tokens_of(candidate, &words), references, n, NULL),
                     STATUS_OK);
    buf_free(&words);
    for (int i = 0; i < n; i++)
        buf_free(&word[i]);
}

static void corpus_read(struct caption_corpus *c, const struct buf *lines)
{
    const char *at = (const char *)lines->data, *end;
    for (; (end = strchr(at, '\n')); at = end + 1) {
        json *line = json_of(at, (size_t)(end - at));
        line_add(c, line);
        json_free(line);
    }
}

static void expect_official(const json *should, const struct caption_scores *total,
                            const struct caption_scores *each, int n)
{
    const json *bleu, *images, *list[3];
    double value;
    assert_int_equal(json_get_array(should, "bleu", 4, &bleu, NULL), STATUS_OK);
    for (size_t k = 0; k < 4; k++) {
        assert_int_equal(json_number_at(bleu, k, &value, NULL), STATUS_OK);
        near(total->bleu[k], value);
    }
    assert_int_equal(json_get_number(should, "cider", 0, 10, &value, NULL), STATUS_OK);
    near(total->cider, value);
    assert_int_equal(json_get_number(should, "rouge_l", 0, 1, &value, NULL), STATUS_OK);
    near(total->rouge_l, value);
    assert_int_equal(json_get_object(should, "per_image", &images, NULL), STATUS_OK);
    assert_int_equal(json_get_array(images, "bleu4", 1000, &list[0], NULL), STATUS_OK);
    assert_int_equal(json_get_array(images, "cider", 1000, &list[1], NULL), STATUS_OK);
    assert_int_equal(json_get_array(images, "rouge_l", 1000, &list[2], NULL), STATUS_OK);
    assert_int_equal(json_length(list[1]), n);
    for (int i = 0; i < n; i++) {
        const double got[] = {each[i].bleu[3], each[i].cider, each[i].rouge_l};
        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(json_number_at(list[k], (size_t)i, &value, NULL), STATUS_OK);
            near(got[k], value);
        }
    }
}

static void scores_are_the_official_ones(void **state)
{
    (void)state;
    struct buf lines = {.max = 1 << 20}, expected = {.max = 1 << 20};
    struct caption_corpus c = {0};
    struct caption_scores total;
    if (!shared_read("captions.jsonl", &lines) || !shared_read("expected.json", &expected)) {
        print_message("no %s/caption-metrics: skipped\n", SHARED_DATA);
        buf_free(&lines);
        skip();
    }
    json *should = json_of((const char *)expected.data, expected.len);
    corpus_read(&c, &lines);
    assert_int_equal(c.count, 120);
    struct caption_scores *each = calloc((size_t)c.count, sizeof *each);
    assert_int_equal(caption_score(&c, &total, each, NULL), STATUS_OK);
    expect_official(should, &total, each, c.count);
    free(each);
    json_free(should);
    caption_corpus_free(&c);
    buf_free(&lines);
    buf_free(&expected);
}

/* ---- odd input ---- */

static void empty_captions_score_nothing(void **state)
{
    (void)state;
    static const char *const odd[] = {"", " ", "a"};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            struct caption_scores s = score_one(odd[i], odd[j], NULL);
            expect_sound(&s);
            near(s.bleu[0], i == 2 && j == 2);
            near(s.rouge_l, i == 2 && j == 2);
        }
    struct caption_scores s = score_one("a", "", "a"); /* one empty reference among others */
    near(s.bleu[0], 1);
    near(s.rouge_l, 1);
}

static void nothing_to_score_is_an_error(void **state)
{
    (void)state;
    struct caption_corpus c = {0};
    struct caption_scores total;
    struct err err = {0};
    assert_int_equal(caption_score(&c, &total, NULL, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "no captions"));
    assert_int_equal(caption_corpus_add(&c, "a", NULL, 0, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "without references"));
    caption_corpus_free(&c);
}

static void an_overlong_caption_is_left_out(void **state)
{
    (void)state;
    enum { N = CAPTION_WORDS + 1 };
    char text[2 * N + 1];
    const char *const references[] = {"a", text};
    struct caption_corpus c = {0};
    struct err err = {0};
    for (int i = 0; i < N; i++)
        memcpy(text + 2 * i, "a ", 2);
    text[2 * N] = '\0';
    add(&c, "b", "b", NULL);
    assert_int_equal(caption_corpus_add(&c, "a", references, 2, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "1024 words"));
    assert_int_equal(c.count, 1);
    text[2 * N - 2] = '\0'; /* as many as there may be */
    add(&c, text, text, NULL);
    near(score(&c).bleu[3], 1);
    caption_corpus_free(&c);
}

static void bytes_are_compared_as_they_are(void **state)
{
    (void)state;
    near(score_one("caf\xc3\xa9", "caf\xc3\xa9", NULL).bleu[0], 1);
    near(score_one("caf\xc3\xa9", "cafe", NULL).bleu[0], 0);
    near(score_one("\xff\xfe x", "\xff\xfe y", NULL).bleu[0], .5);
    near(score_one("ab c", "a bc", NULL).bleu[0], 0); /* no word runs into the next */
}

static void random_text(struct rng *rng, char *text, int words)
{
    int n = (int)rng_below(rng, (uint32_t)words);
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        char word[4] = {(char)('a' + rng_below(rng, 5)), ' ', '\0'};
        strcat(text, word);
    }
}

/* Scores are finite, in their ranges, and do not depend on the order of the images. */
static void random_captions_score_soundly(void **state)
{
    (void)state;
    enum { N = 50 };
    static char candidate[N][64], one[N][64], two[N][64];
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct caption_corpus c = {0}, back = {0};
        struct caption_scores each[N], total, turned;
        struct rng rng;
        rng_init(&rng, 11, seed);
        for (int i = 0; i < N; i++) {
            random_text(&rng, candidate[i], 12);
            random_text(&rng, one[i], 12);
            random_text(&rng, two[i], 12);
            add(&c, candidate[i], one[i], i % 3 ? two[i] : NULL);
        }
        for (int i = N - 1; i >= 0; i--)
            add(&back, candidate[i], one[i], i % 3 ? two[i] : NULL);
        assert_int_equal(caption_score(&c, &total, each, NULL), STATUS_OK);
        turned = score(&back);
        for (int i = 0; i < N; i++)
            expect_sound(&each[i]);
        expect_sound(&total);
        near(turned.cider, total.cider);
        near(turned.bleu[3], total.bleu[3]);
        caption_corpus_free(&c);
        caption_corpus_free(&back);
    }
}

static void a_hundred_thousand_captions_are_scored(void **state)
{
    (void)state;
    struct caption_corpus c = {0};
    for (int i = 0; i < 100000; i++) {
        char text[64];
        snprintf(text, sizeof text, "w%d x%d y%d z%d", i, i + 1, i + 2, i + 3);
        add(&c, i % 2 ? text : "nothing of it right", text, NULL);
    }
    struct caption_scores s = score(&c);
    near(s.bleu[0], .5);
    near(s.bleu[3], .5);
    near(s.cider, 5);
    near(s.rouge_l, .5);
    caption_corpus_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bleu_clips_counts),
        cmocka_unit_test(bleu_takes_the_closest_length),
        cmocka_unit_test(bleu_of_a_corpus_is_no_mean),
        cmocka_unit_test(rouge_is_the_longest_common_subsequence),
        cmocka_unit_test(cider_weighs_rare_words),
        cmocka_unit_test(cider_clips_and_punishes_length),
        cmocka_unit_test(cider_ignores_what_all_images_have),
        cmocka_unit_test(scores_are_the_official_ones),
        cmocka_unit_test(empty_captions_score_nothing),
        cmocka_unit_test(nothing_to_score_is_an_error),
        cmocka_unit_test(an_overlong_caption_is_left_out),
        cmocka_unit_test(bytes_are_compared_as_they_are),
        cmocka_unit_test(random_captions_score_soundly),
        cmocka_unit_test(a_hundred_thousand_captions_are_scored),
    };
    return cmocka_run_group_tests_name("caption_score", tests, NULL, NULL);
}
