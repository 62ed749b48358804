/* DSSE envelopes (Dead Simple Signing Envelope, protocol v1): bytes of a stated type, and Ed25519
 * signatures over both.
 *
 *   {"payloadType": T, "payload": BASE64, "signatures": [{"keyid": ID, "sig": BASE64}, ...]}
 *
 * A signature is over PAE = "DSSEv1" SP len(T) SP T SP len(payload) SP payload, so bytes signed as
 * one type can never be read as another. The payload is looked at after its signatures, never
 * before. Strict: no unknown field, no duplicate, and envelope_verify wants every signature to be
 * good, so that an envelope with any bit changed is refused. */
#ifndef CDCCA_ENVELOPE_H
#define CDCCA_ENVELOPE_H

#include "api/base/sign.h"
#include "api/wire/limits.h"

#define ENVELOPE_MANIFEST "application/vnd.cdcca.manifest+json"
#define ENVELOPE_KEYS "application/vnd.cdcca.keys+json"

enum { ENVELOPE_TYPE = 64 };

struct envelope {
    char type[ENVELOPE_TYPE];
    struct buf payload;
    int signatures;
    char keyid[LIMIT_SIGNATURES][SIGN_ID];
    struct signature signature[LIMIT_SIGNATURES];
};

/* An unsigned one; the payload is copied. envelope_free in every case. */
enum status envelope_init(struct envelope *out, const char *type, const void *payload, size_t len,
                          struct err *err);
void envelope_free(struct envelope *envelope);

enum status envelope_encode(const struct envelope *envelope, struct buf *out, struct err *err);
/* type: the one that is wanted; another is UNSUPPORTED. An envelope without signatures parses: what
 * waits for one is passed around like that. */
enum status envelope_parse(const void *data, size_t len, const char *type, struct envelope *out,
                           struct err *err);

/* Adds a signature. TOO_LARGE: there are LIMIT_SIGNATURES. */
enum status envelope_sign(struct envelope *envelope, const struct sign_key *key, struct err *err);
/* OK: there is a signature, and each is good and by one of the keys. Else REFUSED. */
enum status envelope_verify(const struct envelope *envelope, const struct sign_public *keys,
                            int count, struct err *err);
/* Is one of them by one of these keys, and good? */
bool envelope_signed_by(const struct envelope *envelope, const struct sign_public *keys, int count);

#endif
