// Options: the three sources and who wins, and that every mistake is answered with what is right.
// links: wire
#include "api/base/io.h"
#include "api/wire/options.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct values {
    const char *data;
    int64_t port;
    double budget;
    bool quiet;
} values;

static const struct option table[] = {
    {"data", OPTION_STRING, &values.data, 0, 0, "DIR", "where things are kept"},
    {"port", OPTION_INT, &values.port, 1, 65535, "N", "where to listen"},
    {"upload-budget", OPTION_NUMBER, &values.budget, 0, 1, "SHARE", "what may be uploaded"},
    {"quiet", OPTION_FLAG, &values.quiet, 0, 0, NULL, "no progress"},
    {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
};

static const struct options options = {"cdcca-test run", "a test", "IMAGE [QUESTION]", table, 1, 2};
static const struct options bare = {"cdcca-test", "a test", NULL, table, 0, 0};

/* Parses a copy of the words (NULL ends them) into fresh values; leaves the positional ones. */
static enum status parse(const struct options *which, const char **words, int *count,
                         struct err *err)
{
    static char copies[16][128];
    char *argv[16] = {copies[0]};
    int argc = 1;
    for (; words[argc - 1]; argc++) {
        snprintf(copies[argc], sizeof copies[argc], "%s", words[argc - 1]);
        argv[argc] = copies[argc];
    }
    values = (struct values){"default", 80, 0.5, false};
    enum status status = options_parse(which, argc, argv, count, err);
    for (int i = 0; i < 15; i++)
        words[i] = i < *count ? argv[1 + i] : NULL;
    return status;
}

#define WORDS(...) ((const char *[16]){__VA_ARGS__})

static int environment_clear(void **state)
{
    (void)state;
    unsetenv("CDCCA_DATA");
    unsetenv("CDCCA_PORT");
    unsetenv("CDCCA_UPLOAD_BUDGET");
    unsetenv("CDCCA_QUIET");
    unsetenv("CDCCA_CONFIG");
    return 0;
}

static void the_command_line_is_read(void **state)
{
    (void)state;
    int count;
    struct err err = {0};
    const char **words = WORDS("a.png", "--port", "81", "--upload-budget=0.25", "what?", "--quiet");
    assert_int_equal(parse(&options, words, &count, &err), STATUS_OK);
    assert_int_equal(count, 2);
    assert_string_equal(words[0], "a.png");
    assert_string_equal(words[1], "what?");
    assert_int_equal(values.port, 81);
    assert_true(values.budget == 0.25 && values.quiet);
    assert_string_equal(values.data, "default");
    words = WORDS("--no-quiet", "--data=", "--", "--port");
    assert_int_equal(parse(&options, words, &count, &err), STATUS_OK);
    assert_string_equal(words[0], "--port");
    assert_string_equal(values.data, "");
    assert_false(values.quiet);
    assert_int_equal(parse(&bare, WORDS(NULL), &count, &err), STATUS_OK);
    words = WORDS("-", "--quiet=false");
    assert_int_equal(parse(&options, words, &count, &err), STATUS_OK);
    assert_string_equal(words[0], "-");
}

static void flags_win_over_environment_over_file(void **state)
{
    (void)state;
    static const char text[] =
        "{\"data\":\"file\",\"port\":1,\"upload_budget\":0.1,\"quiet\":true}";
    char path[] = "/tmp/cdcca-options-XXXXXX";
    int count;
    struct err err = {0};
    close(mkstemp(path));
    assert_int_equal(io_write_file(io_posix(), path, text, strlen(text), NULL), STATUS_OK);
    setenv("CDCCA_PORT", "2", 1);
    setenv("CDCCA_UPLOAD_BUDGET", "0.2", 1);
    if (parse(&bare, WORDS("--config", path, "--upload-budget", "0.3"), &count, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_string_equal(values.data, "file");
    assert_int_equal(values.port, 2);
    assert_true(values.budget == 0.3 && values.quiet);
    setenv("CDCCA_CONFIG", path, 1);
    setenv("CDCCA_QUIET", "off", 1);
    assert_int_equal(parse(&bare, WORDS(NULL), &count, &err), STATUS_OK);
    assert_string_equal(values.data, "file");
    assert_false(values.quiet);
    unlink(path);
}

static void refused(const char **words, const char *says)
{
    int count;
    struct err err = {0};
    assert_int_equal(parse(&options, words, &count, &err), STATUS_USAGE);
    if (!strstr(err.text, says))
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
}

static void mistakes_on_the_command_line_are_explained(void **state)
{
    (void)state;
    refused(WORDS("x", "--prot", "1"), "unknown option --prot; did you mean --port?");
    refused(WORDS("x", "--uplod-budget=1"), "did you mean --upload-budget?");
    refused(WORDS("x", "--something-else"), "cdcca-test run --help lists all");
    refused(WORDS("x", "-p"), "two dashes");
    refused(WORDS("x", "--port"), "--port needs a value: --port N");
    refused(WORDS("x", "--port", "--quiet"), "--port needs a value");
    refused(WORDS("x", "--port", "0"), "--port is 0; it must be an integer from 1 to 65535");
    refused(WORDS("x", "--port", "65536"), "from 1 to 65535");
    refused(WORDS("x", "--port", "8o"), "--port is \"8o\"; it must be an integer");
    refused(WORDS("x", "--port="), "must be an integer");
    refused(WORDS("x", "--port", " 8"), "must be an integer");
    refused(WORDS("x", "--port", "99999999999999999999"), "must be an integer");
    refused(WORDS("x", "--upload-budget", "1.5"), "from 0 to 1");
    refused(WORDS("x", "--upload-budget", "nan"), "from 0 to 1");
    refused(WORDS("x", "--upload-budget", "10%"), "must be a number");
    refused(WORDS("x", "--quiet=maybe"), "true or false");
    refused(WORDS("x", "--no-port"), "unknown option --no-port");
    refused(WORDS(NULL), "cdcca-test run wants: IMAGE [QUESTION]");
    refused(WORDS("a", "b", "c"), "3 arguments");
    refused(
        WORDS("x", "--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        "unknown option");
    struct err err;
    int count;
    assert_int_equal(parse(&bare, WORDS("stray"), &count, &err), STATUS_USAGE);
    assert_non_null(strstr(err.text, "\"stray\""));
    setenv("CDCCA_PORT", "x", 1);
    refused(WORDS("x"), "CDCCA_PORT is \"x\"");
}

static void mistakes_in_the_file_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "not valid JSON"},
        {"[]", "must hold a JSON object"},
        {"{\"port\":1.0}", "not an integer"},
        {"{\"port\":0}", "from 1 to 65535"},
        {"{\"quiet\":1}", "true or false"},
        {"{\"upload-budget\":0.5}", "unknown setting \"upload-budget\""},
        {"{\"upload_budget\":\"0.5\"}", "must be a number"},
        {"{\"data\":null}", "must be a string"},
        {"{\"port\":1,\"port\":2}", "duplicate"},
    };
    char path[] = "/tmp/cdcca-options-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            io_write_file(io_posix(), path, cases[i].text, strlen(cases[i].text), NULL), STATUS_OK);
        refused(WORDS("x", "--config", path), cases[i].says);
    }
    unlink(path);
    refused(WORDS("x", "--config", path), "No such file");
}

/* stdout goes to a file while --help runs. */
static void help_lists_options_and_defaults(void **state)
{
    (void)state;
    char path[] = "/tmp/cdcca-help-XXXXXX";
    int count, file = mkstemp(path), stdout_copy = dup(STDOUT_FILENO);
    struct buf text = {.max = 1 << 16};
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    enum status help = parse(&options, WORDS("--port", "bad", "--help"), &count, NULL);
    enum status version = parse(&options, WORDS("--version"), &count, NULL);
    fflush(stdout);
    dup2(stdout_copy, STDOUT_FILENO);
    close(stdout_copy);
    close(file);
    assert_int_equal(help, STATUS_CANCELLED);
    assert_int_equal(version, STATUS_CANCELLED);
    assert_int_equal(io_read_file(io_posix(), path, &text, NULL), STATUS_OK);
    static const char version_line[] = "cdcca-test run " CDCCA_VERSION;
    static const char *const expected[] = {
        "usage: cdcca-test run [OPTION ...] IMAGE [QUESTION]",
        "--port N",
        "(default 80)",
        "--upload-budget SHARE",
        "(default 0.5)",
        "(default default)",
        "--config FILE",
        "CDCCA_SOME_NAME",
        version_line,
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_non_null(strstr((char *)text.data, expected[i]));
    buf_free(&text);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_command_line_is_read, environment_clear),
        cmocka_unit_test_setup(flags_win_over_environment_over_file, environment_clear),
        cmocka_unit_test_setup(mistakes_on_the_command_line_are_explained, environment_clear),
        cmocka_unit_test_setup(mistakes_in_the_file_are_explained, environment_clear),
        cmocka_unit_test_setup(help_lists_options_and_defaults, environment_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
