/* What a thread does while the cloud does not answer: it says so once, then once a minute, waits
 * with backoff, and says when the cloud is back. A cloud that does not let the device in is waited
 for with more patience, but no longer than until there is another token. */
#ifndef CDCCA_AWAY_H
#define CDCCA_AWAY_H

#include "client/backoff.h"
#include "client/board.h"
#include <stdatomic.h>

struct away {
    struct board *board;
    const char *part;
    const char *token_file; /* or NULL */
    struct backoff backoff;
    int64_t since_ms, said_ms; /* 0: the cloud is there */
};

/* All borrowed. */
void away_init(struct away *away, struct board *board, const char *part, const char *token_file);
/* A failed call: reports, then waits until the next try is due, or *ending, or a stop. */
void away_wait(struct away *away, const struct err *why, int64_t at_least_ms,
               const atomic_bool *ending);
/* A call that worked; true when the one before had not. */
bool away_back(struct away *away);

#endif
