/* One line per drawing, built on the stack. On a terminal it overwrites itself five times a second;
 * into a file it is a plain line every ten seconds, so that a log stays readable. */
#include "api/base/progress.h"
#include "api/base/clock.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BAR = 24, TERMINAL_MS = 200, FILE_MS = 10000 };

void progress_start(struct progress *p, const char *label, const char *unit, int64_t total,
                    int64_t done, bool quiet)
{
    int64_t now = clock_monotonic_ms();
    *p = (struct progress){.label = label,
                           .unit = unit,
                           .total = total,
                           .done = done,
                           .started_ms = now,
                           .shown_ms = now,
                           .done_at_start = done,
                           .quiet = quiet,
                           .terminal = isatty(STDERR_FILENO) == 1};
}

static void duration_format(double seconds, char out[32])
{
    long s = seconds > 1e8 ? 100000000 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
}

static void bar_format(const struct progress *p, char out[BAR + 4])
{
    int64_t full = p->total > 0 ? p->done * BAR / p->total : 0;
    if (full > BAR)
        full = BAR;
    out[0] = '[';
    for (int i = 0; i < BAR; i++)
        out[1 + i] = i < full ? '#' : '.';
    memcpy(out + 1 + BAR, "] ", 3);
}

static void progress_draw(const struct progress *p, const char *note, bool last)
{
    double seconds = (double)(clock_monotonic_ms() - p->started_ms) / 1000;
    double made = (double)(p->done - p->done_at_start);
    double rate = seconds > 0 ? made / seconds : 0;
    double left = rate > 0 ? (double)(p->total - p->done) / rate : 0;
    char bar[BAR + 4] = "", clock[32];
    if (p->terminal)
        bar_format(p, bar);
    duration_format(last ? seconds : left, clock);
    double share = p->total > 0 ? 100.0 * (double)p->done / (double)p->total : 100;
    fprintf(stderr, "%s%s %s%5.1f%% %lld/%lld %s, %.1f/s, %s %s%s%s%s", p->terminal ? "\r" : "",
            p->label, bar, share, (long long)p->done, (long long)p->total, p->unit, rate,
            last ? "took" : "left", clock, note && *note ? ", " : "", note ? note : "",
            p->terminal ? "\033[K" : "\n");
    if (p->terminal && last)
        fputc('\n', stderr);
    fflush(stderr);
}

void progress_update(struct progress *p, int64_t done, const char *note)
{
    p->done = done;
    int64_t now = clock_monotonic_ms();
    if (p->quiet || now - p->shown_ms < (p->terminal ? TERMINAL_MS : FILE_MS))
        return;
    p->shown_ms = now;
    progress_draw(p, note, false);
}

void progress_finish(struct progress *p, const char *note)
{
    if (!p->quiet)
        progress_draw(p, note, true);
}
