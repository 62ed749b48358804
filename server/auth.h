/* Who is it: bearer tokens, the names and roles that they stand for, in DIR/auth.db.
 *
 * A token is 256 random bits and is seen once, by whoever asks for it; the database holds its
 * SHA-256. It is a database of its own, so that the commands can write it beside a running service
 * and what they change holds from the next request on. All functions may be called from any thread.
 *
 * A name has one role. For a device it is the device's id. */
#ifndef CDCCA_AUTH_H
#define CDCCA_AUTH_H

#include "api/base/hash.h"
#include "api/base/status.h"
#include "api/http/http.h"
#include "api/wire/limits.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    AUTH_TOKEN = 80, /* "cdcca_", 64 hexadecimal digits and a NUL, with room */

    /* Who a caller is, and in http_route.who, who may call. */
    ROLE_DEVICE = 1,
    ROLE_OPERATOR = 2,
    ROLE_VIEWER = 4,
    /* In http_route.who alone. */
    ROLE_ANYONE = 8,   /* with a token or without */
    ROLE_ITSELF = 16,  /* the device that the path's first {name} names */
    ROLE_METERED = 32, /* counts against the device's quota (quota.h) */
};

struct auth;

/* Makes DIR and the database where they are missing, readable by their owner alone. */
enum status auth_open(const char *dir, struct auth **out, struct err *err);
void auth_close(struct auth *auth); /* NULL is fine */

/* "device", "operator", "viewer"; 0 for anything else. */
unsigned auth_role_parse(const char *name);
const char *auth_role_name(unsigned role);
/* [A-Za-z0-9._-]{1,64} */
bool auth_name_is_valid(const char *name);

/* The token's bits from an Authorization field's value: Bearer, blanks, a token of ours.
 * STATUS_UNAUTHENTICATED says what is wrong. */
enum status auth_header_parse(const char *header, struct hash *token, struct err *err);
/* Whose token the Authorization field holds. STATUS_UNAUTHENTICATED: nobody's. */
enum status auth_identify(struct auth *auth, const char *header, struct http_caller *out,
                          struct err *err);

/* STATUS_REFUSED when the caller is a device and this is another one. */
enum status auth_own_device(const struct http_request *request, const char *device,
                            struct err *err);

/* A first token for a name. ttl_ms: how long it holds, 0: until it is revoked. STATUS_CONFLICT: the
 * name has one. */
enum status auth_token_add(struct auth *auth, unsigned role, const char *name, int64_t ttl_ms,
                           char token[AUTH_TOKEN], struct err *err);
/* Another token for the name; those it has hold for overlap_ms more at most. */
enum status auth_token_rotate(struct auth *auth, const char *name, int64_t overlap_ms,
                              char token[AUTH_TOKEN], struct err *err);
/* All tokens of a name go. STATUS_NOT_FOUND: there was none. */
enum status auth_token_revoke(struct auth *auth, const char *name, struct err *err);

struct token {
    const char *name;
    unsigned role;
    int64_t id, created_ms, expires_ms; /* expires_ms 0: never */
};
typedef bool token_visit(void *ctx, const struct token *token);
/* Those that hold, by name. */
enum status auth_tokens(struct auth *auth, token_visit *visit, void *ctx, struct err *err);

#endif
