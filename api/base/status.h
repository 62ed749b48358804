/* Status codes and the error text that goes with them.
 *
 * A fallible function returns enum status and, when it fails, fills a caller-owned struct err
 * (which may be NULL) with one sentence: what was wrong, where, and what would be right.
 * The values are pinned: they appear in logs, exit codes and problem documents. */
#ifndef CDCCA_STATUS_H
#define CDCCA_STATUS_H

#include <stdbool.h>

enum status {
    STATUS_OK = 0,
    /* input: the caller's bytes are wrong */
    STATUS_MALFORMED = 10,   /* not parseable, or a value out of its range */
    STATUS_SHAPE = 11,       /* sizes that do not match each other */
    STATUS_UNSUPPORTED = 12, /* well formed, but not something we handle */
    STATUS_TOO_LARGE = 13,   /* over a limit of ours */
    STATUS_NOT_FOUND = 14,
    STATUS_CONFLICT = 15, /* same name, other content; or already running */
    STATUS_USAGE = 16,    /* command line or configuration */
    /* integrity */
    STATUS_CORRUPT = 20,    /* a hash or checksum differs */
    STATUS_WRONG_BASE = 21, /* a delta or payload for another model, encoder or version */
    STATUS_DIFFERS = 22,    /* results are not those of a reference */
    /* resource */
    STATUS_NO_MEMORY = 30,
    STATUS_DISK_FULL = 31,
    STATUS_BUSY = 32, /* a bounded queue or a port is taken; try later */
    /* peer */
    STATUS_UNREACHABLE = 40,
    STATUS_TIMEOUT = 41,
    STATUS_PEER = 42, /* the peer answered, but not what it should */
    /* io */
    STATUS_IO = 50,
    /* policy */
    STATUS_REFUSED = 60, /* understood, and not allowed */
    STATUS_CANCELLED = 61,
    STATUS_UNAUTHENTICATED = 62, /* who asks is not known */
};

struct err {
    enum status code;
    char text[512];
};

/* Fills *err (may be NULL) and returns code, so that `return err_set(err, STATUS_X, "...")` works.
 */
enum status err_set(struct err *err, enum status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prepends "context: " to err->text; returns err->code (STATUS_OK if err is NULL). */
enum status err_prefix(struct err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The code's pinned name ("malformed"), its HTTP status and a program's exit status for it. */
const char *status_name(enum status code);
int status_http(enum status code);
int status_exit(enum status code);
/* Is it about what was said, rather than about the way there? Asking again does not help then. */
bool status_is_content(enum status code);

#define TRY(expression)                                                                            \
    do {                                                                                           \
        enum status try_status_ = (expression);                                                    \
        if (try_status_ != STATUS_OK)                                                              \
            return try_status_;                                                                    \
    } while (0)

#endif
