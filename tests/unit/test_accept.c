/* The accepting thread: whom it takes, whom it lets wait, and what its end gives back. */
// links: http
#include "api/base/clock.h"
#include "api/http/accept.h"
#include "api/http/listen.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000, CLIENTS = 3 };

struct door {
    int fd, port;
    _Atomic bool open;
    _Atomic int asked, taken;
    struct accept *accept;
};

static bool room(void *ctx)
{
    struct door *door = ctx;
    atomic_fetch_add(&door->asked, 1);
    return atomic_load(&door->open);
}

static void take(void *ctx, int fd, const struct sockaddr *address, socklen_t size)
{
    struct door *door = ctx;
    (void)size;
    if (address->sa_family == AF_INET)
        atomic_fetch_add(&door->taken, 1);
    close(fd);
}

static void door_start(struct door *door, bool open)
{
    struct err err;
    char bound[LISTEN_TEXT];
    struct accept_calls calls = {.ctx = door, .room = room, .take = take};
    memset(door, 0, sizeof *door);
    atomic_store(&door->open, open);
    assert_int_equal(listen_open("127.0.0.1:0", &door->fd, bound, &err), STATUS_OK);
    door->port = (int)strtol(strrchr(bound, ':') + 1, NULL, 10);
    assert_int_equal(accept_start(door->fd, &calls, &door->accept, &err), STATUS_OK);
}

static int client_connect(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void wait_for(_Atomic int *count, int wanted)
{
    for (int64_t end = clock_monotonic_ms() + PATIENCE_MS; atomic_load(count) < wanted;) {
        assert_true(clock_monotonic_ms() < end);
        clock_sleep_ms(1);
    }
}

static void who_comes_is_taken(void **state)
{
    struct door door;
    int fds[CLIENTS];
    (void)state;
    door_start(&door, true);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_connect(door.port);
    wait_for(&door.taken, CLIENTS);
    assert_int_equal(accept_stop(door.accept), door.fd);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    close(door.fd);
}

static void who_finds_no_room_waits_for_it(void **state)
{
    struct door door;
    (void)state;
    door_start(&door, false);
    int fd = client_connect(door.port);
    wait_for(&door.asked, 2);
    assert_int_equal(atomic_load(&door.taken), 0);
    atomic_store(&door.open, true);
    wait_for(&door.taken, 1);
    accept_stop(door.accept);
    close(fd);
    close(door.fd);
}

static void the_end_gives_back_who_was_not_taken(void **state)
{
    struct door door;
    (void)state;
    door_start(&door, false);
    int fd = client_connect(door.port);
    wait_for(&door.asked, 1);
    int listen_fd = accept_stop(door.accept);
    int waiting = accept(listen_fd, NULL, NULL);
    assert_true(waiting >= 0);
    assert_int_equal(accept_stop(NULL), -1);
    close(waiting);
    close(fd);
    close(listen_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_comes_is_taken),
        cmocka_unit_test(who_finds_no_room_waits_for_it),
        cmocka_unit_test(the_end_gives_back_who_was_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
