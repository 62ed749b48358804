/* Model slots: which version answers, and how the next one takes its place.
 *
 * DATA/slots/vN.safetensors holds the trainable set at version N (0: factory); DATA/state.json
 * names the active and the previous one with their hashes. Applying a delta works on a second copy
 * of the model and changes nothing until all of it has passed: decode -> base version and hash are
 * ours -> apply to a clone -> hash as declared -> self-test -> slot file durable -> state.json
 * durable (the commit) -> pointer swapped between two answers. A kill between any two steps leaves
 * the old version active and, at most, one unreferenced file. A start takes the first slot that is
 * whole: active, previous, then the newest other, then factory. The previous slot is kept, so that
 * a version that misbehaves can be left.
 *
 * Each change is also an outcome that the cloud is to hear of; the commit notes it, and it stays
 * noted until slots_told, so that a kill loses no report.
 *
 * The active model is immutable and shared by a counted pointer. Thread-safe: the agent acquires
 * while the updater applies. */
#ifndef CDCCA_SLOTS_H
#define CDCCA_SLOTS_H

#include "client/infer.h"
#include "client/replay.h"
#include "client/selftest.h"
#include "client/slots_state.h"
#include "model/learn/trainable.h"

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

/* Whom a new version must agree with (borrowed; NULL, as at first: golden prompts alone), and how
 * often: SELFTEST_SHARE at first. */
void slots_set_selftest(struct slots *slots, struct replay *replay, double share);

/* patch: the bytes of a cdcca.delta/1 whose SHA-256 was already checked against the manifest.
 * WRONG_BASE, CORRUPT, MALFORMED, SHAPE, REFUSED (self-test): the patch is bad; other codes are
 * ours (disk, memory) and may pass. Nothing changes unless STATUS_OK. report (may be NULL): what
 * the self-test found, as far as it went. */
enum status slots_apply(struct slots *slots, const void *patch, size_t len,
                        struct selftest_report *report, struct err *err);
/* From `version`, if it is still active, back to the previous one; the version left is blocked:
 * what misbehaves with real answers is not tried again. NOT_FOUND: there is no previous one, or
 * another version is active. */
enum status slots_rollback(struct slots *slots, int64_t version, struct err *err);

/* An outcome that the cloud has yet to be told; false: none. */
bool slots_untold(struct slots *slots, int64_t *version, enum slots_outcome *outcome);
/* That one is in the reports now. */
void slots_told(struct slots *slots, int64_t version, enum slots_outcome outcome);

/* Counts a failure of the version whose patch has this hash; persisted. True when it has now failed
 * SLOTS_FAILURES_MAX times and is blocked until the cloud offers another patch. */
bool slots_failed(struct slots *slots, int64_t version, const struct hash *patch);
bool slots_blocked(struct slots *slots, int64_t version, const struct hash *patch);

#endif
