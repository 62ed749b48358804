/* Writing and opening the store: see store.h. Two connections: the writer's mutex is held for a
 * whole group of jobs, the reader's (store_read.c) for one query. */
#include "api/base/clock.h"
#include "server/schema.h"
#include "server/store_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- open and close ---- */

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

static enum status folder_make(struct store *store, const char *name, struct err *err)
{
    char path[STORE_PATH];
    TRY(io_join(path, sizeof path, store->dir, name, err));
    return io_make_dirs(store->io, path, err);
}

static enum status store_connect(struct store *store, struct err *err)
{
    char path[STORE_PATH];
    TRY(folder_make(store, "patches", err));
    TRY(folder_make(store, "squashes", err));
    TRY(dir_lock(store, err));
    TRY(io_join(path, sizeof path, store->dir, "cloud.db", err));
    TRY(db_open(path, true, &store->writer, err));
    TRY(schema_ensure(store->writer, err));
    TRY(store_import(store, err));
    TRY(db_exec(store->writer,
                "CREATE INDEX IF NOT EXISTS uploads_device ON uploads(device, received_ms)", err));
    TRY(db_int(store->writer, err, &store->up_base_ms, "SELECT ms FROM uptime", ""));
    store->opened_ms = clock_monotonic_ms();
    store->removed = true; /* what an earlier process may have left */
    return db_open(path, false, &store->reader, err);
}

int64_t store_uptime_ms(const struct store *store)
{
    return store->up_base_ms + clock_monotonic_ms() - store->opened_ms;
}

enum status store_uptime_keep(struct store *store, struct err *err)
{
    return db_change(store->writer, err, "UPDATE uptime SET ms=max(ms,?)", "i",
                     store_uptime_ms(store));
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
    db_close(store->reader);
    db_close(store->writer);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->read_lock);
    pthread_mutex_destroy(&store->write_lock);
    free(store);
}

enum status store_blob_path(const struct store *store, const char *folder, const char *sha256,
                            char *out, size_t size, struct err *err)
{
    struct hash checked;
    if (!hash_parse(sha256, &checked))
        return err_set(err, STATUS_CORRUPT, "the database names a blob that is no SHA-256");
    int len = snprintf(out, size, "%s/%s/%s", store->dir, folder, sha256);
    if (len < 0 || (size_t)len >= size)
        return err_set(err, STATUS_TOO_LARGE, "the data directory's name is too long");
    return STATUS_OK;
}

enum status store_patch_path(const struct store *store, const char *sha256, char *out, size_t size,
                             struct err *err)
{
    return store_blob_path(store, "patches", sha256, out, size, err);
}

/* ---- transactions ---- */

/* What it returns is the transaction's: a job that failed and could not be undone ends that, too.
 */
static enum status job_run(struct store *store, struct store_job *job, struct err *err)
{
    struct db *db = store->writer;
    job->status = db_exec(db, "SAVEPOINT job", &job->err);
    if (job->status != STATUS_OK)
        return STATUS_OK;
    job->status = job->run(store, job->ctx, &job->err);
    if (job->status != STATUS_OK)
        TRY(db_exec(db, "ROLLBACK TO job", err));
    return db_exec(db, "RELEASE job", err);
}

/* Even a ROLLBACK can fail for want of memory; what it should have ended is ended now. */
static enum status transaction_begin(struct store *store, struct err *err)
{
    if (db_in_transaction(store->writer))
        TRY(db_exec(store->writer, "ROLLBACK", err));
    return db_exec(store->writer, "BEGIN IMMEDIATE", err);
}

/* What cannot be done now, because somebody reads, is done after the next commit. */
static void removals_finish(struct store *store)
{
    if (store->removed)
        store->removed = db_log_empty(store->writer, NULL) != STATUS_OK;
}

enum status store_apply(struct store *store, struct store_job *jobs, size_t count, struct err *err)
{
    pthread_mutex_lock(&store->write_lock);
    struct err problem = {0};
    enum status status = transaction_begin(store, &problem);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = job_run(store, &jobs[i], &problem);
    if (status == STATUS_OK)
        status = db_exec(store->writer, "COMMIT", &problem);
    if (status != STATUS_OK)
        db_exec(store->writer, "ROLLBACK", NULL);
    else
        removals_finish(store);
    pthread_mutex_unlock(&store->write_lock);
    for (size_t i = 0; i < count && status != STATUS_OK; i++) {
        jobs[i].status = status;
        jobs[i].err = problem;
    }
    if (status != STATUS_OK && err)
        *err = problem;
    return status;
}

