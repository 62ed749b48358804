// Strict JSON: what is refused and with which words, limits, writers, memory running out anywhere.
// links: wire
#include "api/wire/json.h"
#include "guard.h"
#include <float.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json *parsed(const char *text)
{
    json *value = NULL;
    struct err err = {0};
    if (json_parse(text, strlen(text), &value, &err) != STATUS_OK)
        fail_msg("%s: %s", text, err.text);
    return value;
}

static void malformed_texts_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "1",
        "\"text\"",
        "true",
        "null",
        "{",
        "[",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "[1] x",
        "[1][2]",
        "[01]",
        "[+1]",
        "[.5]",
        "[1.]",
        "[1e]",
        "[NaN]",
        "[Infinity]",
        "[1e999]",
        "[9223372036854775808]",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"b\":1,\"b\":1}}",
        "[\"\xff\"]",
        "[\"\xc0\xaf\"]",
        "[\"\xed\xa0\x80\"]",
        "[\"\\ud800\"]",
        "[\"\\u0000\"]",
        "{\"\\u0000\":1}",
        "[\"a\nb\"]",
        "[\"\\x\"]",
        "[\"",
        "[\"\\",
        "[\"\\u12",
        "[tru]",
        "// comment\n[]",
        "\xef\xbb\xbf[]",
        "[1 2]",
        "]",
        "}",
    };
    struct guard guard;
    assert_int_equal(guard_init(&guard, 4096), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json *value = NULL;
        struct err err = {0};
        const void *text = guard_put(&guard, bad[i], strlen(bad[i]));
        if (json_parse(text, strlen(bad[i]), &value, &err) != STATUS_MALFORMED)
            fail_msg("accepted, or refused otherwise: %s (%s)", bad[i], err.text);
        assert_null(value);
        assert_true(strlen(err.text) > 10);
    }
    guard_deinit(&guard);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2.5,\"x\\u00e4\xc3\xa4\"],\"b\":{\"c\":null,\"d\":true}}";
    struct guard guard;
    assert_int_equal(guard_init(&guard, sizeof text), 0);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        json *value = NULL;
        const void *cut = guard_put(&guard, text, len);
        assert_int_equal(json_parse(cut, len, &value, NULL), STATUS_MALFORMED);
    }
    guard_deinit(&guard);
}

static void nesting_is_limited(void **state)
{
    (void)state;
    enum { MEGABYTE = 1 << 20 };
    char text[128];
    json *value = NULL;
    for (int depth = 32; depth <= 33; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        enum status status = json_parse(text, 2 * (size_t)depth, &value, NULL);
        assert_int_equal(status, depth == 32 ? STATUS_OK : STATUS_TOO_LARGE);
        json_free(value);
    }
    char *many = malloc(MEGABYTE);
    memset(many, '[', MEGABYTE);
    assert_int_equal(json_parse(many, MEGABYTE, &value, NULL), STATUS_TOO_LARGE);
    free(many);
    /* brackets within strings do not nest */
    json_free(parsed("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[\"]"));
}

static void the_number_of_values_is_limited(void **state)
{
    (void)state;
    size_t len = 3 << 20;
    char *text = malloc(len);
    json *value = NULL;
    for (size_t i = 0; i < len; i += 2)
        memcpy(text + i, i ? ",1" : "[1", 2);
    text[len - 1] = ']';
    assert_int_equal(json_parse(text, len, &value, NULL), STATUS_TOO_LARGE);
    free(text);
}

