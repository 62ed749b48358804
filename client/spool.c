/* The upload spool; see spool.h for its files and invariants. */
#include "client/spool.h"
#include "api/base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct spool {
    struct io *io;
    char dir[PATH_MAX];
    struct spool_options options;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    struct spool_item item[SPOOL_FILES_MAX]; /* ascending by sequence */
    size_t count;
    uint64_t bytes, next_sequence, dropped, rejected;
};

enum { SPOOL_NAME = 240 };
#define SPOOL_MILLINATS UINT64_C(1000000000000000)

/* ---- names ---- */

static void spool_name(const struct spool_item *item, char out[SPOOL_NAME])
{
    char hex[HASH_HEX];
    hash_hex(&item->hash, hex);
    snprintf(out, SPOOL_NAME,
             "%012" PRIu64 "_%" PRIu64 "_%" PRIu32 "_%" PRIu32 "_%" PRIu64 "_%" PRIu64 "_%" PRId64
             "_%s.%s",
             item->sequence, item->window, item->facts.instances, item->facts.corrections,
             item->facts.jpeg_bytes, (uint64_t)llround(item->facts.entropy * 1000), item->born_s,
             hex, item->held ? "held" : "upload");
}

/* A number up to max that ends in '_'; *text moves behind it. */
static bool spool_number(const char **text, uint64_t max, uint64_t *out)
{
    char *after;
    errno = 0;
    *out = strtoull(*text, &after, 10);
    if (errno || after == *text || *after != '_' || *out > max)
        return false;
    *text = after + 1;
    return true;
}

