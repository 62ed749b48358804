/* What the slots remember, DATA/state.json: written whole and durably, which is the commit of every
 * change. See slots.h. */
#ifndef CDCCA_SLOTS_STATE_H
#define CDCCA_SLOTS_STATE_H

#include "api/base/hash.h"
#include "api/base/io.h"

enum { SLOTS_NONE = -1, SLOTS_FAILURES_MAX = 3, SLOTS_FAILED_MAX = 16 };

struct slots_failed { /* a patch that failed */
    int64_t version, failures;
    struct hash patch;
};

enum slots_outcome { SLOTS_APPLIED, SLOTS_ROLLED_BACK };

struct slots_state {
    int64_t active, previous; /* previous SLOTS_NONE: none */
    struct hash factory, hash, previous_hash;
    struct hash patch; /* that led to the active version; zeros for factory */
    int failed_count;
    struct slots_failed failed[SLOTS_FAILED_MAX]; /* the latest last */
    int64_t told; /* version of an outcome that the cloud has yet to be told; SLOTS_NONE: none */
    enum slots_outcome told_outcome;
};

/* The state of a first start. */
void slots_state_init(struct slots_state *state, const struct hash *factory);
enum status slots_state_save(struct io *io, const char *path, const struct slots_state *state,
                             struct err *err);
enum status slots_state_load(struct io *io, const char *path, struct slots_state *out,
                             struct err *err);

/* The entry of this version's patch; NULL: it has not failed. */
struct slots_failed *slots_state_find(struct slots_state *state, int64_t version,
                                      const struct hash *patch);
/* Counts failures of this patch, up to SLOTS_FAILURES_MAX, and returns how many they are now. The
 * oldest entry gives way. */
int64_t slots_state_fail(struct slots_state *state, int64_t version, const struct hash *patch,
                         int64_t failures);

#endif
