/* A flood of uploads: net_flood PORT SERVICE_PID PAYLOAD CONNECTIONS SECONDS [FIRST]
 *
 * CONNECTIONS clients, several times the places of the service's queue, each sending the next
 * upload as soon as the last is answered, whatever the answer asks of it. Holds that each answer is
 * 201, or 429 or 503 with Retry-After; that none is missing; that the service's memory stays below
 * 256 MiB more; that afterwards it takes uploads as always; and that it has stored as many as it
 * said. */
#include "api/base/clock.h"
#include "peer.h"
#include "upload.h"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    ANSWER_MAX = 2048,
    WAIT_MS = 1000,
    PATIENCE_MS = 60000, /* without any progress */
    AFTERWARDS = 20,
    GROWTH_KB = 256 << 10
};

struct client {
    int fd;
    char *request;
    size_t sent, got;
    bool busy;
    char answer[ANSWER_MAX];
};

struct flood {
    struct upload upload;
    struct client client[CONNECTIONS_MAX];
    struct pollfd ready[CONNECTIONS_MAX];
    int port, count, busy;
    unsigned next;
    long stored, refused, failed;
};

static void client_begin(struct flood *flood, struct client *client)
{
    upload_copy(&flood->upload, flood->next++, client->request);
    client->sent = client->got = 0;
    client->busy = true;
    flood->busy++;
}

static void client_open(struct flood *flood, struct client *client)
{
    client->fd = peer_open(flood->port, NULL, 0);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
}

static void answer_count(struct flood *flood, const struct answer *answer)
{
    bool again = answer->status == 429 || answer->status == 503;
    if (answer->status == 201) {
        flood->stored++;
    } else if (again && answer_has(answer, "Retry-After:")) {
        flood->refused++;
    } else {
        flood->failed++;
        printf("answered %d:\n%.400s\n", answer->status, answer->head);
    }
}

/* The request is over; a connection that was closed is opened anew. */
static void client_end(struct flood *flood, struct client *client, bool closed)
{
    client->busy = false;
    flood->busy--;
    if (!closed)
        return;
    close(client->fd);
    client_open(flood, client);
}

static void client_write(const struct flood *flood, struct client *client)
{
    ssize_t n = send(client->fd, client->request + client->sent, flood->upload.len - client->sent,
                     MSG_NOSIGNAL);
    client->sent += n > 0 ? (size_t)n : 0;
}

static void client_read(struct flood *flood, struct client *client)
{
    struct answer answer;
    const char *at = client->answer;
    ssize_t n = recv(client->fd, client->answer + client->got, ANSWER_MAX - 1 - client->got, 0);
    if (n <= 0) {
        printf("closed without an answer, %zu bytes of it there\n", client->got);
        flood->failed++;
        client_end(flood, client, true);
        return;
    }
    client->got += (size_t)n;
    client->answer[client->got] = '\0';
    if (!answer_take(&at, client->answer + client->got, false, &answer))
        return;
    answer_count(flood, &answer);
    client_end(flood, client, answer_has(&answer, "Connection: close"));
}

/* One look at every connection; false: nothing moved for PATIENCE_MS. */
static bool flood_step(struct flood *flood)
{
    for (int i = 0; i < flood->count; i++) {
        const struct client *client = &flood->client[i];
        bool sending = client->busy && client->sent < flood->upload.len;
        flood->ready[i] = (struct pollfd){.fd = client->busy ? client->fd : -1,
                                          .events = (short)(POLLIN | (sending ? POLLOUT : 0))};
    }
    if (poll(flood->ready, (nfds_t)flood->count, PATIENCE_MS) <= 0)
        return false;
    for (int i = 0; i < flood->count; i++) {
        if (flood->ready[i].revents & POLLOUT)
            client_write(flood, &flood->client[i]);
        if (flood->ready[i].revents & (POLLIN | POLLHUP | POLLERR))
            client_read(flood, &flood->client[i]);
    }
    return true;
}

static bool flood_run(struct flood *flood, int64_t ms)
{
    int64_t end = clock_monotonic_ms() + ms;
    do {
        for (int i = 0; i < flood->count && clock_monotonic_ms() < end; i++)
            if (!flood->client[i].busy)
                client_begin(flood, &flood->client[i]);
        if (flood->busy && !flood_step(flood))
            return false;
    } while (flood->busy || clock_monotonic_ms() < end);
    return true;
}

static void flood_open(struct flood *flood, int connections)
{
    flood->count = connections;
    for (int i = 0; i < connections; i++) {
        client_open(flood, &flood->client[i]);
        flood->client[i].request = malloc(flood->upload.len);
        if (!flood->client[i].request)
            exit(1);
    }
}

static void flood_close(struct flood *flood)
{
    for (int i = 0; i < flood->count; i++) {
        close(flood->client[i].fd);
        free(flood->client[i].request);
    }
}

/* One upload after another: each must be taken. */
static bool afterwards(struct flood *flood)
{
    long before = flood->stored;
    clock_sleep_ms(WAIT_MS);
    flood_open(flood, 1);
    for (int i = 0; i < AFTERWARDS && flood->failed == 0; i++) {
        client_begin(flood, &flood->client[0]);
        while (flood->busy)
            if (!flood_step(flood))
                return false;
    }
    flood_close(flood);
    return flood->stored == before + AFTERWARDS;
}

int main(int argc, char **argv)
{
    static struct flood flood;
    struct rlimit files = {0};
    if (argc < 6 || atoi(argv[4]) > CONNECTIONS_MAX)
        return fprintf(stderr, "usage: net_flood PORT PID PAYLOAD CONNECTIONS SECONDS [FIRST]\n"),
               2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    flood.port = atoi(argv[1]);
    upload_open(&flood.upload, argv[3]);
    flood.next = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0;
    int pid = atoi(argv[2]);
    long before = uploads_count(flood.port);
    long before_kb = peer_memory_kb(pid, "VmHWM:");
    flood_open(&flood, atoi(argv[4]));
    int64_t start = clock_monotonic_ms();
    bool moved = flood_run(&flood, atoll(argv[5]) * 1000);
    double seconds = (double)(clock_monotonic_ms() - start) / 1000;
    long grown_kb = peer_memory_kb(pid, "VmHWM:") - before_kb;
    flood_close(&flood);
    printf("%d connections, %.1f s: %ld stored (%.0f a second), %ld refused for now, %ld failed; "
           "memory %+ld KiB\n",
           flood.count, seconds, flood.stored, (double)flood.stored / seconds, flood.refused,
           flood.failed, grown_kb);
    bool after = moved && afterwards(&flood);
    long there = uploads_count(flood.port) - before;
    printf("afterwards %s; acknowledged %ld, stored %ld\n", after ? "as always" : "not as always",
           flood.stored, there);
    upload_close(&flood.upload);
    return after && flood.failed == 0 && there == flood.stored && grown_kb < GROWTH_KB ? 0 : 1;
}
