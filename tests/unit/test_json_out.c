/* json_out: a document arrives whole in its file, or the file is as it was; what could not be made
 * is told as a lack of memory, and freed. */
// links: wire
#include "api/wire/json_out.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/cdcca-test-XXXXXX";

static int setup(void **state)
{
    int fd = mkstemp(path);
    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static json *document(int64_t n)
{
    json *value = json_object_new();
    assert_true(json_set_int(value, "n", n));
    return value;
}

/* The file's number. */
static int64_t stored(void)
{
    struct buf text = {.max = 1024};
    json *value = NULL;
    int64_t n = 0;
    assert_int_equal(io_read_file(io_posix(), path, &text, NULL), STATUS_OK);
    assert_int_equal(json_parse(text.data, text.len, &value, NULL), STATUS_OK);
    assert_int_equal(json_get_int(value, "n", 0, 100, &n, NULL), STATUS_OK);
    json_free(value);
    buf_free(&text);
    return n;
}

static void it_is_written_whole_or_not_at_all(void **state)
{
    struct err err = {0};
    (void)state;
    assert_int_equal(json_save(io_posix(), path, document(1), true, &err), STATUS_OK);
    assert_int_equal(stored(), 1);
    assert_int_equal(json_save(io_posix(), path, document(2), false, &err), STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(json_save(io_posix(), path, NULL, true, &err), STATUS_NO_MEMORY);
    assert_int_equal(stored(), 1);
}

static void what_was_not_made_is_not_said(void **state)
{
    struct err err = {0};
    (void)state;
    assert_int_equal(json_say(NULL, true, &err), STATUS_NO_MEMORY);
    assert_int_equal(json_say(document(1), false, &err), STATUS_NO_MEMORY);
    assert_int_equal(json_say(document(1), true, &err), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_written_whole_or_not_at_all, setup, teardown),
        cmocka_unit_test(what_was_not_made_is_not_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
