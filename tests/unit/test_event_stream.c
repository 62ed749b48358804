/* Event streams over real sockets: events as they come, heartbeats, the places, clients that go or
 * do not read, the end. */
// links: http
#include "api/base/clock.h"
#include "api/http/http.h"
#include "api/http/listen.h"
#include "tests/unit/http_client.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct service {
    struct http *http;
    int port;
    pthread_mutex_t lock; /* guards what follows */
    int events;           /* so far */
    size_t padding;       /* bytes of each event */
    bool over;            /* streams end */
    int open;             /* streams not closed */
};

struct reader {
    struct service *service;
    int next;
};

static bool reader_fill(void *ctx, struct buf *out)
{
    static char padding[20000];
    struct reader *reader = ctx;
    struct service *service = reader->service;
    pthread_mutex_lock(&service->lock);
    memset(padding, 'x', sizeof padding);
    bool fine = true;
    while (fine && reader->next < service->events && out->len < 30000)
        fine = buf_printf(out, "id: %d\ndata: %.*s\n\n", ++reader->next, (int)service->padding,
                          padding) == STATUS_OK;
    bool over = service->over;
    pthread_mutex_unlock(&service->lock);
    return fine && !over;
}

static void reader_close(void *ctx)
{
    struct reader *reader = ctx;
    pthread_mutex_lock(&reader->service->lock);
    reader->service->open--;
    pthread_mutex_unlock(&reader->service->lock);
    free(reader);
}

static enum status events_get(struct http_request *request, struct err *err)
{
    struct service *service = request->app;
    struct reader *reader = calloc(1, sizeof *reader);
    struct http_stream stream = {reader_fill, reader_close, reader};
    if (!reader)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    reader->service = service;
    pthread_mutex_lock(&service->lock);
    service->open++;
    pthread_mutex_unlock(&service->lock);
    return http_reply_stream(request, &stream, err);
}

static enum status wait_get(struct http_request *request, struct err *err)
{
    if (http_park(request, 60000))
        return STATUS_OK;
    return http_reply_text(request, 200, "text/plain", "nothing", err);
}

static const struct http_route routes[] = {
    {"GET", "/events", events_get, 0, 0, NULL, 0},
    {"GET", "/wait", wait_get, 0, 0, NULL, 0},
    {NULL, NULL, NULL, 0, 0, NULL, 0},
};

static int service_start(void **state)
{
    struct service *service = calloc(1, sizeof *service);
    struct http_config config = http_defaults();
    struct err err;
    char bound[LISTEN_TEXT];
    int fd;
    config.routes = routes;
    config.app = service;
    config.threads = 2;
    config.connections = 32;
    config.heartbeat_ms = 100;
    config.limits = (struct watch_limits){.header_ms = 400,
                                          .idle_ms = 3000,
                                          .grace_ms = 600,
                                          .rate = 1000000,
                                          .tick_ms = 20,
                                          .plain = true};
    if (!service || listen_open("127.0.0.1:0", &fd, bound, &err) != STATUS_OK)
        return -1;
    service->port = atoi(strrchr(bound, ':') + 1);
    pthread_mutex_init(&service->lock, NULL);
    *state = service;
    return http_start(&config, fd, &service->http, &err) == STATUS_OK ? 0 : -1;
}

static int service_stop(void **state)
{
    struct service *service = *state;
    http_drain(service->http, PATIENCE_MS);
    http_stop(service->http);
    int left = service->open;
    pthread_mutex_destroy(&service->lock);
    free(service);
    return left;
}

static void publish(struct service *service, int events, size_t padding)
{
    pthread_mutex_lock(&service->lock);
    service->events += events;
    service->padding = padding;
    pthread_mutex_unlock(&service->lock);
    http_wake_streams(service->http);
}

static int streams_open(struct service *service)
{
    pthread_mutex_lock(&service->lock);
    int open = service->open;
    pthread_mutex_unlock(&service->lock);
    return open;
}

/* Waits until n streams are open. */
static void streams_await(struct service *service, int n)
{
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (streams_open(service) != n && clock_monotonic_ms() < end)
        clock_sleep_ms(10);
    assert_int_equal(streams_open(service), n);
}

static int stream_open(const struct service *service, char answer[ANSWER])
{
    static const char request[] = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = client_connect(service->port);
    assert_true(fd >= 0);
    client_send(fd, request, strlen(request));
    answer[0] = '\0';
    assert_true(client_await(fd, answer, "\n\n"));
    return fd;
}

/* ---- tests ---- */

