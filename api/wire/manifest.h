/* cdcca.manifest/1: what a release is, signed as the payload of an envelope. It names everything a
 * device needs to know before it touches the patch, together, so that no part can be exchanged for
 * that of another release: the patch's size and SHA-256, the versions and sets it leads from and
 * to, the factory model it is for, what the gate said, and until when all that may be believed.
 *
 *   {"schema": "cdcca.manifest/1", "sequence": N, "version": N, "base_version": N, "channel"?: ID,
 *    "created": TIME, "expires": TIME, "patch": {"size": N, "sha256": HEX}, "base_set_sha256": HEX,
 *    "set_sha256": HEX, "parameters": N, "base": {"config_sha256": HEX, "model_sha256": HEX,
 *    "tokenizer_sha256": HEX or "", "encoder": HEX}, "gate": {...}}
 *
 * sequence rises with everything that is signed; a release that is signed anew, so that it does not
 * expire, has a higher one and the same content. */
#ifndef CDCCA_MANIFEST_H
#define CDCCA_MANIFEST_H

#include "api/base/buf.h"
#include "api/base/hash.h"
#include "api/base/status.h"
#include "api/wire/limits.h"
#include <stdint.h>

#define MANIFEST_SCHEMA "cdcca.manifest/1"

struct manifest_base { /* the factory model, by its files; hexadecimal SHA-256 */
    char config[HASH_HEX], model[HASH_HEX];
    char tokenizer[HASH_HEX]; /* "": the model has none */
    char encoder[HASH_HEX];   /* fingerprint of the vision encoder */
};

struct manifest_gate { /* agreement with the teacher; replay -1: there was nothing to replay */
    bool passed;
    int64_t held;
    double agreement_before, agreement_after, replay_before, replay_after;
};

struct manifest {
    int64_t sequence, version, base_version;
    int64_t created_ms, expires_ms; /* wall clock */
    int64_t size, parameters;       /* of the patch: bytes; values it changes */
    struct hash patch, base_set, set;
    char channel[LIMIT_ID + 1]; /* "": for every device */
    struct manifest_base base;
    struct manifest_gate gate;
};

/* Appends the JSON. */
enum status manifest_encode(const struct manifest *manifest, struct buf *out, struct err *err);
/* MALFORMED, UNSUPPORTED (another schema, an unknown field), TOO_LARGE, SHAPE (a version that does
 * not go up, an expiry that is not after the creation). */
enum status manifest_parse(const void *data, size_t len, struct manifest *out, struct err *err);

/* Are these bytes the patch? CORRUPT says what differs. */
enum status manifest_check_patch(const struct manifest *manifest, const void *patch, size_t len,
                                 struct err *err);
/* Is it for this factory model? WRONG_BASE names the part that is another one's. */
enum status manifest_check_base(const struct manifest *manifest, const struct manifest_base *mine,
                                struct err *err);

#endif
