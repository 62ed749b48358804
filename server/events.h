/* Events: what happened lately, for GET /events. A ring of the last EVENTS_KEPT; every reader has a
 * place in it of its own, so a slow one costs nothing, and is cut off when the ring has gone past
 * it. An id, "5f1c2a3b-17", names the process and the event in it, so that a reader who comes back
 * gets what it missed, or a `reset` when that is not known any more: then it reads the lists again.
 *
 *   upload   {"id", "device", "instances", "size"}
 *   round    {"id", "state"}
 *   step     {"round", "step", "steps", "loss"}         at most four a second
 *   release  {"version", "round", "size", "sha256"}, and when its rollout moves {"version",
 * "state", "stage"?} device   {"id", "version"?}, and of an update {"id", "version", "outcome"}
 *   reset    {}                                         events are missing before this one
 *   end      {"reason": "stopping" | "too slow"}        the last of a stream
 *
 * All functions may be called from any thread. */
#ifndef CDCCA_EVENTS_H
#define CDCCA_EVENTS_H

#include "api/base/buf.h"
#include <stdbool.h>
#include <stdint.h>

enum { EVENTS_KEPT = 1024, EVENT_BYTES = 480, EVENT_ID = 32 };

enum event_type { EVENT_UPLOAD, EVENT_ROUND, EVENT_STEP, EVENT_RELEASE, EVENT_DEVICE, EVENT_TYPES };

struct events;

enum status events_create(struct events **out, struct err *err);
void events_destroy(struct events *events); /* NULL is fine */
/* wake is called after each event, so that readers look. */
void events_on_news(struct events *events, void (*wake)(void *ctx), void *ctx);
/* format makes one JSON object without line breaks; longer than EVENT_BYTES is dropped. A NULL
 * events is fine. */
void events_publish(struct events *events, enum event_type type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Every reader gets `end` and no more. */
void events_stop(struct events *events);

/* "upload,step" -> a set of types; NULL: all. STATUS_USAGE: an unknown one. */
enum status event_types_parse(const char *text, unsigned *out, struct err *err);

struct events_reader {
    struct events *events;
    unsigned types;
    uint64_t next; /* the event to read next */
    bool reset;    /* events are missing */
};

/* last_id: of the last event read, or NULL to begin with the next one. */
void events_reader_init(struct events *events, unsigned types, const char *last_id,
                        struct events_reader *out);
/* Appends what is new, as text/event-stream; false: nothing comes after that. */
bool events_read(struct events_reader *reader, struct buf *out);

#endif
