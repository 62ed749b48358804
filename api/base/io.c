/* io_posix and the helpers above the seam. Every helper loops over short and interrupted calls, so
 * an injected short write is an ordinary case. What stat-like calls need (is it a regular file?)
 * goes around the seam: there is nothing there worth failing. */
#include "api/base/io.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int posix_open(struct io *io, const char *path, int flags, mode_t mode)
{
    (void)io;
    return open(path, flags | O_CLOEXEC, mode);
}

static ssize_t posix_read(struct io *io, int fd, void *data, size_t len)
{
    (void)io;
    return read(fd, data, len);
}

static ssize_t posix_write(struct io *io, int fd, const void *data, size_t len)
{
    (void)io;
    return write(fd, data, len);
}

static int posix_sync(struct io *io, int fd)
{
    (void)io;
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? fsync(fd) : fdatasync(fd);
}

static int posix_close(struct io *io, int fd)
{
    (void)io;
    return close(fd);
}

static int posix_rename(struct io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to);
}

static int posix_unlink(struct io *io, const char *path)
{
    (void)io;
    return unlink(path);
}

static int posix_mkdir(struct io *io, const char *path, mode_t mode)
{
    (void)io;
    return mkdir(path, mode);
}

static ssize_t posix_pread(struct io *io, int fd, void *data, size_t len, off_t at)
{
    (void)io;
    return pread(fd, data, len, at);
}

struct io *io_posix(void)
{
    static struct io posix = {posix_open,   posix_read,   posix_write, posix_sync, posix_close,
                              posix_rename, posix_unlink, posix_mkdir, posix_pread};
    return &posix;
}

enum status io_error(struct err *err, const char *verb, const char *path, int error)
{
    enum status code = STATUS_IO;
    if (error == ENOENT || error == ENOTDIR)
        code = STATUS_NOT_FOUND;
    else if (error == ENOSPC || error == EDQUOT)
        code = STATUS_DISK_FULL;
    else if (error == ENOMEM)
        code = STATUS_NO_MEMORY;
    char reason[128];
    return err_set(err, code, "%s %s: %s", verb, path, strerror_r(error, reason, sizeof reason));
}

/* Once the buffer is full, one byte is read on the stack: at the end of the file, the usual case,
 * nothing has to grow. */
