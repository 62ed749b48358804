/* Device time and the day's budget of bytes.
 *
 * Device time is seconds of service: it advances with the monotonic clock while the agent runs, and
 * over a pause with the wall clock, by METER_PAUSE_S at most. So a clock that starts at 1970, jumps
 * ten years ahead or steps back an hour moves neither an upload's age nor the end of a day by more
 * than that. A day is 86,400 such seconds.
 *
 * The day's bytes are written to DATA/meter.json before they are sent: a kill cannot spend them
 * twice. Only on a full disk, where sending is what makes room, they are kept in memory alone.
 * Thread-safe. */
#ifndef CDCCA_METER_H
#define CDCCA_METER_H

#include "api/base/io.h"

enum { METER_DAY_S = 86400, METER_PAUSE_S = 86400 };

struct meter_clock { /* milliseconds; meter_real_clock for all but tests */
    int64_t (*monotonic_ms)(void);
    int64_t (*wall_ms)(void);
};
struct meter_clock meter_real_clock(void);

struct meter;

/* Goes on where DATA/meter.json ends; a damaged one is reported and begins anew. daily_bytes 0: no
 * budget. */
enum status meter_open(struct io *io, const char *data_dir, struct meter_clock clock,
                       uint64_t daily_bytes, struct meter **out, struct err *err);
/* Saves; NULL is fine. */
void meter_close(struct meter *meter);

int64_t meter_now_s(struct meter *meter);
/* Bytes that may still go today; UINT64_MAX without a budget. */
uint64_t meter_left(struct meter *meter);
/* Takes bytes of today's budget, durably when there is one. BUSY: more than are left. */
enum status meter_take(struct meter *meter, uint64_t bytes, struct err *err);
/* Of those taken, so many were not sent after all. */
void meter_give_back(struct meter *meter, uint64_t bytes);
/* Saves when the last time was over a minute ago. */
void meter_tick(struct meter *meter);

#endif
