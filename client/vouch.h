/* What the updater asks before it touches a release: is this manifest to be believed, and is anyone
 * holding back news? Brings together the cloud (where envelopes come from), the trust (who is
 * believed) and the slots (what this device has). What cannot be trusted is an alarm in the
 * notebook until something can. */
#ifndef CDCCA_VOUCH_H
#define CDCCA_VOUCH_H

#include "client/board.h"
#include "client/cloud.h"
#include "client/slots.h"
#include "client/trust.h"

struct vouch;

struct vouch_options {
    const char *data_dir, *model_dir;
    const char *trust; /* a public root key file; NULL: DATA/root.pub where it is */
    struct cloud *cloud;
    struct slots *slots;
    struct board *board;
};

/* All borrowed until vouch_close. USAGE: there is nobody to trust (trust.h). */
enum status vouch_open(struct io *io, const struct vouch_options *options, struct vouch **out,
                       struct err *err);
void vouch_close(struct vouch *vouch); /* NULL is fine */

/* The manifest of a release that goes on from the active version, `from`. REFUSED: it cannot be
 * believed, and the alarm is set; other statuses are the network's or the disk's. */
enum status vouch_next(struct vouch *vouch, int64_t version, int64_t from, struct manifest *out,
                       struct err *err);
/* Nothing new: now and then, makes sure that this is so. Sets or ends the alarm. */
void vouch_idle(struct vouch *vouch);

#endif
