/* A listening TCP socket from "127.0.0.1:8080", "[::1]:8080" or ":8080" (every address). */
#ifndef CDCCA_LISTEN_H
#define CDCCA_LISTEN_H

#include "api/base/status.h"
#include <stdbool.h>

enum { LISTEN_TEXT = 80 };

/* *fd: the socket; bound: "127.0.0.1:43211", the address as it came out (port 0 takes a free one).
 * STATUS_USAGE: not such an address; STATUS_BUSY: the port is taken. */
enum status listen_open(const char *address, int *fd, char bound[LISTEN_TEXT], struct err *err);

/* Does such an address lie on this machine alone? STATUS_USAGE likewise. */
enum status listen_is_loopback(const char *address, bool *out, struct err *err);

#endif
