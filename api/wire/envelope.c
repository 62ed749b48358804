/* See envelope.h. JSON outside, bytes inside; no field of the payload is known here. */
#include "api/wire/envelope.h"
#include "api/base/base64.h"
#include "api/wire/json.h"
#include <stdio.h>
#include <string.h>

enum { PAE_HEAD = 160, SIGNATURE_TEXT = 88 }; /* base64 of 64 bytes */

/* ---- life ---- */

enum status envelope_init(struct envelope *out, const char *type, const void *payload, size_t len,
                          struct err *err)
{
    *out = (struct envelope){.payload.max = LIMIT_ENVELOPE_BYTES};
    snprintf(out->type, sizeof out->type, "%s", type);
    enum status status = buf_append(&out->payload, payload, len);
    if (status == STATUS_OK)
        return STATUS_OK;
    return err_set(err, status, "a payload of %zu bytes does not fit into an envelope", len);
}

void envelope_free(struct envelope *envelope)
{
    buf_free(&envelope->payload);
}

/* ---- signatures ---- */

static enum status pae_write(const struct envelope *e, struct buf *out)
{
    out->max = LIMIT_ENVELOPE_BYTES + PAE_HEAD;
    TRY(buf_printf(out, "DSSEv1 %zu %s %zu ", strlen(e->type), e->type, e->payload.len));
    return buf_append(out, e->payload.data, e->payload.len);
}

enum status envelope_sign(struct envelope *envelope, const struct sign_key *key, struct err *err)
{
    struct buf pae = {0};
    int n = envelope->signatures;
    if (n == LIMIT_SIGNATURES)
        return err_set(err, STATUS_TOO_LARGE, "an envelope has at most %d signatures", n);
    enum status status = pae_write(envelope, &pae);
    if (status == STATUS_OK)
        status = sign_make(key, pae.data, pae.len, &envelope->signature[n], err);
    else
        err_set(err, status, "no memory to sign");
    buf_free(&pae);
    if (status != STATUS_OK)
        return status;
    sign_id(&key->public, envelope->keyid[n]);
    envelope->signatures++;
    return STATUS_OK;
}

static const struct sign_public *key_find(const char *id, const struct sign_public *keys, int count)
{
    char other[SIGN_ID];
    for (int i = 0; i < count; i++) {
        sign_id(&keys[i], other);
        if (strcmp(id, other) == 0)
            return &keys[i];
    }
    return NULL;
}

enum status envelope_verify(const struct envelope *envelope, const struct sign_public *keys,
                            int count, struct err *err)
{
    struct buf pae = {0};
    enum status status = STATUS_OK;
    if (envelope->signatures == 0)
        return err_set(err, STATUS_REFUSED, "it is not signed");
    if (pae_write(envelope, &pae) != STATUS_OK)
        status = err_set(err, STATUS_NO_MEMORY, "no memory to verify a signature");
    for (int i = 0; status == STATUS_OK && i < envelope->signatures; i++) {
        const struct sign_public *key = key_find(envelope->keyid[i], keys, count);
        if (!key)
            status = err_set(err, STATUS_REFUSED, "it is signed by key %s, which is not in force",
                             envelope->keyid[i]);
        else if (!sign_verify(key, pae.data, pae.len, &envelope->signature[i]))
            status = err_set(err, STATUS_REFUSED, "the signature by key %s is not good",
                             envelope->keyid[i]);
    }
    buf_free(&pae);
    return status;
}

bool envelope_signed_by(const struct envelope *envelope, const struct sign_public *keys, int count)
{
    struct buf pae = {0};
    bool found = false;
    if (pae_write(envelope, &pae) == STATUS_OK)
        for (int i = 0; !found && i < envelope->signatures; i++) {
            const struct sign_public *key = key_find(envelope->keyid[i], keys, count);
            found = key && sign_verify(key, pae.data, pae.len, &envelope->signature[i]);
        }
    buf_free(&pae);
    return found;
}

/* ---- JSON ---- */

static bool set_base64(json *object, const char *key, const void *data, size_t len)
{
    struct buf text = {.max = 2 * LIMIT_ENVELOPE_BYTES};
    bool ok = base64_encode(data, len, &text) == STATUS_OK &&
              json_set_string(object, key, text.data ? (const char *)text.data : "");
    buf_free(&text);
    return ok;
}

