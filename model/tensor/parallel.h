/* A small pool of threads. Work is cut into items by the caller; workers sleep (futex) between
 * jobs, spinning only briefly (performance.md, lesson 2). Training is data-parallel: one item = one
 * shard of the batch, each with its own tape, so ops themselves are single-threaded. */
#ifndef CDCCA_PARALLEL_H
#define CDCCA_PARALLEL_H

#include "api/base/status.h"

struct pool;
/* threads: 1..64, the caller's included; 0: one per core. */
enum status pool_create(int threads, struct pool **out, struct err *err);
void pool_destroy(struct pool *pool);
int pool_threads(const struct pool *pool); /* 1 for NULL */
/* fn(ctx, item, worker) for item 0..items-1, worker 0..threads-1; returns when all are done.
 * pool may be NULL: runs in the caller. One job at a time: a second caller waits; fn must not call
 * pool_run on the same pool. */
void pool_run(struct pool *pool, int items, void (*fn)(void *ctx, int item, int worker), void *ctx);

#endif
