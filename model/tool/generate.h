/* cdcca-model generate: a model goes on with a text, or answers about an image; sampled, greedy or
 * by beam search. Text goes to stdout as it comes, the time it took to stderr; --json prints ids,
 * text, and every token's log-probability and entropy. */
#ifndef CDCCA_GENERATE_H
#define CDCCA_GENERATE_H

#include "api/base/status.h"

enum status generate_run(int argc, char **argv, struct err *err);

#endif
