/* Token buckets by name: each holds up to `full` units and regains `per_s` a second. A taking
 * passes while anything is left and may go into debt, so that what is larger than a bucket passes
 * now and then instead of never. Memory is fixed: the name that was away longest gives its place to
 * a new one. Times are monotonic milliseconds and the caller's, who also does the locking. */
#ifndef CDCCA_BUCKETS_H
#define CDCCA_BUCKETS_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

struct buckets;

/* places: a power of two, 8 at least. */
enum status buckets_create(int places, double full, double per_s, struct buckets **out,
                           struct err *err);
void buckets_destroy(struct buckets *buckets); /* NULL is fine */

/* Has this name a bucket? A new one is full. */
bool buckets_know(const struct buckets *buckets, const char *name);
/* 0: taken. Else nothing is taken, and so many seconds later it would pass. */
int64_t buckets_take(struct buckets *buckets, const char *name, double units, int64_t now_ms);
/* What buckets_take would say. */
int64_t buckets_wait(struct buckets *buckets, const char *name, int64_t now_ms);
/* Puts units back (or, negative, takes them, whatever is left). */
void buckets_give(struct buckets *buckets, const char *name, double units, int64_t now_ms);

#endif
