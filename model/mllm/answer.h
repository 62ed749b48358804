/* Answering: prompt building, greedy decoding with a KV cache, scored multiple choice, batched.
 * Used by the edge (local inference), the cloud (the teacher's answers) and evaluation. */
#ifndef CDCCA_ANSWER_H
#define CDCCA_ANSWER_H

#include "model/mllm/mllm.h"
#include "model/tensor/parallel.h"

enum { ANSWER_IDS = 48, ANSWER_TEXT = 256, ANSWER_OPTIONS = 8 };

struct ask {
    const float *visual; /* (count, Cv) encoder tokens */
    int visual_count;
    int visual_rest; /* how many tokens the last one stands for; 0, 1: itself */
    const char *question;
    const char *option[ANSWER_OPTIONS]; /* multiple choice; NULL-terminated when fewer */
    int options;                        /* 0: direct answer only */
};

struct answer {
    int32_t ids[ANSWER_IDS]; /* generated, end token left out */
    int count;
    char text[ANSWER_TEXT];
    float entropy; /* nats, averaged over the generated tokens, end token included (Eq. 2) */
    float log_probability;              /* mean per generated token */
    float option_score[ANSWER_OPTIONS]; /* length-normalised log-likelihood, with the end token */
    int choice;                         /* best option, -1 without options */
};

/* Answers n asks. max_new <= ANSWER_IDS. Threads: items are cut over the pool (may be NULL); the
 * result does not depend on their number (of a large model with and without a pool: but for
 * rounding). */
enum status answer_batch(const struct mllm *m, struct pool *pool, const struct ask *asks, int n,
                         int max_new, struct answer *out, struct err *err);

/* The ids LLaMA and the Q-Former see for a question (the config's prompt template applied). */
enum status answer_prompt(const struct mllm *m, const char *question, int32_t *text_ids,
                          int *text_count, int32_t *question_ids, int *question_count, int max,
                          struct err *err);

/* The ids LLaMA is trained to say, and options are scored by: " text" (one space in front, as in
 * the middle of a sentence) and the end token. */
enum status answer_target(const struct mllm *m, const char *text, int32_t *ids, int *count, int max,
                          struct err *err);

/* Encoder tokens of n images: rgb n * (S,S,3) -> out n * (1 + (S/P)^2, Cv). */
enum status answer_encode(const struct mllm *m, struct pool *pool, const uint8_t *rgb, int n,
                          float *out, struct err *err);

#endif