static bool spool_name_parse(const char *name, struct spool_item *out)
{
    static const uint64_t most[7] = {999999999999, INT64_MAX,       UINT32_MAX, UINT32_MAX,
                                     INT64_MAX,    SPOOL_MILLINATS, INT64_MAX};
    struct spool_item item = {0};
    uint64_t number[7];
    char hex[HASH_HEX], again[SPOOL_NAME];
    const char *rest = name, *end = strrchr(name, '.');
    for (int i = 0; i < 7; i++)
        if (!spool_number(&rest, most[i], &number[i]))
            return false;
    item.sequence = number[0];
    item.window = number[1];
    item.facts = (struct spool_facts){.instances = (uint32_t)number[2],
                                      .corrections = (uint32_t)number[3],
                                      .jpeg_bytes = number[4],
                                      .entropy = (double)number[5] / 1000};
    item.born_s = (int64_t)number[6];
    item.held = end && strcmp(end, ".held") == 0;
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

/* ---- the list (lock held) ---- */

static int64_t spool_now_s(const struct spool *spool)
{
    return spool->options.meter ? meter_now_s(spool->options.meter) : 0;
}

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

static enum status spool_remove(struct spool *spool, size_t i, struct err *err)
{
    char path[PATH_MAX];
    TRY(spool_path(spool, &spool->item[i], path, err));
    if (spool->io->unlink(spool->io, path) != 0 && errno != ENOENT)
        return io_error(err, "remove", path, errno);
    spool_forget(spool, i);
    return STATUS_OK;
}

static enum status spool_drop(struct spool *spool, size_t i, const char *why, struct err *err)
{
    uint32_t instances = spool->item[i].facts.instances;
    TRY(spool_remove(spool, i, err));
    log_line(LOG_WARN, "spool", "%s: an upload of %" PRIu32 " instances gave way", why, instances);
    spool->dropped += instances;
    return STATUS_OK;
}

/* Does a go before b? */
static bool spool_is_worth_less(const struct spool_item *a, const struct spool_item *b)
{
    if (!a->facts.corrections != !b->facts.corrections)
        return !a->facts.corrections;
    double x = a->facts.entropy * (double)b->size, y = b->facts.entropy * (double)a->size;
    return x < y || (x == y && a->sequence < b->sequence);
}

static size_t spool_worst(const struct spool *spool)
{
    size_t worst = 0;
    for (size_t i = 1; i < spool->count; i++)
        if (spool_is_worth_less(&spool->item[i], &spool->item[worst]))
            worst = i;
    return worst;
}

/* Room for one more of `extra` bytes; false in *kept when that one itself is to go first. */
static enum status spool_make_room(struct spool *spool, const struct spool_item *extra, bool *kept,
                                   struct err *err)
{
    uint64_t size = extra ? extra->size : 0;
    *kept = true;
    while (spool->count && (spool->bytes + size > spool->options.max_bytes ||
                            (extra && spool->count == SPOOL_FILES_MAX))) {
        size_t worst = spool_worst(spool);
        *kept = !extra || !spool_is_worth_less(extra, &spool->item[worst]);
        if (!*kept)
            return STATUS_OK;
        TRY(spool_drop(spool, worst, "the spool is full", err));
    }
    return STATUS_OK;
}

static void spool_expire_locked(struct spool *spool)
{
    int64_t now = spool_now_s(spool), age = spool->options.max_age_s;
    for (size_t i = 0; age && i < spool->count;) {
        const struct spool_item *item = &spool->item[i];
        struct err err = {0};
        if (item->facts.corrections || now - item->since_s <= age)
            i++;
        else if (spool_drop(spool, i, "too old", &err) != STATUS_OK) {
            log_line(LOG_WARN, "spool", "%s", err.text);
            i++;
        }
    }
}

static enum status spool_append_locked(struct spool *spool, const void *data,
                                       struct spool_item *item, struct err *err)
{
    char path[PATH_MAX];
    bool kept;
    if (spool_index(spool, &item->hash) < spool->count)
        return STATUS_OK;
    item->sequence = spool->next_sequence;
    item->born_s = item->since_s = spool_now_s(spool);
    TRY(spool_make_room(spool, item, &kept, err));
    if (!kept) {
        spool->dropped += item->facts.instances;
        log_line(LOG_WARN, "spool",
                 "the spool is full of what tells more: %" PRIu32 " new instances gave way",
                 item->facts.instances);
        return STATUS_OK;
    }
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
    item.since_s = item.born_s;
    if (item.since_s > spool_now_s(spool)) /* the meter began anew */
        item.since_s = spool_now_s(spool);
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

static enum status spool_start(struct spool *spool, struct err *err)
{
    bool kept;
    TRY(spool_folders(spool, err));
    TRY(spool_scan(spool, err));
    spool_expire_locked(spool);
    return spool_make_room(spool, NULL, &kept, err);
}

enum status spool_open(struct io *io, const char *dir, const struct spool_options *options,
                       struct spool **out, struct err *err)
{
    struct spool *spool = calloc(1, sizeof *spool);
    if (!spool)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the spool");
    spool->io = io;
    spool->options = *options;
    spool->next_sequence = 1;
    pthread_mutex_init(&spool->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    snprintf(spool->dir, sizeof spool->dir, "%s", dir);
    enum status status = spool_start(spool, err);
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

/* ---- the interface ---- */

static enum status spool_add(struct spool *spool, const void *data, size_t len,
                             struct spool_item *item, struct err *err)
{
    if (len > spool->options.max_bytes)
        return err_set(err, STATUS_TOO_LARGE,
                       "upload of %zu bytes, but the spool may hold %" PRIu64 " in all", len,
                       spool->options.max_bytes);
    if (!(item->facts.entropy >= 0 && item->facts.entropy * 1000 < SPOOL_MILLINATS))
        return err_set(err, STATUS_SHAPE, "an upload's entropy is %g; 0 or more is right",
                       item->facts.entropy);
    item->size = len;
    hash_bytes(data, len, &item->hash);
    pthread_mutex_lock(&spool->lock);
    enum status status = spool_append_locked(spool, data, item, err);
    pthread_mutex_unlock(&spool->lock);
    return status;
}

enum status spool_append(struct spool *spool, const void *data, size_t len,
                         const struct spool_facts *facts, struct err *err)
{
    struct spool_item item = {.facts = *facts};
    return spool_add(spool, data, len, &item, err);
}

enum status spool_hold(struct spool *spool, const void *data, size_t len,
                       const struct spool_facts *facts, uint64_t window, struct err *err)
{
    struct spool_item item = {.facts = *facts, .window = window, .held = true};
    return spool_add(spool, data, len, &item, err);
}

/* Only the name changes; when it is lost with the power, the next start releases it again. */
static enum status spool_free(struct spool *spool, struct spool_item *item, struct err *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct spool_item released = *item;
    released.held = false;
    TRY(spool_path(spool, item, from, err));
    TRY(spool_path(spool, &released, to, err));
    if (spool->io->rename(spool->io, from, to) != 0)
        return io_error(err, "rename", from, errno);
    *item = released;
    return STATUS_OK;
}

enum status spool_release(struct spool *spool, uint64_t windows, struct err *err)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; status == STATUS_OK && i < spool->count; i++)
        if (spool->item[i].held && spool->item[i].window < windows)
            status = spool_free(spool, &spool->item[i], err);
    pthread_cond_broadcast(&spool->changed);
    pthread_mutex_unlock(&spool->lock);
    return status;
}

void spool_discard(struct spool *spool, uint64_t window)
{
    struct err err = {0};
    pthread_mutex_lock(&spool->lock);
    for (size_t i = 0; i < spool->count;) {
        const struct spool_item *item = &spool->item[i];
        if (!item->held || item->window < window || spool_remove(spool, i, &err) != STATUS_OK)
            i++;
    }
    pthread_mutex_unlock(&spool->lock);
    if (err.text[0])
        log_line(LOG_WARN, "spool", "%s", err.text);
}

void spool_expire(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    spool_expire_locked(spool);
    pthread_mutex_unlock(&spool->lock);
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
        spool->rejected += spool->item[i].facts.instances;
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

/* The index of the oldest that is free to go and small enough; count when there is none. */
static size_t spool_next(const struct spool *spool, uint64_t max_bytes)
{
    size_t i = 0;
    while (i < spool->count && (spool->item[i].held || spool->item[i].size > max_bytes))
        i++;
    return i;
}

static enum status spool_first_locked(struct spool *spool, uint64_t max_bytes,
                                      struct spool_item *item, struct buf *body, struct err *err)
{
    for (size_t i; (i = spool_next(spool, max_bytes)) < spool->count;) {
        struct err problem = {0};
        struct spool_item first = spool->item[i];
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
    return err_set(err, STATUS_NOT_FOUND, "the spool has nothing to send");
}

enum status spool_first(struct spool *spool, uint64_t max_bytes, struct spool_item *item,
                        struct buf *body, struct err *err)
{
    pthread_mutex_lock(&spool->lock);
    enum status status = spool_first_locked(spool, max_bytes, item, body, err);
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
        out->instances += spool->item[i].facts.instances;
    pthread_mutex_unlock(&spool->lock);
}

bool spool_wait(struct spool *spool, uint64_t max_bytes, int64_t ms)
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
    if (spool_next(spool, max_bytes) == spool->count)
        pthread_cond_timedwait(&spool->changed, &spool->lock, &until);
    bool waiting = spool_next(spool, max_bytes) < spool->count;
    pthread_mutex_unlock(&spool->lock);
    return waiting;
}

void spool_wake(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    pthread_cond_broadcast(&spool->changed);
    pthread_mutex_unlock(&spool->lock);
}
