/* The one file that knows libmicrohttpd (0.9.75, whose habits shape it).
 *
 * It never listens: on_accepted hands it the connections that accept.c takes.
 *
 * A request's life: on_target keeps the raw request target before the library decodes it;
 * exchange_begin, at the first call with complete headers, refuses what can be refused without the
 * body (heading.c); exchange_body collects it (body.c); exchange_run calls the handler;
 * exchange_send queues the answer; on_completed frees everything. A suspended exchange (deferred or
 * parked, wait.c) comes back through exchange_resumed; a stream (event_stream.c) is asked for bytes
 * by on_stream.
 *
 * Refusals of small bodies are answered after the body was read and dropped, so that the client
 * sees the answer and not a reset; those of big or oddly framed ones at once, and the connection
 * closes. */
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/http/accept.h"
#include "api/http/exchange.h"
#include "api/http/listen.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* The library answers by itself, without a document, what does not fit CONNECTION_MEMORY. */
enum { CONNECTION_MEMORY = 32 << 10, STREAM_BLOCK = 4096, FRESH_MS = 1000, DRAIN_LOOK_MS = 5 };

/* One connection. */
struct session {
    struct http *http;
    struct watch *watch;
    char address[PEER_TEXT];
    struct exchange *spare; /* of the last request, for the next */
};

/* More threads than cores only wake each other up. Two at least: one may be in a long answer. */
static int threads_default(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : cores > 16 ? 16 : (int)cores;
}

struct http_config http_defaults(void)
{
    return (struct http_config){
        .threads = threads_default(),
        .connections = 1024,
        .bodies_bytes = 128u << 20,
        .heartbeat_ms = 15000,
        .stream_ms = 3600000,
        .limits = {.header_ms = 10000,
                   .idle_ms = 60000,
                   .grace_ms = 15000,
                   .rate = 4096,
                   .tick_ms = 100,
                   .plain = true},
    };
}

/* ---- reading a request ---- */

