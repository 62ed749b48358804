/* See listen.h. Numeric addresses alone: a server's address should not depend on a resolver. */
#include "api/http/listen.h"
#include "api/base/clock.h"
#include "api/http/peer.h"
#include "api/wire/problem.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 511, LINGER_MS = 500 };

static enum status address_bad(const char *address, struct err *err)
{
    return err_set(err, STATUS_USAGE,
                   "\"%.100s\" is no address to listen on; right is for example 127.0.0.1:8080, "
                   "[::1]:8080 or :8080",
                   address);
}

/* Splits host and port; host keeps no brackets and is empty for ":8080". */
static bool address_split(const char *address, char host[64], char port[8])
{
    const char *colon = strrchr(address, ':');
    if (!colon || strlen(colon + 1) < 1 || strlen(colon + 1) > 5)
        return false;
    size_t len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len)) {
        return false;
    }
    if (len >= 64 || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strtol(colon + 1, NULL, 10) > 65535)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return true;
}

static enum status bind_failed(const char *address, int error, struct err *err)
{
    if (error == EADDRINUSE)
        return err_set(err, STATUS_BUSY,
                       "%s is in use by another program; stop it or choose another with --listen",
                       address);
    return err_set(err, STATUS_IO, "cannot listen on %s: %s", address, strerror(error));
}

static void bound_text(int fd, char bound[LISTEN_TEXT])
{
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    char host[64] = "", port[8] = "";
    if (getsockname(fd, (struct sockaddr *)&name, &len) == 0)
        getnameinfo((struct sockaddr *)&name, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(bound, LISTEN_TEXT, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static int socket_bind(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

enum status listen_check(const char *address, struct err *err)
{
    char host[64], port[8];
    return address_split(address, host, port) ? STATUS_OK : address_bad(address, err);
}

enum status listen_open(const char *address, int *fd, char bound[LISTEN_TEXT], struct err *err)
{
    char host[64], port[8];
    if (!address_split(address, host, port))
        return address_bad(address, err);
    struct addrinfo hints = {.ai_family = host[0] ? AF_UNSPEC : AF_INET,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *info = NULL;
    if (getaddrinfo(host[0] ? host : NULL, port, &hints, &info) != 0 || !info)
        return address_bad(address, err);
    *fd = socket_bind(info);
    int error = errno;
    freeaddrinfo(info);
    if (*fd < 0)
        return bind_failed(address, error, err);
    bound_text(*fd, bound);
    return STATUS_OK;
}

/* ---- the end of a listening socket ---- */

static const char stopping[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    "Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
    "{\"type\":\"" PROBLEM_BASE "busy\",\"title\":\"busy\",\"status\":503,"
    "\"detail\":\"the service is stopping; try again\"}\n";

/* A socket closed with bytes unread resets the peer, who may lose the answer: so they are read. */
static bool peer_closed(int fd)
{
    char waste[4096];
    ssize_t n;
    while ((n = recv(fd, waste, sizeof waste, MSG_DONTWAIT)) > 0)
        ;
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

void listen_close(int listen_fd)
{
    int fds[BACKLOG + 1], count = 0, fd;
    while (count <= BACKLOG && (fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        if (send(fd, stopping, sizeof stopping - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            shutdown(fd, SHUT_WR);
        fds[count++] = fd;
    }
    close(listen_fd); /* at once: whoever connects from now on is refused, not reset */
    for (int64_t end = clock_monotonic_ms() + LINGER_MS; count > 0;) {
        bool over = clock_monotonic_ms() >= end;
        for (int i = count - 1; i >= 0; i--)
            if (over || peer_closed(fds[i])) {
                close(fds[i]);
                fds[i] = fds[--count];
            }
        clock_sleep_ms(count > 0 ? 5 : 0);
    }
}

enum status listen_is_loopback(const char *address, bool *out, struct err *err)
{
    char host[64], port[8], plain[PEER_TEXT];
    *out = false;
    if (!address_split(address, host, port))
        return address_bad(address, err);
    if (!host[0] || strchr(host, '%')) /* every address; a link's own */
        return STATUS_OK;
    if (!peer_parse(host, plain))
        return address_bad(address, err);
    *out = peer_is_loopback(plain);
    return STATUS_OK;
}
