/* Whom this device believes about releases. Root keys are pinned once: by a public key file, or, on
 * loopback http alone, by the first key document that is seen. They vouch for the key document,
 * that for the next, and the release keys in it for manifests (api/wire/keyring.h, manifest.h).
 *
 * DATA/trust.json holds the document in force and the floor: the highest sequence accepted, what
 * had it and when that was signed. It is written, durably and whole, before what it allows is used,
 * so that a kill at any moment forgets nothing. A damaged file is not replaced: without a floor an
 * old manifest would do.
 *
 * Time: the later of the wall clock and the latest time that a trusted signature names. A clock
 * that says 1970 locks nobody out, and no manifest passes that had expired when the newest thing
 * this device has seen was signed; a clock ahead refuses updates until it is right, and leaves no
 * trace. When the key that signed the floor is revoked, the floor goes with it: whoever stole it
 * may have signed sequences and times far ahead, and nothing it signed counts any more. */
#ifndef CDCCA_TRUST_H
#define CDCCA_TRUST_H

#include "api/wire/keyring.h"
#include "api/wire/manifest.h"

enum {
    TRUST_SEQUENCE_JUMP = 1 << 20, /* most that a sequence may be ahead of the floor, */
    TRUST_VERSION_JUMP = 1 << 10,  /* and a version of the active one */
    TRUST_DOCUMENTS = 1024,        /* key documents looked through in one renewal */
};
#define TRUST_SEQUENCE_FIRST (INT64_C(1) << 40) /* most that the first sequence may be */

struct trust; /* for one thread at a time */

struct trust_options {
    const char *data_dir;
    const char *root_file; /* a public root key, or NULL */
    bool first_use;        /* without one, pin what the cloud shows first */
};

/* USAGE: nothing to pin, or root_file is not what DATA was begun with. A damaged trust.json opens,
 * and then refuses everything. */
enum status trust_open(struct io *io, const struct trust_options *options, struct trust **out,
                       struct err *err);
void trust_close(struct trust *trust); /* NULL is fine */

/* Gets key document `version`, 0 for the newest, as the cloud has it. NOT_FOUND: there is none. */
typedef enum status trust_fetch(void *ctx, int64_t version, struct buf *out, struct err *err);
/* Follows the key documents to the newest. REFUSED: they are not vouched for; other statuses are
 * fetch's or of the disk. */
enum status trust_renew(struct trust *trust, trust_fetch *fetch, void *ctx, struct err *err);

struct trust_device { /* what a manifest is held against */
    const struct manifest_base *base;
    int64_t version; /* active */
    struct hash set;
};

/* The manifest of the release that comes after the active version: verified, not expired, a
 * sequence above the floor (or the same one for the same outcome), no jump, for this device; the
 * floor is raised. Nothing is parsed before the signatures hold. REFUSED, WRONG_BASE, and what the
 * parsers say. */
enum status trust_accept(struct trust *trust, const void *envelope, size_t len,
                         const struct trust_device *device, int64_t wall_ms, struct manifest *out,
                         struct err *err);
/* The same for the manifest of a version that the device has (the active one, or trust_newest's),
 * which says that nobody holds back news: it is signed anew before it expires. */
enum status trust_confirm(struct trust *trust, const void *envelope, size_t len,
                          const struct trust_device *device, int64_t wall_ms, struct err *err);
/* REFUSED when the key document, or the manifest at the floor, has expired: nothing new could be
 * seen for that long. */
enum status trust_fresh(const struct trust *trust, int64_t wall_ms, struct err *err);
/* The release at the floor: what a device at the factory version, which has no manifest, may ask
 * about. Its version and set into *device; false: none was seen. */
bool trust_newest(const struct trust *trust, struct trust_device *device);
/* Is the wall clock behind what signatures name? */
bool trust_clock_behind(const struct trust *trust, int64_t wall_ms);
/* The floor; 0: none. */
int64_t trust_sequence(const struct trust *trust);

#endif
