/* The upload spool; see spool.h for its files and invariants. */
#include "client/spool.h"
#include "api/base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct spool {
    struct io *io;
    char dir[PATH_MAX];
    uint64_t max_bytes;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    struct spool_item item[SPOOL_FILES_MAX]; /* ascending by sequence */
    size_t count;
    uint64_t bytes, next_sequence, dropped, rejected;
};

enum { SPOOL_NAME = 160 };

/* ---- names ---- */

static void spool_name(const struct spool_item *item, char out[SPOOL_NAME])
{
    char hex[HASH_HEX];
    hash_hex(&item->hash, hex);
    snprintf(out, SPOOL_NAME, "%012" PRIu64 "_%" PRIu32 "_%" PRIu64 "_%s.upload", item->sequence,
             item->instances, item->jpeg_bytes, hex);
}

/* A number up to max that ends in `end`; *text moves behind it. */
static bool spool_number(const char **text, char end, uint64_t max, uint64_t *out)
{
    char *after;
    errno = 0;
    *out = strtoull(*text, &after, 10);
    if (errno || after == *text || *after != end || *out > max)
        return false;
    *text = after + 1;
    return true;
}

static bool spool_name_parse(const char *name, struct spool_item *out)
{
    struct spool_item item = {0};
    uint64_t instances;
    char hex[HASH_HEX], again[SPOOL_NAME];
    const char *rest = name;
    if (!spool_number(&rest, '_', 999999999999, &item.sequence) ||
        !spool_number(&rest, '_', UINT32_MAX, &instances) ||
        !spool_number(&rest, '_', INT64_MAX, &item.jpeg_bytes))
        return false;
    item.instances = (uint32_t)instances;
    snprintf(hex, sizeof hex, "%s", rest);
    if (!hash_parse(hex, &item.hash))
        return false;
    spool_name(&item, again);
    if (strcmp(again, name) != 0)
        return false;
    *out = item;
    return true;
}

static enum status spool_path(const struct spool *spool, const struct spool_item *item,
                              char out[PATH_MAX], struct err *err)
{
    char name[SPOOL_NAME];
    spool_name(item, name);
    return io_join(out, PATH_MAX, spool->dir, name, err);
}

/* ---- opening ---- */

