/* cdcca-model score: the scores of answers or captions that someone has, whatever made them. */
#ifndef CDCCA_SCORE_H
#define CDCCA_SCORE_H

#include "api/wire/json.h"
#include "model/task/caption_score.h"

enum status score_run(int argc, char **argv, struct err *err);
/* {"cider": 0..10, "rouge_l": 0..1, "bleu": four of 0..1}; NULL: no memory. Owned by the caller. */
json *score_captions_json(const struct caption_scores *scores);

#endif
