/* The planner: by which patches a device gets from the version it has to the one it may have. The
 * chain takes every version on the way; a squashed patch takes one step, exact to the bit
 * (compress_exact), and is worth its bytes after a dozen versions, or at once where the chain would
 * pass a version that was halted or rolled back. From version 0 a squashed patch is the whole set.
 *
 * Squashed patches are made by a thread of the planner's, once, and kept under DIR/squashes up to
 * PLANNER_CACHE_BYTES in all. Until one is there, devices take the chain. */
#ifndef CDCCA_PLANNER_H
#define CDCCA_PLANNER_H

#include "model/mllm/mllm.h"
#include "server/store.h"

/* ---- which way ---- */

struct planner_chain {
    int length;           /* versions on the way, the last included */
    int64_t bytes;        /* of their patches */
    bool detour;          /* one before the last was halted or rolled back */
    int64_t parameters;   /* of the set */
    int64_t squash_bytes; /* of the squashed patch, 0: not made yet */
};
/* Is one squashed patch the better way? */
bool planner_squashes(const struct planner_chain *chain);
/* Is it worth making? An exact value takes more than a byte. */
bool planner_would_squash(const struct planner_chain *chain);

/* Reads the chain; length 0: there is nothing to take. */
enum status planner_chain_read(struct store *store, int64_t base_version, int64_t version,
                               struct planner_chain *out, struct err *err);

/* Budgets of device classes, "camera=30000,robot=200000" (NULL: none): *smallest in bytes, 0
 * without one. All devices get the same bits, or they and the cloud would drift apart, so a round's
 * patch keeps to the smallest. STATUS_USAGE. */
enum status planner_budget_parse(const char *text, int64_t *smallest, struct err *err);

/* ---- squashed patches ---- */

struct planner;

struct planner_config {
    struct io *io;
    struct store *store;
    const struct mllm *student;   /* the factory's, with a neutral trainable set; borrowed */
    int64_t cache_bytes;          /* for the patches kept */
    void (*on_change)(void *ctx); /* one was made, or could not be */
    void *ctx;
};
enum { PLANNER_CACHE_BYTES = 1 << 30 };

enum status planner_create(const struct planner_config *config, struct planner **out,
                           struct err *err);
/* Ends the thread; nothing can be wanted any more. */
void planner_stop(struct planner *planner);
void planner_destroy(struct planner *planner); /* NULL is fine */
/* Has it made, soon. STATUS_BUSY: too many are waiting; else why it could not be made, said once.
 */
enum status planner_want(struct planner *planner, int64_t base_version, int64_t version,
                         struct err *err);

#endif
