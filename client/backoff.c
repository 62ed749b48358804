/* Exponential backoff with jitter; see backoff.h. */
#include "client/backoff.h"

void backoff_init(struct backoff *backoff, uint64_t seed)
{
    backoff->failures = 0;
    backoff->last_ms = BACKOFF_LAST_MS;
    rng_init(&backoff->rng, seed, 0x6261636bu);
}

int64_t backoff_next(struct backoff *backoff, int64_t at_least_ms)
{
    int64_t range = BACKOFF_FIRST_MS;
    for (int i = 0; i < backoff->failures && range < backoff->last_ms; i++)
        range *= 2;
    if (range > backoff->last_ms)
        range = backoff->last_ms;
    if (backoff->failures < 30)
        backoff->failures++;
    int64_t wait = range / 2 + (int64_t)rng_below(&backoff->rng, (uint32_t)(range / 2) + 1);
    return wait > at_least_ms ? wait : at_least_ms;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->failures = 0;
}