const char *http_header(struct http_request *request, const char *name)
{
    struct exchange *x = (struct exchange *)request;
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* ---- answering ---- */

static ssize_t on_stream(void *ctx, uint64_t at, char *out, size_t max)
{
    (void)at;
    ssize_t n = event_stream_read(ctx, out, max);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static struct MHD_Response *response_create(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    struct MHD_Response *response;
    if (x->stream.fill)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_stream, x,
                                                 NULL);
    if (r->fd >= 0) {
        response = MHD_create_response_from_fd_at_offset64(r->size, r->fd, r->first);
        if (response)
            r->fd = -1;
        return response;
    }
    if (r->body.len == 0)
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    response = MHD_create_response_from_buffer_with_free_callback(r->body.len, r->body.data, free);
    if (response)
        r->body = (struct buf){0};
    return response;
}

static void headers_add(struct exchange *x, struct MHD_Response *response)
{
    const struct http_response *r = &x->request.response;
    for (int i = 0; i < r->headers; i++)
        MHD_add_response_header(response, r->header[i].name, r->header[i].value);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Request-Id", x->id);
    if (atomic_load(&x->http->stopping))
        MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result exchange_send(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    uint64_t size = r->fd >= 0 ? r->size : r->body.len;
    struct MHD_Response *response = response_create(x);
    if (!response)
        return MHD_NO;
    headers_add(x, response);
    x->stage = STAGE_ANSWERED;
    x->sent = strcmp(x->request.method, "HEAD") == 0 ? 0 : size;
    watch_phase(x->watch, WATCH_ANSWER, size);
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result exchange_run(struct exchange *x)
{
    struct err err = {0};
    watch_phase(x->watch, WATCH_BUSY, 0);
    wait_look(x, &x->http->parked);
    enum status status = x->route->handle(&x->request, &err);
    if (x->stage == STAGE_WAITING)
        return MHD_YES;
    if (status != STATUS_OK) {
        err.code = status;
        event_stream_close(x);
        http_reply_problem(&x->request, 0, &err);
    }
    return exchange_send(x);
}

/* ---- headers and body ---- */

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    (void)kind;
    heading_take(ctx, name, value);
    return MHD_YES;
}

static enum MHD_Result exchange_refuse_now(struct exchange *x, int status, const struct err *err)
{
    http_reply_header(&x->request, "Connection", "close");
    http_reply_problem(&x->request, status, err);
    return exchange_send(x);
}

static enum MHD_Result exchange_begin(struct exchange *x, const char *method, const char *version)
{
    struct heading heading = {0};
    struct err err = {0};
    int status = 0;
    x->request.method = method;
    access_identify(x);
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, on_header, &heading);
    if (heading_check(x, version, &heading, &status, &err) != STATUS_OK)
        return exchange_refuse_now(x, status, &err);
    x->stage = STAGE_BODY;
    if (heading.length || heading.encodings)
        watch_phase(x->watch, WATCH_BODY, 0);
    if (heading_admit(x, &heading, &status, &err) == STATUS_OK) {
        x->wire.max = x->route->body_max;
        return MHD_YES;
    }
    if (heading.length > x->drop_max || http_header(&x->request, "Expect"))
        return exchange_refuse_now(x, status, &err);
    http_reply_problem(&x->request, status, &err);
    x->refused = true;
    return MHD_YES;
}

static enum MHD_Result exchange_body(struct exchange *x, const char *data, size_t *size)
{
    bool go_on = body_take(x, data, *size);
    *size = 0;
    return go_on ? MHD_YES : MHD_NO;
}

static enum MHD_Result exchange_complete(struct exchange *x)
{
    return x->refused || !body_finish(x) ? exchange_send(x) : exchange_run(x);
}

/* ---- waiting ---- */

void exchange_suspend(struct exchange *x)
{
    MHD_suspend_connection(x->connection);
}

void exchange_resume(struct exchange *x)
{
    MHD_resume_connection(x->connection);
}

static enum MHD_Result exchange_resumed(struct exchange *x)
{
    x->stage = STAGE_BODY;
    return x->request.response.status ? exchange_send(x) : exchange_run(x);
}

/* ---- callbacks of the library ---- */

/* NULL when there was no memory for it. */
static struct session *session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

struct tls *tls_of_connection(void *connection)
{
    struct session *session = connection ? session_of(connection) : NULL;
    return session ? session->http->config.tls : NULL;
}

static struct exchange *exchange_alloc(struct session *session)
{
    struct exchange *x = session ? session->spare : NULL;
    if (!x)
        return malloc(sizeof *x);
    session->spare = NULL;
    return x;
}

static void *on_target(void *ctx, const char *raw, struct MHD_Connection *connection)
{
    struct session *session = session_of(connection);
    struct exchange *x = exchange_alloc(session);
    if (!x)
        return NULL;
    memset(x, 0, offsetof(struct exchange, target));
    x->target_problem.code = STATUS_OK;
    x->type[0] = '\0';
    x->http = ctx;
    x->connection = connection;
    x->request.app = x->http->config.app;
    x->request.method = "none";
    access_begin(x);
    atomic_fetch_add(&x->http->active, 1);
    x->request.problems = x->http->config.problems;
    x->request.type = x->type;
    x->request.response.fd = -1;
    x->target_end = raw + strlen(raw) + 1;
    x->drop_max = DROP_MAX;
    target_parse(raw, &x->target, &x->target_problem);
    x->request.path = x->target.path;
    x->request.target = &x->target;
    x->watch = session ? session->watch : NULL;
    if (session)
        memcpy(x->request.address, session->address, sizeof session->address);
    return x;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct exchange *x = *state;
    (void)ctx, (void)connection, (void)url;
    if (!x)
        return MHD_NO;
    switch (x->stage) {
    case STAGE_HEADERS:
        return exchange_begin(x, method, version);
    case STAGE_BODY:
        return *size ? exchange_body(x, data, size) : exchange_complete(x);
    case STAGE_WAITING:
        return exchange_resumed(x);
    case STAGE_ANSWERED:
        break;
    }
    *size = 0;
    return MHD_YES;
}

static const char *ended_how(enum MHD_RequestTerminationCode code)
{
    switch (code) {
    case MHD_REQUEST_TERMINATED_COMPLETED_OK:
        return NULL;
    case MHD_REQUEST_TERMINATED_TIMEOUT_REACHED:
        return "timeout";
    case MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN:
        return "shutdown";
    case MHD_REQUEST_TERMINATED_CLIENT_ABORT:
    case MHD_REQUEST_TERMINATED_READ_ERROR:
        return "client gone";
    case MHD_REQUEST_TERMINATED_WITH_ERROR:
        break;
    }
    return "error";
}

static void exchange_free(struct exchange *x, struct session *session)
{
    event_stream_close(x);
    if (x->request.response.fd >= 0)
        close(x->request.response.fd);
    buf_free(&x->request.response.body);
    buf_free(&x->wire);
    buf_free(&x->raw);
    if (session && !session->spare)
        session->spare = x;
    else
        free(x);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct http *http = ctx;
    struct exchange *x = *state;
    if (!x)
        return;
    *state = NULL;
    access_end(x, ended_how(code));
    wait_end(x);
    watch_phase(x->watch, WATCH_IDLE, 0);
    atomic_fetch_sub(&http->bodies_bytes, x->charged);
    exchange_free(x, session_of(connection));
    atomic_fetch_sub(&http->active, 1);
}

static struct session *session_open(struct http *http, struct MHD_Connection *connection)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return NULL;
    session->http = http;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    session->watch = info ? watch_open(http->watcher, info->connect_fd) : NULL;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    peer_address(info ? info->client_addr : NULL, session->address);
    return session;
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = ctx;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&http->connections, 1);
        *socket_context = session_open(http, connection);
        atomic_fetch_sub(&http->arriving, 1);
        return;
    }
    atomic_fetch_sub(&http->connections, 1);
    struct session *session = *socket_context;
    if (session) {
        watch_close(session->watch);
        free(session->spare);
        free(session);
        *socket_context = NULL;
    }
}

