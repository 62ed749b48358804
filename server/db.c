/* See db.h. A statement that was prepared is kept and used again for the same text: preparing one
 * costs several times what running it does. Those in use are not in the cache, so that a visitor
 * may ask the same again. */
#include "server/db.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 5000, CACHED = 32 };

struct db {
    sqlite3 *handle;
    sqlite3_stmt *cache[CACHED]; /* NULL: free */
    unsigned next;               /* the place to give up when all are taken */
};

/* A row is only ever a pointer: to SQLite's statement that stands at it. */
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
    *out = calloc(1, sizeof **out);
    if (!*out) {
        sqlite3_close(db);
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    (*out)->handle = db;
    if (writable) /* savepoints keep pages aside: in memory, not in a file made for each group */
        status = db_exec(*out,
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA "
                         "foreign_keys=ON; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;",
                         err);
    if (status != STATUS_OK) {
        db_close(*out);
        *out = NULL;
    }
    return status;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (int i = 0; i < CACHED; i++)
        sqlite3_finalize(db->cache[i]);
    sqlite3_close(db->handle);
    free(db);
}

enum status db_exec(struct db *db, const char *sql, struct err *err)
{
    if (sqlite3_exec(db->handle, sql, NULL, NULL, NULL) == SQLITE_OK)
        return STATUS_OK;
    return db_error(db->handle, err);
}

static sqlite3_stmt *cache_take(struct db *db, const char *sql)
{
    for (int i = 0; i < CACHED; i++) {
        sqlite3_stmt *statement = db->cache[i];
        if (!statement || strcmp(sqlite3_sql(statement), sql) != 0)
            continue;
        db->cache[i] = NULL;
        return statement;
    }
    return NULL;
}

/* Done with a statement, which may be NULL: back to the cache, without its values. */
static void cache_put(struct db *db, sqlite3_stmt *statement)
{
    int i = 0;
    if (!statement)
        return;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    while (i < CACHED && db->cache[i])
        i++;
    if (i == CACHED) {
        i = (int)(db->next++ % CACHED);
        sqlite3_finalize(db->cache[i]);
    }
    db->cache[i] = statement;
}

static enum status prepare(struct db *db, sqlite3_stmt **out, struct err *err, const char *sql,
                           const char *kinds, va_list values)
{
    *out = cache_take(db, sql);
    if (!*out &&
        sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return db_error(db->handle, err);
    for (int i = 0; kinds[i]; i++) {
        if (kinds[i] == 'i') {
            sqlite3_bind_int64(*out, i + 1, va_arg(values, int64_t));
        } else if (kinds[i] == 's') {
            sqlite3_bind_text(*out, i + 1, va_arg(values, const char *), -1, SQLITE_STATIC);
        } else {
            const void *data = va_arg(values, const void *);
            sqlite3_bind_blob64(*out, i + 1, data, va_arg(values, size_t), SQLITE_STATIC);
        }
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
        status = db_error(db->handle, err);
    cache_put(db, statement);
    return status;
}

int64_t db_last_id(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changed(struct db *db)
{
    return sqlite3_changes(db->handle);
}

bool db_in_transaction(struct db *db)
{
    return !sqlite3_get_autocommit(db->handle);
}

enum status db_log_empty(struct db *db, struct err *err)
{
    sqlite3_busy_timeout(db->handle, 0);
    int code = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    return code == SQLITE_OK ? STATUS_OK : db_error(db->handle, err);
}

enum status db_select_list(struct db *db, struct err *err, db_visit *visit, void *ctx,
                           const char *sql, const char *kinds, va_list values)
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
        status = db_error(db->handle, err);
    cache_put(db, statement);
    return status == STATUS_OK && rows == 0 ? STATUS_NOT_FOUND : status;
}

enum status db_select(struct db *db, struct err *err, db_visit *visit, void *ctx, const char *sql,
                      const char *kinds, ...)
{
    va_list values;
    va_start(values, kinds);
    enum status status = db_select_list(db, err, visit, ctx, sql, kinds, values);
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
    enum status status = db_select_list(db, err, int_take, out, sql, kinds, values);
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

const void *db_row_bytes(struct db_row *row, int column, size_t *len)
{
    const void *data = sqlite3_column_blob(statement_of(row), column);
    *len = (size_t)sqlite3_column_bytes(statement_of(row), column);
    return data;
}
