/* Deadlines of connections, against slow clients. libmicrohttpd's own timeout is about inactivity,
 * so a client that trickles a byte now and then would live for ever. Here each connection has a
 * phase with a deadline of its own; a thread shuts down the sockets of those that are past theirs.
 *
 *   HEADERS  from the accept, or the end of the last answer, until the headers are complete
 *   BODY     a grace, then at least `rate` bytes a second
 *   BUSY     ours to answer: no deadline
 *   ANSWER   a grace, then at least `rate` bytes a second of the answer */
#ifndef CDCCA_WATCH_H
#define CDCCA_WATCH_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum watch_phase { WATCH_HEADERS, WATCH_IDLE, WATCH_BODY, WATCH_BUSY, WATCH_ANSWER };

struct watch_limits {
    int header_ms; /* first request's headers */
    int idle_ms;   /* between two requests of a connection, headers of the next included */
    int grace_ms;  /* before the rate counts */
    int rate;      /* bytes per second, in both directions */
    int tick_ms;   /* how often the thread looks */
    bool plain;    /* no TLS: a late request is answered 408 before its connection ends */
};

struct watcher; /* the thread and its list */
struct watch;   /* one connection */

/* tick (may be NULL) is called by the thread on every look. */
enum status watcher_create(const struct watch_limits *limits, void (*tick)(void *ctx), void *ctx,
                           struct watcher **out, struct err *err);
void watcher_destroy(struct watcher *watcher); /* all watches must be closed */

/* Connections that are in a phase now. */
int watcher_count(struct watcher *watcher, enum watch_phase phase);

/* The descriptor stays the caller's and must be open until watch_close. NULL without memory. */
struct watch *watch_open(struct watcher *watcher, int fd);
void watch_close(struct watch *watch);
/* Starts a phase; size: bytes of the answer for WATCH_ANSWER. A NULL watch is fine. */
void watch_phase(struct watch *watch, enum watch_phase phase, uint64_t size);
/* More bytes of the body have come. */
void watch_received(struct watch *watch, uint64_t bytes);

#endif
