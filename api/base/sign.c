/* libsodium signs and verifies; here are key ids and key files. Memory that held a secret is
 * overwritten before it is given back. */
#include "api/base/sign.h"
#include "api/base/base64.h"
#include "api/base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(crypto_sign_PUBLICKEYBYTES == SIGN_PUBLIC, "public key size");
_Static_assert(crypto_sign_SECRETKEYBYTES == SIGN_SECRET, "secret key size");
_Static_assert(crypto_sign_BYTES == SIGN_BYTES, "signature size");

enum { SEED = 32, SEED_TEXT = 44 }; /* base64 of 32 bytes */

static const char secret_word[] = "cdcca-ed25519-secret/1 ";
static const char public_word[] = "cdcca-ed25519-public/1 ";

enum status sign_generate(struct sign_key *out, struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, STATUS_IO, "no source of random numbers for a key");
    crypto_sign_keypair(out->public.bytes, out->secret);
    return STATUS_OK;
}

void sign_forget(struct sign_key *key)
{
    sodium_memzero(key, sizeof *key);
}

enum status sign_make(const struct sign_key *key, const void *data, size_t len,
                      struct signature *out, struct err *err)
{
    unsigned long long made = 0;
    if (crypto_sign_detached(out->bytes, &made, data, len, key->secret) == 0 && made == SIGN_BYTES)
        return STATUS_OK;
    return err_set(err, STATUS_IO, "cannot sign with this key");
}

bool sign_verify(const struct sign_public *key, const void *data, size_t len,
                 const struct signature *signature)
{
    return crypto_sign_verify_detached(signature->bytes, data, len, key->bytes) == 0;
}

void sign_id(const struct sign_public *key, char out[SIGN_ID])
{
    struct hash hash;
    char hex[HASH_HEX];
    hash_bytes(key->bytes, SIGN_PUBLIC, &hash);
    hash_hex(&hash, hex);
    memcpy(out, hex, SIGN_ID - 1);
    out[SIGN_ID - 1] = '\0';
}

bool sign_equal(const struct sign_public *a, const struct sign_public *b)
{
    return memcmp(a->bytes, b->bytes, SIGN_PUBLIC) == 0;
}

/* ---- the line of a file ---- */

static void line_write(const char *word, const uint8_t bytes[SEED], char out[SIGN_LINE])
{
    int used = snprintf(out, SIGN_LINE, "%s", word);
    sodium_bin2base64(out + used, SIGN_LINE - (size_t)used, bytes, SEED,
                      sodium_base64_VARIANT_ORIGINAL);
}

static enum status line_parse(const char *word, const char *text, size_t len, uint8_t out[SEED],
                              struct err *err)
{
    size_t used = strlen(word);
    struct buf bytes = {.max = SIGN_LINE};
    if (len > 0 && text[len - 1] == '\n')
        len--;
    bool ok = len == used + SEED_TEXT && memcmp(text, word, used) == 0 &&
              base64_decode(text + used, SEED_TEXT, &bytes) == STATUS_OK && bytes.len == SEED;
    if (ok)
        memcpy(out, bytes.data, SEED);
    if (bytes.data)
        sodium_memzero(bytes.data, bytes.len);
    buf_free(&bytes);
    if (ok)
        return STATUS_OK;
    return err_set(err, STATUS_MALFORMED,
                   "not a key file; one line \"%s\" and 44 base64 digits "
                   "is right",
                   word);
}

void sign_public_line(const struct sign_public *key, char out[SIGN_LINE])
{
    line_write(public_word, key->bytes, out);
}

enum status sign_public_parse(const void *text, size_t len, struct sign_public *out,
                              struct err *err)
{
    return line_parse(public_word, text, len, out->bytes, err);
}

/* ---- files ---- */

static enum status line_load(struct io *io, const char *path, const char *word, uint8_t out[SEED],
                             struct err *err)
{
    struct buf text = {.max = SIGN_LINE};
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK) {
        status = line_parse(word, (const char *)text.data, text.len, out, err);
        if (status != STATUS_OK)
            err_prefix(err, "%s", path);
    }
    if (text.data)
        sodium_memzero(text.data, text.len);
    buf_free(&text);
    return status;
}

enum status sign_public_save(struct io *io, const char *path, const struct sign_public *key,
                             struct err *err)
{
    char line[SIGN_LINE + 1];
    sign_public_line(key, line);
    size_t len = strlen(line);
    line[len++] = '\n';
    return io_write_file(io, path, line, len, err);
}

enum status sign_public_load(struct io *io, const char *path, struct sign_public *out,
                             struct err *err)
{
    return line_load(io, path, public_word, out->bytes, err);
}

/* path.tmp, as io_append and io_finish know it, that only its owner can read. One that a crash left
 * may have another mode, so it goes first. */
static enum status secret_create(struct io *io, const char *path, int *fd, struct err *err)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s.tmp", path) >= (int)sizeof temporary)
        return err_set(err, STATUS_TOO_LARGE, "%s: the name is too long", path);
    io->unlink(io, temporary);
    *fd = io->open(io, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *fd < 0 ? io_error(err, "create", temporary, errno) : STATUS_OK;
}

enum status sign_key_save(struct io *io, const char *path, const struct sign_key *key,
                          struct err *err)
{
    char line[SIGN_LINE + 1];
    int fd;
    TRY(secret_create(io, path, &fd, err));
    line_write(secret_word, key->secret, line); /* libsodium's secret key begins with the seed */
    size_t len = strlen(line);
    line[len++] = '\n';
    enum status status = io_append(io, fd, path, line, len, err);
    sodium_memzero(line, sizeof line);
    if (status == STATUS_OK)
        return io_finish(io, &fd, path, err);
    io_abandon(io, &fd, path);
    return status;
}

enum status sign_key_load(struct io *io, const char *path, struct sign_key *out, struct err *err)
{
    struct stat info;
    uint8_t seed[SEED];
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 077) != 0)
        return err_set(err, STATUS_REFUSED,
                       "%s can be read by others (mode %03o); chmod 600 is right, and another key "
                       "if someone may have read it",
                       path, (unsigned)(info.st_mode & 0777));
    TRY(line_load(io, path, secret_word, seed, err));
    int made = crypto_sign_seed_keypair(out->public.bytes, out->secret, seed);
    sodium_memzero(seed, sizeof seed);
    return made == 0 ? STATUS_OK : err_set(err, STATUS_MALFORMED, "%s: no key", path);
}
