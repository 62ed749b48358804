/* The updater: a thread that polls for the release after the active version, has its manifest
 * verified (vouch.h), fetches the patch (going on where a cut left it), checks size and SHA-256
 * before anything is parsed, and has the slots apply it. A manifest that cannot be trusted is an
 * alarm, and nothing more happens to it. While there is no news, the manifest of the active version
 * is looked at again now and then: the cloud signs it anew before it expires, so one that does
 * expire means that someone holds back the news.
 *
 * A patch that does not match its manifest, or does not apply, is refused and counted; after
 * SLOTS_FAILURES_MAX failures that patch is left alone: for good when its content is at fault, for
 * DOWNLINK_PAUSE_MS when its transfer is. Between polls it sends the reports: what
 * came of each update, and what the device runs. */
#ifndef CDCCA_DOWNLINK_H
#define CDCCA_DOWNLINK_H

#include "client/board.h"
#include "client/cloud.h"
#include "client/reports.h"
#include "client/slots.h"

enum { DOWNLINK_PAUSE_MS = 10 * 60 * 1000 };

struct downlink;

struct downlink_options {
    const struct cloud_config *cloud;
    const char *data_dir;
    const char *model_dir; /* the factory model, whose files a manifest must name */
    const char *trust;     /* a public root key file; NULL: DATA/root.pub where it is */
    int poll_s;            /* how long one long poll waits, 1..LIMIT_WAIT_S */
};

/* All borrowed until downlink_stop. */
enum status downlink_start(struct io *io, const struct downlink_options *options,
                           struct slots *slots, struct reports *reports, struct board *board,
                           struct downlink **out, struct err *err);
void downlink_stop(struct downlink *downlink); /* breaks off a call; NULL is fine */
/* Waits until a version above `version` is active and noted on the board, ms have passed or a stop:
 * true when it is. */
bool downlink_wait(struct downlink *downlink, int64_t version, int64_t ms);

#endif
