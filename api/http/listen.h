/* A listening TCP socket from "127.0.0.1:8080", "[::1]:8080" or ":8080" (every address). */
#ifndef CDCCA_LISTEN_H
#define CDCCA_LISTEN_H

#include "api/base/status.h"

enum { LISTEN_TEXT = 80 };

/* *fd: the socket; bound: "127.0.0.1:43211", the address as it came out (port 0 takes a free one).
 * STATUS_USAGE: not such an address; STATUS_BUSY: the port is taken. */
enum status listen_open(const char *address, int *fd, char bound[LISTEN_TEXT], struct err *err);
/* Can only this machine reach it? bound: as listen_open gives it. */
_Bool listen_loopback(const char *bound);
/* Is it such an address? Opens nothing. */
enum status listen_check(const char *address, struct err *err);
/* Closes a listening socket. Those who are connected but were not accepted yet are told 503, in
 * plain HTTP, instead of being reset by the kernel. Takes half a second at most. */
void listen_close(int listen_fd);

#endif
