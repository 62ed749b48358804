/* Model slots: which version answers, and how the next one takes its place.
 *
 * DATA/slots/vN.safetensors holds the trainable set at version N (0: factory); DATA/state.json
 * names the active and the previous one with their hashes. Applying a delta works on a second copy
 * of the model and changes nothing until all of it has passed: decode -> base version and hash are
 * ours -> apply to a clone -> hash as declared -> self-test -> slot file durable -> state.json
 * durable (the commit) -> pointer swapped between two answers. A kill between any two steps leaves
 * the old version active and, at most, one unreferenced file. A start takes the first slot that is
 * whole: active, previous, then the newest other, then factory.
 *
 * The active model is immutable and shared by a counted pointer. Thread-safe: the agent acquires
 * while the updater applies. */
#ifndef CDCCA_SLOTS_H
#define CDCCA_SLOTS_H

#include "client/infer.h"
#include "model/learn/trainable.h"

enum { SLOTS_FAILURES_MAX = 3 };

struct slots;

struct slots_info {
    int64_t version, previous; /* previous -1: none */
    struct hash hash;          /* of the active trainable set */
    int64_t parameters;
};

/* model: the factory model without adapters, taken (released on failure too). writable: creates the
 * folders and the factory slot; false only reads, for `ask`, and then data_dir may be NULL: the
 * factory model. CONFLICT: DATA belongs to another factory model. */
enum status slots_open(struct io *io, const char *data_dir, struct mllm *model, bool writable,
                       struct slots **out, struct err *err);
void slots_close(struct slots *slots);

/* The active model, retained (mllm_release when done), and its version. */
struct mllm *slots_acquire(struct slots *slots, int64_t *version);
void slots_info(struct slots *slots, struct slots_info *out);

/* patch: the bytes of a cdcca.delta/1 whose SHA-256 was already checked against the manifest.
 * WRONG_BASE, CORRUPT, MALFORMED, SHAPE, REFUSED (self-test): the patch is bad; other codes are
 * ours (disk, memory) and may pass. Nothing changes unless STATUS_OK. */
enum status slots_apply(struct slots *slots, const void *patch, size_t len, struct err *err);
/* Back to the previous version, for an active one that misbehaves; the version left is blocked. */
enum status slots_rollback(struct slots *slots, struct err *err);

/* Counts a failure of the version whose patch has this hash; persisted. True when it has now failed
 * SLOTS_FAILURES_MAX times and is blocked until the cloud offers another patch. */
bool slots_failed(struct slots *slots, int64_t version, const struct hash *patch);
bool slots_blocked(struct slots *slots, int64_t version, const struct hash *patch);

#endif
