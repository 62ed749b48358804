/* See store.h. Two connections: the writer's mutex is held for a whole group of jobs, the reader's
 * for one query. Statements are few and short, so they are prepared where they are used. */
#include "server/store.h"
#include "api/base/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { STORE_SCHEMA = 1, STORE_PATH = 4096, STORE_DOOMED = 64 };

struct store {
    struct io *io;
    char dir[STORE_PATH];
    int lock_fd;
    pthread_mutex_t write_lock; /* guards writer and doomed */
    sqlite3 *writer;
    char doomed[STORE_DOOMED][HASH_HEX]; /* blobs to remove once their rows' end is committed */
    int doomed_count;
    pthread_mutex_t read_lock; /* guards reader */
    sqlite3 *reader;
};

static const char schema[] =
    "CREATE TABLE rounds("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT NOT NULL, cause TEXT NOT NULL,"
    "  settings TEXT NOT NULL, report TEXT, detail TEXT, created_ms INTEGER NOT NULL,"
    "  started_ms INTEGER NOT NULL DEFAULT 0, finished_ms INTEGER NOT NULL DEFAULT 0,"
    "  uploads INTEGER NOT NULL DEFAULT 0, instances INTEGER NOT NULL DEFAULT 0,"
    "  version INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE uploads("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, sha256 TEXT NOT NULL UNIQUE, key TEXT,"
    "  device TEXT NOT NULL, received_ms INTEGER NOT NULL, base_version INTEGER NOT NULL,"
    "  instances INTEGER NOT NULL, tokens INTEGER NOT NULL, size_bytes INTEGER NOT NULL,"
    "  round INTEGER REFERENCES rounds(id));"
    "CREATE UNIQUE INDEX uploads_key ON uploads(device, key) WHERE key IS NOT NULL;"
    "CREATE INDEX uploads_round ON uploads(round);"
    "CREATE TABLE releases("
    "  version INTEGER PRIMARY KEY, base_version INTEGER NOT NULL,"
    "  round INTEGER NOT NULL REFERENCES rounds(id), size_bytes INTEGER NOT NULL,"
    "  parameters INTEGER NOT NULL, created_ms INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    "  base_set_sha256 TEXT NOT NULL, set_sha256 TEXT NOT NULL, manifest TEXT NOT NULL);"
    "PRAGMA user_version=1;";

/* ---- SQLite in four verbs ---- */

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

static enum status db_exec(sqlite3 *db, const char *sql, struct err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? STATUS_OK : db_error(db, err);
}

/* Prepares and binds; kinds: one letter an argument, i int64_t, s const char * (NULL: SQL NULL). */
static enum status db_prepare(sqlite3 *db, sqlite3_stmt **out, struct err *err, const char *sql,
                              const char *kinds, ...)
{
    if (sqlite3_prepare_v2(db, sql, -1, out, NULL) != SQLITE_OK)
        return db_error(db, err);
    va_list arguments;
    va_start(arguments, kinds);
    for (int i = 0; kinds[i]; i++) {
        if (kinds[i] == 'i')
            sqlite3_bind_int64(*out, i + 1, va_arg(arguments, int64_t));
        else
            sqlite3_bind_text(*out, i + 1, va_arg(arguments, const char *), -1, SQLITE_TRANSIENT);
    }
    va_end(arguments);
    return STATUS_OK;
}

/* One step of a statement that gives no rows, and its end. */
static enum status db_finish(sqlite3 *db, sqlite3_stmt *statement, struct err *err)
{
    int code = sqlite3_step(statement);
    enum status status = code == SQLITE_DONE || code == SQLITE_ROW ? STATUS_OK : db_error(db, err);
    sqlite3_finalize(statement);
    return status;
}

/* The first column of the first row as an integer; STATUS_NOT_FOUND without a row. */
static enum status db_int(sqlite3 *db, sqlite3_stmt *statement, int64_t *out, struct err *err)
{
    int code = sqlite3_step(statement);
    enum status status = STATUS_OK;
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    else
        status = code == SQLITE_DONE ? STATUS_NOT_FOUND : db_error(db, err);
    sqlite3_finalize(statement);
    return status;
}

