/* The HTTP layer over real sockets: routing, framing, limits, slow clients, waiting requests. The
 * service here has a few routes of its own; nothing of the cloud is in it. */
// links: http
#include "api/base/clock.h"
#include "api/http/http.h"
#include "api/http/listen.h"
#include "api/wire/zst.h"
#include "tests/unit/http_client.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct service {
    struct http *http;
    int port;
    bool ready; /* what /wait waits for; under lock */
    pthread_mutex_t lock;
    pthread_t completer;
};

/* ---- routes ---- */

static enum status echo(struct http_request *request, struct err *err)
{
    char text[128];
    snprintf(text, sizeof text, "%s %zu %s", request->type, request->body_len,
             http_query(request, "q") ? http_query(request, "q") : "-");
    return http_reply_text(request, 200, "text/plain", text, err);
}

static enum status item(struct http_request *request, struct err *err)
{
    int64_t id;
    TRY(http_param_int(request, 0, &id, err));
    return http_reply_text(request, 200, "text/plain", request->param[0], err);
}

static enum status wait_for_it(struct http_request *request, struct err *err)
{
    struct service *service = request->app;
    int64_t wait = 100;
    TRY(http_query_int(request, "ms", 0, 60000, &wait, err));
    pthread_mutex_lock(&service->lock);
    bool ready = service->ready;
    pthread_mutex_unlock(&service->lock);
    if (!ready && http_park(request, wait))
        return STATUS_OK;
    return http_reply_text(request, 200, "text/plain", ready ? "ready" : "nothing", err);
}

static void *complete(void *arg)
{
    struct http_request *request = arg;
    struct err err = {STATUS_DISK_FULL, "no room"};
    bool fail = request->body_len == 0;
    if (!fail)
        http_reply_text(request, 201, "text/plain", "done", &err);
    http_complete(request, fail ? STATUS_DISK_FULL : STATUS_OK, &err);
    return NULL;
}

static enum status later(struct http_request *request, struct err *err)
{
    struct service *service = request->app;
    http_defer(request);
    if (pthread_create(&service->completer, NULL, complete, request) != 0)
        return err_set(err, STATUS_NO_MEMORY, "no thread");
    return STATUS_OK;
}

static enum status broken(struct http_request *request, struct err *err)
{
    (void)request;
    return err_set(err, STATUS_CONFLICT, "as \"asked\"");
}

static const struct http_route routes[] = {
    {"GET", "/item/{id}", item, 0, 0, NULL},
    {"POST", "/echo", echo, 100, 1000, "text/plain, application/json"},
    {"GET", "/echo", echo, 0, 0, NULL},
    {"GET", "/wait", wait_for_it, 0, 0, NULL},
    {"POST", "/later", later, 100, 0, "text/plain"},
    {"GET", "/broken", broken, 0, 0, NULL},
    {NULL, NULL, NULL, 0, 0, NULL},
};

static int service_open(void **state, int per_address)
{
    struct service *service = calloc(1, sizeof *service);
    struct http_config config = http_defaults();
    struct err err;
    char bound[LISTEN_TEXT];
    int fd;
    config.routes = routes;
    config.app = service;
    config.threads = 2;
    config.connections = 64;
    config.per_address = per_address;
    config.limits = (struct watch_limits){.header_ms = 400,
                                          .idle_ms = 3000,
                                          .grace_ms = 400,
                                          .rate = 100000,
                                          .tick_ms = 20,
                                          .plain = true};
    if (!service || listen_open("127.0.0.1:0", &fd, bound, &err) != STATUS_OK)
        return -1;
    service->port = atoi(strrchr(bound, ':') + 1);
    pthread_mutex_init(&service->lock, NULL);
    *state = service;
    return http_start(&config, fd, &service->http, &err) == STATUS_OK ? 0 : -1;
}

static int service_start(void **state)
{
    return service_open(state, 0);
}

