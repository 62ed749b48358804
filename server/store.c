/* Writing and opening the store: see store.h. Two connections: the writer's mutex is held for a
 * whole group of jobs, the reader's (store_read.c) for one query. */
#include "api/base/clock.h"
#include "server/store_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { STORE_SCHEMA = 1 };

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

/* ---- open and close ---- */

static enum status schema_ensure(struct db *db, struct err *err)
{
    int64_t version = 0;
    TRY(db_int(db, err, &version, "PRAGMA user_version", ""));
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
        db_exec(db, "ROLLBACK", NULL);
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

static enum status folder_make(struct store *store, const char *name, struct err *err)
{
    char path[STORE_PATH];
    TRY(io_join(path, sizeof path, store->dir, name, err));
    return io_make_dirs(store->io, path, err);
}

static enum status store_connect(struct store *store, struct err *err)
{
    char path[STORE_PATH];
    TRY(folder_make(store, "blobs", err));
    TRY(folder_make(store, "patches", err));
    TRY(dir_lock(store, err));
    TRY(io_join(path, sizeof path, store->dir, "cloud.db", err));
    TRY(db_open(path, true, &store->writer, err));
    TRY(schema_ensure(store->writer, err));
    return db_open(path, false, &store->reader, err);
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

static enum status blob_path(const struct store *store, const char *folder, const char *sha256,
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

enum status store_upload_path(const struct store *store, const char *sha256, char *out, size_t size,
                              struct err *err)
{
    return blob_path(store, "blobs", sha256, out, size, err);
}

enum status store_patch_path(const struct store *store, const char *sha256, char *out, size_t size,
                             struct err *err)
{
    return blob_path(store, "patches", sha256, out, size, err);
}

/* ---- transactions ---- */

static void job_run(struct store *store, struct store_job *job)
{
    struct db *db = store->writer;
    job->status = db_exec(db, "SAVEPOINT job", &job->err);
    if (job->status != STATUS_OK)
        return;
    job->status = job->run(store, job->ctx, &job->err);
    if (job->status != STATUS_OK)
        db_exec(db, "ROLLBACK TO job", NULL);
    db_exec(db, "RELEASE job", NULL);
}

/* Blobs go after the commit that ended their rows, unless a later job brought the content back. */
static void doomed_remove(struct store *store)
{
    for (int i = 0; i < store->doomed_count; i++) {
        char path[STORE_PATH];
        int64_t id;
        if (db_int(store->writer, NULL, &id, "SELECT id FROM uploads WHERE sha256=?", "s",
                   store->doomed[i]) == STATUS_NOT_FOUND &&
            store_upload_path(store, store->doomed[i], path, sizeof path, NULL) == STATUS_OK)
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
    enum status synced = blobs_sync(&store->blobs, store->io, &problem);
    if (status == STATUS_OK)
        status = synced;
    if (status == STATUS_OK)
        status = db_exec(store->writer, "COMMIT", &problem);
    if (status != STATUS_OK)
        db_exec(store->writer, "ROLLBACK", NULL);
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

static enum status upload_insert(struct store *store, struct upload *upload, struct err *err)
{
    TRY(db_change(store->writer, err,
                  "INSERT INTO uploads(sha256,key,device,received_ms,base_version,instances,tokens,"
                  "size_bytes) VALUES(?,?,?,?,?,?,?,?)",
                  "sssiiiii", upload->sha256, upload->key, upload->device, upload->received_ms,
                  upload->base_version, upload->instances, upload->tokens, upload->size_bytes));
    upload->id = db_last_id(store->writer);
    return STATUS_OK;
}

enum status store_upload_add(struct store *store, struct upload *upload, const void *data,
                             size_t len, bool *repeated, struct err *err)
{
    char path[STORE_PATH];
    if (upload->key)
        TRY(key_check(store, upload, err));
    enum status status = db_int(store->writer, err, &upload->id,
                                "SELECT id FROM uploads WHERE sha256=?", "s", upload->sha256);
    *repeated = status == STATUS_OK;
    if (status != STATUS_NOT_FOUND)
        return status;
    TRY(store_upload_path(store, upload->sha256, path, sizeof path, err));
    TRY(blobs_write(&store->blobs, store->io, path, data, len, err));
    return upload_insert(store, upload, err);
}

struct doomed {
    char sha256[HASH_HEX];
    bool in_use;
};

static bool doomed_read(void *ctx, struct db_row *row)
{
    struct doomed *doomed = ctx;
    snprintf(doomed->sha256, sizeof doomed->sha256, "%s", db_row_text(row, 0));
    doomed->in_use = db_row_int(row, 1) == 0;
    return false;
}

enum status store_upload_delete(struct store *store, int64_t id, struct err *err)
{
    struct doomed doomed;
    enum status status = db_select(store->writer, err, doomed_read, &doomed,
                                   "SELECT u.sha256, coalesce(r.finished_ms,1) FROM uploads u "
                                   "LEFT JOIN rounds r ON r.id=u.round WHERE u.id=?",
                                   "i", id);
    if (status == STATUS_NOT_FOUND)
        return err_set(err, status, "there is no upload %lld", (long long)id);
    TRY(status);
    if (doomed.in_use)
        return err_set(err, STATUS_CONFLICT, "a round is using upload %lld; cancel it or wait",
                       (long long)id);
    TRY(db_change(store->writer, err, "DELETE FROM uploads WHERE id=?", "i", id));
    if (store->doomed_count < STORE_DOOMED)
        memcpy(store->doomed[store->doomed_count++], doomed.sha256, HASH_HEX);
    return STATUS_OK;
}

/* ---- rounds and releases ---- */

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

enum status store_release_add(struct store *store, const struct release *release, const void *data,
                              size_t len, struct err *err)
{
    char path[STORE_PATH];
    TRY(store_patch_path(store, release->sha256, path, sizeof path, err));
    TRY(io_write_file(store->io, path, data, len, err));
    return db_change(store->writer, err,
                     "INSERT INTO releases(version,base_version,round,size_bytes,parameters,"
                     "created_ms,sha256,base_set_sha256,set_sha256,manifest) "
                     "VALUES(?,?,?,?,?,?,?,?,?,?)",
                     "iiiiiissss", release->version, release->base_version, release->round,
                     release->size_bytes, release->parameters, release->created_ms, release->sha256,
                     release->base_set_sha256, release->set_sha256, release->manifest);
}
