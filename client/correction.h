/* A user's correction of an answer that was given a while ago: an upload of its own, whatever the
 * budget says, because nothing teaches more. */
#ifndef CDCCA_CORRECTION_H
#define CDCCA_CORRECTION_H

#include "client/agent_state.h"
#include "client/recent.h"

/* What would have been right for the answer `id`, durable in the spool when it returns; the answer
 * leaves the open window, so that it goes up once. NOT_FOUND: not among the recent answers. The
 * caller owns the agent's window and `recent`. */
enum status agent_correct(struct agent *a, const struct recent *recent, const char *id,
                          const char *correction, struct err *err);

#endif
