/* Slow clients: net_slow PORT SERVICE_PID COUNT
 *
 * COUNT connections from 50 loopback addresses, a third each that trickles headers, a body, or
 * reads its answers by the byte. Beside them a good client that asks for /healthz on new
 * connections, all the time. Ends when the service has dropped every trickler: it has as many
 * descriptors as before. Holds that this comes to pass, that the good client is always answered,
 * and that the service's memory grew by less than 64 MiB; prints the good client's times. */
#include "api/base/clock.h"
#include "peer.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    COUNT_MAX = 4096,
    ADDRESSES = 50,
    PIPELINED = 200, /* requests of a reader: more than its buffers hold */
    SEGMENT = 536,   /* keeps the service's send buffer small */
    STEP_MS = 300,   /* between two bytes */
    PATIENCE_MS = 150000,
    GOOD_MS = 50, /* between two requests of the good client */
    TIMES_MAX = 20000,
    GROWTH_KB = 64 << 10
};

enum kind { SLOW_HEADERS, SLOW_BODY, SLOW_READER, KINDS };

struct good {
    int port;
    atomic_bool ending;
    int count, failed;
    int64_t ms[TIMES_MAX];
};

/* ---- the service, seen from outside ---- */

static int descriptors(int pid)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

/* ---- tricklers ---- */

static int trickler_open(int port, int i)
{
    static const char *const begin[KINDS] = {
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: ",
        ("POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
         "Content-Length: 1000000\r\n\r\n{"),
        "GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n"};
    char from[32];
    enum kind kind = (enum kind)(i % KINDS);
    snprintf(from, sizeof from, "127.0.0.%d", 2 + i % ADDRESSES);
    int fd = peer_open(port, from, kind == SLOW_READER ? SEGMENT : 0);
    for (int n = kind == SLOW_READER ? PIPELINED : 1; n > 0; n--)
        peer_send(fd, begin[kind], strlen(begin[kind]));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* One byte more, in or out; what comes of it does not matter. */
static void trickle(int fd, int i)
{
    char byte = 'a';
    if (i % KINDS == SLOW_READER)
        (void)!recv(fd, &byte, 1, 0);
    else
        (void)!send(fd, &byte, 1, MSG_NOSIGNAL);
}

/* ---- the good client ---- */

static void *good_run(void *arg)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct good *good = arg;
    char text[4096];
    while (!atomic_load(&good->ending) && good->count < TIMES_MAX) {
        int64_t start = clock_monotonic_ms();
        int fd = peer_open(good->port, NULL, 0);
        peer_send(fd, request, strlen(request));
        long got = peer_read(fd, text, sizeof text, PATIENCE_MS);
        good->failed += got <= 0 || strncmp(text, "HTTP/1.1 200 ", 13) != 0;
        close(fd);
        good->ms[good->count++] = clock_monotonic_ms() - start;
        clock_sleep_ms(GOOD_MS);
    }
    return NULL;
}

static int ms_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void good_report(struct good *good)
{
    qsort(good->ms, (size_t)good->count, sizeof *good->ms, ms_compare);
    printf("good client: %d requests, %d failed, p50 %lld ms, p99 %lld ms, longest %lld ms\n",
           good->count, good->failed, (long long)good->ms[good->count / 2],
           (long long)good->ms[good->count * 99 / 100], (long long)good->ms[good->count - 1]);
}

/* ---- all together ---- */

struct run {
    int pid, count, fd[COUNT_MAX];
    int before, left; /* the service's descriptors */
    long peak_kb;
};

static void run_trickle(struct run *run)
{
    int64_t start = clock_monotonic_ms();
    do {
        for (int i = 0; i < run->count; i++)
            trickle(run->fd[i], i);
        clock_sleep_ms(STEP_MS);
        long kb = peer_memory_kb(run->pid, "VmRSS:");
        run->peak_kb = kb > run->peak_kb ? kb : run->peak_kb;
        run->left = descriptors(run->pid) - run->before;
    } while (run->left > 1 &&
             clock_monotonic_ms() - start < PATIENCE_MS); /* 1: the good client's */
    printf("%d tricklers, %d left after %lld s\n", run->count, run->left > 1 ? run->left : 0,
           (long long)(clock_monotonic_ms() - start) / 1000);
}

int main(int argc, char **argv)
{
    static struct run run;
    static struct good good;
    struct rlimit files = {0};
    pthread_t thread;
    if (argc != 4 || (run.count = atoi(argv[3])) > COUNT_MAX)
        return fprintf(stderr, "usage: net_slow PORT SERVICE_PID COUNT\n"), 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.pid = atoi(argv[2]);
    run.before = descriptors(run.pid);
    long before_kb = peer_memory_kb(run.pid, "VmRSS:");
    good.port = atoi(argv[1]);
    for (int i = 0; i < run.count; i++)
        run.fd[i] = trickler_open(good.port, i);
    if (pthread_create(&thread, NULL, good_run, &good) != 0)
        return 1;
    run_trickle(&run);
    atomic_store(&good.ending, true);
    pthread_join(thread, NULL);
    good_report(&good);
    printf("memory: %ld KiB, %+ld at most\n", before_kb, run.peak_kb - before_kb);
    bool held = run.left <= 1 && good.failed == 0 && run.peak_kb - before_kb < GROWTH_KB;
    return held ? 0 : 1;
}
