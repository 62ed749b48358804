/* cdcca-model bench decode and prefill: a LLaMA of random weights, one token after another, or a
 * prompt at once. */
#ifndef CDCCA_BENCH_DECODE_H
#define CDCCA_BENCH_DECODE_H

#include "api/base/status.h"

enum status bench_decode_run(int argc, char **argv, struct err *err);
enum status bench_prefill_run(int argc, char **argv, struct err *err);

#endif