static int service_start_capped(void **state)
{
    return service_open(state, 3);
}

static int service_stop(void **state)
{
    struct service *service = *state;
    http_drain(service->http, 2000);
    http_stop(service->http);
    pthread_mutex_destroy(&service->lock);
    free(service);
    return 0;
}

/* ---- a client that sends what it is told ---- */

static int client_open(const struct service *service)
{
    int fd = client_connect(service->port);
    assert_true(fd >= 0);
    return fd;
}

/* Sends a request and asks for the connection's end, so that the answer is whole. */
static int ask(const struct service *service, const char *request, char answer[ANSWER])
{
    int status = client_ask(service->port, request, answer);
    assert_true(status >= 0);
    return status;
}

/* ---- tests ---- */

static void requests_find_their_route(void **state)
{
    static char answer[ANSWER];
    assert_int_equal(ask(*state, "GET /item/7 HTTP/1.1\r\n" END, answer), 200);
    assert_non_null(strstr(answer, "\r\n\r\n7"));
    assert_int_equal(ask(*state, "HEAD /item/7 HTTP/1.1\r\n" END, answer), 200);
    assert_non_null(strstr(answer, "Content-Length: 1\r\n"));
    assert_null(strstr(answer, "\r\n\r\n7"));
    assert_int_equal(ask(*state, "GET /item/07 HTTP/1.1\r\n" END, answer), 404);
    assert_int_equal(ask(*state, "GET /item HTTP/1.1\r\n" END, answer), 404);
    assert_int_equal(ask(*state, "GET /none HTTP/1.1\r\n" END, answer), 404);
    assert_non_null(strstr(answer, "application/problem+json"));
    assert_int_equal(ask(*state, "DELETE /echo HTTP/1.1\r\n" END, answer), 405);
    assert_non_null(strstr(answer, "Allow: POST, GET, HEAD\r\n"));
    assert_int_equal(ask(*state, "GET /echo?q=%41 HTTP/1.1\r\n" END, answer), 200);
    assert_non_null(strstr(answer, " 0 A"));
    assert_int_equal(ask(*state, "GET /echo?q=1&q=2 HTTP/1.1\r\n" END, answer), 400);
    assert_int_equal(ask(*state, "GET /broken HTTP/1.1\r\n" END, answer), 409);
    assert_non_null(strstr(answer, "as \\\"asked\\\""));
}

/* Each one clear status (0: closed without a word is fine too), and then the connection closes. */
static void odd_framing_is_refused(void **state)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
#define POST "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        {POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400},
        {POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400},
        {POST "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 400},
        {POST "Content-Length: 2, 2\r\n\r\nab", 400},
        {POST "Content-Length: +2\r\n\r\nab", 400},
        {POST "Content-Length: -2\r\n\r\nab", 400},
        {POST "Content-Length: 0x2\r\n\r\nab", 400},
        {POST "Content-Length: 2x\r\n\r\nab", 400},
        {POST "Content-Length:\r\n\r\nab", 400},
        {POST "Content-Length: 99999999999999999999\r\n\r\nab", 413},
        {POST "Transfer-Encoding: gzip\r\n\r\nab", 400},
        {POST "Transfer-Encoding: identity\r\n\r\nab", 400},
        {POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400},
        {POST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n", 400},
        {"GET /echo HTTP/1.1\r\n\r\n", 400},
        {"GET /echo%00 HTTP/1.1\r\n" END, 400},
        {"GET /%2e%2e/echo HTTP/1.1\r\n" END, 400},
        {"GET //echo HTTP/1.1\r\n" END, 400},
        {"GET http://x/echo HTTP/1.1\r\n" END, 400},
        {"GET\r\n\r\n", 0},
        {"\x16\x03\x01\x02\x01\r\n\r\n", 0},
#undef POST
    };
    static char answer[ANSWER];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = ask(*state, cases[i].request, answer);
        if (status != cases[i].status && (status / 100 != 4 || cases[i].status == 413))
            fail_msg("case %zu: %d instead of %d\n%s\n%s", i, status, cases[i].status,
                     cases[i].request, answer);
    }
}

