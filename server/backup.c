/* See backup.h. */
#include "server/backup.h"
#include "api/base/hash.h"
#include "server/db.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKUP_PATH = 4096, PIECE = 256 << 10 };

struct backup {
    struct io *io;
    const char *from;
    char to[BACKUP_PATH]; /* the partial one */
    struct backup_count count;
};

/* ---- files ---- */

static enum status piece_copy(struct backup *backup, int from, const char *from_path, int to,
                              const char *to_path, uint64_t size, struct hash *hash,
                              struct err *err)
{
    struct hash_state state;
    unsigned char *piece = malloc(PIECE);
    enum status status = piece ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "out of memory");
    hash_start(&state);
    for (uint64_t at = 0; at < size && status == STATUS_OK; at += PIECE) {
        size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;
        status = io_read_at(backup->io, from, from_path, at, piece, n, err);
        if (status == STATUS_OK)
            status = io_append(backup->io, to, to_path, piece, n, err);
        if (status == STATUS_OK)
            hash_update(&state, piece, n);
    }
    hash_finish(&state, hash);
    free(piece);
    return status;
}

/* DIR/name of both; sha256: what it must have, or NULL. */
static enum status file_copy(struct backup *backup, const char *name, const char *sha256,
                             struct err *err)
{
    char from_path[BACKUP_PATH], to_path[BACKUP_PATH], hex[HASH_HEX];
    struct hash hash;
    uint64_t size = 0;
    int from = -1, to = -1;
    TRY(io_join(from_path, sizeof from_path, backup->from, name, err));
    TRY(io_join(to_path, sizeof to_path, backup->to, name, err));
    TRY(io_open_file(backup->io, from_path, &from, &size, err));
    enum status status = io_create(backup->io, to_path, &to, err);
    if (status == STATUS_OK)
        status = piece_copy(backup, from, from_path, to, to_path, size, &hash, err);
    backup->io->close(backup->io, from);
    if (status == STATUS_OK) {
        hash_hex(&hash, hex);
        if (sha256 && strcmp(sha256, hex) != 0)
            status = err_set(err, STATUS_CORRUPT, "%s is not what the database says", from_path);
    }
    if (status == STATUS_OK)
        status = io_finish(backup->io, &to, to_path, err);
    else if (to >= 0)
        io_abandon(backup->io, &to, to_path);
    if (status == STATUS_OK)
        backup->count.bytes += (int64_t)size;
    return status;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);
    return len >= n && strcmp(name + len - n, end) == 0;
}

/* Of a process, or half written. */
static bool is_passing(const char *name)
{
    return strcmp(name, "lock") == 0 || ends_with(name, ".tmp") || ends_with(name, "-wal") ||
           ends_with(name, "-shm") || ends_with(name, "-journal");
}

typedef enum status entry_visit(struct backup *backup, const char *name, mode_t mode,
                                struct err *err);

/* Calls visit with FROM/folder's entries as "folder/name"; folder may be "". */
static enum status folder_walk(struct backup *backup, const char *folder, entry_visit *visit,
                               struct err *err)
{
    char path[BACKUP_PATH], name[BACKUP_PATH];
    struct dirent *entry;
    struct stat about;
    TRY(io_join(path, sizeof path, backup->from, folder, err));
    DIR *dir = opendir(path);
    if (!dir)
        return io_error(err, "open", path, errno);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || is_passing(entry->d_name) ||
            fstatat(dirfd(dir), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        int len = snprintf(name, sizeof name, "%s%s%s", folder, *folder ? "/" : "", entry->d_name);
        if (len < 0 || (size_t)len >= sizeof name)
            status = err_set(err, STATUS_TOO_LARGE, "%s holds a name that is too long", path);
        else
            status = visit(backup, name, about.st_mode, err);
    }
    closedir(dir);
    return status;
}

/* ---- what no database names ---- */

static enum status folder_make(struct backup *backup, const char *name, struct err *err)
{
    char path[BACKUP_PATH];
    TRY(io_join(path, sizeof path, backup->to, name, err));
    return io_make_dirs(backup->io, path, err);
}

