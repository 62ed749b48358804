/* Uploads whose bytes an earlier version kept as files, DIR/blobs/SHA256: they are taken into the
 * database when the store is opened, a batch a transaction, and a file goes once the commit that
 * has its bytes is durable. A kill in between loses nothing: the next start goes on. A file that no
 * row names is what a crash or a deletion left, and goes, too. */
#include "api/base/log.h"
#include "api/wire/limits.h"
#include "server/store_parts.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 64, NAME = 80 };

struct batch {
    char name[BATCH][NAME];
    int count;
};

static enum status batch_list(const char *dir, struct batch *batch, struct err *err)
{
    struct dirent *entry;
    batch->count = 0;
    DIR *open = opendir(dir);
    if (!open)
        return io_error(err, "open", dir, errno);
    while (batch->count < BATCH && (entry = readdir(open)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strlen(entry->d_name) < NAME)
            snprintf(batch->name[batch->count++], NAME, "%s", entry->d_name);
    closedir(open);
    return STATUS_OK;
}

static enum status file_take(struct store *store, const char *dir, const char *name,
                             struct err *err)
{
    char path[STORE_PATH];
    struct hash hash;
    struct buf bytes = {.max = LIMIT_UPLOAD_RAW_BYTES};
    if (!hash_parse(name, &hash))
        return STATUS_OK;
    TRY(io_join(path, sizeof path, dir, name, err));
    enum status status = io_read_file(store->io, path, &bytes, err);
    if (status == STATUS_OK)
        status = db_change(store->writer, err,
                           "INSERT OR IGNORE INTO blobs SELECT id, ? FROM uploads WHERE sha256=?",
                           "bs", bytes.data, bytes.len, name);
    buf_free(&bytes);
    return status;
}

static enum status batch_take(struct store *store, const char *dir, const struct batch *batch,
                              struct err *err)
{
    TRY(db_exec(store->writer, "BEGIN IMMEDIATE", err));
    enum status status = STATUS_OK;
    for (int i = 0; i < batch->count && status == STATUS_OK; i++)
        status = file_take(store, dir, batch->name[i], err);
    if (status == STATUS_OK)
        status = db_exec(store->writer, "COMMIT", err);
    if (status != STATUS_OK)
        db_exec(store->writer, "ROLLBACK", NULL);
    return status;
}

static enum status batch_remove(struct store *store, const char *dir, const struct batch *batch,
                                struct err *err)
{
    char path[STORE_PATH];
    for (int i = 0; i < batch->count; i++) {
        TRY(io_join(path, sizeof path, dir, batch->name[i], err));
        if (store->io->unlink(store->io, path) != 0)
            return io_error(err, "remove", path, errno);
    }
    return STATUS_OK;
}

enum status store_import(struct store *store, struct err *err)
{
    char dir[STORE_PATH];
    struct batch batch = {.count = BATCH};
    long long taken = 0;
    TRY(io_join(dir, sizeof dir, store->dir, "blobs", err));
    if (!io_exists(dir))
        return STATUS_OK;
    while (batch.count > 0) {
        TRY(batch_list(dir, &batch, err));
        TRY(batch_take(store, dir, &batch, err));
        TRY(batch_remove(store, dir, &batch, err));
        taken += batch.count;
    }
    log_line(LOG_INFO, "store", "%lld files of uploads are in the database now", taken);
    return rmdir(dir) == 0 ? STATUS_OK : io_error(err, "remove", dir, errno);
}
