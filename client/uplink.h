/* The uploader: a thread that empties the spool into the cloud, oldest first, within the day's
 * budget of bytes, and says once when the cloud is away, then once a minute, and when it is back.
 * What has piled up by then goes out three seconds apart. */
#ifndef CDCCA_UPLINK_H
#define CDCCA_UPLINK_H

#include "client/board.h"
#include "client/cloud.h"
#include "client/spool.h"

struct uplink;

/* All borrowed until uplink_stop. */
enum status uplink_start(const struct cloud_config *cloud, struct spool *spool, struct meter *meter,
                         struct board *board, struct uplink **out, struct err *err);
/* Waits until nothing is left that may go today and the counters say so, ms have passed or a stop:
 * true when it is so. */
bool uplink_drain(struct uplink *uplink, int64_t ms);
/* Breaks off the call under way: what it did not bring home stays in the spool. NULL is fine. */
void uplink_stop(struct uplink *uplink);

#endif