static enum status other_visit(struct backup *backup, const char *name, mode_t mode,
                               struct err *err)
{
    if (S_ISDIR(mode)) {
        TRY(folder_make(backup, name, err));
        if (strcmp(name, "patches") == 0 || strcmp(name, "squashes") == 0) /* a cache */
            return STATUS_OK;
        return folder_walk(backup, name, other_visit, err);
    }
    if (!S_ISREG(mode) || ends_with(name, ".db"))
        return STATUS_OK;
    enum status status = file_copy(backup, name, NULL, err);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status; /* an old state goes when a new comes */
}

/* ---- databases ---- */

static enum status database_visit(struct backup *backup, const char *name, mode_t mode,
                                  struct err *err)
{
    char from[BACKUP_PATH], to[BACKUP_PATH];
    struct db *db = NULL;
    struct stat about;
    if (!S_ISREG(mode) || !ends_with(name, ".db"))
        return STATUS_OK;
    TRY(io_join(from, sizeof from, backup->from, name, err));
    TRY(io_join(to, sizeof to, backup->to, name, err));
    TRY(db_open(from, false, &db, err));
    enum status status = db_change(db, err, "VACUUM INTO ?", "s", to);
    db_close(db);
    if (status == STATUS_OK && stat(to, &about) == 0)
        backup->count.bytes += about.st_size;
    return status;
}

/* ---- what the copied database names ---- */

struct naming {
    struct backup *backup;
    enum status status;
    struct err *err;
};

static bool release_visit_row(void *ctx, struct db_row *row)
{
    struct naming *naming = ctx;
    int64_t version = db_row_int(row, 0);
    const char *sha256 = db_row_text(row, 1);
    char name[HASH_HEX + 16];
    struct hash checked;
    if (!sha256 || !hash_parse(sha256, &checked)) {
        naming->status =
            err_set(naming->err, STATUS_CORRUPT, "release %lld has no SHA-256", (long long)version);
        return false;
    }
    snprintf(name, sizeof name, "patches/%s", sha256);
    naming->status = file_copy(naming->backup, name, sha256, naming->err);
    if (naming->status == STATUS_NOT_FOUND)
        naming->status = err_set(naming->err, STATUS_CORRUPT, "the file of release %lld is missing",
                                 (long long)version);
    naming->backup->count.releases += naming->status == STATUS_OK;
    return naming->status == STATUS_OK;
}

static bool upload_visit_row(void *ctx, struct db_row *row)
{
    struct naming *naming = ctx;
    struct hash hash;
    char hex[HASH_HEX] = "";
    size_t len;
    const void *data = db_row_bytes(row, 2, &len);
    if (data) {
        hash_bytes(data, len, &hash);
        hash_hex(&hash, hex);
    }
    if (strcmp(hex, db_row_text(row, 1)) != 0)
        naming->status =
            err_set(naming->err, STATUS_CORRUPT, "the bytes of upload %lld are %s",
                    (long long)db_row_int(row, 0), data ? "not what its row says" : "missing");
    naming->backup->count.uploads += naming->status == STATUS_OK;
    return naming->status == STATUS_OK;
}

static enum status named_walk(struct backup *backup, struct db *copy, db_visit *visit,
                              const char *sql, struct err *err)
{
    struct naming naming = {.backup = backup, .err = err};
    enum status status = db_select(copy, err, visit, &naming, sql, "");
    return status == STATUS_OK || status == STATUS_NOT_FOUND ? naming.status : status;
}

static enum status table_is_there(struct db *db, const char *name, bool *is, struct err *err)
{
    int64_t tables = 0;
    TRY(db_int(db, err, &tables, "SELECT count(*) FROM sqlite_master WHERE name=?", "s", name));
    *is = tables > 0;
    return STATUS_OK;
}

