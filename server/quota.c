/* See quota.h. Four tables of buckets behind one mutex, which is never held while the store is
 * asked. */
#include "server/quota.h"
#include "api/base/clock.h"
#include "server/buckets.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DAY_S = 24 * 60 * 60,
    PLACES = 4096,
    UPLOADS = 1000, /* at once, */
    UPLOADS_PER_DAY = 10000,
    STRANGER = 120, /* calls at once, */
    STRANGER_PER_S = 2,
    GUESSES = 10, /* at once, */
    GUESSES_PER_HOUR = 60,
};

struct quota {
    struct store *store;
    int64_t bytes_per_day;
    pthread_mutex_t lock; /* guards the tables */
    struct buckets *uploads, *bytes, *strangers, *guesses;
};

enum status quota_create(struct store *store, int64_t device_bytes_per_day, struct quota **out,
                         struct err *err)
{
    struct quota *quota = calloc(1, sizeof *quota);
    if (!quota)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    quota->store = store;
    quota->bytes_per_day = device_bytes_per_day;
    pthread_mutex_init(&quota->lock, NULL);
    double bytes = (double)device_bytes_per_day;
    enum status status =
        buckets_create(PLACES, UPLOADS, (double)UPLOADS_PER_DAY / DAY_S, &quota->uploads, err);
    if (status == STATUS_OK)
        status = buckets_create(PLACES, bytes, bytes / DAY_S, &quota->bytes, err);
    if (status == STATUS_OK)
        status = buckets_create(PLACES, STRANGER, STRANGER_PER_S, &quota->strangers, err);
    if (status == STATUS_OK)
        status = buckets_create(PLACES, GUESSES, GUESSES_PER_HOUR / 3600.0, &quota->guesses, err);
    if (status == STATUS_OK)
        *out = quota;
    else
        quota_destroy(quota);
    return status;
}

void quota_destroy(struct quota *quota)
{
    if (!quota)
        return;
    buckets_destroy(quota->uploads);
    buckets_destroy(quota->bytes);
    buckets_destroy(quota->strangers);
    buckets_destroy(quota->guesses);
    pthread_mutex_destroy(&quota->lock);
    free(quota);
}

static enum status wait_say(struct http_request *request, int64_t wait_s, const char *what,
                            struct err *err)
{
    char text[24];
    if (!wait_s)
        return STATUS_OK;
    snprintf(text, sizeof text, "%" PRId64, wait_s);
    http_reply_header(request, "Retry-After", text);
    return err_set(err, STATUS_BUSY, "%s; try again in %" PRId64 " s", what, wait_s);
}

/* ---- addresses ---- */

/* Whoever has one IPv6 address has its /64. */
static void address_key(const char *address, char out[PEER_TEXT])
{
    struct in6_addr six;
    snprintf(out, PEER_TEXT, "%s", address);
    if (inet_pton(AF_INET6, address, &six) != 1)
        return;
    memset(&six.s6_addr[8], 0, 8);
    inet_ntop(AF_INET6, &six, out, PEER_TEXT);
}

static int64_t address_take(struct quota *quota, struct buckets *buckets, const char *address)
{
    char key[PEER_TEXT];
    address_key(address, key);
    pthread_mutex_lock(&quota->lock);
    int64_t wait_s = buckets_take(buckets, key, 1, clock_monotonic_ms());
    pthread_mutex_unlock(&quota->lock);
    return wait_s;
}

enum status quota_stranger(struct quota *quota, struct http_request *request, struct err *err)
{
    return wait_say(request, address_take(quota, quota->strangers, request->address),
                    "too many calls from this address without a valid token", err);
}

enum status quota_guess(struct quota *quota, struct http_request *request, struct err *err)
{
    return wait_say(request, address_take(quota, quota->guesses, request->address),
                    "too many wrong codes from this address", err);
}

void quota_guess_right(struct quota *quota, const struct http_request *request)
{
    char key[PEER_TEXT];
    address_key(request->address, key);
    pthread_mutex_lock(&quota->lock);
    buckets_give(quota->guesses, key, 1, clock_monotonic_ms());
    pthread_mutex_unlock(&quota->lock);
}

/* ---- devices ---- */

/* A device that is new here, or was away for long, begins with what the store has of its day. */
static enum status device_load(struct quota *quota, const char *device, struct err *err)
{
    struct store_usage usage;
    pthread_mutex_lock(&quota->lock);
    bool known = buckets_know(quota->bytes, device);
    pthread_mutex_unlock(&quota->lock);
    if (known)
        return STATUS_OK;
    int64_t since_ms = clock_wall_ms() - (int64_t)DAY_S * 1000;
    TRY(store_usage(quota->store, device, since_ms, &usage, err));
    pthread_mutex_lock(&quota->lock);
    if (!buckets_know(quota->bytes, device))
        buckets_give(quota->bytes, device, -(double)usage.bytes, clock_monotonic_ms());
    pthread_mutex_unlock(&quota->lock);
    return STATUS_OK;
}

static enum status device_say(struct quota *quota, struct http_request *request, const char *device,
                              int64_t uploads_s, int64_t bytes_s, struct err *err)
{
    char what[200];
    if (bytes_s)
        snprintf(what, sizeof what, "device %.64s has used up its %" PRId64 " bytes of a day",
                 device, quota->bytes_per_day);
    else
        snprintf(what, sizeof what, "device %.64s uploads more than %d times a day", device,
                 UPLOADS_PER_DAY);
    return wait_say(request, bytes_s > uploads_s ? bytes_s : uploads_s, what, err);
}

enum status quota_check(struct quota *quota, struct http_request *request, const char *device,
                        struct err *err)
{
    TRY(device_load(quota, device, err));
    pthread_mutex_lock(&quota->lock);
    int64_t now = clock_monotonic_ms();
    int64_t uploads_s = buckets_wait(quota->uploads, device, now);
    int64_t bytes_s = buckets_wait(quota->bytes, device, now);
    pthread_mutex_unlock(&quota->lock);
    return device_say(quota, request, device, uploads_s, bytes_s, err);
}

enum status quota_upload(struct quota *quota, struct http_request *request, const char *device,
                         int64_t bytes, struct err *err)
{
    TRY(device_load(quota, device, err));
    pthread_mutex_lock(&quota->lock);
    int64_t now = clock_monotonic_ms();
    int64_t bytes_s = buckets_wait(quota->bytes, device, now);
    int64_t uploads_s = bytes_s ? 0 : buckets_take(quota->uploads, device, 1, now);
    if (!bytes_s && !uploads_s)
        buckets_take(quota->bytes, device, (double)bytes, now);
    pthread_mutex_unlock(&quota->lock);
    return device_say(quota, request, device, uploads_s, bytes_s, err);
}

void quota_give_back(struct quota *quota, const char *device, int64_t bytes)
{
    pthread_mutex_lock(&quota->lock);
    buckets_give(quota->bytes, device, (double)bytes, clock_monotonic_ms());
    pthread_mutex_unlock(&quota->lock);
}
