/* A client that sends the bytes it is told and reads what comes, without a library's opinion. It
 * takes no memory from the heap. */
#ifndef CDCCA_TEST_HTTP_CLIENT_H
#define CDCCA_TEST_HTTP_CLIENT_H

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER = 64 << 10, PATIENCE_MS = 20000 };

#define END "Host: x\r\nConnection: close\r\n\r\n"

static inline int client_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static inline void client_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

/* Reads until the peer closes (true), or for ms without a word (false). */
static inline bool client_read(int fd, char answer[ANSWER], int ms)
{
    size_t len = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    answer[0] = '\0';
    while (len < ANSWER - 1 && poll(&ready, 1, ms) > 0) {
        ssize_t n = read(fd, answer + len, ANSWER - 1 - len);
        if (n <= 0)
            return true;
        len += (size_t)n;
        answer[len] = '\0';
    }
    return false;
}

/* Reads until text has come, appending to answer; false when the peer closes or nothing comes. */
static inline bool client_await(int fd, char answer[ANSWER], const char *text)
{
    size_t len = strlen(answer);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (!strstr(answer, text)) {
        ssize_t n = len < ANSWER - 1 && poll(&ready, 1, PATIENCE_MS) > 0
                        ? read(fd, answer + len, ANSWER - 1 - len)
                        : 0;
        if (n <= 0)
            return false;
        len += (size_t)n;
        answer[len] = '\0';
    }
    return true;
}

/* One request on a connection of its own, which it asks to end; the status, 0 without one, -1 when
 * the peer neither answers nor closes. */
static inline int client_ask(int port, const char *request, char answer[ANSWER])
{
    int fd = client_connect(port);
    if (fd < 0)
        return -1;
    client_send(fd, request, strlen(request));
    bool closed = client_read(fd, answer, PATIENCE_MS);
    close(fd);
    if (!closed)
        return -1;
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

#endif
