/* The edge agent: source -> answer at once -> window -> spool, while one thread uploads (uplink)
 * and another updates the model (downlink). The network never holds up an answer.
 *
 * What survives a kill at any point: uploads in the spool, the active slot, and the notebook's
 * position, which moves only when a window is closed and its uploads are durable; they are held in
 * the spool until it has. Samples of an open window are answered again after a restart. */
#ifndef CDCCA_AGENT_H
#define CDCCA_AGENT_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

enum { AGENT_DAILY_BYTES = 32 << 10 }; /* least limit of a day: what an upload may need */

struct agent_options {
    const char *cloud_url; /* NULL: uploads wait in the spool, nothing is polled (serve alone) */
    const char *model_dir, *source, *data_dir;
    const char *device;     /* NULL: DATA/device, made up at the first start */
    const char *token_file; /* NULL: DATA/token, if there is one */
    const char *ca_file;    /* NULL: the system's authorities */
    const char *trust;      /* a public root key file; NULL: DATA/root.pub where it is */
    const char *device_class, *channel; /* of the fleet; NULL: none */
    double agreement; /* with the version in use that a new one needs, up to 1; 0: SELFTEST_SHARE */
    double budget;    /* share of the instances to upload */
    double rate;      /* samples per second, 0: as fast as it can */
    int64_t window, keep, bits, threads;
    int64_t count;  /* stop after so many samples since the first start; 0: never */
    int64_t rounds; /* stop at this version (lockstep: after so many rounds); 0: never */
    int64_t poll_s, seed, spool_bytes;
    int64_t spool_days;  /* that an upload may wait; 0: SPOOL_DAYS */
    int64_t daily_bytes; /* that may go up, AGENT_DAILY_BYTES or more; 0: any number */
    int64_t segment;     /* samples per segment of world:drift, and per round in lockstep */
    bool lockstep;       /* after each segment: flush, ask for a round, wait for its version */
    int64_t lockstep_timeout_s;
    bool json; /* a line per answer, or in lockstep per round, on stdout */
};

/* Runs until its end is reached or stop_requested; a stop is STATUS_OK. */
enum status agent_run(const struct agent_options *options, struct err *err);

#endif
