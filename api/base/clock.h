/* Time. Deadlines and durations use the monotonic clock; the wall clock is only for people. */
#ifndef CDCCA_CLOCK_H
#define CDCCA_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
int64_t clock_coarse_ms(void); /* monotonic, up to 10 ms behind, for a tenth of the cost */
int64_t clock_wall_ms(void);   /* since 1970, UTC */
void clock_sleep_ms(
    int64_t ms); /* returns early on a signal, so that the caller sees its stop flag */
/* "2026-01-31T12:34:56.789Z" into out[32] */
void clock_format(int64_t wall_ms, char out[32]);
/* Exactly what clock_format writes, from 1970 on; false for anything else (30 February, too). */
bool clock_parse(const char *text, int64_t *wall_ms);

#endif
