/* Everything that is signed: an envelope of either kind, and its payload on its own. What is
 * accepted comes back the same when it is written and read again, and is never taken as signed by
 * a key that did not sign it. */
#include "api/wire/keyring.h"
#include "api/wire/manifest.h"
#include "fuzz.h"

static void manifest(const void *data, size_t len)
{
    struct manifest m, again;
    struct buf first = {.max = LIMIT_ENVELOPE_BYTES}, second = {.max = LIMIT_ENVELOPE_BYTES};
    struct err err;
    if (manifest_parse(data, len, &m, &err) != STATUS_OK)
        return;
    FUZZ_HOLDS(m.version > m.base_version && m.expires_ms > m.created_ms && m.size > 0);
    FUZZ_HOLDS(manifest_encode(&m, &first, &err) == STATUS_OK);
    FUZZ_HOLDS(manifest_parse(first.data, first.len, &again, &err) == STATUS_OK);
    FUZZ_HOLDS(manifest_encode(&again, &second, &err) == STATUS_OK);
    FUZZ_HOLDS(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    buf_free(&first);
    buf_free(&second);
}

static void keys(const void *data, size_t len)
{
    struct keyring k, again;
    struct buf first = {.max = LIMIT_ENVELOPE_BYTES};
    struct err err;
    if (keyring_parse(data, len, &k, &err) != STATUS_OK)
        return;
    FUZZ_HOLDS(k.root.count >= 1 && k.root.count <= LIMIT_KEYS && k.release.count >= 1);
    FUZZ_HOLDS(keyring_encode(&k, &first, &err) == STATUS_OK);
    FUZZ_HOLDS(keyring_parse(first.data, first.len, &again, &err) == STATUS_OK);
    FUZZ_HOLDS(again.version == k.version && again.release.count == k.release.count);
    buf_free(&first);
}

static void envelope(const void *data, size_t len, const char *type)
{
    struct envelope e, again;
    struct keyring keyring;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    struct err err;
    struct sign_public stranger = {{1, 2, 3}};
    if (envelope_parse(data, len, type, &e, &err) != STATUS_OK) {
        FUZZ_HOLDS(e.payload.data == NULL);
        return;
    }
    FUZZ_HOLDS(envelope_verify(&e, &stranger, 1, &err) != STATUS_OK);
    FUZZ_HOLDS(keyring_open_own(data, len, &keyring, &err) != STATUS_OK);
    manifest(e.payload.data, e.payload.len);
    keys(e.payload.data, e.payload.len);
    if (envelope_encode(&e, &text, &err) == STATUS_OK) {
        FUZZ_HOLDS(envelope_parse(text.data, text.len, type, &again, &err) == STATUS_OK);
        FUZZ_HOLDS(again.signatures == e.signatures && again.payload.len == e.payload.len);
        envelope_free(&again);
    }
    buf_free(&text);
    envelope_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    manifest(data, len);
    keys(data, len);
    envelope(data, len, ENVELOPE_MANIFEST);
    envelope(data, len, ENVELOPE_KEYS);
    return 0;
}
