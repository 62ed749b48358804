/* cdcca-model bench train --shape NAME [--lora] --threads N [--json]: training steps a second, by
 * what training runs: the model's own forward pass and the trainer. */
#ifndef CDCCA_BENCH_TRAIN_H
#define CDCCA_BENCH_TRAIN_H

#include "api/base/status.h"

enum status bench_train_run(int argc, char **argv, struct err *err);

#endif
