/* A request under way, as the files of api/http share it; for no one else. The HTTP library's own
 * types stay opaque here: http.c alone knows them. */
#ifndef CDCCA_EXCHANGE_H
#define CDCCA_EXCHANGE_H

#include "api/http/http.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { TYPE_MAX = 80, REQUEST_ID = 65, NOTES = 4 };

enum stage { STAGE_HEADERS, STAGE_BODY, STAGE_WAITING, STAGE_ANSWERED };

struct MHD_Connection;
struct MHD_Daemon;

/* Suspended exchanges that one kind of wake resumes. Guarded by http->lock. */
struct waiting {
    struct exchange *first;
    uint64_t generation; /* how many wakes there were */
    int slots;           /* exchanges that may wait here, suspended or not */
};

struct note {
    const char *name;
    int64_t value;
};

struct exchange {
    struct http_request request; /* first: handlers' pointers are cast back */
    struct http *http;
    struct MHD_Connection *connection;
    struct watch *watch;
    struct target target;
    struct err target_problem;
    const char *target_end; /* behind its NUL: where the library puts the version */
    char params[TARGET_BYTES], type[TYPE_MAX], id[REQUEST_ID];
    const struct http_route *route;
    enum stage stage;
    bool zstd, refused; /* refused: the answer stands, the body is dropped */
    struct buf wire, raw;
    size_t charged, dropped, drop_max;

    /* wait.c; under http->lock */
    struct waiting *slot;   /* where it may wait */
    struct waiting *listed; /* where it waits, NULL: nowhere */
    uint64_t generation;    /* of the last wake that the handler has seen */
    int64_t deadline_ms;    /* of parking; of a stream: the next heartbeat */
    struct exchange *next, *previous;

    /* event_stream.c */
    struct http_stream stream; /* fill NULL: none */
    struct buf pending;
    size_t pending_at;
    int64_t stream_end_ms;
    bool stream_over;

    /* access.c */
    int64_t started_us;
    uint64_t received, sent;
    struct note notes[NOTES];
    int note_count;
};

struct http {
    struct http_config config;
    struct MHD_Daemon *daemon;
    struct watcher *watcher;
    _Atomic size_t bodies_bytes;
    _Atomic uint64_t requests; /* so far: the second half of a request's id */
    _Atomic int connections;
    uint32_t id_base;
    pthread_mutex_t lock; /* guards what follows */
    struct waiting parked, streams;
    int active; /* requests from their first line to their end */
    bool stopping;
};

/* http.c: the library's two verbs. A suspended connection must be resumed, once. */
void exchange_suspend(struct exchange *x);
void exchange_resume(struct exchange *x);

/* wait.c */
/* A place among those that may wait; false when a quarter of the connections do. Kept until
 * wait_end. */
bool wait_reserve(struct exchange *x, struct waiting *in);
/* Suspends x until the next wake or its deadline; false when there was a wake since x->generation,
 * or everything is to end: look again. */
bool wait_suspend(struct exchange *x, struct waiting *in);
/* Remembers what the handler is about to look at. */
void wait_look(struct exchange *x, const struct waiting *in);
void wait_end(struct exchange *x);
void wait_tick(struct http *http);
/* 503 for want of a place. */
void wait_refuse(struct http_request *request);

/* event_stream.c: the next bytes of a stream into out, at most max; 0: suspended, -1: over. */
ssize_t event_stream_read(struct exchange *x, char *out, size_t max);
void event_stream_close(struct exchange *x);

/* access.c */
void access_begin(struct exchange *x);
/* The client's X-Request-Id if it is one, else the one made by access_begin. */
void access_identify(struct exchange *x);
/* One line in the log, and the observer. how: NULL when all went out. */
void access_end(struct exchange *x, const char *how);

#endif
