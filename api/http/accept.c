/* See accept.h. One thread is enough: it only accepts, and a request costs far more than that. */
#include "api/http/accept.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PAUSE_MS = 50 };

struct accept {
    int listen_fd, stop_fd;
    struct accept_calls calls;
    pthread_t thread;
};

/* Waits for a connection, or with pause for PAUSE_MS only. false: accept_stop was called. */
static bool accept_wait(const struct accept *accept, bool pause)
{
    struct pollfd fds[2] = {{.fd = accept->stop_fd, .events = POLLIN},
                            {.fd = accept->listen_fd, .events = POLLIN}};
    poll(fds, pause ? 1 : 2, pause ? PAUSE_MS : -1);
    return !fds[0].revents;
}

/* false: not before a pause. */
static bool accept_one(const struct accept *accept)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    const struct accept_calls *calls = &accept->calls;
    if (!calls->room(calls->ctx))
        return false;
    int fd = accept4(accept->listen_fd, (struct sockaddr *)&address, &size,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) /* anything else lies in the connection, and is over with it */
        return errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS;
    calls->take(calls->ctx, fd, (struct sockaddr *)&address, size);
    return true;
}

static void *accept_main(void *ctx)
{
    const struct accept *accept = ctx;
    bool pause = false;
    while (accept_wait(accept, pause))
        pause = !pause && !accept_one(accept);
    return NULL;
}

enum status accept_start(int listen_fd, const struct accept_calls *calls, struct accept **out,
                         struct err *err)
{
    struct accept *accept = calloc(1, sizeof *accept);
    if (!accept)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    *accept = (struct accept){
        .listen_fd = listen_fd, .stop_fd = eventfd(0, EFD_CLOEXEC), .calls = *calls};
    int flags = fcntl(listen_fd, F_GETFL);
    if (accept->stop_fd >= 0 && flags >= 0 && fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
        pthread_create(&accept->thread, NULL, accept_main, accept) == 0) {
        *out = accept;
        return STATUS_OK;
    }
    if (accept->stop_fd >= 0)
        close(accept->stop_fd);
    free(accept);
    return err_set(err, STATUS_IO, "cannot start the thread that accepts connections");
}

int accept_stop(struct accept *accept)
{
    if (!accept)
        return -1;
    eventfd_write(accept->stop_fd, 1);
    pthread_join(accept->thread, NULL);
    int listen_fd = accept->listen_fd;
    close(accept->stop_fd);
    free(accept);
    return listen_fd;
}
