/* Characters: normal forms and lower case against the Unicode standard's own examples (UAX #15),
 * BERT's classes, and runs of combining marks of any length. */
// links: mllm
#include "model/mllm/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_form(const char *text, enum unicode_form form, const char *want)
{
    struct buf out = {.max = 1 << 20};
    assert_int_equal(unicode_normalize(text, strlen(text), form, &out), STATUS_OK);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data ? (char *)out.data : "", want, out.len);
    buf_free(&out);
}

static void normal_forms_are_the_standards(void **state)
{
    static const struct {
        const char *text, *nfd, *nfc, *nfkd, *nfkc;
    } rows[] = {
        {"", "", "", "", ""},
        {"abc", "abc", "abc", "abc", "abc"},
        {"\u00C5", "A\u030A", "\u00C5", "A\u030A", "\u00C5"},
        {"\u212B", "A\u030A", "\u00C5", "A\u030A", "\u00C5"},
        {"\u1E9B\u0323", "\u017F\u0323\u0307", "\u1E9B\u0323", "s\u0323\u0307", "\u1E69"},
        {"\u1E0A\u0323", "D\u0323\u0307", "\u1E0C\u0307", "D\u0323\u0307", "\u1E0C\u0307"},
        {"\uFB01", "\uFB01", "\uFB01", "fi", "fi"},
        {"2\u2075", "2\u2075", "2\u2075", "25", "25"},
        {"\uAC01", "\u1100\u1161\u11A8", "\uAC01", "\u1100\u1161\u11A8", "\uAC01"},
        {"\uF900", "\u8C48", "\u8C48", "\u8C48", "\u8C48"},
        {"\u0958", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C"}, /* excluded */
        {"\u0301\u0323a", "\u0323\u0301a", "\u0323\u0301a", "\u0323\u0301a", "\u0323\u0301a"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_form(rows[i].text, UNICODE_NFD, rows[i].nfd);
        expect_form(rows[i].text, UNICODE_NFC, rows[i].nfc);
        expect_form(rows[i].text, UNICODE_NFKD, rows[i].nfkd);
        expect_form(rows[i].text, UNICODE_NFKC, rows[i].nfkc);
    }
}

/* 200,000 marks of two classes by turns: all of the lower class first, in the order they came. */
static void long_runs_of_marks_are_ordered(void **state)
{
    enum { PAIRS = 100000 };
    static const char pair[] = "\u0301\u0323", below[] = "\u0323", above[] = "\u0301";
    struct buf text = {.max = 1 << 20}, out = {.max = 1 << 20};
    (void)state;
    for (int i = 0; i < PAIRS; i++)
        assert_int_equal(buf_append(&text, pair, sizeof pair - 1), STATUS_OK);
    assert_int_equal(unicode_normalize((char *)text.data, text.len, UNICODE_NFD, &out), STATUS_OK);
    assert_int_equal(out.len, text.len);
    for (size_t i = 0; i < PAIRS; i++) {
        assert_memory_equal(out.data + 2 * i, below, 2);
        assert_memory_equal(out.data + 2 * (PAIRS + i), above, 2);
    }
    buf_free(&text);
    buf_free(&out);
}

static void lower_case_goes_by_the_character(void **state)
{
    static const char from[] = "AZaz\u00C4\u0130\u03A3\u1E9E\u2126\u0416",
                      to[] = "azaz\u00E4i\u0307\u03C3\u00DF\u03C9\u0436";
    struct buf out = {.max = 256};
    (void)state;
    assert_int_equal(unicode_lower(from, sizeof from - 1, &out), STATUS_OK);
    assert_string_equal((char *)out.data, to);
    buf_free(&out);
}

static void classes_are_berts(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) /* no character is of two kinds */
        assert_true(unicode_is_space(c) + unicode_is_control(c) + unicode_is_punctuation(c) <= 1);
    assert_true(unicode_is_space(' ') && unicode_is_space('\t') && unicode_is_space(0xA0));
    assert_true(unicode_is_space(0x3000) && unicode_is_space(0x2028) && !unicode_is_space(0x200B));
    assert_true(unicode_is_control(0) && unicode_is_control(0x200D) && unicode_is_control(0xE000));
    assert_true(unicode_is_control(0x378) && !unicode_is_control('\n')); /* unassigned */
    assert_true(unicode_is_punctuation('$') &&
                unicode_is_punctuation('`')); /* symbols in Unicode */
    assert_true(unicode_is_punctuation(0x2026) && !unicode_is_punctuation(0x20AC));
    assert_true(unicode_is_ideograph(0x6F22) && !unicode_is_ideograph(0x3042));
    assert_true(unicode_is_nonspacing_mark(0x301) && !unicode_is_nonspacing_mark(0x903));
    assert_true(unicode_is_word('_') && unicode_is_word(0x661) && !unicode_is_word('-'));
}

static void characters_come_back(void **state)
{
    struct buf out = {.max = 8};
    size_t size = 0;
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c += c == 0xD7FF ? 0x801 : 1) {
        buf_clear(&out);
        assert_int_equal(unicode_append(&out, c), STATUS_OK);
        assert_int_equal(unicode_get((char *)out.data, out.len, &size), c);
        assert_int_equal(size, out.len);
    }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_forms_are_the_standards),
        cmocka_unit_test(long_runs_of_marks_are_ordered),
        cmocka_unit_test(lower_case_goes_by_the_character),
        cmocka_unit_test(classes_are_berts),
        cmocka_unit_test(characters_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
