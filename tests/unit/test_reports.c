/* Reports: they survive a restart, reach the cloud in order with what the device runs, are dropped
 * by a cloud that knows no devices, and wait for one that is away. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/reports.h"
#include "client/stop.h"
#include "edge_patch.h"
#include "fault_io.h"
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

enum { PEER_ASKED = 32, PEER_TEXT = 4096 };

#define ANSWER(line) "HTTP/1.1 " line "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

struct fixture {
    char root[TINY_PATH], model[2 * TINY_PATH], data[2 * TINY_PATH], url[64];
    int fd; /* of a peer that gives answer[i], the last for good */
    const char *answer[PEER_ASKED];
    char asked[PEER_ASKED][PEER_TEXT];
    int count;
    pthread_t thread;
    struct cloud *cloud;
    struct slots *slots;
    struct reports *reports;
};

static void *peer_serve(void *ctx)
{
    struct fixture *f = ctx;
    const char *answer = ANSWER("204 None");
    for (int fd; f->count < PEER_ASKED && (fd = accept(f->fd, NULL, NULL)) >= 0; f->count++) {
        char *text = f->asked[f->count];
        size_t used = 0;
        while (used < PEER_TEXT - 1 && !(strchr(text, '{') && strchr(text, '}'))) {
            ssize_t n = recv(fd, text + used, PEER_TEXT - 1 - used, 0);
            if (n <= 0)
                break;
            used += (size_t)n;
            text[used] = '\0';
        }
        answer = f->answer[f->count] ? f->answer[f->count] : answer;
        assert_true(send(fd, answer, strlen(answer), 0) > 0);
        close(fd);
    }
    return NULL;
}

static struct reports *open_reports(struct fixture *f, struct io *io)
{
    const struct reports_options options = {
        .data_dir = f->data, .device = "cam", .device_class = "door", .channel = "beta"};
    struct reports *reports = NULL;
    struct err err = {0};
    if (reports_open(io, &options, &reports, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return reports;
}

static void peer_open(struct fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(f->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(f->fd, 8), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    assert_int_equal(
        cloud_create(&(struct cloud_config){.url = f->url, .device = "cam"}, &f->cloud, NULL),
        STATUS_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    signal(SIGPIPE, SIG_IGN);
    stop_clear();
    tiny_folder(f->root);
    snprintf(f->model, sizeof f->model, "%s/model", f->root);
    snprintf(f->data, sizeof f->data, "%s/data", f->root);
    tiny_student(f->model, 3);
    assert_int_equal(slots_open(io_posix(), f->data, tiny_load(f->model), true, &f->slots, NULL),
                     STATUS_OK);
    f->reports = open_reports(f, io_posix());
    peer_open(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    reports_close(f->reports);
    cloud_destroy(f->cloud);
    slots_close(f->slots);
    close(f->fd);
    tiny_remove(f->root);
    free(f);
    return 0;
}

static void serve(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, peer_serve, f), 0);
}

static void finish(struct fixture *f)
{
    shutdown(f->fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
}

static enum status add(struct reports *reports, int64_t version)
{
    const struct selftest_report test = {16, 15, 32, 30, true};
    const struct report report = {
        .version = version, .outcome = "applied", .self_test = &test, .seconds = 1.5};
    return reports_add(reports, &report, NULL);
}

static enum status flush_reports(struct fixture *f)
{
    struct err err = {0};
    return reports_flush(f->reports, f->cloud, f->slots, &err);
}

static void test_says_what_it_runs_then_what_came_of_it(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(f->reports, 1), STATUS_OK);
    assert_int_equal(add(f->reports, 2), STATUS_OK);
    reports_close(f->reports); /* a restart in between */
    f->reports = open_reports(f, io_posix());
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_OK);
    assert_int_equal(flush_reports(f), STATUS_OK); /* nothing more to say */
    finish(f);
    assert_int_equal(f->count, 3);
    assert_non_null(strstr(f->asked[0], "PUT /devices/cam "));
    assert_non_null(strstr(f->asked[0], "\"class\":\"door\",\"channel\":\"beta\""));
    assert_non_null(strstr(f->asked[0], "\"version\":0,\"set_sha256\":\""));
    assert_non_null(strstr(f->asked[1], "POST /devices/cam/feedback "));
    assert_non_null(strstr(
        f->asked[1], "{\"version\":1,\"outcome\":\"applied\",\"self_test\":{\"golden\":16,"
                     "\"golden_right\":15,\"replay\":32,\"replay_agreed\":30,\"finite\":true},"
                     "\"seconds\":1.5}"));
    assert_non_null(strstr(f->asked[2], "\"version\":2"));
    assert_int_equal(reports_waiting(f->reports), 0);
}

static void test_a_cloud_without_devices_is_told_nothing_more(void **state)
{
    struct fixture *f = *state;
    f->answer[0] = ANSWER("404 No");
    assert_int_equal(add(f->reports, 1), STATUS_OK);
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_OK);
    assert_int_equal(flush_reports(f), STATUS_OK);
    finish(f);
    assert_int_equal(f->count, 2);
    assert_int_equal(reports_waiting(f->reports), 0);
}

static void test_reports_wait_for_a_cloud_that_is_busy(void **state)
{
    struct fixture *f = *state;
    f->answer[0] = ANSWER("503 Later");
    f->answer[1] = ANSWER("200 OK");
    f->answer[2] = ANSWER("500 Oops");
    f->answer[3] = ANSWER("204 None");
    assert_int_equal(add(f->reports, 1), STATUS_OK);
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_BUSY);
    assert_int_equal(flush_reports(f), STATUS_PEER);
    assert_int_equal(reports_waiting(f->reports), 1);
    assert_int_equal(flush_reports(f), STATUS_OK);
    finish(f);
    assert_int_equal(reports_waiting(f->reports), 0);
    assert_int_equal(f->count, 4);
}

