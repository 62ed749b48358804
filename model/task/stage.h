/* What the stages of pretraining share (pretrain.c runs them in order; this header is theirs
 * alone): a stage's settings, the training loop with its checkpoint, and the two kinds of lessons.
 */
#ifndef CDCCA_STAGE_H
#define CDCCA_STAGE_H

#include "model/task/pretrain.h"
#include "model/task/world.h"
#include "model/tensor/trainer.h"

enum { STAGE_BATCH = 64, STAGE_PATH = 1024 };

struct stage {
    const char *name, *domain;
    int steps;
    float lr, floor;
    int caption_every; /* one step in so many asks for captions, half a batch; 0: never */
    int shards;        /* fixed, so that the result does not depend on the threads */
    const float *share;
};

/* One run of pretrain: where it works, and with what. */
struct work {
    struct io *io;
    struct pool *pool;
    const struct pretrain_options *options;
    char dir[STAGE_PATH];
};

/* How a stage's lessons are drawn and scored. */
struct lesson_plan {
    const struct stage *stage;
    int64_t steps, warmup;
    trainer_loss loss_fn;
    void *ctx;
    enum status (*prepare)(void *ctx, int64_t step, struct err *err);
};

/* Trains `list` by the plan, from its checkpoint if there is one. */
enum status stage_train(struct work *w, struct param **list, int count,
                        const struct lesson_plan *plan, struct err *err);
/* A stage's steps at this run's effort. */
int64_t stage_steps(const struct work *w, const struct stage *stage);

/* Every parameter of the vision encoder, or of all the rest; attached heads included. Heap; NULL
 * without memory. */
struct param **stage_params(struct mllm *m, bool vision, int *count);
bool stage_is_vision(const struct param *p);
/* Attaches a linear layer NAME with fresh weights, for an auxiliary loss. */
enum status stage_head(struct mllm *m, const char *name, int out, int in, struct linear *head,
                       struct err *err);

/* vision_lesson.c: the encoder by dense labels; its weights end as the files will hold them. */
enum status vision_train(struct work *w, struct mllm *m, const struct stage *stage,
                         struct err *err);
/* language_lesson.c: everything else by questions, answers and captions. */
enum status language_train(struct work *w, struct mllm *m, const struct stage *stage,
                           struct err *err);

#endif
