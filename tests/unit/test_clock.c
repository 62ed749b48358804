/* Dates as text: the C library's, from year 0 to 9999, and back. */
// links: base
#include "api/base/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static const int64_t first_s = -62162035200, last_s = 253402300799; /* 0000-03-01, 9999-12-31 */

static void expect_date(int64_t seconds, int ms)
{
    char is[32], should[96];
    struct tm utc;
    time_t time = (time_t)seconds;
    assert_non_null(gmtime_r(&time, &utc));
    snprintf(should, sizeof should, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900,
             utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms);
    clock_format(seconds * 1000 + ms, is);
    assert_string_equal(is, should);
}

static void dates_are_those_of_the_calendar(void **state)
{
    (void)state;
    for (int64_t s = first_s; s < last_s; s += 86400 - 7)
        expect_date(s, (int)(s & 511));
    expect_date(first_s, 0);
    expect_date(-1, 999);
    expect_date(0, 0);
    expect_date(last_s, 999);
}

static void what_has_no_four_digit_year_is_no_date(void **state)
{
    static const int64_t others[] = {INT64_MIN, INT64_MAX, -62162035200001, 253402300800000};
    char is[32];
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        clock_format(others[i], is);
        assert_string_equal(is, "0000-00-00T00:00:00.000Z");
    }
}

static void what_is_written_is_read(void **state)
{
    char text[32];
    (void)state;
    for (int64_t ms = 0; ms < last_s * 1000; ms += 86400000LL * 97 + 1234567) {
        int64_t back = -1;
        clock_format(ms, text);
        assert_true(clock_parse(text, &back));
        assert_int_equal(back, ms);
    }
    assert_false(clock_parse("2026-02-30T00:00:00.000Z", &(int64_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_those_of_the_calendar),
        cmocka_unit_test(what_has_no_four_digit_year_is_no_date),
        cmocka_unit_test(what_is_written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
