/* HTTP for a service: what a request and an answer are, routing, limits, waiting, event streams.
 * http.c is the one file that knows libmicrohttpd, and tls.c GnuTLS; the files beside them know
 * neither.
 *
 * A handler reads its request, fills in an answer by http_reply_*, and returns STATUS_OK; any other
 * status becomes a problem document by itself. Handlers run on the threads that poll the sockets,
 * so they neither sync to disk nor compute for long. For that there are two ways to wait:
 *
 *   http_defer     another thread will fill in the answer and call http_complete, exactly once.
 *   http_park      the handler is called again after the next http_wake, or when the wait is over
 *                  (long polling).
 *
 * Bounded by policy: connections, bytes of bodies in memory, parked requests and streams, headers,
 * time for headers and for bodies (watch.h). A message framed in more than one way is refused and
 * its connection closed.
 */
#ifndef CDCCA_HTTP_H
#define CDCCA_HTTP_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include "api/http/peer.h"
#include "api/http/target.h"
#include "api/http/tls.h"
#include "api/http/watch.h"
#include "api/wire/json.h"
#include <stdbool.h>
#include <stdint.h>

enum { HTTP_HEADERS = 8, HTTP_VALUE = 200, HTTP_NAME = 80 };

struct http_header {
    char name[32], value[HTTP_VALUE];
};

/* The answer. Body: bytes, or a part of an open file when fd >= 0 (owned). */
struct http_response {
    int status; /* 0: none yet */
    struct http_header header[HTTP_HEADERS];
    int headers;
    struct buf body;
    int fd;
    uint64_t first, size; /* of the file */
};

/* Who asks, as far as http_config.authorize has found out. */
struct http_caller {
    unsigned role; /* 0: not known */
    char name[HTTP_NAME];
};

/* Appends an error document with this HTTP status to *out; e->code is never STATUS_OK. id: the
 * request's. As problem_write does. */
typedef enum status http_problem_writer(const struct err *e, int status, const char *id,
                                        struct buf *out);

struct http_request {
    const char *method, *path;
    const char *id;          /* the client's X-Request-Id, or made up; it is in the log */
    char address[PEER_TEXT]; /* where it comes from; behind a proxy, where that says */
    struct http_caller caller;
    const char *type;          /* media type, lower case, without parameters; "" without a body */
    const unsigned char *body; /* decoded */
    size_t body_len;
    const char *param[TARGET_PARAMS]; /* what the route's {names} matched */
    const struct target *target;
    void *app;                     /* http_config.app */
    http_problem_writer *problems; /* http_config.problems */
    struct http_response response;
};

typedef enum status http_handler(struct http_request *request, struct err *err);

struct http_route {
    const char *method;  /* GET also answers HEAD; NULL ends the table */
    const char *pattern; /* "/distill/{id}" */
    http_handler *handle;
    size_t body_max;   /* bytes on the wire; 0: no body allowed */
    size_t raw_max;    /* after Content-Encoding: zstd; 0: not accepted */
    const char *types; /* "application/json, application/x-safetensors" */
    unsigned who;      /* may call it: for http_config.authorize alone */
};

/* A request that is over, for whoever counts. */
struct http_seen {
    const char *route, *method; /* the route's pattern or "none" */
    int status;                 /* 0: the client went before there was one */
    bool stream;
    uint64_t received, sent; /* bytes of the bodies */
    double seconds;
};
/* Called with complete headers, before any of the body is read. Fills in request->caller; anything
 * but STATUS_OK is the answer, with *status if that is not 0, and with the headers set here. */
typedef enum status http_authorize(struct http_request *request, const struct http_route *route,
                                   int *status, struct err *err);

