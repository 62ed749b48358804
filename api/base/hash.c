/* SHA-256 is libsodium's; its state is kept opaque so that no header of ours includes sodium.h. */
#include "api/base/hash.h"
#include <sodium.h>
#include <string.h>

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct hash_state), "state fits");
_Static_assert(crypto_hash_sha256_BYTES == HASH_BYTES, "digest size");

static crypto_hash_sha256_state *state_of(struct hash_state *state)
{
    return (crypto_hash_sha256_state *)(void *)state->opaque;
}

void hash_start(struct hash_state *state)
{
    crypto_hash_sha256_init(state_of(state));
}

void hash_update(struct hash_state *state, const void *data, size_t len)
{
    if (len)
        crypto_hash_sha256_update(state_of(state), data, len);
}

void hash_finish(struct hash_state *state, struct hash *out)
{
    crypto_hash_sha256_final(state_of(state), out->bytes);
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
