// The io seam's helpers: limits, odd files, short and failing calls at every point, atomicity.
// links: base
#include "api/base/io.h"
#include "fault_io.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[PATH_MAX];
    assert_int_equal(io_join(path, sizeof path, folder, name, NULL), STATUS_OK);
    return path;
}

static int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/cdcca-io-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void content_is(const char *path, const char *expected)
{
    struct buf buf = {.max = 1 << 20};
    assert_int_equal(io_read_file(io_posix(), path, &buf, NULL), STATUS_OK);
    assert_int_equal(buf.len, strlen(expected));
    assert_string_equal((char *)buf.data, expected);
    buf_free(&buf);
}

static void written_files_read_back(void **state)
{
    (void)state;
    const char *path = in_folder("plain");
    assert_false(io_exists(path));
    assert_int_equal(io_write_file(io_posix(), path, "one", 3, NULL), STATUS_OK);
    content_is(path, "one");
    assert_int_equal(io_write_file(io_posix(), path, "", 0, NULL), STATUS_OK);
    content_is(path, "");
    assert_true(io_exists(path));
}

/* Also where a file that others can read was left behind, under either name. */
static void secrets_are_their_owners(void **state)
{
    (void)state;
    struct stat about;
    char temporary[PATH_MAX + 8];
    const char *path = in_folder("secret");
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    assert_int_equal(io_write_file(io_posix(), temporary, "left", 4, NULL), STATUS_OK);
    assert_int_equal(io_write_file(io_posix(), path, "open", 4, NULL), STATUS_OK);
    assert_int_equal(io_write_secret(io_posix(), path, "key", 3, NULL), STATUS_OK);
    content_is(path, "key");
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
}

static void a_file_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct err err;
    const char *path = in_folder("large");
    assert_int_equal(io_write_file(io_posix(), path, "0123456789", 10, NULL), STATUS_OK);
    struct buf small = {.max = 9}, exact = {.max = 10};
    assert_int_equal(io_read_file(io_posix(), path, &small, &err), STATUS_TOO_LARGE);
    assert_non_null(strstr(err.text, "limit"));
    assert_int_equal(io_read_file(io_posix(), path, &exact, &err), STATUS_OK);
    buf_free(&small);
    buf_free(&exact);
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    struct err err;
    struct buf buf = {.max = 100};
    const char *path = in_folder("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(io_read_file(io_posix(), path, &buf, &err), STATUS_UNSUPPORTED);
    assert_int_equal(io_read_file(io_posix(), folder, &buf, &err), STATUS_UNSUPPORTED);
    assert_int_equal(io_read_file(io_posix(), "/dev/zero", &buf, &err), STATUS_UNSUPPORTED);
    assert_int_equal(io_read_file(io_posix(), in_folder("absent"), &buf, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "absent"));
    buf_free(&buf);
}

static void short_and_interrupted_calls_are_ordinary(void **state)
{
    (void)state;
    struct fault_io fault = fault_io_make(-1, 0);
    fault.trickle = true;
    const char *path = in_folder("trickle");
    assert_int_equal(io_write_file(&fault.io, path, "slowly but surely", 17, NULL), STATUS_OK);
    struct buf buf = {.max = 100};
    assert_int_equal(io_read_file(&fault.io, path, &buf, NULL), STATUS_OK);
    assert_string_equal((char *)buf.data, "slowly but surely");
    buf_free(&buf);
}

/* Whatever call fails, the old or the new content is there, whole, and no temporary file is left.
 */
static void a_write_that_fails_anywhere_is_never_torn(void **state)
{
    (void)state;
    char path[PATH_MAX], temporary[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder("atomic"));
    snprintf(temporary, sizeof temporary, "%s", in_folder("atomic.tmp"));
    int failures = 0;
    for (int n = 0; n < 20; n++) {
        struct err err = {0};
        assert_int_equal(io_write_file(io_posix(), path, "old", 3, NULL), STATUS_OK);
        struct fault_io fault = fault_io_make(n, ENOSPC);
        enum status status = io_write_file(&fault.io, path, "fresh", 5, &err);
        struct buf buf = {.max = 100};
        assert_int_equal(io_read_file(io_posix(), path, &buf, NULL), STATUS_OK);
        if (status == STATUS_OK) {
            assert_string_equal((char *)buf.data, "fresh");
        } else {
            failures++;
            assert_int_equal(status, STATUS_DISK_FULL);
            assert_int_equal(err.code, STATUS_DISK_FULL);
            assert_true(strcmp((char *)buf.data, "old") == 0 || fault.calls[FAULT_RENAME]);
        }
        assert_false(io_exists(temporary));
        buf_free(&buf);
    }
    assert_in_range(failures, 6, 10);
}

