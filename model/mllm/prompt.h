/* Prompts of any length as one batch: LLaMA's text ids, the Q-Former's question ids, and visual
 * tokens, each right-padded to the longest. */
#ifndef CDCCA_PROMPT_H
#define CDCCA_PROMPT_H

#include "model/mllm/mllm.h"

/* One prompt; everything is borrowed. A plain LLaMA has only text; BLIP-2 no question. */
struct prompt {
    const int32_t *text;
    int text_count;
    const int32_t *question;
    int question_count;
    const float *visual; /* (visual_count, Cv) */
    int visual_count;
    int visual_rest; /* how many tokens the last one stands for; 0, 1: itself */
};

/* The batch lies in the tape's arena; errors are the tape's. Texts of one length get no mask. */
struct mllm_batch prompt_batch(struct tape *tape, const struct mllm *m,
                               const struct prompt *prompts, int n);

#endif
