/* Batches of training questions about the built-in world, for pretraining.
 *
 * A ring of scenes keeps its encoder tokens, because the encoder is frozen by then: every step
 * replaces the oldest few scenes by new ones and asks about scenes drawn from the whole ring. What
 * a slot holds at a step is a pure function of the seed, so a resumed run sees what it would have
 * seen. */
#ifndef CDCCA_CURRICULUM_H
#define CDCCA_CURRICULUM_H

#include "model/mllm/mllm.h"
#include "model/task/world.h"
#include "model/tensor/parallel.h"

enum { LESSON_IDS = 112, LESSON_BATCH_MAX = 256 };

/* One question with its answer, as ids: text = prompt ++ answer ++ end. */
struct lesson {
    int slot;
    int32_t question[LESSON_IDS], text[LESSON_IDS];
    int question_count, prompt_count, text_count;
    uint64_t seed;
};

struct curriculum {
    const struct mllm *model; /* encoder and tokenizers; borrowed */
    struct pool *pool;
    struct world_domain domain;
    uint64_t seed;
    float share[KINDS];
    int slots, refill; /* ring size; scenes replaced per step */
    int tokens, width; /* of one scene's encoding */
    struct world_scene *scene;
    float *encoded; /* (slots, tokens, width) */
    int64_t filled; /* scenes drawn so far */
    int batch;
    bool captions;
    struct lesson lesson[LESSON_BATCH_MAX];
};

/* slots: scenes the ring holds. share: how often each kind is asked, captions apart; sums to 1. */
enum status curriculum_init(struct curriculum *c, const struct mllm *model, struct pool *pool,
                            const char *domain, int slots, const float share[KINDS], uint64_t seed,
                            struct err *err);
void curriculum_deinit(struct curriculum *c);
/* Brings the ring to `step` and fills c->lesson[0 .. batch-1]. */
enum status curriculum_step(struct curriculum *c, int64_t step, int batch, bool captions,
                            struct err *err);

/* Answer rows of lessons [from, from+n): how many, and the batch for the model in the tape's arena.
 * keep: visual tokens kept per lesson (drawn at random), <= c->tokens. rows, labels: one entry per
 * answer id, rows into hidden seen as (B*(Q+T), C). first: the first answer id of each lesson. */
struct lesson_batch {
    struct mllm_batch model;
    int32_t *rows, *labels, *first;
    int row_count;
};
int curriculum_rows(const struct curriculum *c, int from, int n);
void curriculum_batch(const struct curriculum *c, struct tape *tape, int from, int n, int keep,
                      struct lesson_batch *out);

#endif
