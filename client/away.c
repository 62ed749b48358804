/* Waiting for a cloud that is away; see away.h. */
#include "client/away.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "client/stop.h"
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { AWAY_SAY_MS = 60000, AWAY_STEP_MS = 100 };

void away_init(struct away *away, struct board *board, const char *part, const char *token_file)
{
    *away = (struct away){.board = board, .part = part, .token_file = token_file};
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
    away_set(away, why->code == STATUS_UNAUTHENTICATED ? "refused" : "away");
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

/* Tells one content of the token's file from the next. */
struct stamp {
    struct timespec time;
    ino_t inode;
    off_t size;
};

static struct stamp stamp_take(const struct away *away)
{
    struct stat about;
    if (!away->token_file || stat(away->token_file, &about) != 0)
        return (struct stamp){0};
    return (struct stamp){about.st_mtim, about.st_ino, about.st_size};
}

static bool stamp_differs(const struct stamp *a, const struct stamp *b)
{
    return a->time.tv_sec != b->time.tv_sec || a->time.tv_nsec != b->time.tv_nsec ||
           a->inode != b->inode || a->size != b->size;
}

void away_wait(struct away *away, const struct err *why, int64_t at_least_ms,
               const atomic_bool *ending)
{
    bool refused = why->code == STATUS_UNAUTHENTICATED;
    struct stamp before = stamp_take(away), now = before;
    away_say(away, why);
    away->backoff.last_ms = refused ? BACKOFF_PATIENT_MS : BACKOFF_LAST_MS;
    int64_t until = clock_monotonic_ms() + backoff_next(&away->backoff, at_least_ms);
    while (!atomic_load(ending) && clock_monotonic_ms() < until && !stamp_differs(&before, &now)) {
        if (stop_sleep_ms(AWAY_STEP_MS))
            return;
        if (refused)
            now = stamp_take(away);
    }
}

bool away_back(struct away *away)
{
    backoff_reset(&away->backoff);
    away_set(away, "reachable");
    if (!away->since_ms)
        return false;
    log_line(LOG_INFO, away->part, "the cloud answers again after %" PRId64 " s",
             (clock_monotonic_ms() - away->since_ms) / 1000);
    away->since_ms = 0;
    return true;
}
