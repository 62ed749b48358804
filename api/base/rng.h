/* Reproducible random numbers: xoshiro256** seeded by splitmix64. The same seed and stream give the
 * same numbers on every machine. Not for secrets (those come from libsodium). */
#ifndef CDCCA_RNG_H
#define CDCCA_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* (seed, stream) -> an independent generator; stream is e.g. a sample's index. */
void rng_init(struct rng *rng, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *rng);
uint32_t rng_below(struct rng *rng, uint32_t n); /* 0 .. n-1, n > 0 */
float rng_uniform(struct rng *rng);              /* [0, 1) */
float rng_range(struct rng *rng, float low, float high);
float rng_normal(struct rng *rng); /* mean 0, deviation 1 */
void rng_shuffle(struct rng *rng, int32_t *items, int n);

#endif
