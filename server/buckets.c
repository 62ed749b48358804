/* See buckets.h. A hash table of sets of eight places; a name is kept as half of its SHA-256. */
#include "server/buckets.h"
#include "api/base/hash.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SET = 8, KEY = 16 };

struct place {
    uint8_t key[KEY];
    bool used;
    double level;
    int64_t at_ms; /* when level was true, and the name last seen */
};

struct buckets {
    double full, per_s;
    size_t sets;
    struct place place[];
};

enum status buckets_create(int places, double full, double per_s, struct buckets **out,
                           struct err *err)
{
    struct buckets *buckets =
        calloc(1, sizeof *buckets + (size_t)places * sizeof buckets->place[0]);
    if (!buckets)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    buckets->full = full;
    buckets->per_s = per_s;
    buckets->sets = (size_t)places / SET;
    *out = buckets;
    return STATUS_OK;
}

void buckets_destroy(struct buckets *buckets)
{
    free(buckets);
}

/* The first place of the name's set, and its key. */
static size_t set_find(const struct buckets *buckets, const char *name, uint8_t key[KEY])
{
    struct hash hash;
    uint64_t number;
    hash_bytes(name, strlen(name), &hash);
    memcpy(key, hash.bytes, KEY);
    memcpy(&number, hash.bytes + KEY, sizeof number);
    return (size_t)(number & (buckets->sets - 1)) * SET;
}

bool buckets_know(const struct buckets *buckets, const char *name)
{
    uint8_t key[KEY];
    const struct place *set = &buckets->place[set_find(buckets, name, key)];
    for (int i = 0; i < SET; i++)
        if (set[i].used && memcmp(set[i].key, key, KEY) == 0)
            return true;
    return false;
}

static void place_refill(const struct buckets *buckets, struct place *place, int64_t now_ms)
{
    if (now_ms <= place->at_ms) /* another thread looked at the clock later and came first */
        return;
    double seconds = (double)(now_ms - place->at_ms) / 1000.0;
    place->level = fmin(buckets->full, place->level + seconds * buckets->per_s);
    place->at_ms = now_ms;
}

/* The name's place, up to date; a new one instead of the oldest. */
static struct place *place_open(struct buckets *buckets, const char *name, int64_t now_ms)
{
    uint8_t key[KEY];
    struct place *set = &buckets->place[set_find(buckets, name, key)], *oldest = set;
    for (int i = 0; i < SET; i++) {
        if (set[i].used && memcmp(set[i].key, key, KEY) == 0) {
            place_refill(buckets, &set[i], now_ms);
            return &set[i];
        }
        if (oldest->used && (!set[i].used || set[i].at_ms < oldest->at_ms))
            oldest = &set[i];
    }
    *oldest = (struct place){.used = true, .level = buckets->full, .at_ms = now_ms};
    memcpy(oldest->key, key, KEY);
    return oldest;
}

static int64_t place_wait(const struct buckets *buckets, const struct place *place)
{
    if (place->level > 0)
        return 0;
    double seconds = ceil(-place->level / buckets->per_s);
    return seconds < 1 ? 1 : (int64_t)fmin(seconds, 1e9);
}

int64_t buckets_wait(struct buckets *buckets, const char *name, int64_t now_ms)
{
    return place_wait(buckets, place_open(buckets, name, now_ms));
}

int64_t buckets_take(struct buckets *buckets, const char *name, double units, int64_t now_ms)
{
    struct place *place = place_open(buckets, name, now_ms);
    int64_t wait = place_wait(buckets, place);
    if (!wait)
        place->level -= units;
    return wait;
}

void buckets_give(struct buckets *buckets, const char *name, double units, int64_t now_ms)
{
    struct place *place = place_open(buckets, name, now_ms);
    place->level = fmin(buckets->full, place->level + units);
}