static void readers_take_what_is_right(void **state)
{
    (void)state;
    json *value =
        parsed("{\"s\":\"text\",\"i\":-7,\"r\":2.5,\"b\":true,\"o\":{\"x\":1},\"a\":[1,\"z\"],"
               "\"n\":null}");
    const char *text = NULL;
    const json *child = NULL;
    int64_t integer = 0;
    double number = 0;
    bool flag = false;
    assert_int_equal(json_get_string(value, "s", 4, &text, NULL), STATUS_OK);
    assert_string_equal(text, "text");
    assert_int_equal(json_get_int(value, "i", -7, 7, &integer, NULL), STATUS_OK);
    assert_int_equal(integer, -7);
    assert_int_equal(json_get_number(value, "r", 0, 3, &number, NULL), STATUS_OK);
    assert_true(number == 2.5);
    assert_int_equal(json_get_number(value, "i", -8, 3, &number, NULL), STATUS_OK);
    assert_true(number == -7);
    assert_int_equal(json_get_bool(value, "b", &flag, NULL), STATUS_OK);
    assert_true(flag);
    assert_int_equal(json_get_object(value, "o", &child, NULL), STATUS_OK);
    assert_true(json_is_object(child) && json_has(child, "x"));
    assert_int_equal(json_get_array(value, "a", 2, &child, NULL), STATUS_OK);
    assert_int_equal(json_length(child), 2);
    assert_int_equal(json_string_at(child, 1, 10, &text, NULL), STATUS_OK);
    assert_string_equal(text, "z");
    assert_int_equal(json_number_at(child, 0, &number, NULL), STATUS_OK);
    assert_int_equal(json_int_at(child, 0, 0, 1, &integer, NULL), STATUS_OK);
    assert_null(json_at(child, 2));
    /* optional: absent and null leave the default */
    integer = 42;
    assert_int_equal(json_opt_int(value, "absent", 0, 1, &integer, NULL), STATUS_OK);
    assert_int_equal(json_opt_int(value, "n", 0, 1, &integer, NULL), STATUS_OK);
    assert_int_equal(integer, 42);
    assert_int_equal(json_opt_string(value, "s", 9, &text, NULL), STATUS_OK);
    assert_int_equal(json_opt_int(value, "s", 0, 1, &integer, NULL), STATUS_MALFORMED);
    json_free(value);
}

static void says(enum status status, enum status expected, const struct err *err, const char *words)
{
    assert_int_equal(status, expected);
    if (!strstr(err->text, words))
        fail_msg("\"%s\" does not say \"%s\"", err->text, words);
}

