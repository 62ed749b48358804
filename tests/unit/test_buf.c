// Buffer: growth, its maximum, termination; base64 and UTF-8, which write into or read from one.
// links: base
#include "api/base/base64.h"
#include "api/base/buf.h"
#include "api/base/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void appends_grow_and_stay_terminated(void **state)
{
    (void)state;
    struct buf buf = {.max = 100000};
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(buf_append(&buf, "abcde", 5), STATUS_OK);
        assert_int_equal(buf.data[buf.len], 0);
    }
    assert_int_equal(buf.len, 100000);
    assert_memory_equal(buf.data + 99995, "abcde", 6);
    buf_free(&buf);
}

static void the_maximum_holds_and_a_refusal_changes_nothing(void **state)
{
    (void)state;
    struct buf buf = {.max = 8};
    assert_int_equal(buf_append(&buf, "12345", 5), STATUS_OK);
    assert_int_equal(buf_append(&buf, "6789", 4), STATUS_TOO_LARGE);
    assert_int_equal(buf_printf(&buf, "%s", "6789"), STATUS_TOO_LARGE);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), STATUS_TOO_LARGE);
    assert_string_equal((char *)buf.data, "12345");
    assert_int_equal(buf_printf(&buf, "%d", 678), STATUS_OK);
    assert_string_equal((char *)buf.data, "12345678");
    assert_true(buf.cap <= 8);
    buf_free(&buf);
    struct buf none = {0};
    assert_int_equal(buf_append(&none, "x", 1), STATUS_TOO_LARGE);
    buf_free(&none);
}

static void clear_keeps_the_memory(void **state)
{
    (void)state;
    struct buf buf = {.max = 1000};
    assert_int_equal(buf_printf(&buf, "%s %d", "text", 7), STATUS_OK);
    size_t cap = buf.cap;
    buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, cap);
    assert_string_equal((char *)buf.data, "");
    buf_free(&buf);
    buf_free(&buf);
}

static void base64_round_trips(void **state)
{
    (void)state;
    unsigned char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)(i * 37);
    for (size_t len = 0; len <= 256; len++) {
        struct buf text = {.max = 1000}, back = {.max = 1000};
        assert_int_equal(base64_encode(bytes, len, &text), STATUS_OK);
        assert_int_equal(base64_decode((char *)text.data, text.len, &back), STATUS_OK);
        assert_int_equal(back.len, len);
        assert_memory_equal(back.data, bytes, len);
        buf_free(&text);
        buf_free(&back);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {"A",    "AA",    "AAA",  "AA=",    "AA=A", "AAAA=", "AB==",
                                      "AA A", "AA\nA", "AAA-", "AAAA==", "====", "AAB="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out = {.max = 100};
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &out), STATUS_MALFORMED);
        buf_free(&out);
    }
    struct buf small = {.max = 2};
    assert_int_equal(base64_decode("AAAA", 4, &small), STATUS_TOO_LARGE);
    buf_free(&small);
}

static void utf8_knows_what_is_well_formed(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xc3\xa4",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xee\x80\x80"};
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc0\xaf",
                                      "\xe0\x80\xaf",
                                      "\xed\xa0\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8\x88\x80\x80\x80",
                                      "\xe2\x82",
                                      "a\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    char text[] = "a\xff\xc3\xa4\xe2\x82z";
    utf8_clean(text);
    assert_string_equal(text, "a?\xc3\xa4??z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_grow_and_stay_terminated),
        cmocka_unit_test(the_maximum_holds_and_a_refusal_changes_nothing),
        cmocka_unit_test(clear_keeps_the_memory),
        cmocka_unit_test(base64_round_trips),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(utf8_knows_what_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
