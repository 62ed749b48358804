/* See keyring.h. */
#include "api/wire/keyring.h"
#include "api/base/base64.h"
#include "api/base/clock.h"
#include "api/wire/json.h"
#include <inttypes.h>
#include <string.h>

enum { KEY_TEXT = 44 }; /* base64 of 32 bytes */

bool keyring_role_has(const struct keyring_role *role, const struct sign_public *key)
{
    for (int i = 0; i < role->count; i++)
        if (sign_equal(&role->key[i], key))
            return true;
    return false;
}

/* ---- writing ---- */

static json *key_json(const struct sign_public *key)
{
    struct buf text = {.max = KEY_TEXT};
    char id[SIGN_ID];
    json *out = json_object_new();
    sign_id(key, id);
    bool ok = out && base64_encode(key->bytes, SIGN_PUBLIC, &text) == STATUS_OK &&
              json_set_string(out, "keyid", id) &&
              json_set_string(out, "public", (const char *)text.data);
    buf_free(&text);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static json *role_json(const struct keyring_role *role)
{
    json *out = json_object_new(), *list = json_array_new();
    bool ok = out && list && json_set_int(out, "threshold", 1);
    for (int i = 0; ok && i < role->count; i++)
        ok = json_append_take(list, key_json(&role->key[i]));
    if (ok)
        ok = json_set_take(out, "keys", list);
    else
        json_free(list);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static bool keyring_fill(json *out, const struct keyring *keyring)
{
    char created[32], expires[32];
    clock_format(keyring->created_ms, created);
    clock_format(keyring->expires_ms, expires);
    return json_set_string(out, "schema", KEYRING_SCHEMA) &&
           json_set_int(out, "version", keyring->version) &&
           json_set_string(out, "created", created) && json_set_string(out, "expires", expires) &&
           json_set_take(out, "root", role_json(&keyring->root)) &&
           json_set_take(out, "release", role_json(&keyring->release));
}

enum status keyring_encode(const struct keyring *keyring, struct buf *out, struct err *err)
{
    json *root = json_object_new();
    enum status status =
        root && keyring_fill(root, keyring) ? json_print(root, false, out) : STATUS_NO_MEMORY;
    json_free(root);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "no room for a key document");
}

/* ---- reading ---- */

static enum status key_decode(const char *text, struct sign_public *out, struct err *err)
{
    struct buf bytes = {.max = SIGN_PUBLIC + 1}; /* what 44 digits without padding would give */
    enum status status = base64_decode(text, strlen(text), &bytes);
    if (status != STATUS_OK || bytes.len != SIGN_PUBLIC)
        status = err_set(err, status == STATUS_NO_MEMORY ? status : STATUS_MALFORMED,
                         "field \"public\" is not base64 of %d bytes", SIGN_PUBLIC);
    else
        memcpy(out->bytes, bytes.data, SIGN_PUBLIC);
    buf_free(&bytes);
    return status;
}

static enum status key_parse(const json *item, struct keyring_role *out, struct err *err)
{
    static const char *const known[] = {"keyid", "public", NULL};
    const char *id, *text;
    char is[SIGN_ID];
    struct sign_public key;
    TRY(json_only(item, known, err));
    TRY(json_get_string(item, "keyid", SIGN_ID - 1, &id, err));
    TRY(json_get_string(item, "public", KEY_TEXT, &text, err));
    TRY(key_decode(text, &key, err));
    sign_id(&key, is);
    if (strcmp(id, is) != 0)
        return err_set(err, STATUS_SHAPE, "keyid \"%s\" belongs to another key; %s is right", id,
                       is);
    if (keyring_role_has(out, &key))
        return err_set(err, STATUS_MALFORMED, "key %s is named twice", id);
    out->key[out->count++] = key;
    return STATUS_OK;
}

static enum status role_parse(const json *root, const char *name, struct keyring_role *out,
                              struct err *err)
{
    static const char *const known[] = {"threshold", "keys", NULL};
    const json *role, *list;
    int64_t threshold;
    TRY(json_get_object(root, name, &role, err));
    TRY(json_only(role, known, err));
    TRY(json_get_int(role, "threshold", 1, 1, &threshold, err));
    TRY(json_get_array(role, "keys", LIMIT_KEYS, &list, err));
    if (json_length(list) == 0)
        return err_set(err, STATUS_SHAPE, "the %s role has no key; one at least is right", name);
    for (size_t i = 0; i < json_length(list); i++)
        TRY(key_parse(json_at(list, i), out, err));
    return STATUS_OK;
}

static enum status root_parse(const json *root, struct keyring *out, struct err *err)
{
    static const char *const known[] = {"schema", "version", "created", "expires",
                                        "root",   "release", NULL};
    const char *schema;
    TRY(json_get_string(root, "schema", 64, &schema, err));
    if (strcmp(schema, KEYRING_SCHEMA) != 0)
        return err_set(err, STATUS_UNSUPPORTED, "schema \"%s\"; " KEYRING_SCHEMA " is right",
                       schema);
    TRY(json_only(root, known, err));
    TRY(json_get_int(root, "version", 1, INT64_MAX - 1, &out->version, err));
    TRY(json_get_time(root, "created", &out->created_ms, err));
    TRY(json_get_time(root, "expires", &out->expires_ms, err));
    if (out->expires_ms <= out->created_ms)
        return err_set(err, STATUS_SHAPE, "it expires before it is created");
    TRY(role_parse(root, "root", &out->root, err));
    return role_parse(root, "release", &out->release, err);
}

enum status keyring_parse(const void *data, size_t len, struct keyring *out, struct err *err)
{
    json *root = NULL;
    struct keyring keyring = {0};
    if (len > LIMIT_ENVELOPE_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "a key document of %zu bytes; the limit is %d", len,
                       LIMIT_ENVELOPE_BYTES);
    TRY(json_parse(data, len, &root, err));
    enum status status = root_parse(root, &keyring, err);
    json_free(root);
    if (status == STATUS_OK)
        *out = keyring;
    return status;
}

/* ---- trusting ---- */

/* Both roles' keys together, for the rule that every signature must be good. */
static int roots_join(const struct keyring_role *a, const struct keyring_role *b,
                      struct sign_public out[2 * LIMIT_KEYS])
{
    int n = a->count;
    memcpy(out, a->key, (size_t)n * sizeof *out);
    for (int i = 0; i < b->count; i++)
        if (!keyring_role_has(a, &b->key[i]))
            out[n++] = b->key[i];
    return n;
}

static enum status not_vouched(const char *why, struct err *err)
{
    return err_set(err, STATUS_REFUSED, "the key document is not signed by a root key that %s",
                   why);
}

/* roots NULL: the document's own. What others vouch for is parsed only after they did. A first
 * document may also be signed by a root from before, which nobody here knows. */
static enum status document_check(const struct envelope *envelope, const struct keyring_role *roots,
                                  int64_t next, struct keyring *out, struct err *err)
{
    struct keyring keyring;
    struct sign_public all[2 * LIMIT_KEYS];
    const struct keyring_role *own = &keyring.root;
    if (roots && !envelope_signed_by(envelope, roots->key, roots->count))
        return not_vouched("is trusted here", err);
    TRY(keyring_parse(envelope->payload.data, envelope->payload.len, &keyring, err));
    if (!envelope_signed_by(envelope, own->key, own->count))
        return not_vouched("it names itself", err);
    if (next)
        TRY(envelope_verify(envelope, all, roots_join(roots, own, all), err));
    if (next && keyring.version != next)
        return err_set(err, STATUS_REFUSED, "key document %" PRId64 " came where %" PRId64 " must",
                       keyring.version, next);
    *out = keyring;
    return STATUS_OK;
}

static enum status document_open(const void *data, size_t len, const struct keyring_role *roots,
                                 int64_t next, struct keyring *out, struct err *err)
{
    struct envelope envelope;
    TRY(envelope_parse(data, len, ENVELOPE_KEYS, &envelope, err));
    enum status status = document_check(&envelope, roots, next, out, err);
    envelope_free(&envelope);
    return status;
}

enum status keyring_open(const void *envelope, size_t len, const struct keyring_role *roots,
                         int64_t next, struct keyring *out, struct err *err)
{
    return document_open(envelope, len, roots, next, out, err);
}

enum status keyring_open_own(const void *envelope, size_t len, struct keyring *out, struct err *err)
{
    return document_open(envelope, len, NULL, 0, out, err);
}
