/* The one file that knows libmicrohttpd (0.9.75, whose habits shape it).
 *
 * A request's life: on_target keeps the raw request target before the library decodes it;
 * exchange_begin, at the first call with complete headers, refuses what can be refused without the
 * body; exchange_body collects it under the route's cap and the shared budget; exchange_run calls
 * the handler; exchange_send queues the answer; on_completed frees everything. A suspended exchange
 * (deferred or parked) comes back through exchange_resumed.
 *
 * Refusals of small bodies are answered after the body was read and dropped, so that the client
 * sees the answer and not a reset; those of big or oddly framed ones at once, and the connection
 * closes.
 *
 * http->lock guards the list of parked exchanges, the counters and the flags beside it. */
#include "api/http/http.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/zst.h"
#include <ctype.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { DROP_MAX = 1 << 20, TYPE_MAX = 80, CONNECTION_MEMORY = 32 << 10 };

enum stage { STAGE_HEADERS, STAGE_BODY, STAGE_WAITING, STAGE_ANSWERED };

struct exchange {
    struct http_request request; /* first: handlers' pointers are cast back */
    struct http *http;
    struct MHD_Connection *connection;
    struct watch *watch;
    struct target target;
    struct err target_problem;
    const char *target_end; /* behind its NUL: where the library puts the version */
    char params[TARGET_BYTES], type[TYPE_MAX];
    const struct http_route *route;
    enum stage stage;
    bool zstd, refused; /* refused: the answer stands, the body is dropped */
    struct buf wire, raw;
    size_t charged, dropped;
    bool counted, listed; /* under http->lock */
    uint64_t generation;  /* of the last wake that the handler has seen */
    int64_t deadline_ms;  /* of parking */
    struct exchange *next, *previous;
};

struct http {
    struct http_config config;
    struct MHD_Daemon *daemon;
    struct watcher *watcher;
    _Atomic size_t bodies_bytes;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* active == 0 */
    struct exchange *parked;
    int parked_count, active;
    uint64_t generation;
    bool stopping;
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
        .limits =
            {.header_ms = 10000, .idle_ms = 60000, .grace_ms = 15000, .rate = 4096, .tick_ms = 100},
    };
}

/* ---- reading a request ---- */

