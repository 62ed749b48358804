/* Power loss: a struct io that does what it is asked and writes it down, and a replay that shows
 * what a disk may hold when the power fails after any of those operations.
 *
 * What survives: data of a file up to its last sync; names in a directory up to the last sync of
 * that directory. Of what came after, anything: each write kept, dropped or torn, each name made,
 * moved or removed or not, in any combination that the seed picks (power_all keeps all, power_none
 * drops all). So a test runs its steps once through power_io, then for every point and some seeds
 * has power_replay lay out the disk in another folder and looks at what its code finds there.
 *
 * Fit for whatever goes through the io seam alone, inside one folder; SQLite does not. */
#ifndef CDCCA_TEST_POWER_IO_H
#define CDCCA_TEST_POWER_IO_H

#include "api/base/io.h"
#include "api/base/rng.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POWER_OPS = 4096, POWER_FDS = 1024, POWER_FILES = 512, POWER_NAMES = 256 };
enum power_kind {
    POWER_CREATE,
    POWER_TRUNCATE,
    POWER_WRITE,
    POWER_SYNC,
    POWER_SYNC_DIR,
    POWER_RENAME,
    POWER_UNLINK,
    POWER_MKDIR
};

struct power_op {
    enum power_kind kind;
    int file;             /* CREATE, TRUNCATE, WRITE, SYNC */
    char *path, *to;      /* CREATE, SYNC_DIR, RENAME, UNLINK, MKDIR; to: RENAME */
    unsigned char *bytes; /* WRITE, appended at its file's end */
    size_t len;
};

struct power_io {
    struct io io; /* first: what the code under test is given */
    char root[PATH_MAX];
    struct power_op op[POWER_OPS];
    int ops, files;
    int file_of[POWER_FDS]; /* 0: not one that is written */
    char *dir_of[POWER_FDS];
    struct {
        char *path;
        int file;
    } name[POWER_NAMES]; /* as the program sees them */
    int names;
};

/* ---- recording ---- */

static inline struct power_io *power_of(struct io *io)
{
    return (struct power_io *)(void *)io;
}

static inline struct power_op *power_note(struct power_io *p, enum power_kind kind,
                                          const char *path)
{
    if (p->ops == POWER_OPS)
        abort();
    struct power_op *op = &p->op[p->ops++];
    *op = (struct power_op){.kind = kind, .path = path ? strdup(path) : NULL};
    return op;
}

static inline int power_find(const struct power_io *p, const char *path)
{
    int i = 0;
    while (i < p->names && strcmp(p->name[i].path, path) != 0)
        i++;
    return i;
}

static inline void power_forget(struct power_io *p, const char *path)
{
    int i = power_find(p, path);
    if (i == p->names)
        return;
    free(p->name[i].path);
    p->name[i] = p->name[--p->names];
}

static inline void power_name(struct power_io *p, const char *path, int file)
{
    power_forget(p, path);
    if (p->names == POWER_NAMES)
        abort();
    p->name[p->names].path = strdup(path);
    p->name[p->names++].file = file;
}

/* The file behind a path that was opened for writing. */
static inline int power_opened(struct power_io *p, const char *path, int flags)
{
    int i = power_find(p, path);
    if (i == p->names) {
        if (p->files + 1 == POWER_FILES)
            abort();
        power_name(p, path, ++p->files);
        power_note(p, POWER_CREATE, path)->file = p->files;
        return p->files;
    }
    if (flags & O_TRUNC)
        power_note(p, POWER_TRUNCATE, NULL)->file = p->name[i].file;
    return p->name[i].file;
}

static inline int power_open(struct io *io, const char *path, int flags, mode_t mode)
{
    struct power_io *p = power_of(io);
    int fd = io_posix()->open(io_posix(), path, flags, mode);
    if (fd < 0 || fd >= POWER_FDS)
        return fd;
    p->file_of[fd] = (flags & O_ACCMODE) != O_RDONLY ? power_opened(p, path, flags) : 0;
    p->dir_of[fd] = flags & O_DIRECTORY ? strdup(path) : NULL;
    return fd;
}

