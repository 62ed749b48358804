/* SHA-256 is nettle's, which uses the processor's instructions for it and is then four times as
 * fast as libsodium's. Its state is kept opaque, so that no header of ours includes nettle's. */
#include "api/base/hash.h"
#include <nettle/sha2.h>
#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(struct sha256_ctx) <= sizeof(struct hash_state), "state fits");
_Static_assert(SHA256_DIGEST_SIZE == HASH_BYTES, "digest size");

static struct sha256_ctx *state_of(struct hash_state *state)
{
    return (struct sha256_ctx *)(void *)state->opaque;
}

void hash_start(struct hash_state *state)
{
    sha256_init(state_of(state));
}

void hash_update(struct hash_state *state, const void *data, size_t len)
{
    if (len)
        sha256_update(state_of(state), len, data);
}

void hash_finish(struct hash_state *state, struct hash *out)
{
    sha256_digest(state_of(state), HASH_BYTES, out->bytes);
}

void hash_bytes(const void *data, size_t len, struct hash *out)
{
    struct hash_state state = {{0}};
    hash_start(&state);
    hash_update(&state, data, len);
    hash_finish(&state, out);
}

void hash_hex(const struct hash *hash, char out[HASH_HEX])
{
    sodium_bin2hex(out, HASH_HEX, hash->bytes, HASH_BYTES);
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hash_parse(const char *hex, struct hash *out)
{
    struct hash parsed;
    if (strnlen(hex, HASH_HEX) != 2 * HASH_BYTES)
        return false;
    for (int i = 0; i < HASH_BYTES; i++) {
        int high = digit_value(hex[2 * i]), low = digit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        parsed.bytes[i] = (uint8_t)(high * 16 + low);
    }
    *out = parsed;
    return true;
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
    return sodium_memcmp(a->bytes, b->bytes, HASH_BYTES) == 0;
}
