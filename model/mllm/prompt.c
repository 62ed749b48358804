/* Batches of prompts; see prompt.h. */
#include "model/mllm/prompt.h"

#include <string.h>

/* Zeroed, and never of size 0. */
static void *zeros(struct tape *tape, int n, int T, size_t size)
{
    size_t bytes = (size_t)n * (size_t)(T > 0 ? T : 1) * size;
    void *at = tape_alloc(tape, bytes);
    if (at)
        memset(at, 0, bytes);
    return at;
}

static void batch_texts(struct tape *tape, const struct prompt *prompts, struct mllm_batch *batch)
{
    int T = 0, shortest = prompts[0].text_count, n = batch->B;
    for (int i = 0; i < n; i++) {
        T = prompts[i].text_count > T ? prompts[i].text_count : T;
        shortest = prompts[i].text_count < shortest ? prompts[i].text_count : shortest;
    }
    int32_t *ids = zeros(tape, n, T, sizeof *ids);
    uint8_t *mask = shortest < T ? zeros(tape, n, T, 1) : NULL;
    for (int i = 0; ids && i < n; i++) {
        size_t at = (size_t)i * (size_t)T, count = (size_t)prompts[i].text_count;
        if (count > 0)
            memcpy(ids + at, prompts[i].text, count * sizeof *ids);
        if (mask)
            memset(mask + at, 1, count);
    }
    batch->text_T = T;
    batch->text = ids;
    batch->text_mask = mask;
}

static void batch_questions(struct tape *tape, const struct prompt *prompts,
                            struct mllm_batch *batch)
{
    int T = 0, n = batch->B, *counts = zeros(tape, n, 1, sizeof *counts);
    for (int i = 0; counts && i < n; i++) {
        counts[i] = prompts[i].question_count;
        T = counts[i] > T ? counts[i] : T;
    }
    int32_t *ids = zeros(tape, n, T, sizeof *ids);
    for (int i = 0; counts && ids && i < n; i++)
        if (counts[i] > 0)
            memcpy(ids + (size_t)i * (size_t)T, prompts[i].question,
                   (size_t)counts[i] * sizeof *ids);
    batch->question_T = T;
    batch->question = ids;
    batch->question_count = counts;
}

static void batch_visual(struct tape *tape, int C, const struct prompt *prompts,
                         struct mllm_batch *batch)
{
    int L = 0, n = batch->B, *counts = zeros(tape, n, 1, sizeof *counts);
    int *rests = zeros(tape, n, 1, sizeof *rests);
    for (int i = 0; counts && rests && i < n; i++) {
        counts[i] = prompts[i].visual_count;
        rests[i] = prompts[i].visual_rest > 1 ? prompts[i].visual_rest : 1;
        L = counts[i] > L ? counts[i] : L;
    }
    batch->visual = tape_tensor(tape, false, 3, (int[]){n, L, C});
    batch->visual_count = counts;
    batch->visual_rest = rests;
    for (int i = 0; counts && batch->visual.data && i < n; i++) {
        size_t row = (size_t)L * (size_t)C, have = (size_t)counts[i] * (size_t)C;
        float *to = batch->visual.data + (size_t)i * row;
        memcpy(to, prompts[i].visual, have * sizeof *to);
        memset(to + have, 0, (row - have) * sizeof *to);
    }
}

struct mllm_batch prompt_batch(struct tape *tape, const struct mllm *m,
                               const struct prompt *prompts, int n)
{
    struct mllm_batch batch = {.B = n};
    batch_texts(tape, prompts, &batch);
    if (m->config.multimodal) {
        batch_questions(tape, prompts, &batch);
        batch_visual(tape, m->config.vision.hidden, prompts, &batch);
    }
    return batch;
}
