/* Waiting for a cloud that is away; see away.h. */
#include "client/away.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "client/stop.h"
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { AWAY_SAY_MS = 60000, AWAY_STEP_MS = 100 };

void away_init(struct away *away, struct board *board, const char *part)
{
    *away = (struct away){.board = board, .part = part};
    backoff_init(&away->backoff, (uint64_t)clock_wall_ms() ^ ((uint64_t)getpid() << 32) ^
                                     (uint64_t)(unsigned char)part[0]);
}

static void away_set(struct away *away, const char *state)
{
    struct board_fields *fields = board_lock(away->board);
    snprintf(fields->cloud, sizeof fields->cloud, "%s", state);
    board_unlock(away->board);
}

static void away_say(struct away *away, const struct err *why)
{
    char text[sizeof why->text + 80];
    int64_t now = clock_monotonic_ms();
    away_set(away, "away");
    if (away->since_ms && now - away->said_ms < AWAY_SAY_MS)
        return;
    if (away->since_ms)
        snprintf(text, sizeof text, "still no luck after %" PRId64 " s: %s",
                 (now - away->since_ms) / 1000, why->text);
    else
        snprintf(text, sizeof text, "%s (trying again, answers go on)", why->text);
    board_note_error(away->board, away->part, text);
    away->said_ms = now;
    if (!away->since_ms)
        away->since_ms = now;
}

void away_wait(struct away *away, const struct err *why, int64_t at_least_ms,
               const atomic_bool *ending)
{
    away_say(away, why);
    int64_t until = clock_monotonic_ms() + backoff_next(&away->backoff, at_least_ms);
    while (!atomic_load(ending) && clock_monotonic_ms() < until)
        if (stop_sleep_ms(AWAY_STEP_MS))
            return;
}

void away_back(struct away *away)
{
    backoff_reset(&away->backoff);
    away_set(away, "reachable");
    if (!away->since_ms)
        return;
    log_line(LOG_INFO, away->part, "the cloud answers again after %" PRId64 " s",
             (clock_monotonic_ms() - away->since_ms) / 1000);
    away->since_ms = 0;
}
