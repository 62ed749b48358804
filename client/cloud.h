/* The cloud as the agent sees it: a few calls over HTTP(S). cloud.c is the one file that knows
 * libcurl. Every answer is bounded, every wait has an end, a stop request breaks off any call.
 * Not thread-safe: each thread has its own struct cloud. */
#ifndef CDCCA_CLOUD_H
#define CDCCA_CLOUD_H

#include "api/base/hash.h"
#include "api/base/io.h"
#include "api/wire/limits.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CLOUD_TOKEN = 512 };

struct cloud;

/* Borrowed as long as the cloud lives. */
struct cloud_config {
    const char *url;        /* "http://host:port[/prefix]" or https */
    const char *device;     /* goes into User-Agent */
    const char *token_file; /* holds the bearer token, read before every call; NULL or no such file:
                               none is sent */
    const char *ca_file;    /* PEM, who vouches for the cloud; NULL: the system's authorities */
};

/* USAGE: the URL is none, or the token would travel to another machine unencrypted. */
enum status cloud_create(const struct cloud_config *config, struct cloud **out, struct err *err);
void cloud_destroy(struct cloud *cloud);
/* Calls are broken off, too, when *ending (borrowed) becomes true. */
void cloud_end_when(struct cloud *cloud, const atomic_bool *ending);
const char *cloud_url(const struct cloud *cloud);
/* Is it plain http to this very machine, as 127.0.0.0/8, ::1 or localhost? */
bool cloud_url_is_loopback(const char *url);

/* Statuses of all calls:
 *   UNREACHABLE, TIMEOUT  no whole answer; try later
 *   BUSY                  429 or 503: try later, not before cloud_retry_after_ms
 *   PEER                  another 5xx, or an answer we do not understand: try later
 *   UNAUTHENTICATED       401 or 403: try later and with patience, an operator must act first
 *   REFUSED, CONFLICT, NOT_FOUND another 4xx: the same request will not do better
 *   CANCELLED             stop_requested */
int64_t cloud_retry_after_ms(const struct cloud *cloud); /* of the last answer; 0: none */

/* POST /tokens; idempotent by the hash of the body. sent: body bytes that went out, success or not.
 */
enum status cloud_upload(struct cloud *cloud, const void *body, size_t len, const struct hash *hash,
                         int64_t *sent, struct err *err);

struct cloud_enrolment {
    char device[LIMIT_ID + 1], token[CLOUD_TOKEN];
    char root_key[CLOUD_TOKEN]; /* "" when the cloud has none */
};

/* POST /enroll; device NULL: the cloud's choice. Here REFUSED: 401 or 403, the code is no good. */
enum status cloud_enroll(struct cloud *cloud, const char *code, const char *device,
                         const char *nonce, struct cloud_enrolment *out, struct err *err);

struct cloud_release {
    int64_t version, base_version, size;
    struct hash patch; /* SHA-256 of the patch's bytes */
    bool has_set_hash;
    struct hash set_hash; /* of the trainable set after it */
};

/* GET /deltas?after=V&device=ID&wait=S: the release that goes on from `after`, of those that this
 * device may take. squash: also one that passes over versions. A cloud that knows no devices is
 * asked without. NOT_FOUND: none yet. */
enum status cloud_next_release(struct cloud *cloud, int64_t after, bool squash, int wait_s,
                               struct cloud_release *out, struct err *err);
/* GET /deltas/V/manifest (?from=, where the patch passes over versions): the envelope, at most
 * LIMIT_ENVELOPE_BYTES (TOO_LARGE), appended to out. What it says is the caller's to believe. */
enum status cloud_manifest(struct cloud *cloud, int64_t version, int64_t from, struct buf *out,
                           struct err *err);
/* GET /keys, or /keys/V: a key document's envelope, likewise. */
enum status cloud_keys(struct cloud *cloud, int64_t version, struct buf *out, struct err *err);
/* GET /deltas/V (?from=, likewise) into path: goes on by Range where the file ends, stops at
 * release->size + 1 bytes. received: bytes of this call. The caller checks size and hash. */
enum status cloud_fetch(struct cloud *cloud, struct io *io, const struct cloud_release *release,
                        const char *path, int64_t *received, struct err *err);
/* PUT /devices/ID: what this device is and runs, as JSON. */
enum status cloud_put_device(struct cloud *cloud, const void *body, size_t len, struct err *err);
/* POST /devices/ID/feedback, as JSON; hash: of the body, its idempotency key. */
enum status cloud_feedback(struct cloud *cloud, const void *body, size_t len,
                           const struct hash *hash, struct err *err);
/* POST /distill: *id is the round's. CONFLICT: one is running, or there is nothing new to learn. */
enum status cloud_distill(struct cloud *cloud, int64_t *id, struct err *err);
struct cloud_round {
    int64_t id, version; /* version: that it released, or 0 */
    char state[24];
    bool over; /* nothing more will come of it */
};

/* GET /distill/ID, or the newest round for id 0. NOT_FOUND: there is none. */
enum status cloud_round(struct cloud *cloud, int64_t id, struct cloud_round *out, struct err *err);

#endif
