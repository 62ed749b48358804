/* cdcca-model bench WHAT: how fast this machine computes, and how near that is to its limits. Each
 * bench prints a line or, with --json, an object; none asserts a time. */
#ifndef CDCCA_BENCH_H
#define CDCCA_BENCH_H

#include "api/base/status.h"
#include "api/wire/json.h"
#include <stdint.h>

enum { BENCH_REPEAT_MAX = 100 };

/* Seconds of the same work, repeated. */
struct bench_series {
    double seconds[BENCH_REPEAT_MAX];
    int count;
};

double bench_clock(void); /* monotonic, seconds */
void bench_series_add(struct bench_series *series, double seconds);
double bench_series_best(const struct bench_series *series);   /* the least; 0 without any */
double bench_series_median(const struct bench_series *series); /* 0 without any */

/* "key": {"best": per/best seconds, "median": per/median seconds} */
bool bench_set_rate(json *out, const char *key, const struct bench_series *series, double per);

enum status bench_run(int argc, char **argv, struct err *err);

#endif
