/* See watchdog.h. */
#include "server/watchdog.h"

static enum status probe_run(struct store *store, void *ctx, struct err *err)
{
    (void)store, (void)ctx, (void)err;
    return STATUS_OK;
}

static void probe_done(struct write *write)
{
    struct watchdog *watchdog = write->job.ctx;
    atomic_store(&watchdog->waiting, false);
}

void watchdog_init(struct watchdog *watchdog, struct writer *writer)
{
    *watchdog = (struct watchdog){.writer = writer};
    watchdog->probe =
        (struct write){.job = {.run = probe_run, .ctx = watchdog}, .done = probe_done};
}

bool watchdog_alive(struct watchdog *watchdog)
{
    if (atomic_load(&watchdog->waiting))
        return false;
    atomic_store(&watchdog->waiting, true);
    if (writer_submit(watchdog->writer, &watchdog->probe, NULL) == STATUS_OK)
        return true;
    atomic_store(&watchdog->waiting, false);
    return false;
}
