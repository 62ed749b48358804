/* cdcca-model loop: the whole CD-CCA loop offline, in one process and with the very functions that
 * edge and cloud use, for tuning and for the baselines that share its stream. */
#ifndef CDCCA_LOOP_H
#define CDCCA_LOOP_H

#include "api/base/status.h"

enum status loop_run(int argc, char **argv, struct err *err);

#endif
