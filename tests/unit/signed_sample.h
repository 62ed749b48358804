/* What tests of signed things share: keys, key documents and manifests as envelopes. */
#ifndef CDCCA_TEST_SIGNED_SAMPLE_H
#define CDCCA_TEST_SIGNED_SAMPLE_H

#include "api/wire/keyring.h"
#include "api/wire/manifest.h"
#include <stdio.h>
#include <string.h>

enum { SAMPLE_DAY_MS = 24 * 60 * 60 * 1000 };

/* 2026-01-31T12:00:00Z */
static const int64_t sample_now_ms = 1769860800000;

static inline struct sign_key sample_key(void)
{
    struct sign_key key;
    assert_int_equal(sign_generate(&key, NULL), STATUS_OK);
    return key;
}

static inline void sample_hash(const char *text, struct hash *out)
{
    hash_bytes(text, strlen(text), out);
}

static inline void sample_hex(const char *text, char out[HASH_HEX])
{
    struct hash hash;
    sample_hash(text, &hash);
    hash_hex(&hash, out);
}

/* version - 1 -> version; the patch is the text "patch". */
static inline struct manifest sample_manifest(int64_t sequence, int64_t version)
{
    struct manifest m = {.sequence = sequence,
                         .version = version,
                         .base_version = version - 1,
                         .created_ms = sample_now_ms,
                         .expires_ms = sample_now_ms + 30LL * SAMPLE_DAY_MS,
                         .size = 5,
                         .parameters = 100,
                         .gate = {.passed = true, .held = 4, .replay_before = -1}};
    char name[32];
    sample_hash("patch", &m.patch);
    snprintf(name, sizeof name, "set %lld", (long long)version - 1);
    sample_hash(name, &m.base_set);
    snprintf(name, sizeof name, "set %lld", (long long)version);
    sample_hash(name, &m.set);
    sample_hex("config", m.base.config);
    sample_hex("model", m.base.model);
    sample_hex("tokenizer", m.base.tokenizer);
    sample_hex("encoder", m.base.encoder);
    return m;
}

static inline struct keyring sample_keyring(int64_t version, const struct sign_key *root,
                                            const struct sign_key *release)
{
    struct keyring k = {.version = version,
                        .created_ms = sample_now_ms,
                        .expires_ms = sample_now_ms + 180LL * SAMPLE_DAY_MS,
                        .root.count = 1,
                        .release.count = 1};
    k.root.key[0] = root->public;
    k.release.key[0] = release->public;
    return k;
}

/* The payload in an envelope with the signatures of a and b (NULL: none). buf_free afterwards. */
static inline struct buf sample_seal(const char *type, const struct buf *payload,
                                     const struct sign_key *a, const struct sign_key *b)
{
    struct buf out = {.max = LIMIT_ENVELOPE_BYTES};
    struct envelope e;
    assert_int_equal(envelope_init(&e, type, payload->data, payload->len, NULL), STATUS_OK);
    if (a)
        assert_int_equal(envelope_sign(&e, a, NULL), STATUS_OK);
    if (b)
        assert_int_equal(envelope_sign(&e, b, NULL), STATUS_OK);
    assert_int_equal(envelope_encode(&e, &out, NULL), STATUS_OK);
    envelope_free(&e);
    return out;
}

static inline struct buf sample_sealed_manifest(const struct manifest *m,
                                                const struct sign_key *key)
{
    struct buf payload = {.max = LIMIT_ENVELOPE_BYTES};
    assert_int_equal(manifest_encode(m, &payload, NULL), STATUS_OK);
    struct buf out = sample_seal(ENVELOPE_MANIFEST, &payload, key, NULL);
    buf_free(&payload);
    return out;
}

static inline struct buf sample_sealed_keys(const struct keyring *k, const struct sign_key *a,
                                            const struct sign_key *b)
{
    struct buf payload = {.max = LIMIT_ENVELOPE_BYTES};
    assert_int_equal(keyring_encode(k, &payload, NULL), STATUS_OK);
    struct buf out = sample_seal(ENVELOPE_KEYS, &payload, a, b);
    buf_free(&payload);
    return out;
}

#endif
