/* A progress bar for long work: a line that redraws itself on a terminal (bar, share, rate, time
 * left), and a plain line every few seconds when stderr is a file. */
#ifndef CDCCA_PROGRESS_H
#define CDCCA_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label, *unit;
    int64_t total, done, started_ms, shown_ms, done_at_start;
    bool quiet, terminal;
};

/* label and unit are borrowed; done: where a resumed job stands. */
void progress_start(struct progress *p, const char *label, const char *unit, int64_t total,
                    int64_t done, bool quiet);
/* note: extra text such as "loss 0.412"; may be NULL. Draws at most a few times a second. */
void progress_update(struct progress *p, int64_t done, const char *note);
void progress_finish(struct progress *p, const char *note);

#endif
