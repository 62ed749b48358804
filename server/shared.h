/* What the routes share: one of each. Everything in it is safe to use from any request thread; it
 * does not change between the start of HTTP and its end. */
#ifndef CDCCA_SHARED_H
#define CDCCA_SHARED_H

#include "server/fleet.h"
#include "server/learner.h"
#include "server/planner.h"
#include "server/rounds.h"
#include "server/store.h"
#include "server/writer.h"

struct cloud {
    struct io *io;
    struct store *store;
    struct writer *writer;
    struct learner *learner; /* routes look at its facts alone */
    struct rounds *rounds;
    struct fleet *fleet;
    struct planner *planner;
    void (*wake)(void *ctx); /* what waits for news is looked at again */
    void *wake_ctx;
};

#endif
