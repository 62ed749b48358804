/* Log lines: fields in both formats, and that no text from outside can forge a line or a field. */
// links: wire
#include "api/base/log.h"
#include "api/wire/json.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT = 8192 };

/* What write logs to stderr. */
static const char *logged(void (*write_it)(const char *value), const char *value)
{
    static char text[TEXT];
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    write_it(value);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static void write_fields(const char *value)
{
    struct log_record record;
    log_begin(&record, LOG_INFO, "http", "request");
    log_string(&record, "path", value);
    log_string(&record, "absent", NULL);
    log_int(&record, "status", 201);
    log_number(&record, "ms", 1.25);
    log_end(&record);
}

static void write_line(const char *value)
{
    log_line(LOG_WARN, "store", "cannot open %s", value);
}

static int lines(const char *text)
{
    int n = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        n++;
    return n;
}

static void text_has_fields(void **state)
{
    (void)state;
    log_set_format(LOG_TEXT);
    const char *text = logged(write_fields, "/tokens");
    assert_non_null(strstr(text, " info http: request path=/tokens status=201 ms=1.250\n"));
    assert_non_null(strstr(logged(write_line, "x"), " warn store: cannot open x\n"));
}

static void json_is_json(void **state)
{
    static const char csi[] = "\xc2\x9b"
                              "31m";
    static const char *const values[] = {"/tokens",  "",         "a\"b\\c",  "line\nforged",
                                         "\x1b[31m", "\x7f\x01", "\xff\xfe", "caf\xc3\xa9",
                                         "\xe2\x82", "a=b c",    csi};
    (void)state;
    log_set_format(LOG_JSON);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *text = logged(write_fields, values[i]);
        const char *path = NULL;
        json *value = NULL;
        int64_t status = 0;
        assert_int_equal(lines(text), 1);
        assert_int_equal(json_parse(text, strlen(text), &value, NULL), STATUS_OK);
        assert_int_equal(json_get_string(value, "path", 100, &path, NULL), STATUS_OK);
        assert_int_equal(json_get_int(value, "status", 0, 999, &status, NULL), STATUS_OK);
        assert_int_equal(status, 201);
        json_free(value);
        for (const char *c = text; *c && *c != '\n'; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void text_cannot_be_forged(void **state)
{
    static const char *const values[] = {"x\n2026-01-31T00:00:00.000Z error cloud: all is lost",
                                         "x status=500", "x\" status=500", "\r\x1b[2K", "\xc2\x85"};
    (void)state;
    log_set_format(LOG_TEXT);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *text = logged(write_fields, values[i]);
        assert_int_equal(lines(text), 1);
        assert_non_null(strstr(text, " path=\""));
        assert_non_null(strstr(text, "\" status=201 "));
        assert_null(strchr(text, '\x1b'));
        assert_null(strstr(text, "\xc2\x85"));
        text = logged(write_line, values[i]);
        assert_int_equal(lines(text), 1);
        assert_null(strchr(text, '\x1b'));
    }
}

static void long_values_are_cut_and_leave_a_whole_line(void **state)
{
    static char value[4000];
    (void)state;
    memset(value, '"', sizeof value - 1);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_set_format((enum log_format)format);
        const char *text = logged(write_fields, value);
        json *parsed = NULL;
        assert_int_equal(lines(text), 1);
        assert_true(strlen(text) <= LOG_LINE);
        if (format == LOG_JSON)
            assert_int_equal(json_parse(text, strlen(text), &parsed, NULL), STATUS_OK);
        json_free(parsed);
        text = logged(write_line, value);
        assert_int_equal(lines(text), 1);
    }
}

static void levels_are_held(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    assert_string_equal(logged(write_fields, "x"), "");
    assert_string_equal(logged(write_line, "x"), "");
    log_set_level(LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_fields),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(text_cannot_be_forged),
        cmocka_unit_test(long_values_are_cut_and_leave_a_whole_line),
        cmocka_unit_test(levels_are_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
