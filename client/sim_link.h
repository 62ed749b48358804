/* A simulated device's link: how long a transfer keeps it busy, and which attempts are lost.
 * Nothing sleeps here: the device does not use its link again before it is free. */
#ifndef CDCCA_SIM_LINK_H
#define CDCCA_SIM_LINK_H

#include "api/base/rng.h"
#include "api/base/status.h"
#include <stdbool.h>

struct sim_link_options {
    double bits_per_second; /* 0: any */
    double loss;            /* share of the attempts that come to nothing */
    int64_t latency_ms;     /* one way */
};

struct sim_link {
    struct sim_link_options options;
    struct rng rng;
    int64_t free_ms; /* until then it is busy */
};

/* "256kbit,2%loss,50ms", in any order, each optional; kbit, mbit, gbit. USAGE says what is right.
 * NULL or "": a perfect link. */
enum status sim_link_parse(const char *text, struct sim_link_options *out, struct err *err);
void sim_link_init(struct sim_link *link, const struct sim_link_options *options, uint64_t seed,
                   uint64_t device);
/* Draws: is the next attempt lost? */
bool sim_link_loses(struct sim_link *link);
/* An exchange of so many bytes in all begins now: busy for there and back, and for the bytes. */
void sim_link_use(struct sim_link *link, int64_t now_ms, int64_t bytes);

#endif
