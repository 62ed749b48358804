/* What the routes share: one of each. Everything in it is safe to use from any request thread; what
 * is not atomic does not change between the start of HTTP and its end. */
#ifndef CDCCA_SHARED_H
#define CDCCA_SHARED_H

#include "api/http/http.h"
#include "server/auth.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/keys.h"
#include "server/learner.h"
#include "server/mapper.h"
#include "server/metrics.h"
#include "server/planner.h"
#include "server/quota.h"
#include "server/rounds.h"
#include "server/signer.h"
#include "server/store.h"
#include "server/writer.h"
#include <stdatomic.h>

struct cloud {
    struct io *io;
    const char *data_dir;
    const char *scheme; /* by which it is called: "http" or "https" */
    struct auth *auth;
    struct quota *quota;
    struct store *store;
    struct writer *writer;
    struct learner *learner; /* routes look at its facts alone */
    struct rounds *rounds;
    struct fleet *fleet;
    struct planner *planner;
    struct mapper *mapper;
    struct events *events;
    struct metrics *metrics;
    struct http *_Atomic http; /* NULL until it has started */
    _Atomic bool draining;
    struct keys *keys;
    struct signer *signer;
};

#endif