static void a_refused_framing_ends_the_connection(void **state)
{
    static const char two[] =
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /item/1 HTTP/1.1\r\nHost: x\r\n\r\n";
    static char answer[ANSWER];
    assert_int_equal(ask(*state, two, answer), 400);
    assert_null(strstr(answer, "200 OK"));
}

static void bodies_have_limits_and_types(void **state)
{
    static char answer[ANSWER], request[4096];
    static const char chunked[] = "POST /echo HTTP/1.1\r\nContent-Type: text/plain\r\n"
                                  "Transfer-Encoding: chunked\r\n" END "5\r\nhello\r\n0\r\n\r\n";
    static const char too_big[] =
        "POST /echo HTTP/1.1\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n" END
        "65\r\n%0101d\r\n0\r\n\r\n";
    assert_int_equal(ask(*state, chunked, answer), 200);
    assert_non_null(strstr(answer, "text/plain 5"));
    snprintf(request, sizeof request, too_big, 0);
    assert_int_equal(ask(*state, request, answer), 413);
    snprintf(request, sizeof request,
             "POST /echo HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 101\r\n" END
             "%0101d",
             0);
    assert_int_equal(ask(*state, request, answer), 413);
    assert_int_equal(ask(*state, "GET /item/1 HTTP/1.1\r\nContent-Length: 1\r\n" END "x", answer),
                     413);
    assert_int_equal(ask(*state, "POST /echo HTTP/1.1\r\nContent-Length: 1\r\n" END "x", answer),
                     415);
    assert_int_equal(ask(*state,
                         "POST /echo HTTP/1.1\r\nContent-Type: Application/JSON; q=1\r\n"
                         "Content-Length: 2\r\n" END "{}",
                         answer),
                     200);
    assert_non_null(strstr(answer, "application/json 2"));
    assert_int_equal(ask(*state,
                         "POST /echo HTTP/1.1\r\nContent-Type: text/plain\r\n"
                         "Content-Encoding: br\r\nContent-Length: 2\r\n" END "{}",
                         answer),
                     415);
    assert_non_null(strstr(answer, "Accept-Encoding: zstd\r\n"));
}

static int ask_zstd(struct service *service, size_t raw, char answer[ANSWER])
{
    static char data[20000], request[4096];
    struct buf packed = {.max = 1 << 16};
    assert_int_equal(zst_compress(data, raw, 3, &packed, NULL), STATUS_OK);
    int head = snprintf(request, sizeof request,
                        "POST /echo HTTP/1.1\r\nContent-Type: text/plain\r\n"
                        "Content-Encoding: zstd\r\nContent-Length: %zu\r\n" END,
                        packed.len);
    int fd = client_open(service);
    client_send(fd, request, (size_t)head);
    client_send(fd, (const char *)packed.data, packed.len);
    buf_free(&packed);
    assert_true(client_read(fd, answer, PATIENCE_MS));
    close(fd);
    return atoi(answer + 9);
}

static void compressed_bodies_are_bounded_when_unpacked(void **state)
{
    static char answer[ANSWER];
    assert_int_equal(ask_zstd(*state, 1000, answer), 200);
    assert_non_null(strstr(answer, "text/plain 1000"));
    assert_int_equal(ask_zstd(*state, 1001, answer), 413);
    assert_int_equal(ask_zstd(*state, 20000, answer), 413);
}

static void a_connection_carries_several_requests(void **state)
{
    static const char three[] = "GET /item/1 HTTP/1.1\r\nHost: x\r\n\r\n"
                                "GET /none HTTP/1.1\r\nHost: x\r\n\r\n"
                                "GET /item/3 HTTP/1.1\r\n" END;
    static char answer[ANSWER];
    assert_int_equal(ask(*state, three, answer), 200);
    assert_non_null(strstr(answer, "404 Not Found"));
    assert_non_null(strstr(answer, "\r\n\r\n3"));
}

