/* See manifest.h. */
#include "api/wire/manifest.h"
#include "api/base/clock.h"
#include "api/wire/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- writing ---- */

static bool set_hash(json *object, const char *key, const struct hash *hash)
{
    char hex[HASH_HEX];
    hash_hex(hash, hex);
    return json_set_string(object, key, hex);
}

static bool set_time(json *object, const char *key, int64_t ms)
{
    char text[32];
    clock_format(ms, text);
    return json_set_string(object, key, text);
}

static json *base_json(const struct manifest_base *base)
{
    json *out = json_object_new();
    if (out && json_set_string(out, "config_sha256", base->config) &&
        json_set_string(out, "model_sha256", base->model) &&
        json_set_string(out, "tokenizer_sha256", base->tokenizer) &&
        json_set_string(out, "encoder", base->encoder))
        return out;
    json_free(out);
    return NULL;
}

static json *gate_json(const struct manifest_gate *gate)
{
    json *out = json_object_new();
    if (out && json_set_bool(out, "passed", gate->passed) &&
        json_set_int(out, "held", gate->held) &&
        json_set_number(out, "agreement_before", gate->agreement_before) &&
        json_set_number(out, "agreement_after", gate->agreement_after) &&
        json_set_number(out, "replay_before", gate->replay_before) &&
        json_set_number(out, "replay_after", gate->replay_after))
        return out;
    json_free(out);
    return NULL;
}

static json *patch_json(const struct manifest *m)
{
    json *out = json_object_new();
    if (out && json_set_int(out, "size", m->size) && set_hash(out, "sha256", &m->patch))
        return out;
    json_free(out);
    return NULL;
}

static bool manifest_fill(json *out, const struct manifest *m)
{
    return json_set_string(out, "schema", MANIFEST_SCHEMA) &&
           json_set_int(out, "sequence", m->sequence) && json_set_int(out, "version", m->version) &&
           json_set_int(out, "base_version", m->base_version) &&
           (!m->channel[0] || json_set_string(out, "channel", m->channel)) &&
           set_time(out, "created", m->created_ms) && set_time(out, "expires", m->expires_ms) &&
           json_set_take(out, "patch", patch_json(m)) &&
           set_hash(out, "base_set_sha256", &m->base_set) && set_hash(out, "set_sha256", &m->set) &&
           json_set_int(out, "parameters", m->parameters) &&
           json_set_take(out, "base", base_json(&m->base)) &&
           json_set_take(out, "gate", gate_json(&m->gate));
}

enum status manifest_encode(const struct manifest *manifest, struct buf *out, struct err *err)
{
    json *root = json_object_new();
    enum status status =
        root && manifest_fill(root, manifest) ? json_print(root, false, out) : STATUS_NO_MEMORY;
    json_free(root);
    return status == STATUS_OK ? STATUS_OK : err_set(err, status, "no room for a manifest");
}

/* ---- reading ---- */

static enum status get_hash(const json *object, const char *key, struct hash *out, struct err *err)
{
    const char *hex;
    TRY(json_get_string(object, key, HASH_HEX - 1, &hex, err));
    if (hash_parse(hex, out))
        return STATUS_OK;
    return err_set(err, STATUS_MALFORMED, "field \"%s\" is no SHA-256 in lower-case hexadecimal",
                   key);
}

static enum status get_hex(const json *object, const char *key, bool may_be_empty,
                           char out[HASH_HEX], struct err *err)
{
    const char *hex;
    struct hash hash;
    TRY(json_get_string(object, key, HASH_HEX - 1, &hex, err));
    out[0] = '\0';
    if (may_be_empty && !hex[0])
        return STATUS_OK;
    TRY(get_hash(object, key, &hash, err));
    hash_hex(&hash, out);
    return STATUS_OK;
}

static enum status patch_parse(const json *root, struct manifest *out, struct err *err)
{
    static const char *const known[] = {"size", "sha256", NULL};
    const json *patch;
    TRY(json_get_object(root, "patch", &patch, err));
    TRY(json_only(patch, known, err));
    TRY(json_get_int(patch, "size", 1, LIMIT_DELTA_BYTES, &out->size, err));
    return get_hash(patch, "sha256", &out->patch, err);
}

static enum status base_parse(const json *root, struct manifest_base *out, struct err *err)
{
    static const char *const known[] = {"config_sha256", "model_sha256", "tokenizer_sha256",
                                        "encoder", NULL};
    const json *base;
    TRY(json_get_object(root, "base", &base, err));
    TRY(json_only(base, known, err));
    TRY(get_hex(base, "config_sha256", false, out->config, err));
    TRY(get_hex(base, "model_sha256", false, out->model, err));
    TRY(get_hex(base, "tokenizer_sha256", true, out->tokenizer, err));
    return get_hex(base, "encoder", false, out->encoder, err);
}