static inline ssize_t power_read(struct io *io, int fd, void *data, size_t len)
{
    (void)io;
    return io_posix()->read(io_posix(), fd, data, len);
}

static inline ssize_t power_pread(struct io *io, int fd, void *data, size_t len, off_t at)
{
    (void)io;
    return io_posix()->pread(io_posix(), fd, data, len, at);
}

static inline ssize_t power_write(struct io *io, int fd, const void *data, size_t len)
{
    ssize_t n = io_posix()->write(io_posix(), fd, data, len);
    if (n > 0) {
        struct power_op *op = power_note(power_of(io), POWER_WRITE, NULL);
        op->file = power_of(io)->file_of[fd];
        op->bytes = malloc((size_t)n);
        op->len = (size_t)n;
        memcpy(op->bytes, data, (size_t)n);
    }
    return n;
}

static inline int power_sync(struct io *io, int fd)
{
    struct power_io *p = power_of(io);
    if (p->dir_of[fd])
        power_note(p, POWER_SYNC_DIR, p->dir_of[fd]);
    else
        power_note(p, POWER_SYNC, NULL)->file = p->file_of[fd];
    return 0; /* the real disk need not wait */
}

static inline int power_close(struct io *io, int fd)
{
    struct power_io *p = power_of(io);
    free(p->dir_of[fd]);
    p->dir_of[fd] = NULL;
    p->file_of[fd] = 0;
    return io_posix()->close(io_posix(), fd);
}

static inline int power_rename(struct io *io, const char *from, const char *to)
{
    struct power_io *p = power_of(io);
    if (io_posix()->rename(io_posix(), from, to) != 0)
        return -1;
    power_note(p, POWER_RENAME, from)->to = strdup(to);
    int i = power_find(p, from), file = i < p->names ? p->name[i].file : 0;
    power_forget(p, from);
    power_name(p, to, file);
    return 0;
}

static inline int power_unlink(struct io *io, const char *path)
{
    if (io_posix()->unlink(io_posix(), path) != 0)
        return -1;
    power_note(power_of(io), POWER_UNLINK, path);
    power_forget(power_of(io), path);
    return 0;
}

static inline int power_mkdir(struct io *io, const char *path, mode_t mode)
{
    if (io_posix()->mkdir(io_posix(), path, mode) != 0)
        return -1;
    power_note(power_of(io), POWER_MKDIR, path);
    return 0;
}

/* root: the folder that holds everything; it exists and is durable. */
static inline struct power_io *power_create(const char *root)
{
    struct power_io *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->io = (struct io){power_open,   power_read,   power_write, power_sync, power_close,
                        power_rename, power_unlink, power_mkdir, power_pread};
    snprintf(p->root, sizeof p->root, "%s", root);
    return p;
}

static inline void power_destroy(struct power_io *p)
{
    for (int i = 0; i < p->ops; i++) {
        free(p->op[i].path);
        free(p->op[i].to);
        free(p->op[i].bytes);
    }
    for (int i = 0; i < p->names; i++)
        free(p->name[i].path);
    free(p);
}

/* ---- replay ---- */

#define power_all UINT64_MAX        /* the seed that keeps everything */
#define power_none (UINT64_MAX - 1) /* the seed that drops everything not synced */

struct power_disk { /* under construction */
    const struct power_io *p;
    const char *root; /* where it is laid out */
    int at;           /* the power fails after this many operations */
    uint64_t seed;
    struct rng rng;
};

static inline bool power_keeps(struct power_disk *d)
{
    return d->seed == power_all || (d->seed != power_none && rng_below(&d->rng, 2));
}

/* The path in the other folder. */
static inline void power_path(const struct power_disk *d, const char *path, char out[PATH_MAX])
{
    const char *rest = path + strlen(d->p->root);
    if (snprintf(out, PATH_MAX, "%s%s", d->root, rest) >= PATH_MAX)
        abort();
}

