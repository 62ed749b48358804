/* A client of one connection that sends exactly what it is told, however wrong, and tells exactly
 * what came back. What the programs of this folder share. */
#ifndef CDCCA_PEER_H
#define CDCCA_PEER_H

#include <stdbool.h>
#include <stddef.h>

/* Connects to 127.0.0.1:port, blocking. from: the own address ("127.0.0.9") or NULL. segment: the
 * largest TCP segment to offer, which keeps the other side's send buffer small; 0: as usual. A
 * failure ends the program: without a connection there is no test. */
int peer_open(int port, const char *from, int segment);
/* All of it; false when the other side has closed. */
bool peer_send(int fd, const void *data, size_t len);
/* Until the other side closes or size - 1 bytes are there: the bytes read, NUL behind them. -1: it
 * neither spoke nor closed for ms. */
long peer_read(int fd, char *answer, size_t size, int ms);

/* A field of /proc/PID/status in KiB: "VmRSS:" now, "VmHWM:" at most so far; -1: the process is
 * gone. */
long peer_memory_kb(int pid, const char *field);

/* One message of an answer: "HTTP/1.1 " status, headers, body. */
struct answer {
    int status;
    const char *head, *body; /* head: behind the status line */
    size_t head_len, body_len;
};

/* The next message of *at .. end, which *at then points behind; bodiless: the answer to HEAD.
 * False: what stands there is no whole message. */
bool answer_take(const char **at, const char *end, bool bodiless, struct answer *out);
/* Is a header line there that begins so ("Retry-After:")? Letters of either case. */
bool answer_has(const struct answer *answer, const char *begin);

#endif
