/* xoshiro256** 1.0 (Blackman and Vigna, prng.di.unimi.it), its state filled by splitmix64. */
#include "api/base/rng.h"
#include <math.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The stream passes through splitmix64 by itself first: (1, 2) and (2, 1) have nothing in common.
 */
void rng_init(struct rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed ^ splitmix64(&stream);
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix64(&x);
}

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s = rng->s, t = s[1] << 17;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire's multiply-and-reject: no bias, hardly ever a division. */
uint32_t rng_below(struct rng *rng, uint32_t n)
{
    uint64_t m = (rng_u64(rng) >> 32) * n;
    if ((uint32_t)m < n) {
        uint32_t floor = (uint32_t)-n % n;
        while ((uint32_t)m < floor)
            m = (rng_u64(rng) >> 32) * n;
    }
    return (uint32_t)(m >> 32);
}

float rng_uniform(struct rng *rng)
{
    return (float)(rng_u64(rng) >> 40) * 0x1p-24f;
}

float rng_range(struct rng *rng, float low, float high)
{
    return low + (high - low) * rng_uniform(rng);
}

/* Box-Muller in double: after rounding to float, libm's last bit does not show. */
float rng_normal(struct rng *rng)
{
    double u = ((double)(rng_u64(rng) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(rng_u64(rng) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void rng_shuffle(struct rng *rng, int32_t *items, int n)
{
    for (int i = n - 1; i > 0; i--) {
        uint32_t j = rng_below(rng, (uint32_t)i + 1);
        int32_t t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}
