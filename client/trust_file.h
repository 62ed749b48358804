/* DATA/trust.json, what trust.c must not forget:
 *   {"schema": "cdcca.edge-trust/1", "pinned": [public key lines], "keys": ENVELOPE text or "",
 *    "sequence": N, "version": N, "set_sha256", "key", "created", "expires"}   of the floor */
#ifndef CDCCA_TRUST_FILE_H
#define CDCCA_TRUST_FILE_H

#include "api/base/hash.h"
#include "api/wire/keyring.h"

enum { TRUST_PATH = 4096 };

struct trust_floor {
    int64_t sequence;       /* 0: there is none, and the rest means nothing */
    int64_t version;        /* of the manifest that had it, */
    struct hash set;        /* what it leads to, */
    struct sign_public key; /* and who signed it */
    int64_t created_ms;     /* the latest of any manifest accepted; */
    int64_t expires_ms;     /* likewise */
};

struct trust_state {
    struct keyring_role pinned; /* count 0: nothing yet */
    struct keyring keys;        /* version 0: none yet */
    struct buf document;        /* their envelope; owned */
    struct trust_floor floor;
};

/* NOT_FOUND: no file. The document must open by its own roots: the file is as trusted as the disk,
 * but a damaged one is told. document is buf_free's in every case. */
enum status trust_file_read(struct io *io, const char *path, struct trust_state *out,
                            struct err *err);
/* Durable and atomic. */
enum status trust_file_write(struct io *io, const char *path, const struct trust_state *state,
                             struct err *err);

#endif
