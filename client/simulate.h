/* cdcca-edge simulate: a fleet in one process, for demonstrations, capacity planning and whoever
 * writes a dashboard. Devices sim-0001 .. answer streams of their own that drift, upload what they
 * are unsure about and take the versions that come down, through the real cloud client, over links
 * as slow and lossy as one likes. The model is in memory once per version, and answers are batched
 * across devices. Nothing of it survives the process.
 *
 * With --json the end is {"devices", "seconds", "answered", "answers_per_second", "sampled",
 * "uploaded", "dropped", "uplink_bytes", "downlink_bytes", "attempts", "lost", "errors",
 * "last_error", "updates", "update_seconds_mean", "update_seconds_max", "versions": [{"version",
 * "devices"}]}; seconds of updates go from the release's first sight to the version in use. */
#ifndef CDCCA_SIMULATE_H
#define CDCCA_SIMULATE_H

#include "api/base/status.h"

/* The command. CANCELLED after --help; TIMEOUT when --rounds was not reached in --duration. */
enum status simulate_run(int argc, char **argv, struct err *err);

#endif
