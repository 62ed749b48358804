/* See peer.h. */
#include "peer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

int peer_open(int port, const char *from, int segment)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in own = {.sin_family = AF_INET};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (segment)
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (from && (inet_pton(AF_INET, from, &own.sin_addr) != 1 ||
                 bind(fd, (struct sockaddr *)&own, sizeof own) != 0))
        die(from);
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

bool peer_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

long peer_read(int fd, char *answer, size_t size, int ms)
{
    size_t len = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (len < size - 1) {
        if (poll(&ready, 1, ms) <= 0)
            return -1;
        ssize_t n = read(fd, answer + len, size - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    answer[len] = '\0';
    return (long)len;
}

/* The line of head that begins so, of either case. */
static const char *line_find(const char *head, size_t len, const char *begin)
{
    size_t n = strlen(begin);
    for (const char *at = head, *end = head + len; at < end;) {
        if ((size_t)(end - at) >= n && strncasecmp(at, begin, n) == 0)
            return at + n;
        const char *next = memchr(at, '\n', (size_t)(end - at));
        at = next ? next + 1 : end;
    }
    return NULL;
}

bool answer_has(const struct answer *answer, const char *begin)
{
    return line_find(answer->head, answer->head_len, begin) != NULL;
}

static bool without_body(int status, bool bodiless)
{
    return bodiless || status / 100 == 1 || status == 204 || status == 304;
}

bool answer_take(const char **at, const char *end, bool bodiless, struct answer *out)
{
    size_t len = (size_t)(end - *at);
    if (len < 13 || strncmp(*at, "HTTP/1.", 7) != 0)
        return false;
    out->status = atoi(*at + 9);
    const char *blank = memmem(*at, len, "\r\n\r\n", 4), *line = memchr(*at, '\n', len);
    if (!blank)
        return false;
    out->head = line + 1;
    out->head_len = blank + 2 > out->head ? (size_t)(blank + 2 - out->head) : 0;
    out->body = blank + 4;
    const char *length = line_find(out->head, out->head_len, "Content-Length:");
    out->body_len = length && !without_body(out->status, bodiless) ? strtoul(length, NULL, 10) : 0;
    if (out->body_len > (size_t)(end - out->body))
        return false;
    *at = out->body + out->body_len;
    return true;
}

long peer_memory_kb(int pid, const char *field)
{
    char path[64], line[256];
    long kb = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            kb = strtol(line + strlen(field), NULL, 10);
    if (file)
        fclose(file);
    return kb;
}
