/* See watch.h. One mutex guards the list and every watch in it; shutdown(2) happens under it, and
 * watch_close comes before the descriptor is closed, so that a reused number is never hit. */
#include "api/http/watch.h"
#include "api/base/clock.h"
#include "api/wire/problem.h"
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

struct watch {
    struct watcher *watcher;
    struct watch *next, *previous;
    int fd;
    enum watch_phase phase;
    int64_t deadline_ms; /* monotonic; 0: none */
};

struct watcher {
    struct watch_limits limits;
    void (*tick)(void *ctx);
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    struct watch *first;
    bool stopping;
};

static const char too_late[] =
    "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
    "Cache-Control: no-store\r\nConnection: close\r\nContent-Length: 133\r\n\r\n"
    "{\"type\":\"" PROBLEM_BASE "timeout\",\"title\":\"timeout\",\"status\":408,"
    "\"detail\":\"the request came too slowly, or not to its end; send it again\"}\n";

/* Of a connection that nothing has come from, no request is late: a browser opens some ahead. */
static bool spoke(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || info.tcpi_bytes_received > 0;
}

/* While a request comes in, nothing goes out: the document cannot land in another answer. */
static void watch_answer(const struct watch *watch)
{
    bool late = watch->phase == WATCH_BODY || (watch->phase == WATCH_HEADERS && spoke(watch->fd));
    if (late && watch->watcher->limits.plain &&
        send(watch->fd, too_late, sizeof too_late - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* it would not have read it */
}

static void watcher_reap(struct watcher *watcher)
{
    int64_t now = clock_coarse_ms();
    for (struct watch *w = watcher->first; w; w = w->next) {
        if (!w->deadline_ms || now < w->deadline_ms)
            continue;
        watch_answer(w);
        shutdown(w->fd, SHUT_RDWR);
        w->deadline_ms = 0;
    }
}

static void *watcher_main(void *arg)
{
    struct watcher *watcher = arg;
    pthread_mutex_lock(&watcher->lock);
    while (!watcher->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        long nanoseconds = until.tv_nsec + watcher->limits.tick_ms % 1000 * 1000000L;
        until.tv_sec += watcher->limits.tick_ms / 1000 + nanoseconds / 1000000000L;
        until.tv_nsec = nanoseconds % 1000000000L;
        pthread_cond_timedwait(&watcher->wake, &watcher->lock, &until);
        watcher_reap(watcher);
        pthread_mutex_unlock(&watcher->lock);
        if (watcher->tick)
            watcher->tick(watcher->ctx);
        pthread_mutex_lock(&watcher->lock);
    }
    pthread_mutex_unlock(&watcher->lock);
    return NULL;
}

enum status watcher_create(const struct watch_limits *limits, void (*tick)(void *ctx), void *ctx,
                           struct watcher **out, struct err *err)
{
    struct watcher *watcher = calloc(1, sizeof *watcher);
    if (!watcher)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    watcher->limits = *limits;
    watcher->tick = tick;
    watcher->ctx = ctx;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&watcher->lock, NULL);
    pthread_cond_init(&watcher->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&watcher->thread, NULL, watcher_main, watcher) != 0) {
        pthread_cond_destroy(&watcher->wake);
        pthread_mutex_destroy(&watcher->lock);
        free(watcher);
        return err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
    }
    *out = watcher;
    return STATUS_OK;
}

void watcher_destroy(struct watcher *watcher)
{
    if (!watcher)
        return;
    pthread_mutex_lock(&watcher->lock);
    watcher->stopping = true;
    pthread_cond_signal(&watcher->wake);
    pthread_mutex_unlock(&watcher->lock);
    pthread_join(watcher->thread, NULL);
    pthread_cond_destroy(&watcher->wake);
    pthread_mutex_destroy(&watcher->lock);
    free(watcher);
}

struct watch *watch_open(struct watcher *watcher, int fd)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->watcher = watcher;
    watch->fd = fd;
    watch->deadline_ms = clock_coarse_ms() + watcher->limits.header_ms;
    pthread_mutex_lock(&watcher->lock);
    watch->next = watcher->first;
    if (watch->next)
        watch->next->previous = watch;
    watcher->first = watch;
    pthread_mutex_unlock(&watcher->lock);
    return watch;
}

void watch_close(struct watch *watch)
{
    if (!watch)
        return;
    struct watcher *watcher = watch->watcher;
    pthread_mutex_lock(&watcher->lock);
    if (watch->next)
        watch->next->previous = watch->previous;
    if (watch->previous)
        watch->previous->next = watch->next;
    else
        watcher->first = watch->next;
    pthread_mutex_unlock(&watcher->lock);
    free(watch);
}

static int64_t phase_ms(const struct watch_limits *limits, enum watch_phase phase, uint64_t size)
{
    switch (phase) {
    case WATCH_HEADERS:
        return limits->header_ms;
    case WATCH_IDLE:
        return limits->idle_ms;
    case WATCH_BODY:
    case WATCH_ANSWER:
        return limits->grace_ms + (int64_t)(size * 1000 / (uint64_t)limits->rate);
    case WATCH_BUSY:
        break;
    }
    return 0;
}

void watch_phase(struct watch *watch, enum watch_phase phase, uint64_t size)
{
    if (!watch)
        return;
    int64_t ms = phase_ms(&watch->watcher->limits, phase, size);
    pthread_mutex_lock(&watch->watcher->lock);
    watch->phase = phase;
    watch->deadline_ms = ms ? clock_coarse_ms() + ms : 0;
    pthread_mutex_unlock(&watch->watcher->lock);
}

void watch_received(struct watch *watch, uint64_t bytes)
{
    if (!watch)
        return;
    struct watcher *watcher = watch->watcher;
    pthread_mutex_lock(&watcher->lock);
    if (watch->deadline_ms)
        watch->deadline_ms += (int64_t)(bytes * 1000 / (uint64_t)watcher->limits.rate);
    pthread_mutex_unlock(&watcher->lock);
}

int watcher_count(struct watcher *watcher, enum watch_phase phase)
{
    int count = 0;
    pthread_mutex_lock(&watcher->lock);
    for (const struct watch *w = watcher->first; w; w = w->next)
        count += w->phase == phase;
    pthread_mutex_unlock(&watcher->lock);
    return count;
}
