/* bsdiff: a program that is not there is told from one that fails, and a patch is measured. */
// links: tool
#include "model/tool/bsdiff.h"
#include <fcntl.h>
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

static const char OLD[4000] = "one and the same", NEW[4000] = "one and another";

static int path_remember(void **state)
{
    *state = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin");
    return *state ? 0 : -1;
}

static int path_restore(void **state)
{
    setenv("PATH", *state, 1);
    free(*state);
    return 0;
}

static void a_program_that_is_not_there_is_unsupported(void **state)
{
    (void)state;
    struct err err = {0};
    size_t bytes = 7;
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(bsdiff_size(OLD, sizeof OLD, NEW, sizeof NEW, &bytes, &err),
                     STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "bsdiff is not installed"));
    assert_int_equal(bytes, 7);
}

static void a_program_that_fails_is_an_error(void **state)
{
    (void)state;
    char dir[] = "/tmp/cdcca-test-bsdiff-XXXXXX", path[64];
    static const char script[] = "#!/bin/sh\nexit 3\n";
    struct err err = {0};
    size_t bytes;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/bsdiff", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0755);
    assert_int_equal(write(fd, script, sizeof script - 1), sizeof script - 1);
    close(fd);
    setenv("PATH", dir, 1);
    enum status s = bsdiff_size(OLD, sizeof OLD, NEW, sizeof NEW, &bytes, &err);
    unlink(path);
    rmdir(dir);
    assert_int_equal(s, STATUS_IO);
}

static void a_patch_of_little_is_little(void **state)
{
    (void)state;
    struct err err = {0};
    size_t same = 0, other = 0;
    enum status s = bsdiff_size(OLD, sizeof OLD, OLD, sizeof OLD, &same, &err);
    if (s == STATUS_UNSUPPORTED) {
        print_message("bsdiff is not installed; its patches are not measured here\n");
        skip();
    }
    assert_int_equal(s, STATUS_OK);
    assert_int_equal(bsdiff_size(OLD, sizeof OLD, NEW, sizeof NEW, &other, &err), STATUS_OK);
    assert_in_range(same, 32, 400);
    assert_in_range(other, same + 1, 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_program_that_is_not_there_is_unsupported, path_remember,
                                        path_restore),
        cmocka_unit_test_setup_teardown(a_program_that_fails_is_an_error, path_remember,
                                        path_restore),
        cmocka_unit_test(a_patch_of_little_is_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
