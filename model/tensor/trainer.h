/* One data-parallel training step, the same for pretraining and for everything else that trains:
 * every thread of the pool has a shard of the batch with its own tape, arena and gradient buffer;
 * the gradients are summed in shard order, clipped, and given to AdamW. So a result depends on the
 * seed and the number of shards alone. After the first step nothing is allocated from the heap. */
#ifndef CDCCA_TRAINER_H
#define CDCCA_TRAINER_H

#include "api/base/io.h"
#include "model/tensor/optim.h"
#include "model/tensor/parallel.h"

enum { TRAINER_SHARDS = 64 };

struct trainer {
    struct pool *pool;
    bool within; /* the caller's to set: shards one after another, each op with all threads */
    int shards;
    struct param **params; /* borrowed list: what is trained */
    int count;
    size_t values;
    struct adamw opt;
    struct arena arena[TRAINER_SHARDS];
    struct tape tape[TRAINER_SHARDS];
    float *grads; /* (shards, values) */
};

/* The loss of one shard, already weighted by the shard's share of the batch: shards are summed. */
typedef struct tensor (*trainer_loss)(void *ctx, struct tape *tape, int shard, int shards);

/* params: what is trained (grad_at is assigned here; all others must be frozen). arena_bytes: cap
 * of each shard's arena. */
enum status trainer_init(struct trainer *t, struct pool *pool, struct param **params, int count,
                         struct adamw opt, int shards, size_t arena_bytes, struct err *err);
void trainer_deinit(struct trainer *t);
/* Forward, backward, clip (clip <= 0: none) and one optimiser step. *loss: the summed loss. A loss
 * that is not finite is an error (STATUS_MALFORMED) and changes nothing. */
enum status trainer_step(struct trainer *t, trainer_loss loss_fn, void *ctx, uint64_t seed,
                         float lr, float clip, float *loss, struct err *err);
/* Parameters, moments and step, durable; load refuses another list of parameters. */
enum status trainer_save(struct io *io, const struct trainer *t, const char *path, struct err *err);
enum status trainer_load(struct io *io, struct trainer *t, const char *path, struct err *err);

#endif