/* Is path in this directory itself? */
static inline bool power_lies_in(const char *path, const char *dir)
{
    const char *slash = strrchr(path, '/');
    return slash && (size_t)(slash - path) == strlen(dir) && strncmp(path, dir, strlen(dir)) == 0;
}

static inline bool power_is_synced(const struct power_disk *d, int i)
{
    const struct power_op *op = &d->p->op[i];
    bool is_name = op->kind == POWER_CREATE || op->kind == POWER_RENAME ||
                   op->kind == POWER_UNLINK || op->kind == POWER_MKDIR;
    const char *path = op->to ? op->to : op->path;
    for (int j = i + 1; j < d->at; j++) {
        const struct power_op *later = &d->p->op[j];
        if (is_name ? later->kind == POWER_SYNC_DIR && power_lies_in(path, later->path)
                    : later->kind == POWER_SYNC && later->file == op->file)
            return true;
    }
    return false;
}

/* What the file holds, into a fresh file at path. */
static inline void power_fill(struct power_disk *d, int file, const char *path)
{
    FILE *out = fopen(path, "w");
    if (!out)
        abort();
    for (int i = 0; i < d->at; i++) {
        const struct power_op *op = &d->p->op[i];
        if (op->file != file || (op->kind != POWER_WRITE && op->kind != POWER_TRUNCATE))
            continue;
        bool synced = power_is_synced(d, i);
        if (op->kind == POWER_TRUNCATE) {
            if ((synced || power_keeps(d)) && (fflush(out) != 0 || ftruncate(fileno(out), 0) != 0))
                abort();
            rewind(out);
            continue;
        }
        size_t len = op->len;
        if (!synced && !power_keeps(d))
            continue;
        if (!synced && d->seed != power_all && rng_below(&d->rng, 2))
            len = rng_below(&d->rng, (uint32_t)len + 1); /* torn */
        fwrite(op->bytes, 1, len, out);
    }
    fclose(out);
}

static inline void power_apply_name(struct power_disk *d, const struct power_op *op)
{
    char path[PATH_MAX], to[PATH_MAX];
    power_path(d, op->path, path);
    if (op->kind == POWER_MKDIR)
        mkdir(path, 0700);
    if (op->kind == POWER_CREATE)
        power_fill(d, op->file, path);
    if (op->kind == POWER_UNLINK)
        unlink(path);
    if (op->kind == POWER_RENAME) {
        power_path(d, op->to, to);
        rename(path, to);
    }
}

/* A rename that lasts takes its file along, whether or not the name before was ever durable. */
static inline bool power_is_needed(const struct power_disk *d, int i)
{
    const struct power_op *op = &d->p->op[i];
    for (int j = i + 1; op->kind == POWER_CREATE && j < d->at; j++) {
        const struct power_op *later = &d->p->op[j];
        if (later->kind == POWER_RENAME && strcmp(later->path, op->path) == 0)
            return power_is_synced(d, j);
        if (later->kind == POWER_UNLINK && strcmp(later->path, op->path) == 0)
            return false;
    }
    return false;
}

/* Lays out in `root`, an empty folder, what is left when the power fails after `at` operations. */
static inline void power_replay(const struct power_io *p, int at, uint64_t seed, const char *root)
{
    struct power_disk d = {.p = p, .root = root, .at = at, .seed = seed};
    rng_init(&d.rng, seed, (uint64_t)at);
    for (int i = 0; i < at; i++) {
        const struct power_op *op = &p->op[i];
        if (op->kind != POWER_CREATE && op->kind != POWER_RENAME && op->kind != POWER_UNLINK &&
            op->kind != POWER_MKDIR)
            continue;
        if (power_is_synced(&d, i) || power_is_needed(&d, i) || power_keeps(&d))
            power_apply_name(&d, op);
    }
}

#endif