static json *signatures_json(const struct envelope *e)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (int i = 0; ok && i < e->signatures; i++) {
        json *item = json_object_new();
        ok = item && json_set_string(item, "keyid", e->keyid[i]) &&
             set_base64(item, "sig", e->signature[i].bytes, SIGN_BYTES);
        if (ok)
            ok = json_append_take(list, item);
        else
            json_free(item);
    }
    if (ok)
        return list;
    json_free(list);
    return NULL;
}

enum status envelope_encode(const struct envelope *envelope, struct buf *out, struct err *err)
{
    json *root = json_object_new();
    bool ok = root && json_set_string(root, "payloadType", envelope->type) &&
              set_base64(root, "payload", envelope->payload.data, envelope->payload.len) &&
              json_set_take(root, "signatures", signatures_json(envelope));
    enum status status = ok ? json_print(root, false, out) : STATUS_NO_MEMORY;
    json_free(root);
    if (status == STATUS_OK)
        return STATUS_OK;
    return err_set(err, status, "an envelope does not fit into %zu bytes", out->max);
}

static enum status get_base64(const json *object, const char *key, size_t max, struct buf *out,
                              struct err *err)
{
    const char *text;
    TRY(json_get_string(object, key, max, &text, err));
    enum status status = base64_decode(text, strlen(text), out);
    if (status == STATUS_OK)
        return STATUS_OK;
    return err_set(err, status, "field \"%s\" is not base64 (RFC 4648, with padding)", key);
}

static bool id_valid(const char *id)
{
    return strlen(id) == SIGN_ID - 1 && strspn(id, "0123456789abcdef") == SIGN_ID - 1;
}

static enum status signature_parse(const json *item, struct envelope *out, struct err *err)
{
    static const char *const known[] = {"keyid", "sig", NULL};
    struct buf bytes = {.max = SIGN_BYTES + 2}; /* what 88 digits without padding would give */
    const char *id;
    int n = out->signatures;
    TRY(json_only(item, known, err));
    TRY(json_get_string(item, "keyid", SIGN_ID - 1, &id, err));
    if (!id_valid(id))
        return err_set(err, STATUS_MALFORMED, "keyid \"%.32s\": 16 hexadecimal digits are right",
                       id);
    enum status status = get_base64(item, "sig", SIGNATURE_TEXT, &bytes, err);
    if (status == STATUS_OK && bytes.len != SIGN_BYTES)
        status = err_set(err, STATUS_SHAPE, "a signature has %zu bytes; Ed25519's have %d",
                         bytes.len, SIGN_BYTES);
    if (status == STATUS_OK) {
        memcpy(out->keyid[n], id, SIGN_ID);
        memcpy(out->signature[n].bytes, bytes.data, SIGN_BYTES);
        out->signatures++;
    }
    buf_free(&bytes);
    return status;
}

static enum status signatures_parse(const json *root, struct envelope *out, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "signatures", LIMIT_SIGNATURES, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        TRY(signature_parse(json_at(list, i), out, err));
        for (int j = 0; j < out->signatures - 1; j++)
            if (strcmp(out->keyid[j], out->keyid[i]) == 0)
                return err_set(err, STATUS_MALFORMED, "key %s signs twice", out->keyid[j]);
    }
    return STATUS_OK;
}

static enum status root_parse(const json *root, const char *type, struct envelope *out,
                              struct err *err)
{
    static const char *const known[] = {"payloadType", "payload", "signatures", NULL};
    const char *is;
    TRY(json_only(root, known, err));
    TRY(json_get_string(root, "payloadType", ENVELOPE_TYPE - 1, &is, err));
    if (strcmp(is, type) != 0)
        return err_set(err, STATUS_UNSUPPORTED, "the payload's type is \"%.64s\"; \"%s\" is right",
                       is, type);
    snprintf(out->type, sizeof out->type, "%s", is);
    TRY(get_base64(root, "payload", LIMIT_ENVELOPE_BYTES, &out->payload, err));
    return signatures_parse(root, out, err);
}

enum status envelope_parse(const void *data, size_t len, const char *type, struct envelope *out,
                           struct err *err)
{
    json *root = NULL;
    *out = (struct envelope){.payload.max = LIMIT_ENVELOPE_BYTES};
    if (len > LIMIT_ENVELOPE_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "an envelope of %zu bytes; the limit is %d", len,
                       LIMIT_ENVELOPE_BYTES);
    enum status status = json_parse(data, len, &root, err);
    if (status == STATUS_OK)
        status = root_parse(root, type, out, err);
    json_free(root);
    if (status != STATUS_OK)
        envelope_free(out);
    return status;
}
