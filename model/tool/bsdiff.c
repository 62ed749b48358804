/* See bsdiff.h. */
#include "model/tool/bsdiff.h"
#include "api/base/io.h"
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { PATH_BYTES = 64, FILES = 3 };
static const char *const FILE_NAMES[FILES] = {"old", "new", "patch"};

struct workplace {
    char dir[PATH_BYTES / 2], file[FILES][PATH_BYTES];
};

static enum status workplace_make(struct workplace *w, struct err *err)
{
    snprintf(w->dir, sizeof w->dir, "/tmp/cdcca-bsdiff-XXXXXX");
    if (!mkdtemp(w->dir))
        return io_error(err, "make", w->dir, errno);
    for (int i = 0; i < FILES; i++)
        TRY(io_join(w->file[i], sizeof w->file[i], w->dir, FILE_NAMES[i], err));
    return STATUS_OK;
}

static void workplace_remove(const struct workplace *w)
{
    for (int i = 0; i < FILES; i++)
        unlink(w->file[i]);
    rmdir(w->dir);
}

static enum status program_run(struct workplace *w, struct err *err)
{
    char name[] = "bsdiff";
    char *const args[] = {name, w->file[0], w->file[1], w->file[2], NULL};
    pid_t child;
    int how = 0, failure = posix_spawnp(&child, name, NULL, NULL, args, environ);
    if (failure == ENOENT)
        return err_set(err, STATUS_UNSUPPORTED, "the program bsdiff is not installed");
    if (failure)
        return io_error(err, "run", name, failure);
    while (waitpid(child, &how, 0) < 0)
        if (errno != EINTR)
            return io_error(err, "wait for", name, errno);
    if (how != 0)
        return err_set(err, STATUS_IO, "bsdiff failed with wait status %d", how);
    return STATUS_OK;
}

static enum status patch_size(const struct workplace *w, size_t *bytes, struct err *err)
{
    int fd;
    uint64_t size;
    TRY(io_open_file(io_posix(), w->file[2], &fd, &size, err));
    io_posix()->close(io_posix(), fd);
    *bytes = (size_t)size;
    return STATUS_OK;
}

enum status bsdiff_size(const void *old, size_t old_bytes, const void *new, size_t new_bytes,
                        size_t *patch_bytes, struct err *err)
{
    struct workplace w;
    TRY(workplace_make(&w, err));
    enum status s = io_write_file(io_posix(), w.file[0], old, old_bytes, err);
    if (s == STATUS_OK)
        s = io_write_file(io_posix(), w.file[1], new, new_bytes, err);
    if (s == STATUS_OK)
        s = program_run(&w, err);
    if (s == STATUS_OK)
        s = patch_size(&w, patch_bytes, err);
    workplace_remove(&w);
    return s;
}
