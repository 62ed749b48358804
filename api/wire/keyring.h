/* cdcca.keys/1: which keys are in force, signed by a root key as the payload of an envelope.
 *
 *   {"schema": "cdcca.keys/1", "version": N, "created": TIME, "expires": TIME,
 *    "root": {"threshold": 1, "keys": [{"keyid": ID, "public": BASE64}, ...]},
 *    "release": {the same}}
 *
 * A device trusts root keys it was given, through them one document, and through that the next: it
 * must have a version one higher, a signature by a root of the document before and one by a root of
 * its own. So the root can be exchanged (both sign), and a release key is revoked by leaving it
 * out. Each threshold is 1: one good signature of the role suffices. */
#ifndef CDCCA_KEYRING_H
#define CDCCA_KEYRING_H

#include "api/wire/envelope.h"
#include <stdint.h>

#define KEYRING_SCHEMA "cdcca.keys/1"

struct keyring_role {
    struct sign_public key[LIMIT_KEYS];
    int count; /* 1.. */
};

struct keyring {
    int64_t version, created_ms, expires_ms;
    struct keyring_role root, release;
};

/* Appends the JSON of a payload. */
enum status keyring_encode(const struct keyring *keyring, struct buf *out, struct err *err);
/* A payload alone; keyring_open is what devices call. */
enum status keyring_parse(const void *data, size_t len, struct keyring *out, struct err *err);

/* An envelope's document, when roots vouch for it: every signature good, one of them by `roots`,
 * one by a root the document itself names. next: the version it must have, 0 for any. REFUSED says
 * what does not hold. Expiry is the caller's to judge, who knows a clock. */
enum status keyring_open(const void *envelope, size_t len, const struct keyring_role *roots,
                         int64_t next, struct keyring *out, struct err *err);
/* As keyring_open with the document's own roots: for a first use without anything to hold it
 * against. */
enum status keyring_open_own(const void *envelope, size_t len, struct keyring *out,
                             struct err *err);
bool keyring_role_has(const struct keyring_role *role, const struct sign_public *key);

#endif