static void errors_name_field_value_and_remedy(void **state)
{
    (void)state;
    json *value = parsed("{\"s\":\"text\",\"i\":7,\"r\":1.0,\"o\":{},\"a\":[1,2,3]}");
    const char *text;
    const json *child;
    int64_t integer;
    double number;
    bool flag;
    struct err err;
    says(json_get_int(value, "r", 0, 9, &integer, &err), STATUS_MALFORMED, &err,
         "field \"r\" is 1 (not an integer); it must be an integer from 0 to 9");
    says(json_get_int(value, "i", 0, 6, &integer, &err), STATUS_MALFORMED, &err,
         "field \"i\" is 7; it must be an integer from 0 to 6");
    says(json_get_int(value, "s", 0, 6, &integer, &err), STATUS_MALFORMED, &err, "is \"text\"");
    says(json_get_int(value, "none", 0, 6, &integer, &err), STATUS_MALFORMED, &err,
         "field \"none\" is missing; it must be an integer");
    says(json_get_string(value, "s", 3, &text, &err), STATUS_TOO_LARGE, &err, "the limit is 3");
    says(json_get_string(value, "o", 3, &text, &err), STATUS_MALFORMED, &err, "an object");
    says(json_get_number(value, "i", 0, 6.5, &number, &err), STATUS_MALFORMED, &err,
         "from 0 to 6.5");
    says(json_get_bool(value, "i", &flag, &err), STATUS_MALFORMED, &err, "true or false");
    says(json_get_array(value, "a", 2, &child, &err), STATUS_TOO_LARGE, &err, "3 items");
    says(json_get_array(value, "o", 2, &child, &err), STATUS_MALFORMED, &err, "must be an array");
    says(json_get_object(value, "a", &child, &err), STATUS_MALFORMED, &err, "an array of 3");
    static const char *const known[] = {"s", "i", "r", "o", NULL};
    says(json_only(value, known, &err), STATUS_UNSUPPORTED, &err,
         "unknown field \"a\"; known are s, i, r, o");
    assert_int_equal(json_get_array(value, "a", 3, &child, NULL), STATUS_OK);
    says(json_string_at(child, 1, 9, &text, &err), STATUS_MALFORMED, &err, "\"[1]\"");
    says(json_only(child, known, &err), STATUS_MALFORMED, &err, "object");
    says(json_get_int(child, "i", 0, 1, &integer, &err), STATUS_MALFORMED, &err, "object");
    says(json_get_int(NULL, "i", 0, 1, &integer, &err), STATUS_MALFORMED, &err, "object");
    json_free(value);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    json *value = json_object_new(), *list = json_array_new();
    assert_true(json_set_string(value, "s", "\xc3\xa4\"\\\n"));
    assert_true(json_set_int(value, "i", INT64_MIN));
    assert_true(json_set_number(value, "r", 0.1));
    assert_true(json_set_number(value, "nan", (double)NAN));
    assert_true(json_set_bool(value, "b", false));
    assert_true(json_append_int(list, 3) && json_append_string(list, "x"));
    assert_true(json_append_number(list, HUGE_VAL) && json_append_number(list, 1));
    assert_true(json_set_take(value, "l", list));
    assert_false(json_set_string(value, "bad", "\xff"));
    assert_false(json_set_take(value, "bad", NULL));
    assert_false(json_set_take(NULL, "bad", json_array_new()));
    struct buf text = {.max = 1000};
    assert_int_equal(json_print(value, false, &text), STATUS_OK);
    assert_string_equal((char *)text.data,
                        "{\"s\":\"\xc3\xa4\\\"\\\\\\n\",\"i\":-9223372036854775808,\"r\":0.1,"
                        "\"nan\":null,\"b\":false,\"l\":[3,\"x\",null,1.0]}");
    json_free(parsed((char *)text.data));
    struct buf small = {.max = 20};
    assert_int_equal(buf_append(&small, "kept", 4), STATUS_OK);
    assert_int_equal(json_print(value, true, &small), STATUS_TOO_LARGE);
    assert_int_equal(small.len, 4);
    buf_free(&small);
    buf_free(&text);
    json_free(value);
}

static void objects_are_walked_in_order(void **state)
{
    (void)state;
    json *value = parsed("{\"z\":1,\"a\":2,\"m\":3}");
    const json *field;
    void *cursor = NULL;
    char keys[8] = "";
    for (const char *key; (key = json_next(value, &cursor, &field)) != NULL;)
        strcat(keys, key);
    assert_string_equal(keys, "zam");
    json_free(value);
    value = parsed("[1]");
    cursor = NULL;
    assert_null(json_next(value, &cursor, &field));
    json_free(value);
}

static long allocations_left;

static void *scarce_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void running_out_of_memory_is_a_status(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1,2,\"three\"],\"b\":{\"c\":4.5,\"long key\":\"and value\"}}";
    long n = 0;
    enum status status;
    json_set_alloc_funcs(scarce_malloc, free);
    do {
        json *value = NULL;
        struct err err = {0};
        allocations_left = n;
        status = json_parse(text, sizeof text - 1, &value, &err);
        assert_true(status == STATUS_OK || status == STATUS_NO_MEMORY ||
                    status == STATUS_MALFORMED);
        allocations_left = 1000;
        json_free(value);
    } while (status != STATUS_OK && ++n < 1000);
    json_set_alloc_funcs(malloc, free);
    assert_in_range(n, 5, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(the_number_of_values_is_limited),
        cmocka_unit_test(readers_take_what_is_right),
        cmocka_unit_test(errors_name_field_value_and_remedy),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(objects_are_walked_in_order),
        cmocka_unit_test(running_out_of_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
