/* Request targets: strict paths, decoded queries, patterns of routes. */
// links: http
#include "api/http/target.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_path_and_its_query_come_apart(void **state)
{
    struct target t;
    struct err err;
    (void)state;
    assert_int_equal(target_parse("/deltas?after=3&wait=20&name=a+b%2Fc&flag&", &t, &err),
                     STATUS_OK);
    assert_string_equal(t.path, "/deltas");
    assert_string_equal(target_query(&t, "after"), "3");
    assert_string_equal(target_query(&t, "wait"), "20");
    assert_string_equal(target_query(&t, "name"), "a b/c");
    assert_string_equal(target_query(&t, "flag"), "");
    assert_null(target_query(&t, "none"));
    assert_int_equal(target_parse("/v1/models/student@3", &t, &err), STATUS_OK);
    assert_string_equal(t.path, "/v1/models/student@3");
}

static void odd_targets_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "deltas",
        "*",
        "http://host/deltas",
        "/deltas%00",
        "/%2e%2e/x",
        "//",
        "/a//b",
        "/a/../b",
        "/./a",
        "/a/..",
        "/a/.",
        "/..",
        "/.",
        "/a b",
        "/a\\b",
        "/\xc3\xa4",
        "/a;b",
        "/a?x=%",
        "/a?x=%4",
        "/a?x=%zz",
        "/a?x=%00",
        "/a?x=%0d%0a",
        "/a?x=1&x=2",
        "/a?a&b&c&d&e&f&g&h&i",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct target t;
        struct err err = {0};
        if (target_parse(bad[i], &t, &err) != STATUS_USAGE || !err.text[0])
            fail_msg("\"%s\" was taken", bad[i]);
    }
}

static void a_target_has_a_length(void **state)
{
    static char text[2 * TARGET_BYTES];
    struct target t;
    struct err err;
    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[0] = '/';
    text[TARGET_BYTES] = '\0';
    assert_int_equal(target_parse(text, &t, &err), STATUS_TOO_LARGE);
    text[TARGET_BYTES - 1] = '\0';
    assert_int_equal(target_parse(text, &t, &err), STATUS_OK);
}

static void a_pattern_takes_whole_segments(void **state)
{
    char store[32];
    const char *param[TARGET_PARAMS] = {NULL, NULL};
    (void)state;
    assert_true(target_match("/", "/", store, sizeof store, param));
    assert_true(
        target_match("/deltas/{v}/manifest", "/deltas/12/manifest", store, sizeof store, param));
    assert_string_equal(param[0], "12");
    assert_true(target_match("/a/{x}/{y}", "/a/1/22", store, sizeof store, param));
    assert_string_equal(param[0], "1");
    assert_string_equal(param[1], "22");
    assert_false(target_match("/deltas/{v}", "/deltas", store, sizeof store, param));
    assert_false(target_match("/deltas/{v}", "/deltas/", store, sizeof store, param));
    assert_false(target_match("/deltas/{v}", "/deltas/1/", store, sizeof store, param));
    assert_false(target_match("/deltas", "/deltasx", store, sizeof store, param));
    assert_false(target_match("/deltas/{v}", "/deltas/1234567890123456789012345678901234", store,
                              sizeof store, param));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_and_its_query_come_apart),
        cmocka_unit_test(odd_targets_are_refused),
        cmocka_unit_test(a_target_has_a_length),
        cmocka_unit_test(a_pattern_takes_whole_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
