/* A thread that accepts the connections of a listening socket and hands them over.
 *
 * libmicrohttpd could listen by itself, but then nothing may stop that safely: in 0.9.75,
 * MHD_quiesce_daemon() and the epoll threads race to take the listening socket out of the epoll
 * set, and whoever comes second aborts the process. So the library never has that socket. */
#ifndef CDCCA_ACCEPT_H
#define CDCCA_ACCEPT_H

#include "api/base/status.h"
#include <stdbool.h>
#include <sys/socket.h>

struct accept_calls {
    void *ctx;
    bool (*room)(void *ctx); /* for one more? Those who come meanwhile wait in the backlog */
    /* Takes over the connection, a non-blocking socket, whatever comes of it. */
    void (*take)(void *ctx, int fd, const struct sockaddr *address, socklen_t size);
};

struct accept;

/* Borrows the socket until accept_stop, and makes it non-blocking. */
enum status accept_start(int listen_fd, const struct accept_calls *calls, struct accept **out,
                         struct err *err);
/* Stops and joins the thread, frees all of it, and gives back the socket, still listening. -1 for
 * NULL. */
int accept_stop(struct accept *accept);

#endif
