/* DATA/state.json; see slots_state.h. */
#include "client/slots_state.h"
#include "api/wire/json.h"
#include <string.h>

enum { STATE_FILE_MAX = 64 << 10 };

static const char *const state_outcomes[] = {"applied", "rolled_back"};

void slots_state_init(struct slots_state *state, const struct hash *factory)
{
    *state = (struct slots_state){
        .previous = SLOTS_NONE, .told = SLOTS_NONE, .factory = *factory, .hash = *factory};
}

/* ---- writing ---- */

static bool state_set_hash(json *root, const char *key, const struct hash *hash)
{
    char hex[HASH_HEX];
    hash_hex(hash, hex);
    return json_set_string(root, key, hex);
}

static bool state_set_failed(json *root, const struct slots_state *state)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (int i = 0; ok && i < state->failed_count; i++) {
        const struct slots_failed *failed = &state->failed[i];
        json *entry = json_object_new();
        ok = entry && json_set_int(entry, "version", failed->version) &&
             json_set_int(entry, "failures", failed->failures) &&
             state_set_hash(entry, "patch_sha256", &failed->patch);
        ok = json_append_take(list, entry) && ok;
    }
    return json_set_take(root, "failed", list) && ok;
}

static bool state_set_all(json *root, const struct slots_state *state)
{
    return json_set_string(root, "schema", "cdcca.edge-state/1") &&
           json_set_int(root, "active", state->active) &&
           json_set_int(root, "previous", state->previous) &&
           state_set_hash(root, "factory_sha256", &state->factory) &&
           state_set_hash(root, "sha256", &state->hash) &&
           state_set_hash(root, "previous_sha256", &state->previous_hash) &&
           state_set_hash(root, "patch_sha256", &state->patch) && state_set_failed(root, state) &&
           json_set_int(root, "told", state->told) &&
           json_set_string(root, "told_outcome", state_outcomes[state->told_outcome]);
}

enum status slots_state_save(struct io *io, const char *path, const struct slots_state *state,
                             struct err *err)
{
    struct buf text = {.max = STATE_FILE_MAX};
    json *root = json_object_new();
    enum status status =
        root && state_set_all(root, state) ? json_print(root, true, &text) : STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = io_write_file(io, path, text.data, text.len, err);
    else
        err_set(err, status, "%s: no memory to write it", path);
    json_free(root);
    buf_free(&text);
    return status;
}

/* ---- reading ---- */

static enum status state_get_hash(const json *root, const char *key, struct hash *out,
                                  struct err *err)
{
    const char *hex;
    TRY(json_get_string(root, key, HASH_HEX - 1, &hex, err));
    if (!hash_parse(hex, out))
        return err_set(err, STATUS_MALFORMED, "%s is no SHA-256 in lower-case hexadecimal", key);
    return STATUS_OK;
}

static enum status state_get_failed(const json *root, struct slots_state *out, struct err *err)
{
    const json *list;
    TRY(json_get_array(root, "failed", SLOTS_FAILED_MAX, &list, err));
    for (size_t i = 0; i < json_length(list); i++) {
        struct slots_failed *failed = &out->failed[i];
        const json *entry = json_at(list, i);
        TRY(json_get_int(entry, "version", 0, INT64_MAX, &failed->version, err));
        TRY(json_get_int(entry, "failures", 1, SLOTS_FAILURES_MAX, &failed->failures, err));
        TRY(state_get_hash(entry, "patch_sha256", &failed->patch, err));
        out->failed_count++;
    }
    return STATUS_OK;
}

static enum status state_get_told(const json *root, struct slots_state *out, struct err *err)
{
    const char *outcome;
    TRY(json_get_int(root, "told", SLOTS_NONE, INT64_MAX, &out->told, err));
    TRY(json_get_string(root, "told_outcome", 32, &outcome, err));
    out->told_outcome =
        strcmp(outcome, state_outcomes[SLOTS_APPLIED]) == 0 ? SLOTS_APPLIED : SLOTS_ROLLED_BACK;
    return STATUS_OK;
}

static enum status state_parse(const json *root, struct slots_state *out, struct err *err)
{
    struct slots_state s = {0};
    TRY(json_get_int(root, "active", 0, INT64_MAX, &s.active, err));
    TRY(json_get_int(root, "previous", SLOTS_NONE, INT64_MAX, &s.previous, err));
    TRY(state_get_hash(root, "factory_sha256", &s.factory, err));
    TRY(state_get_hash(root, "sha256", &s.hash, err));
    TRY(state_get_hash(root, "previous_sha256", &s.previous_hash, err));
    TRY(state_get_hash(root, "patch_sha256", &s.patch, err));
    TRY(state_get_failed(root, &s, err));
    TRY(state_get_told(root, &s, err));
    *out = s;
    return STATUS_OK;
}

enum status slots_state_load(struct io *io, const char *path, struct slots_state *out,
                             struct err *err)
{
    struct buf text = {.max = STATE_FILE_MAX};
    json *root = NULL;
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK)
        status = json_parse(text.data, text.len, &root, err);
    if (status == STATUS_OK)
        status = state_parse(root, out, err);
    json_free(root);
    buf_free(&text);
    return status;
}

/* ---- patches that failed ---- */

struct slots_failed *slots_state_find(struct slots_state *state, int64_t version,
                                      const struct hash *patch)
{
    for (int i = 0; i < state->failed_count; i++)
        if (state->failed[i].version == version && hash_equal(&state->failed[i].patch, patch))
            return &state->failed[i];
    return NULL;
}

int64_t slots_state_fail(struct slots_state *state, int64_t version, const struct hash *patch,
                         int64_t failures)
{
    struct slots_failed *failed = slots_state_find(state, version, patch);
    if (!failed) {
        if (state->failed_count == SLOTS_FAILED_MAX)
            memmove(&state->failed[0], &state->failed[1],
                    (size_t)--state->failed_count * sizeof state->failed[0]);
        failed = &state->failed[state->failed_count++];
        *failed = (struct slots_failed){.version = version, .patch = *patch};
    }
    failed->failures += failures;
    if (failed->failures > SLOTS_FAILURES_MAX)
        failed->failures = SLOTS_FAILURES_MAX;
    return failed->failures;
}
