/* See notify.h. What cannot be sent is logged and no error: its absence is the message. */
#include "api/base/notify.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum status address_read(struct notify *notify, const char *name, struct err *err)
{
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof notify->to.sun_path)
        return err_set(err, STATUS_USAGE,
                       "NOTIFY_SOCKET is \"%.120s\"; a path from / or a name after @ is right",
                       name);
    notify->to.sun_family = AF_UNIX;
    memcpy(notify->to.sun_path, name, len + 1);
    if (name[0] == '@')
        notify->to.sun_path[0] = '\0';
    notify->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return STATUS_OK;
}

/* WATCHDOG_PID names who is meant; a child of that process inherits the variables all the same. */
static enum status period_read(struct notify *notify, struct err *err)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    char *end = NULL;
    if (!usec || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
        return STATUS_OK;
    errno = 0;
    long long value = strtoll(usec, &end, 10);
    if (errno || *end || value <= 0)
        return err_set(err, STATUS_USAGE,
                       "WATCHDOG_USEC is \"%.40s\"; a positive number of microseconds is right",
                       usec);
    notify->period_ms = value / 2000 > 0 ? value / 2000 : 1;
    return STATUS_OK;
}

enum status notify_init(struct notify *notify, struct err *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){0};
    if (!name || !name[0])
        return STATUS_OK;
    enum status status = address_read(notify, name, err);
    if (status == STATUS_OK)
        status = period_read(notify, err);
    if (status != STATUS_OK)
        *notify = (struct notify){0};
    return status;
}

void notify_send(const struct notify *notify, const char *state)
{
    if (!notify->to_len)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ssize_t sent = -1;
    if (fd >= 0)
        sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *)&notify->to, notify->to_len);
    if (sent < 0)
        log_line(LOG_WARN, "notify", "cannot send %s: %s", state, strerror(errno));
    if (fd >= 0)
        close(fd);
}

void notify_alive(struct notify *notify)
{
    int64_t now = clock_monotonic_ms();
    if (!notify->period_ms || now < notify->due_ms)
        return;
    notify_send(notify, "WATCHDOG=1");
    notify->due_ms = now + notify->period_ms;
}
