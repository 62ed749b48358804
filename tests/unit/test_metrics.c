/* Metrics: what was counted comes out, well formed, and label sets stay bounded. The reader of the
 * format is held by cases of its own. */
// links: server
#include "server/metrics.h"
#include "tests/unit/exposition.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct exposition e;

static const char *written(struct metrics *metrics, const struct metrics_gauges *now)
{
    static char text[1 << 20], copy[1 << 20];
    struct buf out = {.max = sizeof text - 1};
    assert_int_equal(metrics_write(metrics, now, &out, NULL), STATUS_OK);
    snprintf(text, sizeof text, "%.*s", (int)out.len, (const char *)out.data);
    strcpy(copy, text);
    buf_free(&out);
    if (!exposition_check(&e, copy))
        fail_msg("%s, near %s", e.problem, e.series[e.series_count ? e.series_count - 1 : 0]);
    return text;
}

static void holds(const char *text, const char *line)
{
    if (!strstr(text, line))
        fail_msg("no line %s in\n%s", line, text);
}

static void what_is_counted_comes_out(void **state)
{
    struct metrics *metrics = NULL;
    struct metrics_gauges now = {.http = {.connections = 3, .parked = 2, .streams = 1},
                                 .writes_waiting = 4,
                                 .write_groups = 5,
                                 .writes = 6,
                                 .round_running = true,
                                 .release_version = 7,
                                 .release_bytes = 8};
    (void)state;
    assert_int_equal(metrics_create(&metrics, NULL), STATUS_OK);
    for (int i = 0; i < 3; i++)
        metrics_request(metrics, &(struct http_seen){"/tokens", "POST", 201, false, 9, 9, 0.02});
    metrics_request(metrics, &(struct http_seen){"/events", "GET", 200, true, 0, 0, 900});
    metrics_request(metrics, &(struct http_seen){"none", "BREW", 404, false, 0, 0, 100});
    metrics_upload(metrics, 100, false);
    metrics_upload(metrics, 100, true);
    metrics_round(metrics, "rejected", 12);
    const char *text = written(metrics, &now);
    holds(text, "\ncdcca_http_requests_total{route=\"/tokens\",method=\"POST\",code=\"201\"} 3\n");
    holds(text, "\ncdcca_http_requests_total{route=\"none\",method=\"other\",code=\"404\"} 1\n");
    holds(text, "_seconds_bucket{route=\"/tokens\",le=\"0.01\"} 0\n");
    holds(text, "_seconds_bucket{route=\"/tokens\",le=\"0.05\"} 3\n");
    holds(text, "_seconds_count{route=\"/tokens\"} 3\n");
    holds(text, "_seconds_bucket{route=\"none\",le=\"60\"} 0\n");
    holds(text, "_seconds_bucket{route=\"none\",le=\"+Inf\"} 1\n");
    assert_null(strstr(text, "_seconds_count{route=\"/events\"}"));
    holds(text, "\ncdcca_uploads_total{result=\"repeated\"} 1\n");
    holds(text, "\ncdcca_upload_bytes_total 100\n");
    holds(text, "\ncdcca_rounds_total{state=\"rejected\"} 1\n");
    holds(text, "\ncdcca_round_seconds_sum 12\n");
    holds(text, "\ncdcca_parked_requests 2\n");
    holds(text, "\ncdcca_write_queue_depth 4\n");
    holds(text, "\ncdcca_release_version 7\n");
    metrics_destroy(metrics);
}

static void label_sets_are_bounded(void **state)
{
    static char routes[2000][16];
    struct metrics *metrics = NULL;
    struct metrics_gauges now = {0};
    (void)state;
    assert_int_equal(metrics_create(&metrics, NULL), STATUS_OK);
    for (int i = 0; i < 2000; i++) {
        snprintf(routes[i], sizeof routes[i], "/r%d", i);
        metrics_request(metrics, &(struct http_seen){routes[i], "GET", 200, false, 0, 0, 0});
    }
    written(metrics, &now);
    assert_true(e.series_count < 1500);
    metrics_destroy(metrics);
}

static void nothing_is_counted_without_metrics(void **state)
{
    (void)state;
    metrics_request(NULL, &(struct http_seen){"/", "GET", 200, false, 0, 0, 0});
    metrics_upload(NULL, 1, false);
    metrics_round(NULL, "failed", 1);
}

static void the_reader_is_strict(void **state)
{
#define HEAD "# HELP a_total x\n# TYPE a_total counter\n"
#define HISTOGRAM "# HELP h x\n# TYPE h histogram\n"
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {HEAD "a_total{b=\"c\",d=\"e\"} 1\n", true},
        {HEAD "a_total 1", false},
        {HEAD "a_total  1\n", false},
        {HEAD "a_total 1 \n", false},
        {HEAD "a_total x\n", false},
        {HEAD "a_total -1\n", false},
        {HEAD "a_total 1\na_total 1\n", false},
        {HEAD "a_total{b=c} 1\n", false},
        {HEAD "a_total{b=\"c\" 1\n", false},
        {HEAD "b_total 1\n", false},
        {"a_total 1\n", false},
        {"# TYPE a_total counter\na_total 1\n", false},
        {HEAD HEAD "a_total 1\n", false},
        {"# HELP a x\n# TYPE a counter\na 1\n", false},
        {"# HELP a x\n# TYPE a sheep\na 1\n", false},
        {HEAD "a_total 1\r\n", false},
        {HISTOGRAM "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n", true},
        {HISTOGRAM "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 3\n", false},
        {HISTOGRAM "h_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n", false},
        {HISTOGRAM "h_bucket{le=\"1\"} 1\nh_sum 3\nh_count 1\n", false},
        {HISTOGRAM "h_bucket{le=\"+Inf\"} 1\nh_sum 3\n", false},
        {HISTOGRAM "h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\n", false},
    };
#undef HEAD
#undef HISTOGRAM
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s", cases[i].text);
        if (exposition_check(&e, text) != cases[i].good)
            fail_msg("case %zu: %s\n%s", i, e.problem ? e.problem : "taken", cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_counted_comes_out),
        cmocka_unit_test(label_sets_are_bounded),
        cmocka_unit_test(nothing_is_counted_without_metrics),
        cmocka_unit_test(the_reader_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
