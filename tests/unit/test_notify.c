/* What reaches the socket of NOTIFY_SOCKET, and what becomes of values that cannot be. */
// links: base
#include "api/base/clock.h"
#include "api/base/notify.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

struct supervisor {
    char name[64];
    int fd;
};

/* Binds a datagram socket under a name of ours and puts it into the environment. */
static void supervise(struct supervisor *s, bool abstract)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 5};
    snprintf(s->name, sizeof s->name, "%s/cdcca-notify-%d", abstract ? "@" : "/tmp", (int)getpid());
    memcpy(at.sun_path, s->name, strlen(s->name) + 1);
    if (abstract)
        at.sun_path[0] = '\0';
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(s->name));
    s->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    setenv("NOTIFY_SOCKET", s->name, 1);
}

static void supervise_end(struct supervisor *s)
{
    close(s->fd);
    if (s->name[0] == '/')
        unlink(s->name);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void expect_datagram(const struct supervisor *s, const char *text)
{
    char got[64] = "";
    ssize_t len = recv(s->fd, got, sizeof got - 1, 0);
    assert_int_equal(len, strlen(text));
    assert_string_equal(got, text);
}

static bool datagram_waits(const struct supervisor *s)
{
    char got[64];
    return recv(s->fd, got, sizeof got, MSG_DONTWAIT) >= 0;
}

static void states_reach_the_socket(void **state)
{
    struct supervisor s;
    struct notify notify;
    (void)state;
    for (int abstract = 0; abstract < 2; abstract++) {
        supervise(&s, abstract == 1);
        assert_int_equal(notify_init(&notify, NULL), STATUS_OK);
        notify_send(&notify, "READY=1");
        notify_send(&notify, "STOPPING=1");
        expect_datagram(&s, "READY=1");
        expect_datagram(&s, "STOPPING=1");
        supervise_end(&s);
    }
}

static void signs_of_life_come_at_half_of_the_period(void **state)
{
    struct supervisor s;
    struct notify notify;
    (void)state;
    supervise(&s, false);
    setenv("WATCHDOG_USEC", "60000000", 1);
    assert_int_equal(notify_init(&notify, NULL), STATUS_OK);
    assert_int_equal(notify.period_ms, 30000);
    notify_alive(&notify);
    notify_alive(&notify);
    expect_datagram(&s, "WATCHDOG=1");
    assert_false(datagram_waits(&s));
    notify.due_ms = clock_monotonic_ms(); /* the period has passed */
    notify_alive(&notify);
    expect_datagram(&s, "WATCHDOG=1");
    supervise_end(&s);
}

static void no_watchdog_for_another_process(void **state)
{
    struct supervisor s;
    struct notify notify;
    (void)state;
    supervise(&s, false);
    setenv("WATCHDOG_USEC", "60000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_init(&notify, NULL), STATUS_OK);
    notify_alive(&notify);
    assert_false(datagram_waits(&s));
    supervise_end(&s);
}

static void without_a_supervisor_nothing_happens(void **state)
{
    struct notify notify;
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "60000000", 1);
    assert_int_equal(notify_init(&notify, NULL), STATUS_OK);
    notify_send(&notify, "READY=1");
    assert_int_equal(notify.period_ms, 0);
    unsetenv("WATCHDOG_USEC");
}

static void values_that_cannot_be_are_told(void **state)
{
    struct notify notify;
    struct err err = {0};
    char longer[200];
    (void)state;
    memset(longer, 'a', sizeof longer - 1);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    const char *const names[] = {"relative", "@", "/", longer};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_int_equal(notify_init(&notify, &err), STATUS_USAGE);
        notify_send(&notify, "READY=1");
    }
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    const char *const periods[] = {"0", "-5", "soon", "99999999999999999999"};
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++) {
        setenv("WATCHDOG_USEC", periods[i], 1);
        assert_int_equal(notify_init(&notify, &err), STATUS_USAGE);
    }
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_init(&notify, NULL), STATUS_OK);
    notify_send(&notify, "READY=1"); /* logged, no more */
    unsetenv("NOTIFY_SOCKET");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_reach_the_socket),
        cmocka_unit_test(signs_of_life_come_at_half_of_the_period),
        cmocka_unit_test(no_watchdog_for_another_process),
        cmocka_unit_test(without_a_supervisor_nothing_happens),
        cmocka_unit_test(values_that_cannot_be_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