static const char *column_text(sqlite3_stmt *statement, int column)
{
    return (const char *)sqlite3_column_text(statement, column);
}

/* ---- open and close ---- */

static enum status db_open(const char *path, int flags, sqlite3 **out, struct err *err)
{
    if (sqlite3_open_v2(path, out, flags | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK) {
        enum status status = *out ? db_error(*out, err) : STATUS_NO_MEMORY;
        return err_set(err, status, "cannot open %s: %s", path, sqlite3_errmsg(*out));
    }
    sqlite3_busy_timeout(*out, 5000);
    return STATUS_OK;
}

static enum status schema_ensure(sqlite3 *db, struct err *err)
{
    sqlite3_stmt *statement;
    int64_t version = 0;
    TRY(db_prepare(db, &statement, err, "PRAGMA user_version", ""));
    TRY(db_int(db, statement, &version, err));
    if (version > STORE_SCHEMA)
        return err_set(err, STATUS_UNSUPPORTED,
                       "the database has schema %lld; this program knows up to %d",
                       (long long)version, STORE_SCHEMA);
    if (version == STORE_SCHEMA)
        return STATUS_OK;
    TRY(db_exec(db, "BEGIN IMMEDIATE", err));
    enum status status = db_exec(db, schema, err);
    if (status == STATUS_OK)
        status = db_exec(db, "COMMIT", err);
    if (status != STATUS_OK)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* One process a directory: a second one would run the same rounds. The lock goes with the process.
 */
static enum status dir_lock(struct store *store, struct err *err)
{
    char path[STORE_PATH];
    TRY(io_join(path, sizeof path, store->dir, "lock", err));
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (store->lock_fd < 0)
        return io_error(err, "open", path, errno);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return err_set(err, STATUS_BUSY, "another cdcca-cloud is using it");
    return STATUS_OK;
}

static enum status store_connect(struct store *store, struct err *err)
{
    char path[STORE_PATH];
    TRY(io_join(path, sizeof path, store->dir, "blobs", err));
    TRY(io_make_dirs(store->io, path, err));
    TRY(dir_lock(store, err));
    TRY(io_join(path, sizeof path, store->dir, "cloud.db", err));
    TRY(db_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &store->writer, err));
    TRY(db_exec(store->writer,
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;", err));
    TRY(schema_ensure(store->writer, err));
    return db_open(path, SQLITE_OPEN_READONLY, &store->reader, err);
}

enum status store_open(struct io *io, const char *dir, struct store **out, struct err *err)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    store->io = io;
    store->lock_fd = -1;
    pthread_mutex_init(&store->write_lock, NULL);
    pthread_mutex_init(&store->read_lock, NULL);
    int len = snprintf(store->dir, sizeof store->dir, "%s", dir);
    enum status status = STATUS_OK;
    if (len < 0 || (size_t)len >= sizeof store->dir)
        status = err_set(err, STATUS_USAGE, "the data directory's name is too long");
    if (status == STATUS_OK)
        status = store_connect(store, err);
    if (status != STATUS_OK) {
        err_prefix(err, "data directory %s", dir);
        store_close(store);
        return status;
    }
    *out = store;
    return STATUS_OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    sqlite3_close(store->reader);
    sqlite3_close(store->writer);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->read_lock);
    pthread_mutex_destroy(&store->write_lock);
    free(store);
}

enum status store_blob_path(const struct store *store, const char *sha256, char *out, size_t size,
                            struct err *err)
{
    struct hash checked;
    if (!hash_parse(sha256, &checked))
        return err_set(err, STATUS_CORRUPT, "the database names a blob that is no SHA-256");
    int len = snprintf(out, size, "%s/blobs/%s", store->dir, sha256);
    if (len < 0 || (size_t)len >= size)
        return err_set(err, STATUS_TOO_LARGE, "the data directory's name is too long");
    return STATUS_OK;
}

/* ---- transactions ---- */

static void job_run(struct store *store, struct store_job *job)
{
    sqlite3 *db = store->writer;
    job->status = db_exec(db, "SAVEPOINT job", &job->err);
    if (job->status != STATUS_OK)
        return;
    job->status = job->run(store, job->ctx, &job->err);
    if (job->status != STATUS_OK)
        sqlite3_exec(db, "ROLLBACK TO job", NULL, NULL, NULL);
    sqlite3_exec(db, "RELEASE job", NULL, NULL, NULL);
}

/* Blobs go after the commit that ended their rows, unless a later job brought the content back. */
static void doomed_remove(struct store *store)
{
    for (int i = 0; i < store->doomed_count; i++) {
        sqlite3_stmt *statement;
        char path[STORE_PATH];
        int64_t id;
        if (db_prepare(store->writer, &statement, NULL, "SELECT id FROM uploads WHERE sha256=?",
                       "s", store->doomed[i]) == STATUS_OK &&
            db_int(store->writer, statement, &id, NULL) == STATUS_NOT_FOUND &&
            store_blob_path(store, store->doomed[i], path, sizeof path, NULL) == STATUS_OK)
            store->io->unlink(store->io, path);
    }
}

enum status store_apply(struct store *store, struct store_job *jobs, size_t count, struct err *err)
{
    pthread_mutex_lock(&store->write_lock);
    struct err problem = {0};
    enum status status = db_exec(store->writer, "BEGIN IMMEDIATE", &problem);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        job_run(store, &jobs[i]);
    if (status == STATUS_OK)
        status = db_exec(store->writer, "COMMIT", &problem);
    if (status != STATUS_OK)
        sqlite3_exec(store->writer, "ROLLBACK", NULL, NULL, NULL);
    else
        doomed_remove(store);
    store->doomed_count = 0;
    pthread_mutex_unlock(&store->write_lock);
    for (size_t i = 0; i < count && status != STATUS_OK; i++) {
        jobs[i].status = status;
        jobs[i].err = problem;
    }
    if (status != STATUS_OK && err)
        *err = problem;
    return status;
}

/* ---- uploads ---- */

static enum status blob_write(struct store *store, const char *sha256, const void *data, size_t len,
                              struct err *err)
{
    char path[STORE_PATH];
    TRY(store_blob_path(store, sha256, path, sizeof path, err));
    return io_write_file(store->io, path, data, len, err);
}

static enum status key_check(struct store *store, const struct upload *upload, struct err *err)
{
    sqlite3_stmt *statement;
    int64_t other = 0;
    TRY(db_prepare(store->writer, &statement, err,
                   "SELECT id FROM uploads WHERE device=? AND key=? AND sha256<>?", "sss",
                   upload->device, upload->key, upload->sha256));
    enum status status = db_int(store->writer, statement, &other, err);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    return err_set(err, STATUS_CONFLICT,
                   "the idempotency key \"%s\" was used for other content, upload %lld",
                   upload->key, (long long)other);
}

static enum status upload_insert(struct store *store, struct upload *upload, struct err *err)
{
    sqlite3_stmt *statement;
    TRY(db_prepare(
        store->writer, &statement, err,
        "INSERT INTO uploads(sha256,key,device,received_ms,base_version,instances,tokens,"
        "size_bytes) VALUES(?,?,?,?,?,?,?,?)",
        "sssiiiii", upload->sha256, upload->key, upload->device, upload->received_ms,
        upload->base_version, upload->instances, upload->tokens, upload->size_bytes));
    TRY(db_finish(store->writer, statement, err));
    upload->id = sqlite3_last_insert_rowid(store->writer);
    return STATUS_OK;
}

enum status store_upload_add(struct store *store, struct upload *upload, const void *data,
                             size_t len, bool *repeated, struct err *err)
{
    sqlite3_stmt *statement;
    if (upload->key)
        TRY(key_check(store, upload, err));
    TRY(db_prepare(store->writer, &statement, err, "SELECT id FROM uploads WHERE sha256=?", "s",
                   upload->sha256));
    enum status status = db_int(store->writer, statement, &upload->id, err);
    *repeated = status == STATUS_OK;
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(blob_write(store, upload->sha256, data, len, err));
    return upload_insert(store, upload, err);
}

enum status store_upload_delete(struct store *store, int64_t id, struct err *err)
{
    sqlite3 *db = store->writer;
    sqlite3_stmt *statement;
    TRY(db_prepare(
        db, &statement, err,
        "SELECT u.sha256, coalesce(r.finished_ms,1) FROM uploads u LEFT JOIN rounds r ON "
        "r.id=u.round WHERE u.id=?",
        "i", id));
    if (sqlite3_step(statement) != SQLITE_ROW) {
        sqlite3_finalize(statement);
        return err_set(err, STATUS_NOT_FOUND, "there is no upload %lld", (long long)id);
    }
    char sha256[HASH_HEX];
    snprintf(sha256, sizeof sha256, "%s", column_text(statement, 0));
    bool in_use = sqlite3_column_int64(statement, 1) == 0;
    sqlite3_finalize(statement);
    if (in_use)
        return err_set(err, STATUS_CONFLICT, "a round is using upload %lld; cancel it or wait",
                       (long long)id);
    TRY(db_prepare(db, &statement, err, "DELETE FROM uploads WHERE id=?", "i", id));
    TRY(db_finish(db, statement, err));
    if (store->doomed_count < STORE_DOOMED)
        memcpy(store->doomed[store->doomed_count++], sha256, sizeof sha256);
    return STATUS_OK;
}

/* ---- rounds and releases ---- */

static enum status round_take_uploads(struct store *store, int64_t id, struct err *err)
{
    sqlite3 *db = store->writer;
    sqlite3_stmt *statement;
    TRY(db_prepare(db, &statement, err, "UPDATE uploads SET round=? WHERE round IS NULL", "i", id));
    TRY(db_finish(db, statement, err));
    if (sqlite3_changes(db) == 0)
        return err_set(err, STATUS_CONFLICT,
                       "there are no new uploads to learn from; POST /tokens brings some");
    TRY(db_prepare(db, &statement, err,
                   "UPDATE rounds SET uploads=(SELECT count(*) FROM uploads WHERE round=?1),"
                   "instances=(SELECT sum(instances) FROM uploads WHERE round=?1) WHERE id=?1",
                   "i", id));
    return db_finish(db, statement, err);
}

enum status store_round_create(struct store *store, const char *cause, const char *settings,
                               int64_t *id, struct err *err)
{
    sqlite3_stmt *statement;
    TRY(db_prepare(store->writer, &statement, err,
                   "INSERT INTO rounds(state,cause,settings,created_ms) VALUES('queued',?,?,?)",
                   "ssi", cause, settings, clock_wall_ms()));
    TRY(db_finish(store->writer, statement, err));
    *id = sqlite3_last_insert_rowid(store->writer);
    return round_take_uploads(store, *id, err);
}

enum status store_round_start(struct store *store, int64_t id, struct err *err)
{
    sqlite3_stmt *statement;
    TRY(db_prepare(store->writer, &statement, err,
                   "UPDATE rounds SET state='running', started_ms=? WHERE id=?", "ii",
                   clock_wall_ms(), id));
    return db_finish(store->writer, statement, err);
}

enum status store_round_finish(struct store *store, int64_t id, const char *state,
                               const char *report, const char *detail, int64_t version,
                               struct err *err)
{
    sqlite3 *db = store->writer;
    sqlite3_stmt *statement;
    TRY(db_prepare(db, &statement, err,
                   "UPDATE rounds SET state=?, report=?, detail=?, version=?, finished_ms=? WHERE "
                   "id=?",
                   "sssiii", state, report, detail, version, clock_wall_ms(), id));
    TRY(db_finish(db, statement, err));
    if (strcmp(state, "cancelled") != 0)
        return STATUS_OK;
    TRY(db_prepare(db, &statement, err, "UPDATE uploads SET round=NULL WHERE round=?", "i", id));
    return db_finish(db, statement, err);
}

enum status store_release_add(struct store *store, const struct release *release, const void *data,
                              size_t len, struct err *err)
{
    sqlite3_stmt *statement;
    TRY(blob_write(store, release->sha256, data, len, err));
    TRY(db_prepare(
        store->writer, &statement, err,
        "INSERT INTO releases(version,base_version,round,size_bytes,parameters,created_ms,"
        "sha256,base_set_sha256,set_sha256,manifest) VALUES(?,?,?,?,?,?,?,?,?,?)",
        "iiiiiissss", release->version, release->base_version, release->round, release->size_bytes,
        release->parameters, release->created_ms, release->sha256, release->base_set_sha256,
        release->set_sha256, release->manifest));
    return db_finish(store->writer, statement, err);
}

/* ---- reading ---- */

/* A query whose rows go to emit; *rows counts them. */
struct query {
    bool (*emit)(const struct query *query, sqlite3_stmt *statement);
    union {
        upload_visit *upload;
        round_visit *round;
        release_visit *release;
    } visit;
    void *ctx;
};

static bool emit_upload(const struct query *query, sqlite3_stmt *s)
{
    struct upload upload = {
        .id = sqlite3_column_int64(s, 0),
        .sha256 = column_text(s, 1),
        .key = column_text(s, 2),
        .device = column_text(s, 3),
        .received_ms = sqlite3_column_int64(s, 4),
        .base_version = sqlite3_column_int64(s, 5),
        .instances = sqlite3_column_int64(s, 6),
        .tokens = sqlite3_column_int64(s, 7),
        .size_bytes = sqlite3_column_int64(s, 8),
        .round = sqlite3_column_int64(s, 9),
    };
    return query->visit.upload(query->ctx, &upload);
}

static bool emit_round(const struct query *query, sqlite3_stmt *s)
{
    struct round round = {
        .id = sqlite3_column_int64(s, 0),
        .state = column_text(s, 1),
        .cause = column_text(s, 2),
        .settings = column_text(s, 3),
        .report = column_text(s, 4),
        .detail = column_text(s, 5),
        .created_ms = sqlite3_column_int64(s, 6),
        .started_ms = sqlite3_column_int64(s, 7),
        .finished_ms = sqlite3_column_int64(s, 8),
        .uploads = sqlite3_column_int64(s, 9),
        .instances = sqlite3_column_int64(s, 10),
        .version = sqlite3_column_int64(s, 11),
    };
    return query->visit.round(query->ctx, &round);
}

static bool emit_release(const struct query *query, sqlite3_stmt *s)
{
    struct release release = {
        .version = sqlite3_column_int64(s, 0),
        .base_version = sqlite3_column_int64(s, 1),
        .round = sqlite3_column_int64(s, 2),
        .size_bytes = sqlite3_column_int64(s, 3),
        .parameters = sqlite3_column_int64(s, 4),
        .created_ms = sqlite3_column_int64(s, 5),
        .sha256 = column_text(s, 6),
        .base_set_sha256 = column_text(s, 7),
        .set_sha256 = column_text(s, 8),
        .manifest = column_text(s, 9),
    };
    return query->visit.release(query->ctx, &release);
}

/* sql has two parameters; STATUS_NOT_FOUND without err when there is no row. */
static enum status query_run(struct store *store, const struct query *query, const char *sql,
                             int64_t first, int64_t second, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_prepare(store->reader, &statement, err, sql, "ii", first, second);
    int rows = 0, code = SQLITE_DONE;
    bool more = status == STATUS_OK;
    while (more && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        rows++;
        more = query->emit(query, statement);
    }
    if (status == STATUS_OK && code != SQLITE_DONE && code != SQLITE_ROW)
        status = db_error(store->reader, err);
    sqlite3_finalize(statement);
    pthread_mutex_unlock(&store->read_lock);
    return status == STATUS_OK && rows == 0 ? STATUS_NOT_FOUND : status;
}

/* A list may be empty. */
static enum status list_status(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status one_status(enum status status, const char *what, int64_t id, struct err *err)
{
    if (status != STATUS_NOT_FOUND)
        return status;
    return err_set(err, status, "there is no %s %lld", what, (long long)id);
}

#define UPLOADS                                                                                    \
    "SELECT id,sha256,key,device,received_ms,base_version,instances,tokens,size_bytes,round FROM " \
    "uploads "
#define ROUNDS                                                                                     \
    "SELECT id,state,cause,settings,report,detail,created_ms,started_ms,finished_ms,uploads,"      \
    "instances,version FROM rounds "
#define RELEASES                                                                                   \
    "SELECT version,base_version,round,size_bytes,parameters,created_ms,sha256,base_set_sha256,"   \
    "set_sha256,manifest FROM releases "

enum status store_uploads(struct store *store, int64_t after, int limit, upload_visit *visit,
                          void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return list_status(
        query_run(store, &query, UPLOADS "WHERE id>? ORDER BY id LIMIT ?", after, limit, err));
}

enum status store_upload(struct store *store, int64_t id, upload_visit *visit, void *ctx,
                         struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return one_status(query_run(store, &query, UPLOADS "WHERE id=? LIMIT ?", id, 1, err), "upload",
                      id, err);
}

enum status store_round_uploads(struct store *store, int64_t round, upload_visit *visit, void *ctx,
                                struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return list_status(
        query_run(store, &query, UPLOADS "WHERE round=? ORDER BY id LIMIT ?", round, -1, err));
}

enum status store_learned_uploads(struct store *store, int64_t limit, upload_visit *visit,
                                  void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return list_status(query_run(
        store, &query,
        UPLOADS "WHERE round IN (SELECT id FROM rounds WHERE state IN('released','rejected')) AND "
                "id>? ORDER BY round DESC, id DESC LIMIT ?",
        0, limit, err));
}

enum status store_rounds(struct store *store, int64_t before, int limit, round_visit *visit,
                         void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return list_status(query_run(
        store, &query, ROUNDS "WHERE ?1=0 OR id<?1 ORDER BY id DESC LIMIT ?2", before, limit, err));
}

enum status store_round(struct store *store, int64_t id, round_visit *visit, void *ctx,
                        struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return one_status(query_run(store, &query, ROUNDS "WHERE id=? LIMIT ?", id, 1, err), "round",
                      id, err);
}

enum status store_round_learned(struct store *store, round_visit *visit, void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return query_run(store, &query,
                     ROUNDS
                     "WHERE id>? AND state IN('released','rejected') ORDER BY id DESC LIMIT ?",
                     0, 1, err);
}

enum status store_round_open(struct store *store, round_visit *visit, void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return query_run(store, &query,
                     ROUNDS "WHERE finished_ms=? AND state IN('queued','running') LIMIT ?", 0, 1,
                     err);
}

enum status store_releases(struct store *store, int64_t after, int limit, release_visit *visit,
                           void *ctx, struct err *err)
{
    struct query query = {.emit = emit_release, .visit.release = visit, .ctx = ctx};
    return list_status(query_run(store, &query, RELEASES "WHERE version>? ORDER BY version LIMIT ?",
                                 after, limit, err));
}

enum status store_release(struct store *store, int64_t version, release_visit *visit, void *ctx,
                          struct err *err)
{
    struct query query = {.emit = emit_release, .visit.release = visit, .ctx = ctx};
    return one_status(query_run(store, &query, RELEASES "WHERE version=? LIMIT ?", version, 1, err),
                      "release", version, err);
}

enum status store_totals(struct store *store, struct store_totals *out, struct err *err)
{
    static const char sql[] =
        "SELECT (SELECT coalesce(max(version),0) FROM releases), count(*),"
        "coalesce(sum(instances),0), coalesce(sum(instances) FILTER (WHERE round IS NULL),0),"
        "coalesce(max(id) FILTER (WHERE round IS NULL),0) FROM uploads";
    sqlite3_stmt *s = NULL;
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_prepare(store->reader, &s, err, sql, "");
    if (status == STATUS_OK && sqlite3_step(s) == SQLITE_ROW)
        *out = (struct store_totals){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
                                     sqlite3_column_int64(s, 2), sqlite3_column_int64(s, 3),
                                     sqlite3_column_int64(s, 4)};
    else if (status == STATUS_OK)
        status = db_error(store->reader, err);
    sqlite3_finalize(s);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}
