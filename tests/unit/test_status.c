// Status table (pinned: logs, exit codes and clients depend on it), error texts, hashes, times.
// links: base
#include "api/base/clock.h"
#include "api/base/hash.h"
#include "api/base/status.h"
#include "api/base/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_table_is_pinned(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *name;
        int http, exit;
    } rows[] = {
        {0, "ok", 200, 0},           {10, "malformed", 422, 65},
        {11, "shape", 422, 65},      {12, "unsupported", 415, 65},
        {13, "too_large", 413, 65},  {14, "not_found", 404, 66},
        {15, "conflict", 409, 65},   {16, "usage", 400, 2},
        {20, "corrupt", 422, 65},    {21, "wrong_base", 422, 65},
        {30, "no_memory", 503, 71},  {31, "disk_full", 507, 73},
        {32, "busy", 429, 75},       {40, "unreachable", 502, 69},
        {41, "timeout", 504, 75},    {42, "peer", 502, 76},
        {50, "io", 500, 74},         {60, "refused", 403, 77},
        {61, "cancelled", 409, 130}, {99, "unknown", 500, 70},
        {22, "differs", 422, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum status code = (enum status)rows[i].code;
        assert_string_equal(status_name(code), rows[i].name);
        assert_int_equal(status_http(code), rows[i].http);
        assert_int_equal(status_exit(code), rows[i].exit);
    }
}

static void an_error_carries_code_and_context(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_set(&err, STATUS_SHAPE, "%d rows", 3), STATUS_SHAPE);
    assert_int_equal(err_prefix(&err, "tensor \"%s\"", "w"), STATUS_SHAPE);
    assert_string_equal(err.text, "tensor \"w\": 3 rows");
    assert_int_equal(err_set(&err, STATUS_IO, "again: %s", err.text), STATUS_IO);
    assert_string_equal(err.text, "again: tensor \"w\": 3 rows");
    assert_int_equal(err_set(NULL, STATUS_IO, "nobody listens"), STATUS_IO);
    assert_int_equal(err_prefix(NULL, "nobody"), STATUS_OK);
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char text[700];
    for (size_t shift = 0; shift < 4; shift++) {
        struct err err;
        memset(text, 'a', shift);
        for (size_t i = shift; i + 2 < sizeof text - 1; i += 2)
            memcpy(text + i, "\xc3\xa4", 3);
        err_set(&err, STATUS_IO, "%s", text);
        assert_true(strlen(err.text) >= sizeof err.text - 4);
        assert_true(utf8_valid(err.text, strlen(err.text)));
        err_prefix(&err, "%s", "x\xe2\x82\xac");
        assert_true(utf8_valid(err.text, strlen(err.text)));
    }
}

static enum status fails_second(int *reached)
{
    TRY(STATUS_OK);
    ++*reached;
    TRY(STATUS_BUSY);
    ++*reached;
    return STATUS_OK;
}

static void try_propagates(void **state)
{
    (void)state;
    int reached = 0;
    assert_int_equal(fails_second(&reached), STATUS_BUSY);
    assert_int_equal(reached, 1);
}

static void hashes_match_the_standard_and_parse_strictly(void **state)
{
    (void)state;
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct hash whole, pieces, parsed;
    struct hash_state running;
    char hex[HASH_HEX], upper[HASH_HEX];
    hash_bytes("abc", 3, &whole);
    hash_hex(&whole, hex);
    assert_string_equal(hex, abc);
    hash_start(&running);
    hash_update(&running, "a", 1);
    hash_update(&running, NULL, 0);
    hash_update(&running, "bc", 2);
    hash_finish(&running, &pieces);
    assert_true(hash_equal(&whole, &pieces));
    assert_true(hash_parse(abc, &parsed) && hash_equal(&parsed, &whole));
    memcpy(upper, abc, sizeof upper);
    upper[1] = 'A';
    assert_false(hash_parse(upper, &parsed));
    assert_false(hash_parse("", &parsed));
    assert_false(hash_parse(abc + 1, &parsed));
    upper[1] = 'g';
    assert_false(hash_parse(upper, &parsed));
}

static void times_are_written_in_utc(void **state)
{
    (void)state;
    char out[32];
    clock_format(0, out);
    assert_string_equal(out, "1970-01-01T00:00:00.000Z");
    clock_format(1769862896789, out);
    assert_string_equal(out, "2026-01-31T12:34:56.789Z");
    clock_format(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999Z");
    int64_t before = clock_monotonic_ms();
    clock_sleep_ms(3);
    assert_true(clock_monotonic_ms() >= before + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_pinned),
        cmocka_unit_test(an_error_carries_code_and_context),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(try_propagates),
        cmocka_unit_test(hashes_match_the_standard_and_parse_strictly),
        cmocka_unit_test(times_are_written_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
