/* cdcca-model eval: accuracy of a model on the world or on a directory of samples. */
#ifndef CDCCA_EVAL_H
#define CDCCA_EVAL_H

#include "api/base/status.h"

enum status eval_run(int argc, char **argv, struct err *err);

#endif
