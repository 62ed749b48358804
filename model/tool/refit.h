/* cdcca-model refit: the baseline "head refit". The source-only student keeps everything but its
 * output head, which is re-fitted to the teacher's labels of uploads that were stored (files of
 * cdcca.tokens/1, plain or zstd). What this recovers, the loop need not be praised for. */
#ifndef CDCCA_REFIT_H
#define CDCCA_REFIT_H

#include "api/base/status.h"

enum status refit_run(int argc, char **argv, struct err *err);

#endif
