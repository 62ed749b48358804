/* VQA accuracy (see vqa_score.h). */
#include "model/task/vqa_score.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 4096, CHOICES_MAX = 64, ANSWERS_MAX = 64 };

/* ---- one answer ---- */

double vqa_accuracy(const char *prediction, const char *const *answers, int n)
{
    int matches = 0;
    for (int i = 0; i < n; i++)
        matches += strcmp(prediction, answers[i]) == 0;
    return matches < 3 ? matches / 3.0 : 1.0;
}

static const char *const PUNCTUATION = ";:/'[]\"()=+\\_><@`,?";

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool has_thousands(const char *text)
{
    for (const char *at = text; (at = strchr(at, ',')); at++)
        if (at > text && is_digit(at[-1]) && is_digit(at[1]))
            return true;
    return false;
}

/* Whether the mark has a blank beside it somewhere in the text: then it goes without a trace. */
static bool stands_apart(const char *text, char mark)
{
    for (const char *at = text; (at = strchr(at, mark)); at++)
        if (at[1] == ' ' || (at > text && at[-1] == ' '))
            return true;
    return false;
}

static enum status punctuation_off(const char *text, struct buf *out)
{
    bool thousands = has_thousands(text), gone[128] = {false};
    for (const char *p = PUNCTUATION; *p; p++)
        gone[(unsigned char)*p] = thousands || stands_apart(text, *p);
    buf_clear(out);
    for (const char *at = text; *at; at++) {
        bool mark = strchr(PUNCTUATION, *at) != NULL;
        if ((mark && gone[(unsigned char)*at]) || (*at == '.' && !is_digit(at[1])))
            continue;
        TRY(buf_append(out, mark ? " " : at, 1));
    }
    return buf_append(out, "", 0);
}

static const char *word_value(const char *word)
{
    static const char *const names[] = {"zero", "one",   "two",   "three", "four", "five",
                                        "six",  "seven", "eight", "nine",  "ten"};
    static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
    if (strcmp(word, "a") == 0 || strcmp(word, "an") == 0 || strcmp(word, "the") == 0)
        return NULL;
    if (strcmp(word, "none") == 0)
        return "0";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(word, names[i]) == 0)
            return digits[i];
    return word;
}

enum status vqa_normalize(const char *text, struct buf *out)
{
    struct buf plain = {.max = out->max};
    char *rest = NULL;
    enum status status = punctuation_off(text, &plain);
    buf_clear(out);
    for (size_t i = 0; i < plain.len; i++)
        plain.data[i] =
            (unsigned char)(plain.data[i] < 0x80 ? tolower(plain.data[i]) : plain.data[i]);
    char *word = status == STATUS_OK ? strtok_r((char *)plain.data, " \t\r\n\v\f", &rest) : NULL;
    for (; word && status == STATUS_OK; word = strtok_r(NULL, " \t\r\n\v\f", &rest)) {
        const char *value = word_value(word);
        if (value && out->len > 0)
            status = buf_append(out, " ", 1);
        if (value && status == STATUS_OK)
            status = buf_append(out, value, strlen(value));
    }
    buf_free(&plain);
    return status == STATUS_OK ? buf_append(out, "", 0) : status;
}

/* ---- a file of them ---- */

struct question {
    const char *id, *choice[CHOICES_MAX], *answer[ANSWERS_MAX];
    int choices, answers;
    int64_t correct;
    bool difficult;
};

static enum status texts_read(const json *value, const char *key, int max, const char **out, int *n,
                              struct err *err)
{
    const json *list;
    TRY(json_get_array(value, key, (size_t)max, &list, err));
    *n = (int)json_length(list);
    for (int i = 0; i < *n; i++)
        if (json_string_at(list, (size_t)i, TEXT_MAX, &out[i], err) != STATUS_OK)
            return err_prefix(err, "\"%s\"", key);
    return *n > 0 ? STATUS_OK : err_set(err, STATUS_MALFORMED, "\"%s\" is empty", key);
}

static enum status question_read(const json *value, struct question *q, struct err *err)
{
    q->difficult = false;
    TRY(json_get_string(value, "question_id", TEXT_MAX, &q->id, err));
    TRY(texts_read(value, "choices", CHOICES_MAX, q->choice, &q->choices, err));
    TRY(json_get_int(value, "correct_choice_idx", 0, q->choices - 1, &q->correct, err));
    TRY(texts_read(value, "direct_answers", ANSWERS_MAX, q->answer, &q->answers, err));
    return json_opt_bool(value, "difficult_direct_answer", &q->difficult, err);
}

