/* Group commit: request threads hand their writes to one thread, which puts all that have gathered
 * into one transaction and tells each of them the outcome after the commit. The queue is bounded; a
 * full one refuses, it never blocks. */
#ifndef CDCCA_WRITER_H
#define CDCCA_WRITER_H

#include "server/store.h"

struct writer;

/* One write. Owned by the caller until done was called, on the writer's thread, once. */
struct write {
    struct store_job job; /* run and ctx filled in; status and err are for done */
    void (*done)(struct write *write);
    struct write *next; /* the queue's */
};

/* limit: writes that may wait. */
enum status writer_create(struct store *store, int limit, struct writer **out, struct err *err);
/* STATUS_BUSY: the queue is full or the writer is stopping; done is not called then. */
enum status writer_submit(struct writer *writer, struct write *write, struct err *err);
struct writer_gauges {
    int waiting;
    int64_t groups, writes; /* committed, or failed, so far */
};
struct writer_gauges writer_look(struct writer *writer);
/* Finishes what is queued, then stops. */
void writer_destroy(struct writer *writer);

#endif
