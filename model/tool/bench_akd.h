/* cdcca-model bench akd: one round of AKD with models as large as they come: seconds of each phase,
 * and peak memory. */
#ifndef CDCCA_BENCH_AKD_H
#define CDCCA_BENCH_AKD_H

#include "api/base/status.h"

enum status bench_akd_run(int argc, char **argv, struct err *err);

#endif
