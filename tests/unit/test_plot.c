/* plot: every point and label of the series is drawn, XML stays well-formed, ranges that are odd.
 */
// links: tool
#include "model/tool/plot.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct plot plot;

static int setup(void **state)
{
    (void)state;
    plot = (struct plot){.title = "Target <MC> & DA", .x_title = "round", .count = 2};
    plot.series[0] = (struct plot_series){
        .label = "CD-CCA", .count = 3, .x = {1, 2, 3}, .y = {50, 70, 80}, .error = {1, 0, 2}};
    plot.series[1] =
        (struct plot_series){.label = "head & tail", .count = 2, .x = {1, 3}, .y = {50, 60}};
    return 0;
}

static int occurrences(const char *text, const char *what)
{
    int n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

static const char *drawn(struct buf *out)
{
    struct err err = {0};
    *out = (struct buf){.max = 1 << 20};
    if (plot_svg(&plot, out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(buf_append(out, "", 1), STATUS_OK);
    return (const char *)out->data;
}

static void test_series_are_drawn(void **state)
{
    struct buf out;
    (void)state;
    const char *svg = drawn(&out);
    assert_non_null(strstr(svg, "Target &lt;MC> &amp; DA"));
    assert_non_null(strstr(svg, "head &amp; tail"));
    assert_null(strstr(svg, "<MC>"));
    assert_int_equal(occurrences(svg, "<polyline"), 2);
    assert_int_equal(occurrences(svg, "<circle"), 3 + 1); /* marks of series 0, and its legend */
    assert_int_equal(occurrences(svg, "</svg>"), 1);
    assert_null(strstr(svg, "nan"));
    buf_free(&out);
}

static void test_points_that_are_no_numbers_are_left_out(void **state)
{
    struct buf out;
    (void)state;
    plot.series[0].y[1] = (double)NAN;
    plot.series[1].x[0] = (double)INFINITY;
    const char *svg = drawn(&out);
    assert_int_equal(occurrences(svg, "<circle"), 2 + 1);
    assert_null(strstr(svg, "nan"));
    assert_null(strstr(svg, "inf"));
    buf_free(&out);
}

static void test_logarithmic_axis(void **state)
{
    struct buf out;
    (void)state;
    plot.log_x = true;
    plot.series[0].x[0] = 0; /* has no logarithm */
    plot.series[0].x[2] = 2e6;
    const char *svg = drawn(&out);
    assert_int_equal(occurrences(svg, "<circle"), 2 + 1);
    assert_non_null(strstr(svg, ">1M<"));
    buf_free(&out);
}

static void test_one_point_and_none(void **state)
{
    struct buf out;
    struct err err = {0};
    (void)state;
    plot.count = 1;
    plot.series[0].count = 1;
    plot.series[0].error[0] = 0;
    assert_int_equal(occurrences(drawn(&out), "<circle"), 1 + 1);
    buf_free(&out);
    plot.series[0].count = 0;
    assert_int_equal(plot_svg(&plot, &out, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "no points"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_series_are_drawn, setup),
        cmocka_unit_test_setup(test_points_that_are_no_numbers_are_left_out, setup),
        cmocka_unit_test_setup(test_logarithmic_axis, setup),
        cmocka_unit_test_setup(test_one_point_and_none, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
