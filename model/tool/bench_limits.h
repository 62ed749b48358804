/* What this machine can do at most: bytes read a second, multiplications a second. Measured in the
 * same run as a bench, so that its share of the limit means something on a shared machine. */
#ifndef CDCCA_BENCH_LIMITS_H
#define CDCCA_BENCH_LIMITS_H

#include "api/base/status.h"
#include "model/tensor/parallel.h"
#include <stddef.h>

/* Bytes a second that the pool's threads together read from a buffer of `size` bytes, each its own
 * part of it, as often as the best of a few passes needs; 0 without memory. */
double bench_read_limit(struct pool *pool, size_t size);
/* Floating-point operations a second of F32 matrix products, one per thread; 0 without memory. */
double bench_product_limit(struct pool *pool);
/* Twice the last-level cache, at most a quarter of the memory: what a read limit is measured on. */
size_t bench_read_size(void);

enum status bench_limits_run(int argc, char **argv, struct err *err);

#endif