static void slow_clients_are_dropped(void **state)
{
    static const char *const starts[] = {
        "GET /item/1 HTTP/1.1\r\nX: ",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 90\r\n\r\n"};
    static char answer[ANSWER];
    for (int i = 0; i < 2; i++) {
        int fd = client_open(*state);
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        client_send(fd, starts[i], strlen(starts[i]));
        int64_t end = clock_monotonic_ms() + PATIENCE_MS;
        while (clock_monotonic_ms() < end && poll(&ready, 1, 30) == 0)
            client_send(fd, "a", 1);
        client_read(fd, answer, 1000);
        assert_non_null(strstr(answer, "408 Request Timeout"));
        assert_non_null(strstr(answer, "application/problem+json"));
        const char *body = strstr(answer, "\r\n\r\n");
        assert_int_equal(atoi(strstr(answer, "Content-Length: ") + 16), strlen(body + 4));
        close(fd);
    }
    assert_int_equal(ask(*state, "GET /item/1 HTTP/1.1\r\n" END, answer), 200);
}

static void a_silent_connection_ends_without_a_word(void **state)
{
    static char answer[ANSWER];
    int fd = client_open(*state);
    assert_true(client_read(fd, answer, PATIENCE_MS));
    assert_string_equal(answer, "");
    close(fd);
}

static void an_address_has_a_cap(void **state)
{
    static char answer[ANSWER];
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(*state);
        client_send(fds[i], "GET /item/1 HTTP/1.1\r\n", 22);
    }
    clock_sleep_ms(50);
    assert_int_equal(
        client_ask(((struct service *)*state)->port, "GET /item/1 HTTP/1.1\r\n" END, answer), 0);
    for (int i = 0; i < 3; i++) {
        client_send(fds[i], END, strlen(END));
        assert_true(client_read(fds[i], answer, PATIENCE_MS));
        assert_non_null(strstr(answer, "200 OK"));
        close(fds[i]);
    }
}

static void headers_and_targets_have_limits(void **state)
{
    static char answer[ANSWER], request[32 << 10], filler[18000];
    memset(filler, 'a', sizeof filler - 1);
    snprintf(request, sizeof request, "GET /%.1100s HTTP/1.1\r\n" END, filler);
    assert_int_equal(ask(*state, request, answer), 414);
    assert_non_null(strstr(answer, "application/problem+json"));
    snprintf(request, sizeof request, "GET /item/1 HTTP/1.1\r\nX-A: %.15000s\r\n" END, filler);
    assert_int_equal(ask(*state, request, answer), 200);
    snprintf(request, sizeof request, "GET /item/1 HTTP/1.1\r\nX-A: %.17000s\r\n" END, filler);
    assert_int_equal(ask(*state, request, answer), 431);
    assert_non_null(strstr(answer, "application/problem+json"));
    int len = snprintf(request, sizeof request, "GET /item/1 HTTP/1.1\r\n");
    for (int i = 0; i < 70; i++)
        len += snprintf(request + len, sizeof request - (size_t)len, "X-%d: a\r\n", i);
    snprintf(request + len, sizeof request - (size_t)len, END);
    assert_int_equal(ask(*state, request, answer), 431);
    assert_non_null(strstr(answer, "application/problem+json"));
}

static void a_parked_request_is_answered_when_its_time_is_over(void **state)
{
    static char answer[ANSWER];
    assert_int_equal(ask(*state, "GET /wait?ms=200 HTTP/1.1\r\n" END, answer), 200);
    assert_non_null(strstr(answer, "nothing"));
}

