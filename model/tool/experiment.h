/* cdcca-model experiment: the paper's tables on the built-in world or on directories, by the same
 * functions that the agent and the service run. Resumable: every finished trial is kept. */
#ifndef CDCCA_TOOL_EXPERIMENT_H
#define CDCCA_TOOL_EXPERIMENT_H

#include "api/base/status.h"

/* experiment --table 1|2|3|4|6|all [--seeds N] [--out DIR] ...; --help lists the flags. */
enum status experiment_run(int argc, char **argv, struct err *err);

#endif
