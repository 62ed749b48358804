/* What fault_io.h is for files of ours, for SQLite's: the calls that it makes of the C library are
 * defined here, in the program, where the dynamic linker finds them first; the n-th fails. A sync
 * that goes well does nothing: the power stays on. Include it in one file of a test. */
#ifndef CDCCA_TEST_FAULT_DB_H
#define CDCCA_TEST_FAULT_DB_H

#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int fault_db_countdown = -1; /* this many calls go well, then one fails; below 0: none */
static int fault_db_error = EIO;
static long fault_db_calls; /* of all kinds, so far */

static bool fault_db_hits(void)
{
    fault_db_calls++;
    if (fault_db_countdown < 0 || fault_db_countdown-- > 0)
        return false;
    errno = fault_db_error;
    return true;
}

#define SEEN __attribute__((visibility("default"))) /* by the linker */

SEEN ssize_t pread64(int fd, void *data, size_t len, off_t at);
ssize_t pread64(int fd, void *data, size_t len, off_t at)
{
    return fault_db_hits() ? -1 : syscall(SYS_pread64, fd, data, len, at);
}

SEEN ssize_t pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at)
{
    return fault_db_hits() ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

SEEN int ftruncate64(int fd, off_t len);
int ftruncate64(int fd, off_t len)
{
    return fault_db_hits() ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

SEEN int fdatasync(int fd)
{
    (void)fd;
    return fault_db_hits() ? -1 : 0;
}

SEEN int fsync(int fd)
{
    (void)fd;
    return fault_db_hits() ? -1 : 0;
}

#endif
