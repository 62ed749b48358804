/* Is the service alive? A write that changes nothing goes through the queue, the store's lock and a
 * commit; what hangs in any of these, a request's thread that holds the store included, keeps it
 * from coming back. Failing is alive (a full disk is answered, not restarted); slow is alive, too,
 * as long as it is done before the supervisor gives up. */
#ifndef CDCCA_WATCHDOG_H
#define CDCCA_WATCHDOG_H

#include "server/writer.h"
#include <stdatomic.h>
#include <stdbool.h>

struct watchdog {
    struct writer *writer;
    struct write probe;
    atomic_bool waiting; /* the probe was submitted and is not done */
};

/* The watchdog must outlive the writer. */
void watchdog_init(struct watchdog *watchdog, struct writer *writer);
/* Whether the last probe came back; if so, sends the next. False where the queue is full, too: to
 * be asked again soon. Never blocks. */
bool watchdog_alive(struct watchdog *watchdog);

#endif
