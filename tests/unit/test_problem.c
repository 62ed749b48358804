/* Problem documents, and that the kinds in C, in openapi.yaml and in the README are the same. */
// links: wire
#include "api/base/io.h"
#include "api/wire/problem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct buf file_text(const char *name)
{
    char path[512];
    struct buf text = {.max = 1 << 20};
    snprintf(path, sizeof path, "%s/%s", SOURCE_DIR, name);
    assert_int_equal(io_read_file(io_posix(), path, &text, NULL), STATUS_OK);
    assert_int_equal(buf_append(&text, "", 1), STATUS_OK);
    return text;
}

static void a_problem_document_carries_the_error(void **state)
{
    (void)state;
    struct err err;
    struct buf out = {.max = 4096};
    err_set(&err, STATUS_WRONG_BASE, "encoder \"%s\" is another one", "a\xff\n");
    assert_int_equal(problem_write(&err, 422, NULL, &out), STATUS_OK);
    assert_string_equal((char *)out.data,
                        "{\"type\":\"/problems/wrong_base\",\"title\":\"wrong base\","
                        "\"status\":422,\"detail\":\"encoder \\\"a?\\n\\\" is another one\"}");
    buf_free(&out);
}

static void a_status_that_is_no_kind_has_no_page(void **state)
{
    (void)state;
    struct err err;
    struct buf out = {.max = 4096};
    err_set(&err, STATUS_DIFFERS, "x");
    assert_int_equal(problem_write(&err, 422, "r-1", &out), STATUS_OK);
    assert_string_equal((char *)out.data,
                        "{\"type\":\"about:blank\",\"title\":\"differs\","
                        "\"status\":422,\"detail\":\"x\",\"request_id\":\"r-1\"}");
    assert_null(problem_kind_find("differs"));
    buf_free(&out);
}

static void the_status_of_each_kind_is_among_its_statuses(void **state)
{
    (void)state;
    for (const struct problem_kind *kind = problem_kinds; kind->code != STATUS_OK; kind++) {
        char status[8];
        /* 504 is for programs between a client and a server; who comes too slowly gets 408 */
        int http = kind->code == STATUS_TIMEOUT ? 408 : status_http(kind->code);
        snprintf(status, sizeof status, "%d", http);
        if (!strstr(kind->statuses, status))
            fail_msg("%s answers %s, not %s", status_name(kind->code), status, kind->statuses);
        assert_ptr_equal(problem_kind_find(status_name(kind->code)), kind);
    }
}

/* A row of the README's table for each kind, with the same words, and none beside them. */
static void the_readme_explains_each_kind(void **state)
{
    (void)state;
    struct buf readme = file_text("README.md");
    int kinds = 0, rows = 0;
    for (const struct problem_kind *kind = problem_kinds; kind->code != STATUS_OK;
         kind++, kinds++) {
        char row[1024];
        snprintf(row, sizeof row, "\n| `/problems/%s` | %s | %s | %s |\n", status_name(kind->code),
                 kind->statuses, kind->means, kind->right);
        if (!strstr((char *)readme.data, row))
            fail_msg("README.md has no row%s", row);
    }
    for (const char *at = (char *)readme.data; (at = strstr(at, "\n| `/problems/")) != NULL; at++)
        rows++;
    assert_int_equal(rows, kinds);
    buf_free(&readme);
}

/* The names that GET /problems/{name} takes, in the contract: those of the table, in its order. */
static void the_contract_lists_each_kind(void **state)
{
    (void)state;
    struct buf contract = file_text("openapi/openapi.yaml");
    char *at = strstr((char *)contract.data, "\n  /problems/{name}:\n");
    assert_non_null(at);
    at = strstr(at, "enum: [");
    assert_non_null(at);
    at += strlen("enum: [");
    *strchr(at, ']') = '\0';
    const struct problem_kind *kind = problem_kinds;
    for (char *name = strtok(at, ", \n"); name; name = strtok(NULL, ", \n"), kind++) {
        assert_int_not_equal(kind->code, STATUS_OK);
        assert_string_equal(name, status_name(kind->code));
    }
    assert_int_equal(kind->code, STATUS_OK);
    buf_free(&contract);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_document_carries_the_error),
        cmocka_unit_test(a_status_that_is_no_kind_has_no_page),
        cmocka_unit_test(the_status_of_each_kind_is_among_its_statuses),
        cmocka_unit_test(the_readme_explains_each_kind),
        cmocka_unit_test(the_contract_lists_each_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
