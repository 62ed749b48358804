/* A struct io over the real one whose n-th call of a kind fails, or whose reads and writes are
 * short and interrupted. Counts every call. */
#ifndef CDCCA_TEST_FAULT_IO_H
#define CDCCA_TEST_FAULT_IO_H

#include "api/base/io.h"
#include <errno.h>

enum fault_call {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_CLOSE,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_MKDIR,
    FAULT_CALLS
};

struct fault_io {
    struct io io;          /* first: what the code under test is given */
    _Atomic int countdown; /* this many calls go well, then one fails; below 0: none fails */
    int error;             /* its errno */
    _Atomic int calls[FAULT_CALLS];
    bool trickle; /* one byte at a time, every other call interrupted */
    bool interrupted;
};

static inline bool fault_hits(struct io *io, enum fault_call call)
{
    struct fault_io *fault = (struct fault_io *)(void *)io;
    fault->calls[call]++;
    if (fault->countdown < 0 || fault->countdown-- > 0)
        return false;
    errno = fault->error;
    return true;
}

static inline bool fault_trickles(struct io *io, size_t *len)
{
    struct fault_io *fault = (struct fault_io *)(void *)io;
    if (!fault->trickle)
        return false;
    *len = *len ? 1 : 0;
    fault->interrupted = !fault->interrupted;
    errno = EINTR;
    return fault->interrupted;
}

static inline int fault_open(struct io *io, const char *path, int flags, mode_t mode)
{
    return fault_hits(io, FAULT_OPEN) ? -1 : io_posix()->open(io_posix(), path, flags, mode);
}

static inline ssize_t fault_read(struct io *io, int fd, void *data, size_t len)
{
    if (fault_hits(io, FAULT_READ) || fault_trickles(io, &len))
        return -1;
    return io_posix()->read(io_posix(), fd, data, len);
}

static inline ssize_t fault_write(struct io *io, int fd, const void *data, size_t len)
{
    if (fault_hits(io, FAULT_WRITE) || fault_trickles(io, &len))
        return -1;
    return io_posix()->write(io_posix(), fd, data, len);
}

static inline ssize_t fault_pread(struct io *io, int fd, void *data, size_t len, off_t at)
{
    if (fault_hits(io, FAULT_READ) || fault_trickles(io, &len))
        return -1;
    return io_posix()->pread(io_posix(), fd, data, len, at);
}

static inline int fault_sync(struct io *io, int fd)
{
    return fault_hits(io, FAULT_SYNC) ? -1 : io_posix()->sync(io_posix(), fd);
}

/* A close that fails has closed all the same, as on Linux. */
static inline int fault_close(struct io *io, int fd)
{
    io_posix()->close(io_posix(), fd);
    return fault_hits(io, FAULT_CLOSE) ? -1 : 0;
}

static inline int fault_rename(struct io *io, const char *from, const char *to)
{
    return fault_hits(io, FAULT_RENAME) ? -1 : io_posix()->rename(io_posix(), from, to);
}

static inline int fault_unlink(struct io *io, const char *path)
{
    return fault_hits(io, FAULT_UNLINK) ? -1 : io_posix()->unlink(io_posix(), path);
}

static inline int fault_mkdir(struct io *io, const char *path, mode_t mode)
{
    return fault_hits(io, FAULT_MKDIR) ? -1 : io_posix()->mkdir(io_posix(), path, mode);
}

static inline struct fault_io fault_io_make(int countdown, int error)
{
    struct fault_io fault = {.io = {fault_open, fault_read, fault_write, fault_sync, fault_close,
                                    fault_rename, fault_unlink, fault_mkdir, fault_pread},
                             .countdown = countdown,
                             .error = error};
    return fault;
}

#endif
