/* The database's few verbs: statements that are used again carry nothing over from before. */
// links: server
#include "server/db.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int place_open(void **state)
{
    struct db *db = NULL;
    struct err err;
    if (db_open(":memory:", true, &db, &err) != STATUS_OK ||
        db_exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)", &err) != STATUS_OK)
        return -1;
    *state = db;
    return 0;
}

static int place_close(void **state)
{
    db_close(*state);
    return 0;
}

static void add(struct db *db, int64_t a, const char *b)
{
    assert_int_equal(db_change(db, NULL, "INSERT INTO t VALUES(?,?)", "is", a, b), STATUS_OK);
}

static void values_are_those_of_each_call(void **state)
{
    int64_t count = 0;
    add(*state, 1, "one");
    add(*state, 2, NULL);
    assert_int_equal(db_int(*state, NULL, &count, "SELECT a FROM t WHERE b IS NULL", ""),
                     STATUS_OK);
    assert_int_equal(count, 2);
    for (int64_t a = 1; a <= 3; a++)
        assert_int_equal(db_int(*state, NULL, &count, "SELECT a FROM t WHERE a=?", "i", a),
                         a < 3 ? STATUS_OK : STATUS_NOT_FOUND);
}

static void a_failed_statement_is_usable_again(void **state)
{
    struct err err;
    add(*state, 1, "one");
    assert_int_equal(db_change(*state, &err, "INSERT INTO t VALUES(?,?)", "is", (int64_t)1, "x"),
                     STATUS_IO);
    add(*state, 2, "two");
    assert_int_equal(db_changed(*state), 1);
}

struct nested {
    struct db *db;
    int64_t sum;
    int depth;
};

/* For each row the same statement is asked once more, up to three deep. */
static bool nested_visit(void *ctx, struct db_row *row)
{
    struct nested *nested = ctx;
    nested->sum += db_row_int(row, 0);
    if (nested->depth < 2) {
        nested->depth++;
        db_select(nested->db, NULL, nested_visit, nested, "SELECT a FROM t", "");
        nested->depth--;
    }
    return true;
}

static void a_visitor_may_ask_the_same(void **state)
{
    struct nested nested = {.db = *state};
    add(*state, 1, "one");
    add(*state, 2, "two");
    assert_int_equal(db_select(*state, NULL, nested_visit, &nested, "SELECT a FROM t", ""),
                     STATUS_OK);
    assert_int_equal(nested.sum, 3 + 2 * (3 + 2 * 3));
}

static void more_texts_than_are_kept(void **state)
{
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 100; i++) {
            char sql[32];
            int64_t value = 0;
            snprintf(sql, sizeof sql, "SELECT %d+?", i);
            assert_int_equal(db_int(*state, NULL, &value, sql, "i", (int64_t)round), STATUS_OK);
            assert_int_equal(value, i + round);
        }
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(values_are_those_of_each_call),
        PLACED(a_failed_statement_is_usable_again),
        PLACED(a_visitor_may_ask_the_same),
        PLACED(more_texts_than_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
