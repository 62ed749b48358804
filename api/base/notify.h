/* What a service tells its supervisor: sd_notify's datagrams to the socket that NOTIFY_SOCKET names
 * (systemd.service(5), Type=notify and WatchdogSec). Our own, because the protocol is one
 * sendto(2). Without that variable every call does nothing. Not thread-safe: one thread notifies.
 */
#ifndef CDCCA_NOTIFY_H
#define CDCCA_NOTIFY_H

#include "api/base/status.h"
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    struct sockaddr_un to;
    socklen_t to_len;  /* 0: nobody listens */
    int64_t period_ms; /* half of WATCHDOG_USEC; 0: nobody waits for signs of life */
    int64_t due_ms;    /* monotonic: when the next one is */
};

/* Reads NOTIFY_SOCKET (a path, or @name: an abstract socket), WATCHDOG_USEC and WATCHDOG_PID.
 * USAGE: a value that cannot be; notify then does nothing. */
enum status notify_init(struct notify *notify, struct err *err);
/* "READY=1", "STOPPING=1": to the socket, at once. A socket that is gone is logged, no more. */
void notify_send(const struct notify *notify, const char *state);
/* From a loop that does its work: WATCHDOG=1, once a period at most. */
void notify_alive(struct notify *notify);

#endif