enum status store_run(struct store *store, enum status (*run)(struct store *, void *, struct err *),
                      void *ctx, struct err *err)
{
    struct store_job job = {.run = run, .ctx = ctx};
    TRY(store_apply(store, &job, 1, err));
    if (job.status != STATUS_OK && err)
        *err = job.err;
    return job.status;
}

/* ---- uploads ---- */

static enum status key_check(struct store *store, const struct upload *upload, struct err *err)
{
    int64_t other = 0;
    enum status status = db_int(store->writer, err, &other,
                                "SELECT id FROM uploads WHERE device=? AND key=? AND sha256<>?",
                                "sss", upload->device, upload->key, upload->sha256);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    return err_set(err, STATUS_CONFLICT,
                   "the idempotency key \"%s\" was used for other content, upload %lld",
                   upload->key, (long long)other);
}

static enum status upload_insert(struct store *store, struct upload *upload, const void *data,
                                 size_t len, struct err *err)
{
    TRY(db_change(store->writer, err,
                  "INSERT INTO uploads(sha256,key,device,received_ms,base_version,instances,tokens,"
                  "size_bytes) VALUES(?,?,?,?,?,?,?,?)",
                  "sssiiiii", upload->sha256, upload->key, upload->device, upload->received_ms,
                  upload->base_version, upload->instances, upload->tokens, upload->size_bytes));
    upload->id = db_last_id(store->writer);
    return db_change(store->writer, err, "INSERT INTO blobs VALUES(?,?)", "ib", upload->id, data,
                     len);
}

enum status store_upload_add(struct store *store, struct upload *upload, const void *data,
                             size_t len, bool *repeated, struct err *err)
{
    if (upload->key)
        TRY(key_check(store, upload, err));
    enum status status = db_int(store->writer, err, &upload->id,
                                "SELECT id FROM uploads WHERE sha256=?", "s", upload->sha256);
    *repeated = status == STATUS_OK;
    if (status != STATUS_NOT_FOUND)
        return status;
    return upload_insert(store, upload, data, len, err);
}

/* For jobs: the row goes, and its bytes with it. */
static enum status upload_remove(struct store *store, int64_t id, struct err *err)
{
    store->removed = true;
    return db_change(store->writer, err, "DELETE FROM uploads WHERE id=?", "i", id);
}

enum status store_upload_delete(struct store *store, int64_t id, struct err *err)
{
    int64_t over = 0;
    enum status status = db_int(store->writer, err, &over,
                                "SELECT coalesce(r.finished_ms,1) FROM uploads u "
                                "LEFT JOIN rounds r ON r.id=u.round WHERE u.id=?",
                                "i", id);
    if (status == STATUS_NOT_FOUND)
        return err_set(err, status, "there is no upload %lld", (long long)id);
    TRY(status);
    if (!over)
        return err_set(err, STATUS_CONFLICT, "a round is using upload %lld; cancel it or wait",
                       (long long)id);
    return upload_remove(store, id, err);
}

enum { EXPIRED_BATCH = 64 };

struct expired {
    int64_t id[EXPIRED_BATCH];
    int count;
};

static bool expired_take(void *ctx, struct db_row *row)
{
    struct expired *expired = ctx;
    expired->id[expired->count++] = db_row_int(row, 0);
    return true;
}

enum status store_uploads_expire(struct store *store, int64_t before_ms, int limit,
                                 int64_t *deleted, struct err *err)
{
    struct expired expired = {.count = 0};
    *deleted = 0;
    enum status status =
        db_select(store->writer, err, expired_take, &expired,
                  "SELECT u.id FROM rounds r JOIN uploads u ON u.round=r.id "
                  "WHERE r.finished_ms>0 AND r.finished_ms<? LIMIT ?",
                  "ii", before_ms, (int64_t)(limit < EXPIRED_BATCH ? limit : EXPIRED_BATCH));
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    TRY(status);
    for (int i = 0; i < expired.count; i++)
        TRY(upload_remove(store, expired.id[i], err));
    *deleted = expired.count;
    return STATUS_OK;
}

