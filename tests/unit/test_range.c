/* Ranges and entity tags: what a header means for a file of a given size. */
// links: http
#include "api/http/range.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_range_is_what_the_header_says(void **state)
{
    static const struct {
        const char *header;
        uint64_t size;
        enum range_kind kind;
        uint64_t first, last;
    } cases[] = {
        {NULL, 10, RANGE_WHOLE, 0, 0},
        {"", 10, RANGE_WHOLE, 0, 0},
        {"bytes=", 10, RANGE_WHOLE, 0, 0},
        {"bytes=-", 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-0", 10, RANGE_PART, 0, 0},
        {"Bytes=2-4", 10, RANGE_PART, 2, 4},
        {"bytes= 2-4 ", 10, RANGE_PART, 2, 4},
        {"bytes=2-", 10, RANGE_PART, 2, 9},
        {"bytes=2-100", 10, RANGE_PART, 2, 9},
        {"bytes=9-9", 10, RANGE_PART, 9, 9},
        {"bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=10-12", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-3", 10, RANGE_PART, 7, 9},
        {"bytes=-10", 10, RANGE_PART, 0, 9},
        {"bytes=-99", 10, RANGE_PART, 0, 9},
        {"bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=4-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-1,4-5", 10, RANGE_WHOLE, 0, 0},
        {"bytes=a-b", 10, RANGE_WHOLE, 0, 0},
        {"bytes=+1-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1--2", 10, RANGE_WHOLE, 0, 0},
        {"items=1-2", 10, RANGE_WHOLE, 0, 0},
        {"bytes=1-18446744073709551615", 10, RANGE_PART, 1, 9},
        {"bytes=1-99999999999999999999999", 10, RANGE_PART, 1, 9},
        {"bytes=99999999999999999999999-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-99999999999999999999999", 10, RANGE_PART, 0, 9},
        {"bytes=18446744073709551614-", UINT64_MAX, RANGE_PART, UINT64_MAX - 1, UINT64_MAX - 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t first = 0, last = 0;
        enum range_kind kind = range_parse(cases[i].header, cases[i].size, &first, &last);
        if (kind != cases[i].kind ||
            (kind == RANGE_PART && (first != cases[i].first || last != cases[i].last)))
            fail_msg("case %zu, \"%s\"", i, cases[i].header ? cases[i].header : "(none)");
    }
}

static void a_list_of_tags_is_searched_whole(void **state)
{
    (void)state;
    assert_false(etag_listed(NULL, "\"a\""));
    assert_false(etag_listed("", "\"a\""));
    assert_true(etag_listed("\"a\"", "\"a\""));
    assert_true(etag_listed("W/\"a\"", "\"a\""));
    assert_true(etag_listed("\"b\", \"c\" ,W/\"a\"", "\"a\""));
    assert_true(etag_listed("*", "\"a\""));
    assert_false(etag_listed("\"ab\"", "\"a\""));
    assert_false(etag_listed("a", "\"a\""));
    assert_false(etag_listed("\"a", "\"a\""));
    assert_false(etag_listed("\"b\" \"a\"", "\"a\""));
    assert_true(etag_listed("\"x,y\", \"a\"", "\"a\""));
}

static void a_stale_if_range_asks_for_everything(void **state)
{
    (void)state;
    assert_true(etag_range_allowed(NULL, "\"a\""));
    assert_true(etag_range_allowed("\"a\"", "\"a\""));
    assert_false(etag_range_allowed("W/\"a\"", "\"a\""));
    assert_false(etag_range_allowed("\"b\"", "\"a\""));
    assert_false(etag_range_allowed("Sat, 31 Jan 2026 12:00:00 GMT", "\"a\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_what_the_header_says),
        cmocka_unit_test(a_list_of_tags_is_searched_whole),
        cmocka_unit_test(a_stale_if_range_asks_for_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
