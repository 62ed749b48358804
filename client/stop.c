/* The stop flag and its signal handlers; see stop.h. */
#include "client/stop.h"
#include "api/base/clock.h"
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

enum { STOP_STEP_MS = 50 };

static atomic_bool stopping;

static void stop_on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store(&stopping, true);
}

void stop_install(void)
{
    struct sigaction action = {.sa_handler = stop_on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

void stop_request(void)
{
    atomic_store(&stopping, true);
}

void stop_clear(void)
{
    atomic_store(&stopping, false);
}

bool stop_requested(void)
{
    return atomic_load(&stopping);
}

bool stop_sleep_ms(int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    while (!stop_requested()) {
        int64_t left = until - clock_monotonic_ms();
        if (left <= 0)
            return false;
        clock_sleep_ms(left < STOP_STEP_MS ? left : STOP_STEP_MS);
    }
    return true;
}