static void choice_tally(const struct question *q, const char *prediction, struct vqa_scores *s)
{
    bool valid = false;
    s->mc_questions++;
    if (!prediction) {
        s->mc_missing++;
        return;
    }
    s->has_mc = true;
    for (int i = 0; i < q->choices; i++)
        valid |= strcmp(prediction, q->choice[i]) == 0;
    s->mc_invalid += !valid;
    s->mc += strcmp(prediction, q->choice[q->correct]) == 0;
}

static enum status normal_accuracy(const char *prediction, const struct question *q, double *out)
{
    struct buf said = {.max = TEXT_MAX}, one = {.max = TEXT_MAX};
    int matches = 0;
    enum status status = vqa_normalize(prediction, &said);
    for (int i = 0; i < q->answers && status == STATUS_OK; i++) {
        status = vqa_normalize(q->answer[i], &one);
        matches += status == STATUS_OK && strcmp((char *)said.data, (char *)one.data) == 0;
    }
    *out = matches < 3 ? matches / 3.0 : 1.0;
    buf_free(&said);
    buf_free(&one);
    return status;
}

static enum status answer_tally(const struct question *q, const char *prediction, bool normalize,
                                struct vqa_scores *s, struct err *err)
{
    double accuracy = 0;
    s->has_da |= prediction != NULL;
    if (q->difficult)
        return STATUS_OK;
    s->da_questions++;
    s->da_missing += prediction == NULL;
    if (prediction && normalize) {
        enum status status = normal_accuracy(prediction, q, &accuracy);
        if (status != STATUS_OK)
            return err_set(err, status, "no memory to compare answers");
    } else if (prediction) {
        accuracy = vqa_accuracy(prediction, q->answer, q->answers);
    }
    s->da += accuracy;
    return STATUS_OK;
}

static enum status question_tally(const struct question *q, const json *predictions, bool normalize,
                                  struct vqa_scores *s, struct err *err)
{
    const json *prediction = NULL;
    const char *choice = NULL, *answer = NULL;
    TRY(json_opt_object(predictions, q->id, &prediction, err));
    if (prediction) {
        enum status status = json_opt_string(prediction, "multiple_choice", TEXT_MAX, &choice, err);
        if (status == STATUS_OK)
            status = json_opt_string(prediction, "direct_answer", TEXT_MAX, &answer, err);
        if (status != STATUS_OK)
            return err_prefix(err, "prediction for %.60s", q->id);
    }
    choice_tally(q, choice, s);
    return answer_tally(q, answer, normalize, s, err);
}

static enum status questions_tally(const json *annotations, const json *predictions, json *seen,
                                   bool normalize, struct vqa_scores *s, struct err *err)
{
    for (size_t i = 0; i < json_length(annotations); i++) {
        struct question q;
        if (question_read(json_at(annotations, i), &q, err) != STATUS_OK)
            return err_prefix(err, "annotation %zu", i);
        if (json_has(seen, q.id))
            return err_set(err, STATUS_CONFLICT, "annotation %zu: question_id %.60s is there twice",
                           i, q.id);
        if (!json_set_bool(seen, q.id, true))
            return err_set(err, STATUS_NO_MEMORY, "no memory to score");
        TRY(question_tally(&q, predictions, normalize, s, err));
        s->questions++;
    }
    return STATUS_OK;
}

enum status vqa_score(const json *annotations, const json *predictions, bool normalize,
                      struct vqa_scores *out, struct err *err)
{
    *out = (struct vqa_scores){0};
    if (json_is_object(annotations) || json_length(annotations) == 0)
        return err_set(err, STATUS_MALFORMED,
                       "annotations are an array of questions, at least one");
    if (!json_is_object(predictions))
        return err_set(err, STATUS_MALFORMED, "predictions are an object: {question_id: {..}, ..}");
    json *seen = json_object_new();
    if (!seen)
        return err_set(err, STATUS_NO_MEMORY, "no memory to score");
    enum status status = questions_tally(annotations, predictions, seen, normalize, out, err);
    json_free(seen);
    TRY(status);
    if (!out->has_mc && !out->has_da)
        return err_set(err, STATUS_MALFORMED,
                       "no question has a prediction: multiple_choice or direct_answer");
    out->mc = 100 * out->mc / out->mc_questions;
    out->da = out->da_questions ? 100 * out->da / out->da_questions : 0;
    return STATUS_OK;
}
