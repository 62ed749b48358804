/* See trust_file.h. */
#include "client/trust_file.h"
#include "api/base/clock.h"
#include "api/wire/json.h"
#include <stdio.h>
#include <string.h>

enum { TRUST_FILE_MAX = 4 * LIMIT_ENVELOPE_BYTES }; /* an envelope's quotes are escaped in it */

/* ---- writing ---- */

static json *pinned_json(const struct keyring_role *pinned)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (int i = 0; ok && i < pinned->count; i++) {
        char line[SIGN_LINE];
        sign_public_line(&pinned->key[i], line);
        ok = json_append_string(list, line);
    }
    if (ok)
        return list;
    json_free(list);
    return NULL;
}

static bool floor_set(json *root, const struct trust_floor *floor)
{
    char hex[HASH_HEX], line[SIGN_LINE], created[32], expires[32];
    hash_hex(&floor->set, hex);
    sign_public_line(&floor->key, line);
    clock_format(floor->created_ms, created);
    clock_format(floor->expires_ms, expires);
    return json_set_int(root, "sequence", floor->sequence) &&
           json_set_int(root, "version", floor->version) &&
           json_set_string(root, "set_sha256", hex) && json_set_string(root, "key", line) &&
           json_set_string(root, "created", created) && json_set_string(root, "expires", expires);
}

enum status trust_file_write(struct io *io, const char *path, const struct trust_state *state,
                             struct err *err)
{
    struct buf text = {.max = TRUST_FILE_MAX};
    json *root = json_object_new();
    bool ok = root && json_set_string(root, "schema", "cdcca.edge-trust/1") &&
              json_set_take(root, "pinned", pinned_json(&state->pinned)) &&
              json_set_string(root, "keys",
                              state->document.len ? (const char *)state->document.data : "") &&
              floor_set(root, &state->floor);
    enum status status = ok ? json_print(root, true, &text) : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = io_write_file(io, path, text.data, text.len, err);
    else
        err_set(err, status, "%s: no room to write it", path);
    json_free(root);
    buf_free(&text);
    return status;
}

/* ---- reading ---- */

static enum status pinned_parse(const json *root, struct keyring_role *out, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "pinned", LIMIT_KEYS, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        const char *line;
        TRY(json_string_at(list, i, SIGN_LINE, &line, err));
        TRY(sign_public_parse(line, strlen(line), &out->key[i], err));
        out->count++;
    }
    return STATUS_OK;
}

static enum status document_parse(const json *root, struct trust_state *out, struct err *err)
{
    const char *text;
    TRY(json_get_string(root, "keys", LIMIT_ENVELOPE_BYTES, &text, err));
    if (!text[0])
        return STATUS_OK;
    TRY(keyring_open_own(text, strlen(text), &out->keys, err));
    if (buf_append(&out->document, text, strlen(text)) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the key document");
    return STATUS_OK;
}

static enum status floor_parse(const json *root, struct trust_floor *out, struct err *err)
{
    const char *hex, *line;
    TRY(json_get_int(root, "sequence", 0, INT64_MAX, &out->sequence, err));
    TRY(json_get_int(root, "version", 0, INT64_MAX, &out->version, err));
    TRY(json_get_string(root, "set_sha256", HASH_HEX - 1, &hex, err));
    if (!hash_parse(hex, &out->set))
        return err_set(err, STATUS_MALFORMED, "set_sha256 is no SHA-256");
    TRY(json_get_string(root, "key", SIGN_LINE, &line, err));
    TRY(sign_public_parse(line, strlen(line), &out->key, err));
    TRY(json_get_time(root, "created", &out->created_ms, err));
    return json_get_time(root, "expires", &out->expires_ms, err);
}

static enum status root_parse(const json *root, struct trust_state *out, struct err *err)
{
    static const char *const known[] = {"schema",     "pinned", "keys",    "sequence", "version",
                                        "set_sha256", "key",    "created", "expires",  NULL};
    const char *schema;
    TRY(json_only(root, known, err));
    TRY(json_get_string(root, "schema", 64, &schema, err));
    if (strcmp(schema, "cdcca.edge-trust/1") != 0)
        return err_set(err, STATUS_UNSUPPORTED, "schema \"%s\"; cdcca.edge-trust/1 is right",
                       schema);
    TRY(pinned_parse(root, &out->pinned, err));
    TRY(document_parse(root, out, err));
    return floor_parse(root, &out->floor, err);
}

enum status trust_file_read(struct io *io, const char *path, struct trust_state *out,
                            struct err *err)
{
    struct buf text = {.max = TRUST_FILE_MAX};
    json *root = NULL;
    *out = (struct trust_state){.document.max = LIMIT_ENVELOPE_BYTES};
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK) {
        status = json_parse(text.data, text.len, &root, err);
        if (status == STATUS_OK)
            status = root_parse(root, out, err);
        if (status != STATUS_OK)
            err_prefix(err, "%s is damaged", path);
    }
    json_free(root);
    buf_free(&text);
    return status;
}