static void events_come_as_they_happen(void **state)
{
    static char answer[ANSWER], text[32];
    int fd = stream_open(*state, answer);
    assert_non_null(strstr(answer, "200 OK"));
    assert_non_null(strstr(answer, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(answer, "retry: 3000\n\n"));
    for (int i = 1; i <= 20; i++) {
        snprintf(text, sizeof text, "id: %d\n", i);
        assert_null(strstr(answer, text));
        publish(*state, 1, 3);
        assert_true(client_await(fd, answer, text));
    }
    close(fd);
}

static void events_larger_than_a_piece_arrive_whole(void **state)
{
    static char answer[ANSWER];
    int fd = stream_open(*state, answer);
    publish(*state, 3, 19000);
    assert_true(client_await(fd, answer, "id: 3\ndata: x"));
    close(fd);
}

static void a_quiet_stream_shows_that_it_lives(void **state)
{
    static char answer[ANSWER];
    int fd = stream_open(*state, answer);
    assert_true(client_await(fd, answer, ":\n\n"));
    *strstr(answer, ":\n\n") = ' ';
    assert_true(client_await(fd, answer, "\n:\n\n"));
    close(fd);
}

static void a_client_that_has_gone_is_noticed(void **state)
{
    static char answer[ANSWER];
    for (int i = 0; i < 3; i++)
        close(stream_open(*state, answer));
    streams_await(*state, 0);
}

static void a_client_that_does_not_read_is_cut_off(void **state)
{
    static char answer[ANSWER];
    int fd = stream_open(*state, answer);
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (streams_open(*state) > 0 && clock_monotonic_ms() < end) {
        publish(*state, 100, 19000);
        clock_sleep_ms(10);
    }
    assert_int_equal(streams_open(*state), 0);
    close(fd);
}

static void streams_and_long_polls_share_a_quarter_of_the_connections(void **state)
{
    static char answer[ANSWER];
    static const char wait[] = "GET /wait HTTP/1.1\r\n" END;
    struct service *service = *state;
    int fds[8];
    for (int i = 0; i < 8; i++)
        if (i % 2) {
            fds[i] = client_connect(service->port);
            client_send(fds[i], wait, strlen(wait));
            assert_false(client_read(fds[i], answer, 50));
        } else {
            fds[i] = stream_open(service, answer);
            assert_non_null(strstr(answer, "200 OK"));
        }
    struct http_gauges now = http_look(service->http);
    assert_int_equal(now.streams, 4);
    assert_int_equal(now.parked, 4);
    assert_int_equal(client_ask(service->port, "GET /events HTTP/1.1\r\n" END, answer), 503);
    assert_non_null(strstr(answer, "Retry-After: "));
    assert_non_null(strstr(answer, "application/problem+json"));
    assert_int_equal(client_ask(service->port, wait, answer), 503);
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    streams_await(service, 0);
    fds[0] = stream_open(service, answer);
    assert_non_null(strstr(answer, "200 OK"));
    close(fds[0]);
}

static void an_owner_can_end_a_stream(void **state)
{
    static char answer[ANSWER];
    struct service *service = *state;
    int fd = stream_open(service, answer);
    pthread_mutex_lock(&service->lock);
    service->over = true;
    pthread_mutex_unlock(&service->lock);
    publish(service, 1, 3);
    assert_true(client_await(fd, answer, "id: 1\ndata: xxx\n\n\r\n0\r\n\r\n"));
    close(fd);
}

static void a_stop_ends_streams(void **state)
{
    static char answer[ANSWER];
    struct service *service = *state;
    int fd = stream_open(service, answer);
    http_drain(service->http, PATIENCE_MS);
    assert_true(client_await(fd, answer, "\r\n0\r\n\r\n"));
    assert_int_equal(streams_open(service), 0);
    close(fd);
}

static void head_asks_for_no_events(void **state)
{
    static char answer[ANSWER];
    struct service *service = *state;
    assert_int_equal(client_ask(service->port, "HEAD /events HTTP/1.1\r\n" END, answer), 200);
    assert_null(strstr(answer, "retry"));
    streams_await(service, 0);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, service_start, service_stop)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        SERVED(events_come_as_they_happen),
        SERVED(events_larger_than_a_piece_arrive_whole),
        SERVED(a_quiet_stream_shows_that_it_lives),
        SERVED(a_client_that_has_gone_is_noticed),
        SERVED(a_client_that_does_not_read_is_cut_off),
        SERVED(streams_and_long_polls_share_a_quarter_of_the_connections),
        SERVED(an_owner_can_end_a_stream),
        SERVED(a_stop_ends_streams),
        SERVED(head_asks_for_no_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
