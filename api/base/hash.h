/* SHA-256 (nettle) of bytes, in one go or piecewise, and its hexadecimal form. */
#ifndef CDCCA_HASH_H
#define CDCCA_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HASH_BYTES = 32, HASH_HEX = 65 };

struct hash {
    uint8_t bytes[HASH_BYTES];
};

struct hash_state {
    _Alignas(16) unsigned char opaque[128];
};

void hash_start(struct hash_state *state);
void hash_update(struct hash_state *state, const void *data, size_t len);
void hash_finish(struct hash_state *state, struct hash *out);
void hash_bytes(const void *data, size_t len, struct hash *out);
void hash_hex(const struct hash *hash, char out[HASH_HEX]);
bool hash_parse(const char *hex, struct hash *out); /* exactly 64 lower-case digits */
bool hash_equal(const struct hash *a, const struct hash *b);

#endif