static void a_parked_request_is_answered_when_there_is_news(void **state)
{
    struct service *service = *state;
    static char answer[ANSWER];
    static const char request[] = "GET /wait?ms=60000 HTTP/1.1\r\n" END;
    int fd = client_open(service);
    client_send(fd, request, strlen(request));
    assert_false(client_read(fd, answer, 100));
    http_wake(service->http);
    assert_false(client_read(fd, answer, 100));
    pthread_mutex_lock(&service->lock);
    service->ready = true;
    pthread_mutex_unlock(&service->lock);
    http_wake(service->http);
    assert_true(client_read(fd, answer, PATIENCE_MS));
    assert_non_null(strstr(answer, "ready"));
    close(fd);
}

static void parked_requests_are_few_and_do_not_block_others(void **state)
{
    static char answer[ANSWER];
    static const char request[] = "GET /wait?ms=60000 HTTP/1.1\r\n" END;
    int fds[20], answered = 0;
    for (int i = 0; i < 20; i++) {
        fds[i] = client_open(*state);
        client_send(fds[i], request, strlen(request));
    }
    assert_int_equal(ask(*state, "GET /item/1 HTTP/1.1\r\n" END, answer), 200);
    for (int i = 0; i < 20; i++) {
        bool over = client_read(fds[i], answer, 100);
        answered += over;
        assert_true(!over || (strstr(answer, "503 ") && strstr(answer, "Retry-After: ")));
        close(fds[i]);
    }
    assert_int_equal(answered, 4);
}

static void *drain(void *service)
{
    http_drain(((struct service *)service)->http, PATIENCE_MS);
    return NULL;
}

static void a_stop_answers_what_is_parked(void **state)
{
    struct service *service = *state;
    static char answer[ANSWER];
    static const char request[] = "GET /wait?ms=60000 HTTP/1.1\r\n" END;
    int fd = client_open(service);
    client_send(fd, request, strlen(request));
    assert_false(client_read(fd, answer, 100));
    http_drain(service->http, PATIENCE_MS);
    assert_true(client_read(fd, answer, PATIENCE_MS));
    assert_non_null(strstr(answer, "200 OK"));
    close(fd);
}

static void a_stop_answers_what_is_on_its_way(void **state)
{
    struct service *service = *state;
    static char answer[ANSWER];
    static const char request[] = "GET /item/1 HTTP/1.1\r\nHost: x\r\n\r\n";
    int fds[50];
    for (int i = 0; i < 50; i++)
        fds[i] = client_open(service);
    for (int i = 0; i < 25; i++)
        client_send(fds[i], request, strlen(request));
    pthread_t late;
    assert_int_equal(pthread_create(&late, NULL, drain, service), 0);
    for (int i = 25; i < 50; i++)
        client_send(fds[i], request, strlen(request));
    for (int i = 0; i < 50; i++) {
        assert_true(client_read(fds[i], answer, PATIENCE_MS));
        assert_true(strstr(answer, "200 OK") || strstr(answer, "503 "));
        close(fds[i]);
    }
    pthread_join(late, NULL);
}

static void another_thread_can_answer(void **state)
{
    struct service *service = *state;
    static char answer[ANSWER];
    assert_int_equal(ask(service,
                         "POST /later HTTP/1.1\r\nContent-Type: text/plain\r\n"
                         "Content-Length: 1\r\n" END "x",
                         answer),
                     201);
    pthread_join(service->completer, NULL);
    assert_int_equal(ask(service, "POST /later HTTP/1.1\r\n" END, answer), 507);
    assert_non_null(strstr(answer, "no room"));
    assert_non_null(strstr(answer, "Retry-After: "));
    pthread_join(service->completer, NULL);
}

