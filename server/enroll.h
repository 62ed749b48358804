/* One-time codes with which a device gets its first token. A code is short enough to type, is kept
 * as a hash, holds for a while and for so many devices, and is used up in the transaction that
 * makes the token, so that of two who use it at once one comes too late.
 *
 * When the answer is lost on its way, the device asks again with the same nonce, a secret of its
 * own: the token that never arrived is replaced, and the code not used up a second time. */
#ifndef CDCCA_ENROLL_H
#define CDCCA_ENROLL_H

#include "api/base/secret.h"
#include "server/auth.h"

enum { ENROLL_NONCE = 64 }; /* most characters of a nonce */

/* device NULL: for any new one. */
enum status enroll_code_add(struct auth *auth, const char *device, int64_t ttl_ms, int64_t uses,
                            char code[SECRET_CODE], struct err *err);

struct enrolment {
    char device[LIMIT_ID + 1], token[AUTH_TOKEN];
};

/* device NULL: the one that the code is for, or a name made up here; nonce NULL: a second try will
 * not be known as one. A code for a certain device replaces the tokens that this has.
 * STATUS_REFUSED: no such code, or one for another device; STATUS_CONFLICT: the name is taken. */
enum status enroll_redeem(struct auth *auth, const char *code, const char *device,
                          const char *nonce, struct enrolment *out, struct err *err);

#endif
