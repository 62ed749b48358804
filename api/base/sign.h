/* Ed25519 signatures (RFC 8032, libsodium), and keys as files.
 *
 * A key file is one line of text: "cdcca-ed25519-secret/1 BASE64" (the 32-byte seed) or
 * "cdcca-ed25519-public/1 BASE64". A secret one is made with mode 0600 and refused when others may
 * read it, as ssh does. A key's id is the beginning of the SHA-256 of its public half: a name to
 * find it by, never a proof. */
#ifndef CDCCA_SIGN_H
#define CDCCA_SIGN_H

#include "api/base/io.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIGN_PUBLIC = 32, SIGN_SECRET = 64, SIGN_BYTES = 64, SIGN_ID = 17, SIGN_LINE = 96 };

struct sign_public {
    uint8_t bytes[SIGN_PUBLIC];
};

struct sign_key {
    struct sign_public public;
    uint8_t secret[SIGN_SECRET];
};

struct signature {
    uint8_t bytes[SIGN_BYTES];
};

enum status sign_generate(struct sign_key *out, struct err *err);
void sign_forget(struct sign_key *key); /* overwrites it */
enum status sign_make(const struct sign_key *key, const void *data, size_t len,
                      struct signature *out, struct err *err);
bool sign_verify(const struct sign_public *key, const void *data, size_t len,
                 const struct signature *signature);

/* 16 hexadecimal digits. */
void sign_id(const struct sign_public *key, char out[SIGN_ID]);
bool sign_equal(const struct sign_public *a, const struct sign_public *b);

/* The line of a public key file, without its newline. */
void sign_public_line(const struct sign_public *key, char out[SIGN_LINE]);
/* MALFORMED: not such a line; one newline at its end is fine. */
enum status sign_public_parse(const void *text, size_t len, struct sign_public *out,
                              struct err *err);
enum status sign_public_save(struct io *io, const char *path, const struct sign_public *key,
                             struct err *err);
enum status sign_public_load(struct io *io, const char *path, struct sign_public *out,
                             struct err *err);

/* Durable and atomic. */
enum status sign_key_save(struct io *io, const char *path, const struct sign_key *key,
                          struct err *err);
/* REFUSED: others may read the file. */
enum status sign_key_load(struct io *io, const char *path, struct sign_key *out, struct err *err);

#endif
