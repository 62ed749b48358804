/* What this device tells the cloud about itself: what it runs (PUT /devices/{id}, at the start and
 * after each change), and how each update went (POST /devices/{id}/feedback).
 *
 * Feedback waits in DATA/reports, a small spool of its own: it survives a kill, arrives at least
 * once, and the hash of its bytes is its idempotency key. A cloud that knows no devices answers
 * 404: feedback for it is dropped. Thread-safe, reports_flush apart: one thread sends. */
#ifndef CDCCA_REPORTS_H
#define CDCCA_REPORTS_H

#include "client/cloud.h"
#include "client/slots.h"

enum { REPORTS_BYTES = 64 << 10 };

struct reports_options {
    const char *data_dir, *device;
    const char *device_class, *channel; /* ids, or NULL */
};

struct report {
    int64_t version;
    const char *outcome;                     /* "applied", "failed", "rolled_back" */
    const char *reason;                      /* or NULL */
    const struct selftest_report *self_test; /* or NULL */
    double seconds;                          /* that it took; < 0: not known */
};

struct reports;

/* Strings are borrowed until reports_close. */
enum status reports_open(struct io *io, const struct reports_options *options, struct reports **out,
                         struct err *err);
void reports_close(struct reports *reports); /* NULL is fine */

/* Durable when it returns STATUS_OK; a queue that is full drops its oldest. */
enum status reports_add(struct reports *reports, const struct report *report, struct err *err);
/* An outcome that the slots noted and that may not be in the queue yet, after a kill or a
 * rollback. */
void reports_add_untold(struct reports *reports, struct slots *slots, const char *reason);
size_t reports_waiting(struct reports *reports);

/* Sends what is due: what the device runs, when that has changed since it was last told, then the
 * queue. UNREACHABLE, TIMEOUT, BUSY, PEER, CANCELLED: later. */
enum status reports_flush(struct reports *reports, struct cloud *cloud, struct slots *slots,
                          struct err *err);

#endif