static enum status gate_parse(const json *root, struct manifest_gate *out, struct err *err)
{
    static const char *const known[] = {
        "passed",       "held", "agreement_before", "agreement_after", "replay_before",
        "replay_after", NULL};
    const json *gate;
    TRY(json_get_object(root, "gate", &gate, err));
    TRY(json_only(gate, known, err));
    TRY(json_get_bool(gate, "passed", &out->passed, err));
    TRY(json_get_int(gate, "held", 0, INT64_MAX, &out->held, err));
    TRY(json_get_number(gate, "agreement_before", -1, 1, &out->agreement_before, err));
    TRY(json_get_number(gate, "agreement_after", -1, 1, &out->agreement_after, err));
    TRY(json_get_number(gate, "replay_before", -1, 1, &out->replay_before, err));
    return json_get_number(gate, "replay_after", -1, 1, &out->replay_after, err);
}

static enum status channel_parse(const json *root, struct manifest *out, struct err *err)
{
    const char *channel = NULL;
    TRY(json_opt_string(root, "channel", LIMIT_ID, &channel, err));
    if (!channel)
        return STATUS_OK;
    size_t len =
        strspn(channel, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    if (len == 0 || channel[len])
        return err_set(err, STATUS_MALFORMED, "field \"channel\": 1 to %d of A-Z a-z 0-9 . _ -",
                       LIMIT_ID);
    snprintf(out->channel, sizeof out->channel, "%s", channel);
    return STATUS_OK;
}

static enum status numbers_parse(const json *root, struct manifest *out, struct err *err)
{
    TRY(json_get_int(root, "sequence", 1, INT64_MAX, &out->sequence, err));
    TRY(json_get_int(root, "version", 1, INT64_MAX, &out->version, err));
    TRY(json_get_int(root, "base_version", 0, INT64_MAX, &out->base_version, err));
    TRY(json_get_int(root, "parameters", 0, INT64_MAX, &out->parameters, err));
    TRY(json_get_time(root, "created", &out->created_ms, err));
    TRY(json_get_time(root, "expires", &out->expires_ms, err));
    if (out->version <= out->base_version)
        return err_set(err, STATUS_SHAPE, "version %" PRId64 " does not follow its base %" PRId64,
                       out->version, out->base_version);
    if (out->expires_ms <= out->created_ms)
        return err_set(err, STATUS_SHAPE, "it expires before it is created");
    return STATUS_OK;
}

static enum status root_parse(const json *root, struct manifest *out, struct err *err)
{
    static const char *const known[] = {
        "schema", "sequence",        "version",    "base_version", "channel", "created", "expires",
        "patch",  "base_set_sha256", "set_sha256", "parameters",   "base",    "gate",    NULL};
    const char *schema;
    TRY(json_get_string(root, "schema", 64, &schema, err));
    if (strcmp(schema, MANIFEST_SCHEMA) != 0)
        return err_set(err, STATUS_UNSUPPORTED, "schema \"%s\"; " MANIFEST_SCHEMA " is right",
                       schema);
    TRY(json_only(root, known, err));
    TRY(numbers_parse(root, out, err));
    TRY(channel_parse(root, out, err));
    TRY(patch_parse(root, out, err));
    TRY(get_hash(root, "base_set_sha256", &out->base_set, err));
    TRY(get_hash(root, "set_sha256", &out->set, err));
    TRY(base_parse(root, &out->base, err));
    return gate_parse(root, &out->gate, err);
}

enum status manifest_parse(const void *data, size_t len, struct manifest *out, struct err *err)
{
    json *root = NULL;
    struct manifest manifest = {0};
    if (len > LIMIT_ENVELOPE_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "a manifest of %zu bytes; the limit is %d", len,
                       LIMIT_ENVELOPE_BYTES);
    TRY(json_parse(data, len, &root, err));
    enum status status = root_parse(root, &manifest, err);
    json_free(root);
    if (status == STATUS_OK)
        *out = manifest;
    return status;
}

/* ---- holding things against it ---- */

enum status manifest_check_patch(const struct manifest *manifest, const void *patch, size_t len,
                                 struct err *err)
{
    struct hash hash;
    char expected[HASH_HEX], actual[HASH_HEX];
    if ((int64_t)len != manifest->size)
        return err_set(err, STATUS_CORRUPT,
                       "the patch of version %" PRId64 " has %zu bytes, its manifest says %" PRId64,
                       manifest->version, len, manifest->size);
    hash_bytes(patch, len, &hash);
    if (hash_equal(&hash, &manifest->patch))
        return STATUS_OK;
    hash_hex(&hash, actual);
    hash_hex(&manifest->patch, expected);
    return err_set(err, STATUS_CORRUPT,
                   "the patch of version %" PRId64
                   " has SHA-256 %.16s..., its manifest says %.16s...",
                   manifest->version, actual, expected);
}

enum status manifest_check_base(const struct manifest *manifest, const struct manifest_base *mine,
                                struct err *err)
{
    const struct manifest_base *theirs = &manifest->base;
    const struct {
        const char *part, *is, *should;
    } parts[] = {{"config.json", theirs->config, mine->config},
                 {"weights", theirs->model, mine->model},
                 {"tokenizer", theirs->tokenizer, mine->tokenizer},
                 {"vision encoder", theirs->encoder, mine->encoder}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].is, parts[i].should) != 0)
            return err_set(err, STATUS_WRONG_BASE,
                           "version %" PRId64 " is for another factory model: its %s is %.16s..., "
                           "this device's is %.16s...",
                           manifest->version, parts[i].part, parts[i].is, parts[i].should);
    return STATUS_OK;
}
