/* raw_http HOST PORT [--slow MS] [--timeout MS] < REQUEST: sends the bytes as they are (with --slow
 * one at a time, MS apart) and prints what comes back until the peer closes or the time is over.
 * Exit status 0: the peer closed; 3: it was still open at the end. */
#include "api/base/clock.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct raw {
    int fd;
    long slow_ms;
    int64_t deadline_ms;
};

static int raw_connect(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    return fd;
}

/* Prints what has come; 0: the peer closed, 1: not yet, waits at most ms. */
static int raw_receive(const struct raw *raw, int ms)
{
    char buffer[4096];
    struct pollfd ready = {.fd = raw->fd, .events = POLLIN};
    if (poll(&ready, 1, ms) <= 0)
        return 1;
    ssize_t n = read(raw->fd, buffer, sizeof buffer);
    if (n <= 0)
        return 0;
    fwrite(buffer, 1, (size_t)n, stdout);
    return 1;
}

/* False: the peer closed before all was sent. */
static int raw_send(const struct raw *raw, const char *data, size_t len)
{
    size_t step = raw->slow_ms ? 1 : len;
    for (size_t at = 0; at < len && clock_monotonic_ms() < raw->deadline_ms; at += step) {
        if (send(raw->fd, data + at, step, MSG_NOSIGNAL) < 0)
            return 0;
        if (raw->slow_ms && !raw_receive(raw, (int)raw->slow_ms))
            return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    static char request[1 << 20];
    struct raw raw = {.deadline_ms = clock_monotonic_ms() + 5000};
    if (argc < 3)
        return fprintf(stderr, "usage: raw_http HOST PORT [--slow MS] [--timeout MS]\n"), 2;
    for (int i = 3; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--slow") == 0)
            raw.slow_ms = atol(argv[i + 1]);
        else
            raw.deadline_ms = clock_monotonic_ms() + atol(argv[i + 1]);
    }
    raw.fd = raw_connect(argv[1], argv[2]);
    if (raw.fd < 0)
        return perror("raw_http: connect"), 1;
    size_t len = fread(request, 1, sizeof request, stdin);
    int open = raw_send(&raw, request, len);
    while (open && clock_monotonic_ms() < raw.deadline_ms)
        open = raw_receive(&raw, 50);
    close(raw.fd);
    return open ? 3 : 0;
}
