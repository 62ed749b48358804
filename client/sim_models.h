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

/* One more, or one device fewer runs a version that some device runs. The model is borrowed as long
 * as the device runs it. */
struct mllm *sim_models_enter(struct sim_models *models, int64_t version, struct hash *hash);
void sim_models_leave(struct sim_models *models, int64_t version);
/* A patch whose SHA-256 was checked, for a device that runs `from`: decoded, applied and
 * self-tested for the first who brings it; for the others its hashes are compared. *version: what
 * the device may enter now; it is kept until then, by counting the device in. As slots_apply
 * otherwise. */
enum status sim_models_apply(struct sim_models *models, int64_t from, const void *patch, size_t len,
                             int64_t *version, struct err *err);

#endif
