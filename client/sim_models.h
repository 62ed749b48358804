/* The versions of one model that a simulated fleet runs: each is in memory once, however many
 * devices run it, and goes when the last has left it. Thread-safe. */
#ifndef CDCCA_SIM_MODELS_H
#define CDCCA_SIM_MODELS_H

#include "client/infer.h"
#include "model/learn/trainable.h"

enum { SIM_VERSIONS = 64 }; /* at once */

struct sim_models;

/* factory is taken (released on failure too) and becomes version 0. */
enum status sim_models_create(struct mllm *factory, struct sim_models **out, struct err *err);
void sim_models_destroy(struct sim_models *models); /* NULL is fine */

struct sim_running { /* what a device runs; the model is borrowed until it leaves the version */
    int64_t version;
    struct mllm *m;
    struct hash hash;
};

/* A device starts, with version 0. */
void sim_models_enter(struct sim_models *models, struct sim_running *out);
/* It runs this no longer. */
void sim_models_leave(struct sim_models *models, int64_t version);
/* A patch whose SHA-256 was checked, for a device that runs `from`: decoded, applied and
 * self-tested for the first who brings it; for the others its hashes are compared. The device has
 * entered *out, and leaves `from` by itself. Statuses: as slots_apply; BUSY: SIM_VERSIONS run
 * already. */
enum status sim_models_apply(struct sim_models *models, int64_t from, const void *patch, size_t len,
                             struct sim_running *out, struct err *err);

#endif
