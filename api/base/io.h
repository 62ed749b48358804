/* The io seam: every file operation of the store, the spool, the slots and the loaders goes through
 * a struct io, so that tests can make any call fail, be short, or be lost. io_posix is the real
 * one. (In the spirit of Redis' rio: one tiny interface that files and fault injection plug into.)
 */
#ifndef CDCCA_IO_H
#define CDCCA_IO_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct io {
    int (*open)(struct io *io, const char *path, int flags, mode_t mode); /* as open(2) */
    ssize_t (*read)(struct io *io, int fd, void *data, size_t len);
    ssize_t (*write)(struct io *io, int fd, const void *data, size_t len);
    int (*sync)(struct io *io, int fd); /* fdatasync; fsync for a directory */
    int (*close)(struct io *io, int fd);
    int (*rename)(struct io *io, const char *from, const char *to);
    int (*unlink)(struct io *io, const char *path);
    int (*mkdir)(struct io *io, const char *path, mode_t mode);
    ssize_t (*pread)(struct io *io, int fd, void *data, size_t len, off_t at);
};

struct io *io_posix(void);

/* Whole regular file into *out (out->max bounds it; FIFOs and directories are refused). */
enum status io_read_file(struct io *io, const char *path, struct buf *out, struct err *err);
/* Durable and atomic: path.tmp, write, sync, rename, sync of the directory. Never a torn file. */
enum status io_write_file(struct io *io, const char *path, const void *data, size_t len,
                          struct err *err);
/* The same for what its owner alone may read. */
enum status io_write_secret(struct io *io, const char *path, const void *data, size_t len,
                            struct err *err);
/* Opens a regular file for io_read_at; *size is what it has now. Close with io->close. */
enum status io_open_file(struct io *io, const char *path, int *fd, uint64_t *size, struct err *err);
/* Exactly len bytes from `at` on. STATUS_MALFORMED: the file ends before, as one that was cut after
 * it was opened. path is for the error. */
enum status io_read_at(struct io *io, int fd, const char *path, uint64_t at, void *data, size_t len,
                       struct err *err);
/* A file that is written piece by piece, durable and atomic as io_write_file: to path.tmp, which
 * io_finish syncs and renames and io_abandon removes. *fd is -1 after either. */
enum status io_create(struct io *io, const char *path, int *fd, struct err *err);
enum status io_append(struct io *io, int fd, const char *path, const void *data, size_t len,
                      struct err *err);
enum status io_finish(struct io *io, int *fd, const char *path, struct err *err);
void io_abandon(struct io *io, int *fd, const char *path);
/* mkdir -p; what it makes is durable */
enum status io_make_dirs(struct io *io, const char *path, struct err *err);
bool io_exists(const char *path);
/* "dir/name" into out; STATUS_TOO_LARGE if it does not fit. */
enum status io_join(char *out, size_t size, const char *dir, const char *name, struct err *err);
/* errno -> STATUS_NOT_FOUND / STATUS_DISK_FULL / STATUS_IO with "verb path: reason". */
enum status io_error(struct err *err, const char *verb, const char *path, int error);

#endif