struct http_config {
    const struct http_route *routes;
    void *app;
    int threads;         /* that poll and handle */
    int connections;     /* in all */
    int per_address;     /* connections of one client address, 0: any */
    size_t bodies_bytes; /* of all request bodies in memory together */
    int heartbeat_ms;    /* between two signs of life of a stream */
    int stream_ms;       /* the longest that one lives; clients come again by themselves */
    http_problem_writer *problems; /* errors as application/json of this shape; NULL: RFC 9457 */
    struct watch_limits limits;
    void (*observe)(void *app, const struct http_seen *seen); /* may be NULL */

    http_authorize *authorize; /* NULL: every route is for everybody */
    struct tls *tls;           /* borrowed; NULL: HTTP without TLS */
    const char *proxy;         /* the one peer whose X-Forwarded-For is believed; NULL: none */
};
struct http_config http_defaults(void);

struct http;

/* Takes over the listening socket, unless it fails. */
enum status http_start(const struct http_config *config, int listen_fd, struct http **out,
                       struct err *err);
/* Stops accepting, wakes what is parked, ends streams, waits up to wait_ms for requests under way;
 * each answer from now on is its connection's last. */
void http_drain(struct http *http, int64_t wait_ms);
/* Closes what is left. Nothing may be deferred any more. */
void http_stop(struct http *http);

struct http_gauges {
    int connections, parked, streams;
};
struct http_gauges http_look(struct http *http);

/* A header's or query parameter's value, NULL if absent. Valid as long as the request. */
const char *http_header(struct http_request *request, const char *name);
const char *http_query(struct http_request *request, const char *name);
/* A decimal query parameter; *out is left alone when absent. STATUS_USAGE out of min..max. */
enum status http_query_int(struct http_request *request, const char *name, int64_t min, int64_t max,
                           int64_t *out, struct err *err);
/* A decimal path parameter without sign or leading zeros; STATUS_NOT_FOUND otherwise. */
enum status http_param_int(const struct http_request *request, int index, int64_t *out,
                           struct err *err);
/* Refuses query parameters that are not in the NULL-terminated list. */
enum status http_query_only(struct http_request *request, const char *const *known,
                            struct err *err);

/* Adds name=value to the request's line in the log; name is borrowed. */
void http_note(struct http_request *request, const char *name, int64_t value);

/* Waiting; see above. http_park is false when it is time to answer with what there is; after true
 * the handler returns at once (too many wait already: the answer is then 503). */
void http_defer(struct http_request *request);
void http_complete(struct http_request *request, enum status status, const struct err *err);
bool http_park(struct http_request *request, int64_t wait_ms);
void http_wake(struct http *http);

/* An event stream. fill appends whole events to out, or nothing when there are none yet; it is
 * called on a polling thread, again after each http_wake_streams, and returns false to end the
 * stream after what it appended. close is called once, when the stream is over. */
struct http_stream {
    bool (*fill)(void *ctx, struct buf *out);
    void (*close)(void *ctx);
    void *ctx;
};
/* Takes stream->ctx, whatever it returns. 503 when too many wait already. */
enum status http_reply_stream(struct http_request *request, const struct http_stream *stream,
                              struct err *err);
void http_wake_streams(struct http *http);

/* Answers. Each replaces what was there. JSON takes the value's reference, NULL means no memory.
 * JSON and problem documents end with a newline. */
enum status http_reply_json(struct http_request *request, int status, json *value, struct err *err);
enum status http_reply_text(struct http_request *request, int status, const char *type,
                            const char *text, struct err *err);
/* Bytes with a tag of their own, or 304; a cache asks the server each time. etag:
 * quoted, strong. */
enum status http_reply_bytes(struct http_request *request, const char *type, const void *data,
                             size_t len, const char *etag, struct err *err);
/* A problem document with the status that belongs to err->code, or `status` if not 0. */
void http_reply_problem(struct http_request *request, int status, const struct err *err);
/* A whole file or what Range asks of it, or 304. etag: quoted, strong. */
enum status http_reply_file(struct http_request *request, const char *path, const char *type,
                            const char *etag, struct err *err);
void http_reply_header(struct http_request *request, const char *name, const char *value);

#endif
