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
/* Bytes of a refused body that are read for the answer's sake; the second when it was
 * http_config.authorize that refused. */
enum { DROP_MAX = 1 << 20, DROP_STRANGER = 64 << 10 };

enum stage { STAGE_HEADERS, STAGE_BODY, STAGE_WAITING, STAGE_ANSWERED };

struct MHD_Connection;
struct MHD_Daemon;

/* Suspended exchanges that one kind of wake resumes. Guarded by http->lock. */
struct waiting {
    struct exchange *first;
    _Atomic uint64_t generation; /* how many wakes there were; changed under the lock */
    int slots;                   /* exchanges that may wait here, suspended or not */
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
    const char *target_end; /* behind its NUL: where the library puts the version */
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

    /* From here on nothing is zero at first: on_target fills it in. */
    struct target target;
    struct err target_problem;
    char params[TARGET_BYTES], type[TYPE_MAX], id[REQUEST_ID];
};

/* Lines of the log that are not written yet. */
struct access_lines {
    pthread_mutex_t lock; /* guards what follows */
    size_t len;
    char text[32 << 10];
};

struct http {
    struct http_config config;
    struct MHD_Daemon *daemon;
    struct accept *accept; /* NULL after http_drain */
    struct watcher *watcher;
    _Atomic size_t bodies_bytes;
    _Atomic uint64_t requests; /* so far: the second half of a request's id */
    _Atomic int connections;
    _Atomic int arriving; /* accepted, and not yet among the connections */
    uint32_t id_base;
    _Atomic int active; /* requests from their first line to their end */
    _Atomic bool stopping;
    struct access_lines lines;
    pthread_mutex_t lock; /* guards what follows */
    struct waiting parked, streams;
};

/* http.c: the library's two verbs. A suspended connection must be resumed, once. */
void exchange_suspend(struct exchange *x);
void exchange_resume(struct exchange *x);

/* heading.c */
struct heading {
    int lengths, encodings, fields, hosts, authorizations;
    bool odd, nameless; /* of the body; a header whose name is none */
    uint64_t length, fields_bytes;
    const char *forwarded; /* the last X-Forwarded-For */
};

/* The next field, in the order they came. Its strings live as long as the request. */
void heading_take(struct heading *heading, const char *name, const char *value);
/* Can the message be understood in one way only? version: where the library put it. *status: 400 or
 * 431 in case of an error. Takes a believed proxy's word for the client's address. */
enum status heading_check(struct exchange *x, const char *version, const struct heading *heading,
                          int *status, struct err *err);
/* Is there a route for it, may the caller, does the route take such a body? *status: what to answer
 * in case of an error. */
enum status heading_admit(struct exchange *x, const struct heading *heading, int *status,
                          struct err *err);

/* body.c */
/* More of the body. false: it was refused, and too much of it comes to wait for its end. */
bool body_take(struct exchange *x, const char *data, size_t size);
/* The body is whole: the request gets it, decoded. false: an error is the answer. */
bool body_finish(struct exchange *x);

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
/* One line in the log, and the observer. how: NULL when all went out. The line is written with
 * others: when there are enough of them, or by access_flush. */
void access_end(struct exchange *x, const char *how);
void access_flush(struct http *http);

#endif
