// VQA accuracy: by hand, and the A-OKVQA scorer's values.
// links: task
#include "api/base/io.h"
#include "model/task/vqa_score.h"
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
    if (!(fabs(got - should) < 1e-9))
        fail_msg("%.12g, should be %.12g", got, should);
}

static json *json_of(const char *text, size_t n)
{
    json *value;
    struct err err = {0};
    if (json_parse(text, n, &value, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return value;
}

/* ---- one answer ---- */

static void three_matches_are_a_right_answer(void **state)
{
    (void)state;
    static const char *const answers[] = {"red", "red", "Red", "red ", "blue", "red", "red"};
    near(vqa_accuracy("red", answers, 1), 1 / 3.0);
    near(vqa_accuracy("red", answers, 5), 2 / 3.0);
    near(vqa_accuracy("red", answers, 6), 1);
    near(vqa_accuracy("red", answers, 7), 1);
    near(vqa_accuracy("green", answers, 7), 0);
    near(vqa_accuracy("red", answers, 0), 0);
}

static void expect_normal(const char *text, const char *should)
{
    struct buf out = {.max = 256};
    assert_int_equal(vqa_normalize(text, &out), STATUS_OK);
    assert_string_equal((const char *)out.data, should);
    buf_free(&out);
}

static void spelling_is_normalized_as_in_vqa(void **state)
{
    (void)state;
    expect_normal("The Dog.", "dog");
    expect_normal(" two  cats\n", "2 cats");
    expect_normal("none", "0");
    expect_normal("1,000", "1000");
    expect_normal("red,blue", "red blue");
    expect_normal("red , blue", "red blue");
    expect_normal("red, or-ange", "red or-ange");
    expect_normal("3.5 m.", "3.5 m");
    expect_normal("caf\xc3\x89!", "caf\xc3\x89!");
    expect_normal("a an the", "");
    expect_normal("", "");
}

/* ---- files of them ---- */

#define Q(id, more)                                                                                \
    "{\"question_id\":\"" id "\",\"choices\":[\"cab\",\"bus\"],\"correct_choice_idx\":1,"          \
    "\"direct_answers\":[\"bus\",\"bus\",\"bus\",\"a bus\"]" more "}"

static enum status score(const char *annotations, const char *predictions, bool normalize,
                         struct vqa_scores *out, struct err *err)
{
    json *a = json_of(annotations, strlen(annotations));
    json *p = json_of(predictions, strlen(predictions));
    enum status status = vqa_score(a, p, normalize, out, err);
    json_free(a);
    json_free(p);
    return status;
}

static void questions_are_counted_by_kind(void **state)
{
    (void)state;
    static const char annotations[] = "[" Q("a", "") "," Q("b", "") "," Q("c", "") "," Q(
        "d", ",\"difficult_direct_answer\":true") "]";
    static const char predictions[] =
        "{\"a\":{\"multiple_choice\":\"bus\",\"direct_answer\":\"a bus\"},"
        "\"b\":{\"multiple_choice\":\"Bus\"},"
        "\"d\":{\"multiple_choice\":\"cab\",\"direct_answer\":\"bus\"},\"other\":{}}";
    struct vqa_scores s;
    struct err err = {0};
    if (score(annotations, predictions, false, &s, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(s.questions, 4);
    assert_int_equal(s.mc_questions, 4);
    assert_int_equal(s.mc_missing, 1);
    assert_int_equal(s.mc_invalid, 1);
    assert_int_equal(s.da_questions, 3);
    assert_int_equal(s.da_missing, 2);
    near(s.mc, 25);
    near(s.da, 100 / 9.0);
    assert_int_equal(score(annotations, predictions, true, &s, &err), STATUS_OK);
    near(s.da, 100 / 3.0);
}

static void bad_files_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *annotations, *predictions, *says;
        enum status status;
    } cases[] = {
        {"[]", "{}", "at least one", STATUS_MALFORMED},
        {"{}", "{}", "array", STATUS_MALFORMED},
        {"[" Q("a", "") "]", "[]", "object", STATUS_MALFORMED},
        {"[" Q("a", "") "]", "{}", "no question has a prediction", STATUS_MALFORMED},
        {"[" Q("a", "") "]", "{\"a\":{\"answer\":\"x\"}}", "no question has", STATUS_MALFORMED},
        {"[" Q("a", "") "]", "{\"a\":{\"direct_answer\":3}}", "for a", STATUS_MALFORMED},
        {"[" Q("a", "") "]", "{\"a\":3}", "\"a\"", STATUS_MALFORMED},
        {"[" Q("a", "") "," Q("a", "") "]", "{}", "twice", STATUS_CONFLICT},
        {"[3]", "{}", "annotation 0", STATUS_MALFORMED},
        {"[{\"question_id\":\"a\",\"choices\":[\"x\"],\"correct_choice_idx\":1}]", "{}",
         "correct_choice_idx", STATUS_MALFORMED},
        {"[{\"question_id\":\"a\",\"choices\":[],\"correct_choice_idx\":0}]", "{}", "empty",
         STATUS_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vqa_scores s;
        struct err err = {0};
        enum status status = score(cases[i].annotations, cases[i].predictions, false, &s, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %s: %s", i, status_name(status), err.text);
    }
}

/* ---- the official scorer's values ---- */

static const char *text_at(const json *question, const char *key, size_t i)
{
    const json *list;
    const char *text;
    assert_int_equal(json_get_array(question, key, 10, &list, NULL), STATUS_OK);
    assert_int_equal(json_string_at(list, i, 1000, &text, NULL), STATUS_OK);
    return text;
}

static const char *first_choice(const json *q, size_t i)
{
    (void)i;
    return text_at(q, "choices", 0);
}

static const char *correct_choice(const json *q, size_t i)
{
    int64_t correct;
    (void)i;
    assert_int_equal(json_get_int(q, "correct_choice_idx", 0, 3, &correct, NULL), STATUS_OK);
    return text_at(q, "choices", (size_t)correct);
}

static const char *choice_in_turn(const json *q, size_t i)
{
    return text_at(q, "choices", i % 4);
}

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static const char *longest_choice(const json *q, size_t i)
{
    const char *longest = text_at(q, "choices", 0);
    (void)i;
    for (size_t k = 1; k < 4; k++)
        if (characters(text_at(q, "choices", k)) > characters(longest))
            longest = text_at(q, "choices", k);
    return longest;
}

static const char *always_yes(const json *q, size_t i)
{
    (void)q, (void)i;
    return "yes";
}

static const char *first_answer(const json *q, size_t i)
{
    (void)i;
    return text_at(q, "direct_answers", 0);
}

static const char *frequent_answer(const json *q, size_t i)
{
    const char *best = NULL;
    int most = 0;
    (void)i;
    for (size_t k = 0; k < 10; k++) {
        int count = 0;
        for (size_t j = 0; j < 10; j++)
            count += strcmp(text_at(q, "direct_answers", k), text_at(q, "direct_answers", j)) == 0;
        if (count > most) {
            most = count;
            best = text_at(q, "direct_answers", k);
        }
    }
    return best;
}

static const struct {
    const char *group, *name, *field;
    const char *(*answer)(const json *, size_t);
} baselines[] = {
    {"multiple_choice", "first_choice", "multiple_choice", first_choice},
    {"multiple_choice", "correct_choice", "multiple_choice", correct_choice},
    {"multiple_choice", "choice_i_mod_4", "multiple_choice", choice_in_turn},
    {"multiple_choice", "longest_choice_first_on_tie", "multiple_choice", longest_choice},
    {"direct_answer", "always_yes", "direct_answer", always_yes},
    {"direct_answer", "direct_answer_0", "direct_answer", first_answer},
    {"direct_answer", "correct_choice", "direct_answer", correct_choice},
    {"direct_answer", "most_frequent_first_on_tie", "direct_answer", frequent_answer},
};

static json *predictions_of(const json *annotations, size_t b)
{
    json *all = json_object_new();
    for (size_t i = 0; i < json_length(annotations); i++) {
        const json *q = json_at(annotations, i);
        const char *id;
        json *one = json_object_new();
        assert_int_equal(json_get_string(q, "question_id", 100, &id, NULL), STATUS_OK);
        assert_true(json_set_string(one, baselines[b].field, baselines[b].answer(q, i)));
        assert_true(json_set_take(all, id, one));
    }
    return all;
}

static json *shared_read(const char *name)
{
    char path[512];
    struct buf text = {.max = 1 << 22};
    snprintf(path, sizeof path, "%s/aokvqa/%s", SHARED_DATA, name);
    json *value = NULL;
    if (io_read_file(io_posix(), path, &text, NULL) == STATUS_OK)
        value = json_of((const char *)text.data, text.len);
    buf_free(&text);
    return value;
}

static void scores_are_the_official_ones(void **state)
{
    (void)state;
    json *annotations = shared_read("aokvqa_v1p0_val.json"), *should = shared_read("expected.json");
    if (!annotations || !should) {
        print_message("no %s/aokvqa: skipped\n", SHARED_DATA);
        json_free(annotations);
        json_free(should);
        skip();
    }
    for (size_t b = 0; b < sizeof baselines / sizeof *baselines; b++) {
        json *predictions = predictions_of(annotations, b);
        const json *group;
        struct vqa_scores s;
        double value;
        assert_int_equal(vqa_score(annotations, predictions, false, &s, NULL), STATUS_OK);
        assert_int_equal(json_get_object(should, baselines[b].group, &group, NULL), STATUS_OK);
        assert_int_equal(json_get_number(group, baselines[b].name, 0, 100, &value, NULL),
                         STATUS_OK);
        near(s.has_mc ? s.mc : s.da, value);
        assert_int_equal(s.mc_questions, 1145);
        assert_int_equal(s.da_questions, 1075);
        json_free(predictions);
    }
    json_free(annotations);
    json_free(should);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_matches_are_a_right_answer),
        cmocka_unit_test(spelling_is_normalized_as_in_vqa),
        cmocka_unit_test(questions_are_counted_by_kind),
        cmocka_unit_test(bad_files_are_refused_by_name),
        cmocka_unit_test(scores_are_the_official_ones),
    };
    return cmocka_run_group_tests_name("vqa_score", tests, NULL, NULL);
}