__attribute__((format(printf, 2, 0))) static void on_log(void *ctx, const char *format,
                                                         va_list arguments)
{
    char text[256];
    (void)ctx;
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    log_line(LOG_DEBUG, "http", "%s", text);
}

static void on_tick(void *ctx)
{
    wait_tick(ctx);
    access_flush(ctx);
}

/* ---- start and stop ---- */

/* An option whose value is a pointer, of whatever kind the library takes as void *. */
static struct MHD_OptionItem option_pointer(enum MHD_OPTION option, const void *value)
{
    struct MHD_OptionItem item = {.option = option};
    memcpy(&item.ptr_value, value, sizeof item.ptr_value);
    return item;
}

static enum status daemon_start(struct http *http, struct err *err)
{
    const struct http_config *config = &http->config;
    const char *priorities = tls_priorities();
    void (*certificate)(void) = tls_certificate_function();
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    /* each thread takes its share of the limit, but connections do not spread that evenly */
    unsigned connections = (unsigned)config->connections * (unsigned)config->threads;
    struct MHD_OptionItem secure[] = {option_pointer(MHD_OPTION_HTTPS_PRIORITIES, &priorities),
                                      option_pointer(MHD_OPTION_HTTPS_CERT_CALLBACK, &certificate),
                                      {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    http->daemon = MHD_start_daemon(
        config->tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)config->threads, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)config->per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY,
        config->tls ? secure : plain, MHD_OPTION_END);
    return http->daemon ? STATUS_OK : err_set(err, STATUS_IO, "cannot start the HTTP server");
}

static bool on_room(void *ctx)
{
    struct http *http = ctx;
    return atomic_load(&http->connections) + atomic_load(&http->arriving) <
           http->config.connections;
}

/* The library closes what it refuses. */
static void on_accepted(void *ctx, int fd, const struct sockaddr *address, socklen_t size)
{
    struct http *http = ctx;
    atomic_fetch_add(&http->arriving, 1);
    if (MHD_add_connection(http->daemon, fd, address, size) != MHD_YES)
        atomic_fetch_sub(&http->arriving, 1);
}

enum status http_start(const struct http_config *config, int listen_fd, struct http **out,
                       struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    http->config = *config;
    if (getrandom(&http->id_base, sizeof http->id_base, GRND_NONBLOCK) < 0)
        http->id_base = (uint32_t)clock_wall_ms();
    pthread_mutex_init(&http->lock, NULL);
    pthread_mutex_init(&http->lines.lock, NULL);
    enum status status = watcher_create(&config->limits, on_tick, http, &http->watcher, err);
    if (status == STATUS_OK)
        status = daemon_start(http, err);
    struct accept_calls calls = {.ctx = http, .room = on_room, .take = on_accepted};
    if (status == STATUS_OK)
        status = accept_start(listen_fd, &calls, &http->accept, err);
    if (status != STATUS_OK) {
        http_stop(http);
        return status;
    }
    *out = http;
    return STATUS_OK;
}

/* Requests under way, and for a moment those that may be on their way on new connections. Looks in
 * the order in which they go, so that none slips by. */
static bool drained(struct http *http, bool fresh)
{
    return (!fresh || (atomic_load(&http->arriving) == 0 &&
                       watcher_count(http->watcher, WATCH_HEADERS) == 0)) &&
           atomic_load(&http->active) == 0;
}

void http_drain(struct http *http, int64_t wait_ms)
{
    int64_t start = clock_monotonic_ms();
    int listen_fd = accept_stop(http->accept);
    http->accept = NULL;
    atomic_store(&http->stopping, true);
    http_wake(http);
    http_wake_streams(http);
    if (listen_fd >= 0 && http->config.limits.plain)
        listen_close(listen_fd);
    else if (listen_fd >= 0)
        close(listen_fd);
    for (int64_t now = start; now < start + wait_ms; now = clock_monotonic_ms()) {
        if (drained(http, now < start + FRESH_MS))
            break;
        clock_sleep_ms(DRAIN_LOOK_MS);
    }
}

void http_stop(struct http *http)
{
    if (!http)
        return;
    int listen_fd = accept_stop(http->accept);
    if (listen_fd >= 0)
        close(listen_fd);
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    watcher_destroy(http->watcher);
    access_flush(http);
    pthread_mutex_destroy(&http->lines.lock);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
