/* Accuracy of answers to questions with several human answers, as the A-OKVQA scorer computes it
 * (github.com/allenai/aokvqa, evaluation/eval_predictions.py): multiple choice, the exact choice;
 * direct answer, min(1, matches / 3), questions marked difficult_direct_answer left out. A question
 * without a prediction counts as wrong. That scorer compares texts byte by byte.
 *
 * Left out of VQA-v2's scorer: its mean over nine of the ten answers at a time, and its table of
 * contractions. */
#ifndef CDCCA_VQA_SCORE_H
#define CDCCA_VQA_SCORE_H

#include "api/wire/json.h"

struct vqa_scores {
    int questions;                /* annotated */
    int mc_questions, mc_missing; /* asked as multiple choice; of those, without a prediction */
    int mc_invalid;               /* predictions that are none of the choices: wrong */
    int da_questions, da_missing; /* those not difficult; of those, without a prediction */
    double mc, da;                /* percent */
    bool has_mc, has_da;          /* whether any question's prediction names one */
};

/* min(1, matches / 3) over n answers. */
double vqa_accuracy(const char *prediction, const char *const *answers, int n);

/* Replaces *out by the text as VQA-v2's scorer compares it: small letters, punctuation off, numbers
 * up to ten as digits, articles left out; NUL-terminated. */
enum status vqa_normalize(const char *text, struct buf *out);

/* annotations: [{question_id, choices, correct_choice_idx, direct_answers,
 * difficult_direct_answer?}]; predictions: {question_id: {multiple_choice?, direct_answer?}}. With
 * normalize, direct answers are compared as vqa_normalize leaves them, which the official scorer
 * does not do. STATUS_MALFORMED: a field that is missing or wrong, no questions, or predictions for
 * none of them; STATUS_CONFLICT: a question_id twice. */
enum status vqa_score(const json *annotations, const json *predictions, bool normalize,
                      struct vqa_scores *out, struct err *err);

#endif
