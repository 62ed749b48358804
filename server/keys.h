/* The keys folder of the cloud: who signs for it.
 *
 *   keys-N.json    key document N in its envelope (api/wire/keyring.h), 1.. without gaps
 *   root.key       secret root key: signs key documents     } either may be kept elsewhere and put
 *   release.key    secret release key: signs manifests      } here only when it is needed
 *   root.pub       the public root key, what devices are given
 *
 * A document's file is what puts keys into force: a key that is to be in force next waits beside as
 * NAME.next.key until the document that names it is on disk. So a kill at any moment leaves a
 * document and the keys it names, or the same before. Changes are made under a lock of the folder;
 * a service that runs sees them by keys_reload. */
#ifndef CDCCA_KEYS_H
#define CDCCA_KEYS_H

#include "api/base/io.h"
#include "api/wire/keyring.h"

enum keys_role { KEYS_ROOT, KEYS_RELEASE };

/* Makes a root key, a release key and document 1. CONFLICT: there is a document. */
enum status keys_make(struct io *io, const char *dir, struct err *err);
/* A new key for the role, in force instead of the one before; needs root.key. NOT_FOUND: there is
 * no document, or no root.key. */
enum status keys_rotate(struct io *io, const char *dir, enum keys_role role, struct err *err);

struct keys; /* thread-safe */

/* NOT_FOUND: no document; CORRUPT: one that does not vouch for itself. */
enum status keys_open(struct io *io, const char *dir, struct keys **out, struct err *err);
void keys_close(struct keys *keys); /* NULL is fine */
/* Looks at the folder again. What cannot be read leaves all as it was. */
enum status keys_reload(struct keys *keys, struct err *err);
/* When half of the document's life is over and root.key is here, makes the next with the same keys.
 */
enum status keys_renew(struct keys *keys, struct err *err);

/* The document in force. */
void keys_current(struct keys *keys, struct keyring *out);
/* The root key that devices are to be given (at enrolment, say). */
void keys_root(struct keys *keys, struct sign_public *out);
/* The envelope of document `version`, 0: the one in force. NOT_FOUND: there is none. */
enum status keys_document(struct keys *keys, int64_t version, struct buf *out, struct err *err);

/* Is release.key here, and in force? Without, releases wait for `cdcca-cloud sign`. */
bool keys_can_sign(struct keys *keys);
/* Adds the release key's signature. REFUSED: !keys_can_sign. */
enum status keys_sign(struct keys *keys, struct envelope *envelope, struct err *err);
/* Is every signature good and by a release key in force? */
enum status keys_verify(struct keys *keys, const struct envelope *envelope, struct err *err);

#endif