/* In a directory of an earlier version uploads' bytes are files, and were copied as such. */
static enum status rows_copy(struct backup *backup, struct db *copy, struct err *err)
{
    bool is;
    TRY(table_is_there(copy, "squashes", &is, err));
    if (is)
        TRY(db_change(copy, err, "UPDATE squashes SET stored=0", ""));
    TRY(named_walk(backup, copy, release_visit_row, "SELECT version,sha256 FROM releases", err));
    TRY(table_is_there(copy, "blobs", &is, err));
    if (!is)
        return db_int(copy, err, &backup->count.uploads, "SELECT count(*) FROM uploads", "");
    return named_walk(backup, copy, upload_visit_row,
                      "SELECT u.id,u.sha256,b.data FROM uploads u LEFT JOIN blobs b ON b.id=u.id",
                      err);
}

static enum status named_copy(struct backup *backup, struct err *err)
{
    char path[BACKUP_PATH];
    struct db *copy = NULL;
    TRY(io_join(path, sizeof path, backup->to, "cloud.db", err));
    TRY(db_open(path, true, &copy, err));
    enum status status = rows_copy(backup, copy, err);
    db_close(copy); /* its log goes into it here */
    return status;
}

/* ---- all of it ---- */

static enum status target_check(const char *to, const char *partial, struct err *err)
{
    struct dirent *entry = NULL;
    if (io_exists(partial))
        return err_set(err, STATUS_CONFLICT,
                       "%s is left from a copy that was interrupted; remove it", partial);
    DIR *dir = opendir(to);
    if (!dir && errno == ENOENT)
        return STATUS_OK;
    if (!dir)
        return io_error(err, "open", to, errno);
    while ((entry = readdir(dir)) != NULL && entry->d_name[0] == '.' &&
           (!entry->d_name[1] || strcmp(entry->d_name, "..") == 0))
        ;
    closedir(dir);
    if (entry)
        return err_set(err, STATUS_CONFLICT, "%s is not empty; right is a directory to be made",
                       to);
    return STATUS_OK;
}

static enum status all_copy(struct backup *backup, struct err *err)
{
    TRY(folder_make(backup, "patches", err));
    TRY(folder_walk(backup, "", other_visit, err));
    TRY(folder_walk(backup, "", database_visit, err));
    backup->count.bytes = 0;
    TRY(folder_walk(backup, "", other_visit, err));
    return named_copy(backup, err);
}

/* Databases were written by SQLite, and names of folders by nobody: one sync of everything. */
static enum status all_sync(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return io_error(err, "open", path, errno);
    int failed = syncfs(fd);
    close(fd);
    return failed ? io_error(err, "sync", path, errno) : STATUS_OK;
}

/* What a copy that failed has made; only names that this file gives. */
static void partial_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char below[BACKUP_PATH];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            io_join(below, sizeof below, path, entry->d_name, NULL) != STATUS_OK)
            continue;
        if (entry->d_type == DT_DIR)
            partial_remove(below);
        else
            unlink(below);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

enum status backup_copy(struct io *io, const char *from, const char *to, struct backup_count *out,
                        struct err *err)
{
    struct backup backup = {.io = io, .from = from};
    char path[BACKUP_PATH];
    TRY(io_join(path, sizeof path, from, "cloud.db", err));
    if (!io_exists(path))
        return err_set(err, STATUS_NOT_FOUND, "%s is no data directory: it has no cloud.db", from);
    int len = snprintf(backup.to, sizeof backup.to, "%s.partial", to);
    if (len < 0 || (size_t)len >= sizeof backup.to)
        return err_set(err, STATUS_USAGE, "%s is too long a name", to);
    TRY(target_check(to, backup.to, err));
    umask(077);
    enum status status = all_copy(&backup, err);
    if (status == STATUS_OK)
        status = all_sync(backup.to, err);
    if (status == STATUS_OK && io->rename(io, backup.to, to) != 0)
        status = io_error(err, "rename to", to, errno);
    if (status == STATUS_OK)
        status = all_sync(to, err);
    else
        partial_remove(backup.to);
    *out = backup.count;
    return status;
}