static enum status read_all(struct io *io, int fd, const char *path, struct buf *out,
                            struct err *err)
{
    for (;;) {
        unsigned char probe;
        size_t room = out->cap - out->len;
        ssize_t got = io->read(io, fd, room ? out->data + out->len : &probe, room ? room : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error(err, "read", path, errno);
        if (got == 0)
            break;
        enum status status = STATUS_OK;
        if (room)
            out->len += (size_t)got;
        else
            status = buf_append(out, &probe, 1);
        if (status != STATUS_OK)
            return err_set(err, status, "%s does not fit into %zu bytes", path, out->max);
    }
    out->data[out->len] = '\0';
    return STATUS_OK;
}

/* O_NONBLOCK: opening a FIFO without a writer must not hang; for a regular file it does nothing. */
enum status io_open_file(struct io *io, const char *path, int *fd, uint64_t *size, struct err *err)
{
    struct stat st;
    *fd = io->open(io, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (*fd < 0)
        return io_error(err, "open", path, errno);
    enum status status = STATUS_OK;
    if (fstat(*fd, &st) != 0)
        status = io_error(err, "stat", path, errno);
    else if (!S_ISREG(st.st_mode))
        status = err_set(err, STATUS_UNSUPPORTED, "%s is not a regular file", path);
    else
        *size = (uint64_t)st.st_size;
    if (status != STATUS_OK) {
        io->close(io, *fd);
        *fd = -1;
    }
    return status;
}

enum status io_read_file(struct io *io, const char *path, struct buf *out, struct err *err)
{
    int fd = -1;
    uint64_t size = 0;
    TRY(io_open_file(io, path, &fd, &size, err));
    enum status status = STATUS_OK;
    if (out->max < out->len || size > out->max - out->len)
        status =
            err_set(err, STATUS_TOO_LARGE, "%s has %" PRIu64 " bytes, more than the limit of %zu",
                    path, size, out->max);
    else if (buf_reserve(out, (size_t)size) != STATUS_OK)
        status =
            err_set(err, STATUS_NO_MEMORY, "read %s: no memory for %" PRIu64 " bytes", path, size);
    else
        status = read_all(io, fd, path, out, err);
    io->close(io, fd);
    return status;
}

enum status io_read_at(struct io *io, int fd, const char *path, uint64_t at, void *data, size_t len,
                       struct err *err)
{
    unsigned char *to = data;
    while (len) {
        ssize_t got = io->pread(io, fd, to, len, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return io_error(err, "read", path, errno);
        if (got == 0)
            return err_set(err, STATUS_MALFORMED,
                           "%s ends at byte %" PRIu64 ": it was cut short after it was opened",
                           path, at);
        to += got;
        at += (uint64_t)got;
        len -= (size_t)got;
    }
    return STATUS_OK;
}

enum status io_append(struct io *io, int fd, const char *path, const void *data, size_t len,
                      struct err *err)
{
    const unsigned char *at = data;
    while (len) {
        ssize_t put = io->write(io, fd, at, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return io_error(err, "write", path, put == 0 ? ENOSPC : errno);
        at += put;
        len -= (size_t)put;
    }
    return STATUS_OK;
}

static enum status io_sync_dir(struct io *io, const char *dir, struct err *err)
{
    int fd = io->open(io, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return io_error(err, "open", dir, errno);
    enum status status = STATUS_OK;
    if (io->sync(io, fd) != 0)
        status = io_error(err, "sync", dir, errno);
    io->close(io, fd);
    return status;
}

/* After the rename only the directory's own sync makes the new name durable. */
static enum status sync_parent(struct io *io, const char *path, struct err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 1;
    snprintf(dir, sizeof dir, "%.*s", (int)(len ? len : 1), slash ? path : ".");
    return io_sync_dir(io, dir, err);
}

static enum status temporary_name(char *out, size_t size, const char *path, struct err *err)
{
    int needed = snprintf(out, size, "%s.tmp", path);
    if (needed < 0 || (size_t)needed >= size)
        return err_set(err, STATUS_TOO_LARGE, "path of %zu bytes is too long", strlen(path));
    return STATUS_OK;
}

static enum status temporary_create(struct io *io, const char *path, mode_t mode, int *fd,
                                    struct err *err)
{
    char temporary[PATH_MAX];
    TRY(temporary_name(temporary, sizeof temporary, path, err));
    if (!(mode & 0077))
        io->unlink(io, temporary); /* what lies there may be open to others */
    *fd = io->open(io, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    return *fd < 0 ? io_error(err, "create", temporary, errno) : STATUS_OK;
}

enum status io_create(struct io *io, const char *path, int *fd, struct err *err)
{
    return temporary_create(io, path, 0644, fd, err);
}

void io_abandon(struct io *io, int *fd, const char *path)
{
    char temporary[PATH_MAX];
    if (*fd >= 0)
        io->close(io, *fd);
    *fd = -1;
    if (temporary_name(temporary, sizeof temporary, path, NULL) == STATUS_OK)
        io->unlink(io, temporary);
}

static enum status io_settle(struct io *io, int *fd, const char *path, struct err *err)
{
    char temporary[PATH_MAX];
    enum status status = temporary_name(temporary, sizeof temporary, path, err);
    if (status == STATUS_OK && io->sync(io, *fd) != 0)
        status = io_error(err, "sync", temporary, errno);
    if (io->close(io, *fd) != 0 && status == STATUS_OK)
        status = io_error(err, "close", temporary, errno);
    *fd = -1;
    if (status == STATUS_OK && io->rename(io, temporary, path) != 0)
        status = io_error(err, "rename", temporary, errno);
    if (status != STATUS_OK) {
        io_abandon(io, fd, path);
        return status;
    }
    return STATUS_OK;
}

enum status io_finish(struct io *io, int *fd, const char *path, struct err *err)
{
    TRY(io_settle(io, fd, path, err));
    return sync_parent(io, path, err);
}

static enum status whole_write(struct io *io, const char *path, mode_t mode, const void *data,
                               size_t len, struct err *err)
{
    int fd = -1;
    TRY(temporary_create(io, path, mode, &fd, err));
    enum status status = io_append(io, fd, path, data, len, err);
    if (status == STATUS_OK)
        return io_finish(io, &fd, path, err);
    io_abandon(io, &fd, path);
    return status;
}

enum status io_write_file(struct io *io, const char *path, const void *data, size_t len,
                          struct err *err)
{
    return whole_write(io, path, 0644, data, len, err);
}

enum status io_write_secret(struct io *io, const char *path, const void *data, size_t len,
                            struct err *err)
{
    return whole_write(io, path, 0600, data, len, err);
}

static enum status dir_ensure(struct io *io, const char *path, struct err *err)
{
    struct stat st;
    if (io->mkdir(io, path, 0755) == 0)
        return sync_parent(io, path, err);
    int error = errno;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return STATUS_OK;
    if (error == EEXIST)
        return err_set(err, STATUS_IO, "%s exists and is not a directory", path);
    return io_error(err, "mkdir", path, error);
}

enum status io_make_dirs(struct io *io, const char *path, struct err *err)
{
    char partial[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof partial)
        return err_set(err, STATUS_TOO_LARGE, "directory name of %zu bytes: 1 to %d are possible",
                       len, PATH_MAX - 1);
    memcpy(partial, path, len + 1);
    for (char *p = partial + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        TRY(dir_ensure(io, partial, err));
        *p = '/';
    }
    return dir_ensure(io, partial, err);
}

bool io_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum status io_join(char *out, size_t size, const char *dir, const char *name, struct err *err)
{
    size_t len = strlen(dir);
    const char *slash = len == 0 || dir[len - 1] == '/' ? "" : "/";
    int needed = snprintf(out, size, "%s%s%s", dir, slash, name);
    if (needed < 0 || (size_t)needed >= size)
        return err_set(err, STATUS_TOO_LARGE, "path %.200s/%.100s is longer than %zu bytes", dir,
                       name, size);
    return STATUS_OK;
}
