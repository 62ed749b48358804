/* See db.h. */
#include "server/db.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>

enum { BUSY_MS = 5000 };

/* The two names are only ever pointers: to SQLite's handle, and to its statement at a row. */
static sqlite3 *handle(struct db *db)
{
    return (sqlite3 *)(void *)db;
}

static sqlite3_stmt *statement_of(struct db_row *row)
{
    return (sqlite3_stmt *)(void *)row;
}

static enum status db_error(sqlite3 *db, struct err *err)
{
    int code = sqlite3_errcode(db) & 0xff;
    enum status status = STATUS_IO;
    if (code == SQLITE_FULL || (code == SQLITE_IOERR && sqlite3_system_errno(db) == ENOSPC))
        status = STATUS_DISK_FULL;
    else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        status = STATUS_BUSY;
    else if (code == SQLITE_NOMEM)
        status = STATUS_NO_MEMORY;
    else if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        status = STATUS_CORRUPT;
    return err_set(err, status, "database: %s", sqlite3_errmsg(db));
}

enum status db_open(const char *path, bool writable, struct db **out, struct err *err)
{
    int flags = writable ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    sqlite3 *db = NULL;
    enum status status = STATUS_OK;
    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK) {
        status = db_error(db, err);
        err_prefix(err, "%s", path);
        sqlite3_close(db);
        return status;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    *out = (struct db *)(void *)db;
    if (writable)
        status = db_exec(
            *out, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;", err);
    if (status != STATUS_OK)
        db_close(*out);
    return status;
}

void db_close(struct db *db)
{
    sqlite3_close(handle(db));
}

enum status db_exec(struct db *db, const char *sql, struct err *err)
{
    if (sqlite3_exec(handle(db), sql, NULL, NULL, NULL) == SQLITE_OK)
        return STATUS_OK;
    return db_error(handle(db), err);
}

static enum status prepare(struct db *db, sqlite3_stmt **out, struct err *err, const char *sql,
                           const char *kinds, va_list values)
{
    if (sqlite3_prepare_v2(handle(db), sql, -1, out, NULL) != SQLITE_OK)
        return db_error(handle(db), err);
    for (int i = 0; kinds[i]; i++) {
        if (kinds[i] == 'i')
            sqlite3_bind_int64(*out, i + 1, va_arg(values, int64_t));
        else
            sqlite3_bind_text(*out, i + 1, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
    }
    return STATUS_OK;
}

enum status db_change(struct db *db, struct err *err, const char *sql, const char *kinds, ...)
{
    sqlite3_stmt *statement = NULL;
    va_list values;
    va_start(values, kinds);
    enum status status = prepare(db, &statement, err, sql, kinds, values);
    va_end(values);
    if (status == STATUS_OK && sqlite3_step(statement) != SQLITE_DONE)
        status = db_error(handle(db), err);
    sqlite3_finalize(statement);
    return status;
}

int64_t db_last_id(struct db *db)
{
    return sqlite3_last_insert_rowid(handle(db));
}

int64_t db_changed(struct db *db)
{
    return sqlite3_changes(handle(db));
}

bool db_in_transaction(struct db *db)
{
    return !sqlite3_get_autocommit(handle(db));
}

static enum status walk(struct db *db, struct err *err, db_visit *visit, void *ctx, const char *sql,
                        const char *kinds, va_list values)
{
    sqlite3_stmt *statement = NULL;
    enum status status = prepare(db, &statement, err, sql, kinds, values);
    int rows = 0, code = SQLITE_DONE;
    bool more = status == STATUS_OK;
    while (more && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rows++;
        more = visit(ctx, (struct db_row *)(void *)statement);
    }
    if (status == STATUS_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        status = db_error(handle(db), err);
    sqlite3_finalize(statement);
    return status == STATUS_OK && rows == 0 ? STATUS_NOT_FOUND : status;
}

enum status db_select(struct db *db, struct err *err, db_visit *visit, void *ctx, const char *sql,
                      const char *kinds, ...)
{
    va_list values;
    va_start(values, kinds);
    enum status status = walk(db, err, visit, ctx, sql, kinds, values);
    va_end(values);
    return status;
}

static bool int_take(void *ctx, struct db_row *row)
{
    *(int64_t *)ctx = db_row_int(row, 0);
    return false;
}

enum status db_int(struct db *db, struct err *err, int64_t *out, const char *sql, const char *kinds,
                   ...)
{
    va_list values;
    va_start(values, kinds);
    enum status status = walk(db, err, int_take, out, sql, kinds, values);
    va_end(values);
    return status;
}

int64_t db_row_int(struct db_row *row, int column)
{
    return sqlite3_column_int64(statement_of(row), column);
}

const char *db_row_text(struct db_row *row, int column)
{
    return (const char *)sqlite3_column_text(statement_of(row), column);
}