static int spool_compare(const void *a, const void *b)
{
    const struct spool_item *x = a, *y = b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

/* One directory entry: an upload is listed, a torn temporary file is removed, the rest ignored. */
static void spool_scan_entry(struct spool *spool, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    struct spool_item item;
    if (io_join(path, sizeof path, spool->dir, name, NULL) != STATUS_OK)
        return;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0) {
        spool->io->unlink(spool->io, path);
        return;
    }
    if (!spool_name_parse(name, &item) || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return;
    if (spool->count == SPOOL_FILES_MAX) {
        log_line(LOG_WARN, "spool", "more than %d uploads wait; %s is left for later",
                 SPOOL_FILES_MAX, name);
        return;
    }
    item.size = (uint64_t)info.st_size;
    spool->bytes += item.size;
    spool->item[spool->count++] = item;
}

static enum status spool_scan(struct spool *spool, struct err *err)
{
    DIR *dir = opendir(spool->dir);
    if (!dir)
        return io_error(err, "list", spool->dir, errno);
    for (struct dirent *entry; (entry = readdir(dir));)
        spool_scan_entry(spool, entry->d_name);
    closedir(dir);
    qsort(spool->item, spool->count, sizeof spool->item[0], spool_compare);
    if (spool->count)
        spool->next_sequence = spool->item[spool->count - 1].sequence + 1;
    return STATUS_OK;
}

static enum status spool_folders(struct spool *spool, struct err *err)
{
    char rejected[PATH_MAX];
    TRY(io_join(rejected, sizeof rejected, spool->dir, "rejected", err));
    return io_make_dirs(spool->io, rejected, err);
}

enum status spool_open(struct io *io, const char *dir, uint64_t max_bytes, struct spool **out,
                       struct err *err)
{
    struct spool *spool = calloc(1, sizeof *spool);
    if (!spool)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the spool");
    spool->io = io;
    spool->max_bytes = max_bytes;
    spool->next_sequence = 1;
    pthread_mutex_init(&spool->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    snprintf(spool->dir, sizeof spool->dir, "%s", dir);
    enum status status = spool_folders(spool, err);
    if (status == STATUS_OK)
        status = spool_scan(spool, err);
    if (status != STATUS_OK) {
        spool_close(spool);
        return status;
    }
    *out = spool;
    return STATUS_OK;
}

void spool_close(struct spool *spool)
{
    if (!spool)
        return;
    pthread_cond_destroy(&spool->changed);
    pthread_mutex_destroy(&spool->lock);
    free(spool);
}

/* ---- the list (lock held) ---- */

static void spool_forget(struct spool *spool, size_t i)
{
    spool->bytes -= spool->item[i].size;
    spool->count--;
    memmove(&spool->item[i], &spool->item[i + 1], (spool->count - i) * sizeof spool->item[0]);
}

static size_t spool_index(const struct spool *spool, const struct hash *hash)
{
    size_t i = 0;
    while (i < spool->count && !hash_equal(&spool->item[i].hash, hash))
        i++;
    return i;
}

/* Makes room for len bytes and one more file: the oldest give way. */
static enum status spool_make_room(struct spool *spool, size_t len, struct err *err)
{
    while (spool->count &&
           (spool->bytes + len > spool->max_bytes || spool->count == SPOOL_FILES_MAX)) {
        char path[PATH_MAX];
        TRY(spool_path(spool, &spool->item[0], path, err));
        if (spool->io->unlink(spool->io, path) != 0 && errno != ENOENT)
            return io_error(err, "remove", path, errno);
        log_line(LOG_WARN, "spool",
                 "full (%" PRIu64 " of %" PRIu64 " bytes): the oldest upload, %" PRIu32
                 " instances, gave way",
                 spool->bytes, spool->max_bytes, spool->item[0].instances);
        spool->dropped += spool->item[0].instances;
        spool_forget(spool, 0);
    }
    return STATUS_OK;
}

static enum status spool_append_locked(struct spool *spool, const void *data,
                                       struct spool_item *item, struct err *err)
{
    char path[PATH_MAX];
    if (spool_index(spool, &item->hash) < spool->count)
        return STATUS_OK;
    TRY(spool_make_room(spool, (size_t)item->size, err));
    item->sequence = spool->next_sequence;
    TRY(spool_path(spool, item, path, err));
    enum status status = io_write_file(spool->io, path, data, (size_t)item->size, err);
    if (status != STATUS_OK) {
        spool->io->unlink(spool->io,
                          path); /* renamed, but perhaps not durable: as if never there */
        return status;
    }
    spool->next_sequence++;
    spool->bytes += item->size;
    spool->item[spool->count++] = *item;
    pthread_cond_broadcast(&spool->changed);
    return STATUS_OK;
}

/* ---- the interface ---- */

enum status spool_append(struct spool *spool, const void *data, size_t len, uint32_t instances,
                         uint64_t jpeg_bytes, struct err *err)
{
    if (len > spool->max_bytes)
        return err_set(err, STATUS_TOO_LARGE,
                       "upload of %zu bytes, but the spool may hold %" PRIu64 " in all", len,
                       spool->max_bytes);
    struct spool_item item = {.instances = instances, .jpeg_bytes = jpeg_bytes, .size = len};
    hash_bytes(data, len, &item.hash);
    pthread_mutex_lock(&spool->lock);
    enum status status = spool_append_locked(spool, data, &item, err);
    pthread_mutex_unlock(&spool->lock);
    return status;
}

static enum status spool_read(struct spool *spool, const struct spool_item *item, struct buf *body,
                              struct err *err)
{
    char path[PATH_MAX];
    struct hash hash;
    buf_clear(body);
    TRY(spool_path(spool, item, path, err));
    TRY(io_read_file(spool->io, path, body, err));
    hash_bytes(body->data, body->len, &hash);
    if (!hash_equal(&hash, &item->hash))
        return err_set(err, STATUS_CORRUPT, "%s: its bytes do not match the hash in its name",
                       path);
    return STATUS_OK;
}

/* Lock held. Moves the file, then writes the reason; a missing reason is not an error. */
static enum status spool_reject_locked(struct spool *spool, const struct spool_item *item,
                                       const char *reason, struct err *err)
{
    char name[SPOOL_NAME], note[SPOOL_NAME + 32], from[PATH_MAX], to[PATH_MAX];
    spool_name(item, name);
    snprintf(note, sizeof note, "rejected/%s", name);
    TRY(io_join(from, sizeof from, spool->dir, name, err));
    TRY(io_join(to, sizeof to, spool->dir, note, err));
    if (spool->io->rename(spool->io, from, to) != 0 && errno != ENOENT)
        return io_error(err, "move", from, errno);
    size_t i = spool_index(spool, &item->hash);
    if (i < spool->count) {
        spool->rejected += spool->item[i].instances;
        spool_forget(spool, i);
    }
    pthread_cond_broadcast(&spool->changed);
    snprintf(note, sizeof note, "rejected/%s.reason", name);
    TRY(io_join(to, sizeof to, spool->dir, note, err));
    struct err ignored = {0};
    if (io_write_file(spool->io, to, reason, strlen(reason), &ignored) != STATUS_OK)
        log_line(LOG_WARN, "spool", "%s", ignored.text);
    return STATUS_OK;
}

static enum status spool_first_locked(struct spool *spool, struct spool_item *item,
                                      struct buf *body, struct err *err)
{
    while (spool->count) {
        struct err problem = {0};
        struct spool_item first = spool->item[0];
        enum status status = spool_read(spool, &first, body, &problem);
        if (status == STATUS_OK) {
            *item = first;
            return STATUS_OK;
        }
        if (status != STATUS_CORRUPT && status != STATUS_NOT_FOUND && status != STATUS_TOO_LARGE)
            return err_set(err, status, "%s", problem.text);
        log_line(LOG_WARN, "spool", "set aside: %s", problem.text);
        TRY(spool_reject_locked(spool, &first, problem.text, err));
    }
    return err_set(err, STATUS_NOT_FOUND, "the spool is empty");
}

enum status spool_first(struct spool *spool, struct spool_item *item, struct buf *body,
                        struct err *err)
{
    pthread_mutex_lock(&spool->lock);
    enum status status = spool_first_locked(spool, item, body, err);
    pthread_mutex_unlock(&spool->lock);
    return status;
}

static enum status spool_done_locked(struct spool *spool, const struct spool_item *item,
                                     struct err *err)
{
    char path[PATH_MAX];
    TRY(spool_path(spool, item, path, err));
    if (spool->io->unlink(spool->io, path) != 0 && errno != ENOENT)
        return io_error(err, "remove", path, errno);
    size_t i = spool_index(spool, &item->hash);
    if (i < spool->count)
        spool_forget(spool, i);
    pthread_cond_broadcast(&spool->changed);
    return STATUS_OK;
}

enum status spool_done(struct spool *spool, const struct spool_item *item, struct err *err)
{
    pthread_mutex_lock(&spool->lock);
    enum status status = spool_done_locked(spool, item, err);
    pthread_mutex_unlock(&spool->lock);
    return status;
}

enum status spool_reject(struct spool *spool, const struct spool_item *item, const char *reason,
                         struct err *err)
{
    pthread_mutex_lock(&spool->lock);
    enum status status = spool_reject_locked(spool, item, reason, err);
    pthread_mutex_unlock(&spool->lock);
    return status;
}

void spool_count(struct spool *spool, struct spool_counts *out)
{
    *out = (struct spool_counts){0};
    pthread_mutex_lock(&spool->lock);
    out->files = spool->count;
    out->bytes = spool->bytes;
    out->dropped = spool->dropped;
    out->rejected = spool->rejected;
    for (size_t i = 0; i < spool->count; i++)
        out->instances += spool->item[i].instances;
    pthread_mutex_unlock(&spool->lock);
}

bool spool_wait(struct spool *spool, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&spool->lock);
    if (!spool->count)
        pthread_cond_timedwait(&spool->changed, &spool->lock, &until);
    bool waiting = spool->count > 0;
    pthread_mutex_unlock(&spool->lock);
    return waiting;
}

void spool_wake(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    pthread_cond_broadcast(&spool->changed);
    pthread_mutex_unlock(&spool->lock);
}
