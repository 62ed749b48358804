/* Rounds: the one worker thread beside HTTP, what starts it and what is to be seen of it.
 *
 * A round is queued (row and uploads in one transaction), running, and at last released, rejected
 * (by the gate), cancelled or failed. One at a time. It starts by request, when enough instances
 * have gathered, or when time has passed and there are new ones. A round that a stop or a crash
 * interrupts stays queued or running in the store and is run again from its uploads at the next
 * start: nothing of it counts before the transaction that ends it. */
#ifndef CDCCA_ROUNDS_H
#define CDCCA_ROUNDS_H

#include "server/events.h"
#include "server/learner.h"
#include "server/metrics.h"
#include "server/signer.h"
#include "server/store.h"

enum { ROUNDS_LOSSES = 256 };

struct rounds_config {
    struct store *store;
    struct learner *learner;
    struct signer *signer;
    int64_t upload_instances; /* new ones that start a round; 0: off */
    int64_t every_s;          /* seconds between rounds, given new uploads; 0: off */
    struct events *events;    /* these two may be NULL */
    struct metrics *metrics;
    void (*on_release)(void *ctx); /* called by the worker after a commit */
    void *ctx;
};

/* What a running round shows: the newest step and the loss along the way, thinned out evenly. */
struct round_live {
    struct distill_progress progress;
    float losses[ROUNDS_LOSSES];
    int count, stride; /* losses[i] is of step i * stride + 1 */
};

struct rounds;

enum status rounds_create(const struct rounds_config *config, struct rounds **out, struct err *err);
/* Starts the worker; it first goes on with a round that was interrupted. */
enum status rounds_run(struct rounds *rounds, struct err *err);
/* Asks the worker to stop between two steps; the round under way is left for the next start. */
void rounds_halt(struct rounds *rounds);
/* The same, and waits until it has. */
void rounds_stop(struct rounds *rounds);
void rounds_destroy(struct rounds *rounds);

/* Starting one by request: reserve, have the store create it, then begin, or give the place back.
 * STATUS_CONFLICT: one is running; BUSY: the service is stopping. */
enum status rounds_reserve(struct rounds *rounds, struct err *err);
void rounds_begin(struct rounds *rounds, int64_t id);
void rounds_unreserve(struct rounds *rounds);

/* STATUS_CONFLICT: round id is not the one that is queued or running. */
enum status rounds_cancel(struct rounds *rounds, int64_t id, struct err *err);
/* False when round id is not the one under way. */
bool rounds_live(struct rounds *rounds, int64_t id, struct round_live *out);
bool rounds_running(struct rounds *rounds);
/* Is the worker there? */
bool rounds_alive(struct rounds *rounds);
/* New uploads were committed. */
void rounds_uploaded(struct rounds *rounds);

#endif