static void a_taken_port_is_said_to_be(void **state)
{
    struct service *service = *state;
    struct err err;
    char address[32], bound[LISTEN_TEXT];
    int fd;
    snprintf(address, sizeof address, "127.0.0.1:%d", service->port);
    assert_int_equal(listen_open(address, &fd, bound, &err), STATUS_BUSY);
    assert_non_null(strstr(err.text, "in use"));
    static const char *const bad[] = {"",          "8080",        "127.0.0.1",   "127.0.0.1:",
                                      "1.2.3.4:x", "::1:80",      "host:80",     "127.0.0.1:65536",
                                      "[::1]",     "1.2.3.4.5:1", "127.0.0.1:-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(listen_open(bad[i], &fd, bound, &err), STATUS_USAGE);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, service_start, service_stop)

static void who_was_not_accepted_is_told_so(void **state)
{
    static char answer[ANSWER];
    struct err err;
    char bound[LISTEN_TEXT];
    int fds[3], listen_fd;
    (void)state;
    assert_int_equal(listen_open("127.0.0.1:0", &listen_fd, bound, &err), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(atoi(strrchr(bound, ':') + 1));
        client_send(fds[i], "GET / HTTP/1.1\r\n\r\n", 18);
    }
    listen_close(listen_fd);
    for (int i = 0; i < 3; i++) {
        assert_true(client_read(fds[i], answer, PATIENCE_MS));
        assert_non_null(strstr(answer, "503 Service Unavailable"));
        const char *body = strstr(answer, "\r\n\r\n");
        assert_int_equal(atoi(strstr(answer, "Content-Length: ") + 16), strlen(body + 4));
        close(fds[i]);
    }
}

static void every_answer_names_its_request(void **state)
{
    static char answer[ANSWER];
    static const char long_one[] = "0123456789012345678901234567890123456789"
                                   "0123456789012345678901234567890123456789";
    static const char *const bad[] = {"a b", "", "<x>", "a\"b", long_one};
    char request[256];
    assert_int_equal(ask(*state, "GET /item/1 HTTP/1.1\r\nX-Request-Id: mine-1.A_\r\n" END, answer),
                     200);
    assert_non_null(strstr(answer, "X-Request-Id: mine-1.A_\r\n"));
    assert_int_equal(ask(*state, "GET /broken HTTP/1.1\r\nX-Request-Id: mine-2\r\n" END, answer),
                     409);
    assert_non_null(strstr(answer, "X-Request-Id: mine-2\r\n"));
    assert_non_null(strstr(answer, "\"request_id\":\"mine-2\""));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(request, sizeof request, "GET /none HTTP/1.1\r\nX-Request-Id: %s\r\n" END, bad[i]);
        assert_int_equal(ask(*state, request, answer), 404);
        const char *id = strstr(answer, "X-Request-Id: "), *again = strstr(answer, "request_id");
        assert_non_null(id);
        assert_non_null(again);
        assert_int_equal(strspn(id + 14, "0123456789abcdef-"), strcspn(id + 14, "\r"));
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        SERVED(requests_find_their_route),
        SERVED(odd_framing_is_refused),
        SERVED(a_refused_framing_ends_the_connection),
        SERVED(bodies_have_limits_and_types),
        SERVED(compressed_bodies_are_bounded_when_unpacked),
        SERVED(a_connection_carries_several_requests),
        SERVED(slow_clients_are_dropped),
        SERVED(a_silent_connection_ends_without_a_word),
        SERVED(headers_and_targets_have_limits),
        cmocka_unit_test_setup_teardown(an_address_has_a_cap, service_start_capped, service_stop),
        SERVED(a_parked_request_is_answered_when_its_time_is_over),
        SERVED(a_parked_request_is_answered_when_there_is_news),
        SERVED(parked_requests_are_few_and_do_not_block_others),
        SERVED(a_stop_answers_what_is_parked),
        SERVED(a_stop_answers_what_is_on_its_way),
        cmocka_unit_test(who_was_not_accepted_is_told_so),
        SERVED(another_thread_can_answer),
        SERVED(every_answer_names_its_request),
        SERVED(a_taken_port_is_said_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