/* ---- rounds ---- */

static enum status round_take_uploads(struct store *store, int64_t id, struct err *err)
{
    TRY(db_change(store->writer, err, "UPDATE uploads SET round=? WHERE round IS NULL", "i", id));
    if (db_changed(store->writer) == 0)
        return err_set(err, STATUS_CONFLICT,
                       "there are no new uploads to learn from; POST /tokens brings some");
    return db_change(store->writer, err,
                     "UPDATE rounds SET uploads=(SELECT count(*) FROM uploads WHERE round=?1),"
                     "instances=(SELECT sum(instances) FROM uploads WHERE round=?1) WHERE id=?1",
                     "i", id);
}

enum status store_round_create(struct store *store, const char *cause, const char *settings,
                               int64_t *id, struct err *err)
{
    TRY(db_change(store->writer, err,
                  "INSERT INTO rounds(state,cause,settings,created_ms) VALUES('queued',?,?,?)",
                  "ssi", cause, settings, clock_wall_ms()));
    *id = db_last_id(store->writer);
    return round_take_uploads(store, *id, err);
}

enum status store_round_create_rollback(struct store *store, int64_t target, int64_t *id,
                                        struct err *err)
{
    TRY(db_change(store->writer, err,
                  "INSERT INTO rounds(state,cause,settings,created_ms,target) "
                  "VALUES('queued','rollback','{}',?,?)",
                  "ii", clock_wall_ms(), target));
    *id = db_last_id(store->writer);
    return STATUS_OK;
}

enum status store_round_start(struct store *store, int64_t id, struct err *err)
{
    return db_change(store->writer, err,
                     "UPDATE rounds SET state='running', started_ms=? WHERE id=?", "ii",
                     clock_wall_ms(), id);
}

enum status store_round_finish(struct store *store, int64_t id, const char *state,
                               const char *report, const char *detail, int64_t version,
                               struct err *err)
{
    TRY(db_change(store->writer, err,
                  "UPDATE rounds SET state=?, report=?, detail=?, version=?, finished_ms=? "
                  "WHERE id=?",
                  "sssiii", state, report, detail, version, clock_wall_ms(), id));
    if (strcmp(state, "cancelled") != 0)
        return STATUS_OK;
    return db_change(store->writer, err, "UPDATE uploads SET round=NULL WHERE round=?", "i", id);
}

/* The same version once more: a page of the log all the same. */
enum status store_probe(struct store *store, struct err *err)
{
    int64_t version = 0;
    char sql[48];
    TRY(db_int(store->writer, err, &version, "PRAGMA user_version", ""));
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", (int)version);
    return db_exec(store->writer, sql, err);
}

/* ---- looking before opening ---- */

static enum status access_check(const char *path, struct err *err)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return io_error(err, "look at", path, errno);
    if (!S_ISDIR(about.st_mode))
        return err_set(err, STATUS_IO, "%s is not a directory", path);
    if (access(path, R_OK | W_OK | X_OK) != 0)
        return err_set(err, STATUS_IO, "%s cannot be written: %s", path, strerror(errno));
    return STATUS_OK;
}

/* The nearest directory above that is there: the rest would be made in it. */
static enum status parent_check(const char *dir, struct err *err)
{
    char path[STORE_PATH];
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return err_set(err, STATUS_USAGE, "the data directory's name is too long");
    while (!io_exists(path)) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return access_check(".", err);
        slash[slash == path] = '\0';
    }
    return access_check(path, err);
}

static enum status database_check(const char *path, struct err *err)
{
    struct db *db = NULL;
    TRY(db_open(path, false, &db, err));
    enum status status = schema_check(db, err);
    db_close(db);
    return status;
}

enum status store_check(const char *dir, struct err *err)
{
    char path[STORE_PATH];
    enum status status = parent_check(dir, err);
    if (status == STATUS_OK)
        status = io_join(path, sizeof path, dir, "cloud.db", err);
    if (status == STATUS_OK && io_exists(path))
        status = database_check(path, err);
    if (status != STATUS_OK)
        err_prefix(err, "data directory %s", dir);
    return status;
}