static void test_a_refused_report_is_set_aside(void **state)
{
    struct fixture *f = *state;
    f->answer[0] = ANSWER("422 No");
    f->answer[2] = ANSWER("204 None");
    assert_int_equal(add(f->reports, 1), STATUS_OK);
    assert_int_equal(add(f->reports, 2), STATUS_OK);
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_OK);
    finish(f);
    assert_int_equal(f->count, 3);
    assert_int_equal(reports_waiting(f->reports), 0);
}

static void test_the_queue_is_bounded_and_keeps_the_latest(void **state)
{
    enum { REPORTS = 180 };
    struct fixture *f = *state;
    char reason[391] = "";
    memset(reason, 'x', sizeof reason - 1);
    for (int i = 0; i < REPORTS; i++) {
        const struct report report = {
            .version = 1000 + i, .outcome = "failed", .reason = reason, .seconds = -1};
        assert_int_equal(reports_add(f->reports, &report, NULL), STATUS_OK);
    }
    size_t waiting = reports_waiting(f->reports);
    assert_in_range(waiting, 100, REPORTS - 1);
    f->answer[0] = ANSWER("200 OK");
    f->answer[1] = ANSWER("500 Oops");
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_PEER);
    finish(f);
    char oldest[40];
    snprintf(oldest, sizeof oldest, "{\"version\":%zu,", 1000 + REPORTS - waiting);
    assert_non_null(strstr(f->asked[1], oldest));
}

static void test_a_long_reason_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    char reason[900];
    for (size_t i = 0; i + 3 <= sizeof reason; i += 3)
        memcpy(reason + i, "\xe2\x82\xac", 3);
    reason[sizeof reason - 1] = '\0';
    reason[sizeof reason - 2] = reason[sizeof reason - 3] = 'x';
    const struct report report = {
        .version = 1, .outcome = "failed", .reason = reason, .seconds = -1};
    assert_int_equal(reports_add(f->reports, &report, NULL), STATUS_OK);
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_OK);
    finish(f);
    assert_non_null(strstr(f->asked[1], "\xe2\x82\xac\"}"));
}

/* The process was gone between the commit of a version and its report. */
static void test_an_untold_outcome_is_told_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct buf patch = {0};
    int64_t version;
    enum slots_outcome outcome;
    patch_first(f->model, 0.01f, '2', &patch);
    assert_int_equal(slots_apply(f->slots, patch.data, patch.len, NULL, NULL), STATUS_OK);
    slots_close(f->slots);
    assert_int_equal(slots_open(io_posix(), f->data, tiny_load(f->model), true, &f->slots, NULL),
                     STATUS_OK);
    assert_true(slots_untold(f->slots, &version, &outcome));
    reports_add_untold(f->reports, f->slots, NULL);
    assert_int_equal(reports_waiting(f->reports), 1);
    assert_false(slots_untold(f->slots, &version, &outcome));
    assert_int_equal(slots_rollback(f->slots, 1, NULL), STATUS_OK);
    reports_add_untold(f->reports, f->slots, "why");
    serve(f);
    assert_int_equal(flush_reports(f), STATUS_OK);
    finish(f);
    assert_non_null(strstr(f->asked[0], "\"version\":0,"));
    assert_non_null(strstr(f->asked[1], "{\"version\":1,\"outcome\":\"applied\"}"));
    assert_non_null(
        strstr(f->asked[2], "{\"version\":1,\"outcome\":\"rolled_back\",\"reason\":\"why\"}"));
    buf_free(&patch);
}

static void test_adding_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    for (int n = 0; !finished && n < 60; n++) {
        struct fault_io fault = fault_io_make(-1, ENOSPC);
        struct reports *reports = open_reports(f, &fault.io);
        size_t before = reports_waiting(reports);
        fault.countdown = n;
        enum status status = add(reports, 100 + n);
        finished = fault.countdown >= 0;
        fault.countdown = -1;
        reports_close(reports);
        reports = open_reports(f, io_posix());
        assert_int_equal(reports_waiting(reports), before + (status == STATUS_OK));
        reports_close(reports);
    }
    assert_true(finished);
}

#define REPORTS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORTS_TEST(test_says_what_it_runs_then_what_came_of_it),
        REPORTS_TEST(test_a_cloud_without_devices_is_told_nothing_more),
        REPORTS_TEST(test_reports_wait_for_a_cloud_that_is_busy),
        REPORTS_TEST(test_a_refused_report_is_set_aside),
        REPORTS_TEST(test_the_queue_is_bounded_and_keeps_the_latest),
        REPORTS_TEST(test_a_long_reason_is_cut_between_characters),
        REPORTS_TEST(test_an_untold_outcome_is_told_after_a_restart),
        REPORTS_TEST(test_adding_with_every_io_call_failing_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