const char *http_header(struct http_request *request, const char *name)
{
    struct exchange *x = (struct exchange *)request;
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* ---- answering ---- */

static struct MHD_Response *response_create(struct http_response *r)
{
    struct MHD_Response *response;
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

static enum MHD_Result exchange_send(struct exchange *x)
{
    struct http_response *r = &x->request.response;
    uint64_t size = r->fd >= 0 ? r->size : r->body.len;
    struct MHD_Response *response = response_create(r);
    if (!response)
        return MHD_NO;
    for (int i = 0; i < r->headers; i++)
        MHD_add_response_header(response, r->header[i].name, r->header[i].value);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    x->stage = STAGE_ANSWERED;
    watch_phase(x->watch, WATCH_ANSWER, size);
    log_line(LOG_DEBUG, "http", "%s %s %d %llu bytes", x->request.method, x->request.path,
             r->status, (unsigned long long)size);
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result exchange_run(struct exchange *x)
{
    struct err err = {0};
    watch_phase(x->watch, WATCH_BUSY, 0);
    pthread_mutex_lock(&x->http->lock);
    x->generation = x->http->generation;
    pthread_mutex_unlock(&x->http->lock);
    enum status status = x->route->handle(&x->request, &err);
    if (x->stage == STAGE_WAITING)
        return MHD_YES;
    if (status != STATUS_OK) {
        err.code = status;
        http_reply_problem(&x->request, 0, &err);
    }
    return exchange_send(x);
}

/* ---- what can be refused at the headers ---- */

struct framing {
    int lengths, encodings, hosts;
    bool odd, nameless; /* of the body; a header whose name is none */
    uint64_t length;
};

/* RFC 9110, 5.6.2. "Transfer-Encoding : chunked" arrives here with its space, and is neither
 * Transfer-Encoding nor harmless: another server on the way may have read it so. */
static bool is_token(const char *name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    const char *p = name;
    while (isalnum((unsigned char)*p) || (*p && strchr(marks, *p)))
        p++;
    return p > name && !*p;
}

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct framing *framing = ctx;
    (void)kind;
    framing->nameless |= !is_token(name);
    framing->hosts += strcasecmp(name, "Host") == 0;
    if (strcasecmp(name, "Content-Length") == 0) {
        framing->lengths++;
        framing->odd |= !value || strspn(value, "0123456789") != strlen(value) ||
                        strlen(value) == 0 || strlen(value) > 18;
        framing->length = framing->odd ? 0 : strtoull(value, NULL, 10);
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        framing->encodings++;
        framing->odd |= !value || strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

static enum status framing_check(struct exchange *x, const char *version, struct framing *framing,
                                 struct err *err)
{
    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, on_header, framing);
    if (framing->odd || framing->lengths + framing->encodings > 1)
        return err_set(err, STATUS_USAGE,
                       "the body must be framed by one Content-Length or by Transfer-Encoding: "
                       "chunked, not by both, twice or otherwise");
    if (version != x->target_end)
        return err_set(err, STATUS_USAGE, "the request target holds a NUL byte");
    if (framing->nameless)
        return err_set(err, STATUS_USAGE,
                       "a header's name is made of letters, digits and !#$%%&'*+-.^_`|~ alone, and "
                       "its colon follows at once");
    if (framing->hosts > 1)
        return err_set(err, STATUS_USAGE, "a request has one Host header; this has several");
    return STATUS_OK;
}

static void allow_add(char allow[HTTP_VALUE], const char *method)
{
    size_t len = strlen(allow);
    snprintf(allow + len, HTTP_VALUE - len, "%s%s%s", len ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

/* *status: 404 or 405 in case of an error. */
static enum status route_find(struct exchange *x, int *status, struct err *err)
{
    struct http_request *request = &x->request;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    char allow[HTTP_VALUE] = "";
    for (const struct http_route *r = x->http->config.routes; r->method; r++) {
        if (!target_match(r->pattern, request->path, x->params, sizeof x->params, request->param))
            continue;
        x->route = r;
        if (strcmp(r->method, method) == 0)
            return STATUS_OK;
        allow_add(allow, r->method);
    }
    if (!allow[0]) {
        *status = 404;
        return err_set(err, STATUS_NOT_FOUND, "there is nothing at %.200s; GET / lists the routes",
                       request->path);
    }
    *status = 405;
    http_reply_header(request, "Allow", allow);
    return err_set(err, STATUS_USAGE, "%.200s takes %s", request->path, allow);
}

/* "Application/JSON; charset=utf-8" -> "application/json" */
static void type_read(struct exchange *x)
{
    const char *value = http_header(&x->request, "Content-Type");
    size_t n = value ? strcspn(value, "; \t") : 0;
    if (n >= sizeof x->type)
        n = 0;
    for (size_t i = 0; i < n; i++)
        x->type[i] = (char)tolower((unsigned char)value[i]);
    x->type[n] = '\0';
}

static bool type_listed(const char *types, const char *type)
{
    size_t len = strlen(type);
    for (const char *at = types; len && at && (at = strstr(at, type)); at += len)
        if ((at == types || at[-1] == ' ') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

static enum status body_check(struct exchange *x, const struct framing *framing, struct err *err)
{
    const struct http_route *route = x->route;
    if (framing->length > route->body_max || (framing->encodings && !route->body_max))
        return err_set(err, STATUS_TOO_LARGE, "%s %s takes a body of at most %zu bytes",
                       x->request.method, route->pattern, route->body_max);
    if (framing->length == 0 && !framing->encodings)
        return STATUS_OK;
    type_read(x);
    if (!type_listed(route->types, x->type))
        return err_set(err, STATUS_UNSUPPORTED, "%s %s takes Content-Type: %s; this is \"%s\"",
                       x->request.method, route->pattern, route->types, x->type);
    const char *encoding = http_header(&x->request, "Content-Encoding");
    x->zstd = encoding && strcasecmp(encoding, "zstd") == 0 && route->raw_max;
    if (encoding && !x->zstd && strcasecmp(encoding, "identity") != 0) {
        http_reply_header(&x->request, "Accept-Encoding", route->raw_max ? "zstd" : "identity");
        return err_set(err, STATUS_UNSUPPORTED, "Content-Encoding \"%.40s\" is not accepted here%s",
                       encoding, route->raw_max ? "; zstd is" : "");
    }
    return STATUS_OK;
}

static enum status headers_check(struct exchange *x, struct framing *framing, int *status,
                                 struct err *err)
{
    if (x->target_problem.code != STATUS_OK) {
        *err = x->target_problem;
        return err->code;
    }
    TRY(route_find(x, status, err));
    enum status checked = body_check(x, framing, err);
    *status = status_http(checked);
    return checked;
}

static enum MHD_Result exchange_refuse_now(struct exchange *x, int status, const struct err *err)
{
    http_reply_header(&x->request, "Connection", "close");
    http_reply_problem(&x->request, status, err);
    return exchange_send(x);
}

static enum MHD_Result exchange_begin(struct exchange *x, const char *method, const char *version)
{
    struct framing framing = {0};
    struct err err = {0};
    int status = 0;
    x->request.method = method;
    pthread_mutex_lock(&x->http->lock);
    x->http->active++;
    x->counted = true;
    pthread_mutex_unlock(&x->http->lock);
    if (framing_check(x, version, &framing, &err) != STATUS_OK)
        return exchange_refuse_now(x, 400, &err);
    x->stage = STAGE_BODY;
    watch_phase(x->watch, WATCH_BODY, 0);
    if (headers_check(x, &framing, &status, &err) == STATUS_OK) {
        x->wire.max = x->route->body_max;
        return MHD_YES;
    }
    if (framing.length > DROP_MAX || http_header(&x->request, "Expect"))
        return exchange_refuse_now(x, status, &err);
    http_reply_problem(&x->request, status, &err);
    x->refused = true;
    return MHD_YES;
}

/* ---- the body ---- */

static bool body_charge(struct exchange *x, size_t bytes)
{
    size_t before = atomic_fetch_add(&x->http->bodies_bytes, bytes);
    x->charged += bytes;
    return before + bytes <= x->http->config.bodies_bytes;
}

static void body_refuse(struct exchange *x, int status, const struct err *err)
{
    http_reply_problem(&x->request, status, err);
    x->refused = true;
    buf_free(&x->wire);
}

static enum status body_append(struct exchange *x, const char *data, size_t size, int *status,
                               struct err *err)
{
    *status = 413;
    if (size > x->wire.max - x->wire.len)
        return err_set(err, STATUS_TOO_LARGE, "%s %s takes a body of at most %zu bytes",
                       x->request.method, x->route->pattern, x->route->body_max);
    *status = 503;
    if (!body_charge(x, size))
        return err_set(err, STATUS_BUSY, "too many uploads at once; try again");
    if (buf_append(&x->wire, data, size) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

static enum MHD_Result exchange_body(struct exchange *x, const char *data, size_t *size)
{
    struct err err = {0};
    int status = 0;
    watch_received(x->watch, *size);
    if (!x->refused && body_append(x, data, *size, &status, &err) != STATUS_OK)
        body_refuse(x, status, &err);
    if (x->refused)
        x->dropped += *size;
    *size = 0;
    return x->dropped > DROP_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result exchange_complete(struct exchange *x)
{
    struct err err = {0};
    if (x->refused)
        return exchange_send(x);
    const struct buf *body = &x->wire;
    if (x->zstd) {
        x->raw.max = x->route->raw_max;
        enum status status = zst_decompress(x->wire.data, x->wire.len, &x->raw, &err);
        bool fits = body_charge(x, x->raw.len);
        if (status == STATUS_OK && !fits)
            status = err_set(&err, STATUS_BUSY, "too many uploads at once; try again");
        if (status != STATUS_OK) {
            http_reply_problem(&x->request, fits ? status_http(status) : 503, &err);
            return exchange_send(x);
        }
        buf_free(&x->wire);
        body = &x->raw;
    }
    x->request.body = body->data;
    x->request.body_len = body->len;
    return exchange_run(x);
}

/* ---- waiting ---- */

static void parked_remove(struct http *http, struct exchange *x)
{
    if (!x->listed)
        return;
    if (x->next)
        x->next->previous = x->previous;
    if (x->previous)
        x->previous->next = x->next;
    else
        http->parked = x->next;
    x->next = x->previous = NULL;
    x->listed = false;
    http->parked_count--;
}

static void parked_resume(struct http *http, bool all)
{
    int64_t now = clock_monotonic_ms();
    for (struct exchange *x = http->parked, *next; x; x = next) {
        next = x->next;
        if (!all && now < x->deadline_ms)
            continue;
        parked_remove(http, x);
        MHD_resume_connection(x->connection);
    }
}

bool http_park(struct http_request *request, int64_t wait_ms)
{
    struct exchange *x = (struct exchange *)request;
    struct http *http = x->http;
    int64_t now = clock_monotonic_ms();
    if (!x->deadline_ms)
        x->deadline_ms = now + wait_ms;
    pthread_mutex_lock(&http->lock);
    bool ok = !http->stopping && now < x->deadline_ms &&
              http->parked_count < http->config.connections / 4;
    if (ok) {
        x->stage = STAGE_WAITING;
        MHD_suspend_connection(x->connection);
        if (x->generation != http->generation) {
            MHD_resume_connection(x->connection);
        } else {
            x->next = http->parked;
            if (x->next)
                x->next->previous = x;
            http->parked = x;
            x->listed = true;
            http->parked_count++;
        }
    }
    pthread_mutex_unlock(&http->lock);
    return ok;
}

void http_wake(struct http *http)
{
    pthread_mutex_lock(&http->lock);
    http->generation++;
    parked_resume(http, true);
    pthread_mutex_unlock(&http->lock);
}

static void on_tick(void *ctx)
{
    struct http *http = ctx;
    pthread_mutex_lock(&http->lock);
    parked_resume(http, false);
    pthread_mutex_unlock(&http->lock);
}

void http_defer(struct http_request *request)
{
    struct exchange *x = (struct exchange *)request;
    x->stage = STAGE_WAITING;
    MHD_suspend_connection(x->connection);
}

void http_complete(struct http_request *request, enum status status, const struct err *err)
{
    struct exchange *x = (struct exchange *)request;
    if (status != STATUS_OK)
        http_reply_problem(request, 0, err);
    MHD_resume_connection(x->connection);
}

static enum MHD_Result exchange_resumed(struct exchange *x)
{
    x->stage = STAGE_BODY;
    return x->request.response.status ? exchange_send(x) : exchange_run(x);
}

/* ---- callbacks of the library ---- */

static void *on_target(void *ctx, const char *raw, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->http = ctx;
    x->connection = connection;
    x->request.app = x->http->config.app;
    x->request.type = x->type;
    x->request.response.fd = -1;
    x->target_end = raw + strlen(raw) + 1;
    target_parse(raw, &x->target, &x->target_problem);
    x->request.path = x->target.path;
    x->request.target = &x->target;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    x->watch = info ? info->socket_context : NULL;
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

static void on_completed(void *ctx, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct http *http = ctx;
    struct exchange *x = *state;
    (void)connection, (void)code;
    if (!x)
        return;
    *state = NULL;
    pthread_mutex_lock(&http->lock);
    parked_remove(http, x);
    if (x->counted && --http->active == 0)
        pthread_cond_broadcast(&http->idle);
    pthread_mutex_unlock(&http->lock);
    watch_phase(x->watch, WATCH_IDLE, 0);
    atomic_fetch_sub(&http->bodies_bytes, x->charged);
    if (x->request.response.fd >= 0)
        close(x->request.response.fd);
    buf_free(&x->request.response.body);
    buf_free(&x->wire);
    buf_free(&x->raw);
    free(x);
}

static void on_connection(void *ctx, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = ctx;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        watch_close(*socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? watch_open(http->watcher, info->connect_fd) : NULL;
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

/* ---- start and stop ---- */

static enum status daemon_start(struct http *http, int listen_fd, struct err *err)
{
    const struct http_config *config = &http->config;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)config->threads,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)config->per_address,
        MHD_OPTION_CONNECTION_TIMEOUT, 60u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    return http->daemon ? STATUS_OK : err_set(err, STATUS_IO, "cannot start the HTTP server");
}

enum status http_start(const struct http_config *config, int listen_fd, struct http **out,
                       struct err *err)
{
    struct http *http = calloc(1, sizeof *http);
    if (!http)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    http->config = *config;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&http->lock, NULL);
    pthread_cond_init(&http->idle, &attributes);
    pthread_condattr_destroy(&attributes);
    enum status status = watcher_create(&config->limits, on_tick, http, &http->watcher, err);
    if (status == STATUS_OK)
        status = daemon_start(http, listen_fd, err);
    if (status != STATUS_OK) {
        http_stop(http);
        return status;
    }
    *out = http;
    return STATUS_OK;
}

void http_drain(struct http *http, int64_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    int listen_fd = MHD_quiesce_daemon(http->daemon);
    if (listen_fd >= 0)
        close(listen_fd);
    pthread_mutex_lock(&http->lock);
    http->stopping = true;
    http->generation++;
    parked_resume(http, true);
    while (http->active > 0 && pthread_cond_timedwait(&http->idle, &http->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&http->lock);
}

void http_stop(struct http *http)
{
    if (!http)
        return;
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    watcher_destroy(http->watcher);
    pthread_cond_destroy(&http->idle);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