static void a_read_that_fails_says_so(void **state)
{
    (void)state;
    struct err err;
    const char *path = in_folder("plain");
    for (int n = 0; n < 3; n++) {
        struct fault_io fault = fault_io_make(n, EIO);
        struct buf buf = {.max = 100};
        assert_int_equal(io_write_file(io_posix(), path, "text", 4, NULL), STATUS_OK);
        assert_int_equal(io_read_file(&fault.io, path, &buf, &err), STATUS_IO);
        assert_non_null(strstr(err.text, path));
        buf_free(&buf);
    }
}

static void directories_are_made_with_their_parents(void **state)
{
    (void)state;
    struct err err;
    char deep[PATH_MAX];
    snprintf(deep, sizeof deep, "%s", in_folder("a/b//c/"));
    assert_int_equal(io_make_dirs(io_posix(), deep, &err), STATUS_OK);
    assert_int_equal(io_make_dirs(io_posix(), deep, &err), STATUS_OK);
    assert_true(io_exists(in_folder("a/b/c")));
    assert_int_equal(io_write_file(io_posix(), in_folder("file"), "", 0, NULL), STATUS_OK);
    assert_int_equal(io_make_dirs(io_posix(), in_folder("file"), &err), STATUS_IO);
    assert_non_null(strstr(err.text, "not a directory"));
    assert_int_not_equal(io_make_dirs(io_posix(), in_folder("file/below"), &err), STATUS_OK);
    assert_int_not_equal(io_make_dirs(io_posix(), "", &err), STATUS_OK);
    struct fault_io fault = fault_io_make(2, EACCES); /* /tmp and folder are there already */
    assert_int_equal(io_make_dirs(&fault.io, in_folder("new"), &err), STATUS_IO);
}

static void paths_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    char out[10];
    struct err err;
    assert_int_equal(io_join(out, sizeof out, "abcd", "efgh", &err), STATUS_OK);
    assert_string_equal(out, "abcd/efgh");
    assert_int_equal(io_join(out, sizeof out, "abc/", "efgh", &err), STATUS_OK);
    assert_string_equal(out, "abc/efgh");
    assert_int_equal(io_join(out, sizeof out, "", "efgh", &err), STATUS_OK);
    assert_string_equal(out, "efgh");
    assert_int_equal(io_join(out, sizeof out, "abcd", "efghi", &err), STATUS_TOO_LARGE);
    char longest[PATH_MAX + 10];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(io_write_file(io_posix(), longest, "", 0, &err), STATUS_TOO_LARGE);
    assert_int_equal(io_make_dirs(io_posix(), longest, &err), STATUS_TOO_LARGE);
}

static void errno_becomes_a_status(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(io_error(&err, "open", "x", ENOENT), STATUS_NOT_FOUND);
    assert_string_equal(err.text, "open x: No such file or directory");
    assert_int_equal(io_error(&err, "write", "x", ENOSPC), STATUS_DISK_FULL);
    assert_int_equal(io_error(&err, "write", "x", EDQUOT), STATUS_DISK_FULL);
    assert_int_equal(io_error(&err, "map", "x", ENOMEM), STATUS_NO_MEMORY);
    assert_int_equal(io_error(&err, "read", "x", EIO), STATUS_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(secrets_are_their_owners),
        cmocka_unit_test(a_file_over_the_limit_is_refused),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(short_and_interrupted_calls_are_ordinary),
        cmocka_unit_test(a_write_that_fails_anywhere_is_never_torn),
        cmocka_unit_test(a_read_that_fails_says_so),
        cmocka_unit_test(directories_are_made_with_their_parents),
        cmocka_unit_test(paths_that_do_not_fit_are_refused),
        cmocka_unit_test(errno_becomes_a_status),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
