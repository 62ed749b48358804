/* How long to wait before trying a peer again: doubling from 0.5 s to 60 s, or to 10 minutes where
 * somebody must act first, each wait drawn at random from the upper half of its range, so that a
 * fleet does not come back in one wave. */
#ifndef CDCCA_BACKOFF_H
#define CDCCA_BACKOFF_H

#include "api/base/rng.h"

enum {
    BACKOFF_FIRST_MS = 500,
    BACKOFF_LAST_MS = 60000,
    BACKOFF_PATIENT_MS = 600000,
    BACKOFF_PACE_MS = 3000 /* after an absence: between two of the uploads that have piled up */
};

struct backoff {
    int failures;    /* in a row */
    int64_t last_ms; /* the longest wait; BACKOFF_LAST_MS at first */
    struct rng rng;
};

void backoff_init(struct backoff *backoff, uint64_t seed);
/* Counts a failure and returns the wait in ms, never less than at_least_ms (a Retry-After). */
int64_t backoff_next(struct backoff *backoff, int64_t at_least_ms);
void backoff_reset(struct backoff *backoff);

#endif
