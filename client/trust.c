/* See trust.h. trust.json is in trust_file.c; here is what is believed. */
#include "client/trust.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "client/trust_file.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trust {
    struct io *io;
    char path[TRUST_PATH];
    struct trust_state state; /* as on disk */
    bool first_use;
    struct err damaged; /* code OK: the file is whole or not there */
};

/* ---- life ---- */

static enum status pin_check(const struct trust *t, const struct sign_public *given,
                             struct err *err)
{
    char was[SIGN_ID], is[SIGN_ID];
    if (t->state.pinned.count == 0 || keyring_role_has(&t->state.pinned, given))
        return STATUS_OK;
    sign_id(&t->state.pinned.key[0], was);
    sign_id(given, is);
    return err_set(err, STATUS_USAGE,
                   "%s was begun with root key %s, now %s is given; the one it was begun with is "
                   "right, or another --data",
                   t->path, was, is);
}

static enum status pins_read(struct trust *t, const struct trust_options *options, struct err *err)
{
    struct sign_public given;
    if (options->root_file) {
        TRY(sign_public_load(t->io, options->root_file, &given, err));
        TRY(pin_check(t, &given, err));
        t->state.pinned = (struct keyring_role){.key = {given}, .count = 1};
    }
    t->first_use = options->first_use;
    if (t->state.pinned.count || t->state.keys.version || t->first_use ||
        t->damaged.code != STATUS_OK)
        return STATUS_OK;
    return err_set(err, STATUS_USAGE,
                   "whose updates may be trusted? --trust FILE with the cloud's public root key "
                   "(root.pub in its keys folder) is missing; only http on loopback goes without");
}

enum status trust_open(struct io *io, const struct trust_options *options, struct trust **out,
                       struct err *err)
{
    struct trust *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the trusted keys");
    t->io = io;
    enum status status = io_join(t->path, sizeof t->path, options->data_dir, "trust.json", err);
    if (status == STATUS_OK &&
        trust_file_read(io, t->path, &t->state, &t->damaged) == STATUS_NOT_FOUND)
        t->damaged = (struct err){0};
    if (t->damaged.code != STATUS_OK)
        log_line(LOG_ERROR, "trust", "no update is taken: %s", t->damaged.text);
    if (status == STATUS_OK)
        status = pins_read(t, options, err);
    if (status != STATUS_OK) {
        trust_close(t);
        return status;
    }
    *out = t;
    return STATUS_OK;
}

void trust_close(struct trust *trust)
{
    if (!trust)
        return;
    buf_free(&trust->state.document);
    free(trust);
}

int64_t trust_sequence(const struct trust *trust)
{
    return trust->state.floor.sequence;
}

static enum status damage_check(const struct trust *t, struct err *err)
{
    if (t->damaged.code == STATUS_OK)
        return STATUS_OK;
    return err_set(err, STATUS_REFUSED,
                   "%s; put back a whole one, or remove it to trust the root key anew",
                   t->damaged.text);
}

/* ---- key documents ---- */

static void first_use_tell(const struct trust *t)
{
    char id[SIGN_ID];
    sign_id(&t->state.keys.root.key[0], id);
    log_line(LOG_WARN, "trust",
             "root key %s is trusted because it was the first one seen, on loopback", id);
}

/* The document, in force once it is on disk. text is taken on success. */
static enum status document_adopt(struct trust *t, const struct keyring *keys, struct buf *text,
                                  struct err *err)
{
    struct trust_state next = t->state;
    next.keys = *keys;
    next.document = *text;
    if (next.pinned.count == 0)
        next.pinned = keys->root;
    if (next.floor.sequence && !keyring_role_has(&keys->release, &next.floor.key))
        next.floor = (struct trust_floor){0};
    TRY(trust_file_write(t->io, t->path, &next, err));
    buf_free(&t->state.document);
    t->state = next;
    *text = (struct buf){0};
    log_line(LOG_INFO, "trust", "key document %" PRId64 " is in force", keys->version);
    return STATUS_OK;
}

static enum status document_get(trust_fetch *fetch, void *ctx, int64_t version, struct buf *out,
                                struct err *err)
{
    *out = (struct buf){.max = LIMIT_ENVELOPE_BYTES};
    enum status status = fetch(ctx, version, out, err);
    if (status != STATUS_OK)
        buf_free(out);
    return status;
}

/* The newest, when what is pinned (or, at a first use, nothing) suffices for it. */
static enum status document_first(struct trust *t, trust_fetch *fetch, void *ctx, struct err *err)
{
    struct buf text;
    struct keyring keys;
    bool pinned = t->state.pinned.count > 0;
    TRY(document_get(fetch, ctx, 0, &text, err));
    enum status status = pinned ? keyring_open(text.data, text.len, &t->state.pinned, 0, &keys, err)
                                : keyring_open_own(text.data, text.len, &keys, err);
    if (status == STATUS_OK)
        status = document_adopt(t, &keys, &text, err);
    if (status == STATUS_OK && !pinned)
        first_use_tell(t);
    buf_free(&text);
    return status;
}

/* Document `version`, if the pinned roots or the document before it vouch for it. */
static enum status document_next(struct trust *t, trust_fetch *fetch, void *ctx, int64_t version,
                                 struct err *err)
{
    struct buf text;
    struct keyring keys;
    const struct keyring_role *roots =
        t->state.keys.version ? &t->state.keys.root : &t->state.pinned;
    TRY(document_get(fetch, ctx, version, &text, err));
    enum status status = keyring_open(text.data, text.len, roots, version, &keys, err);
    if (status == STATUS_OK)
        status = document_adopt(t, &keys, &text, err);
    buf_free(&text);
    return status;
}

/* A root key that was pinned may have been exchanged since: the first document it signed is looked
 * for, and from there each vouches for the next. */
static enum status documents_follow(struct trust *t, trust_fetch *fetch, void *ctx, struct err *err)
{
    int64_t version = t->state.keys.version + 1, end = version + TRUST_DOCUMENTS;
    for (; version < end; version++) {
        bool known = t->state.keys.version > 0;
        enum status status = document_next(t, fetch, ctx, version, err);
        if (status == STATUS_NOT_FOUND && known)
            return STATUS_OK;
        if (status == STATUS_NOT_FOUND)
            break;
        if (status != STATUS_OK && (known || status != STATUS_REFUSED))
            return status;
    }
    return t->state.keys.version
               ? STATUS_OK
               : err_set(err, STATUS_REFUSED,
                         "none of the cloud's key documents is signed by the root key that this "
                         "device trusts");
}

enum status trust_renew(struct trust *trust, trust_fetch *fetch, void *ctx, struct err *err)
{
    TRY(damage_check(trust, err));
    if (trust->state.keys.version == 0) {
        enum status status = document_first(trust, fetch, ctx, err);
        if (status != STATUS_REFUSED || trust->state.pinned.count == 0)
            return status;
    }
    return documents_follow(trust, fetch, ctx, err);
}

/* ---- time ---- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The latest that a signature in force names; 0: none. */
static int64_t signed_time(const struct trust *t)
{
    return later(t->state.keys.created_ms, t->state.floor.created_ms);
}

bool trust_clock_behind(const struct trust *trust, int64_t wall_ms)
{
    return wall_ms < signed_time(trust);
}

static enum status expiry_check(const struct trust *t, const char *what, int64_t expires_ms,
                                int64_t wall_ms, struct err *err)
{
    char when[32];
    if (later(wall_ms, signed_time(t)) < expires_ms)
        return STATUS_OK;
    clock_format(expires_ms, when);
    return err_set(err, STATUS_REFUSED,
                   "%s expired at %s: news may be held back, or this device's clock is wrong", what,
                   when);
}

static enum status keys_check(const struct trust *t, int64_t wall_ms, struct err *err)
{
    TRY(damage_check(t, err));
    if (t->state.keys.version == 0)
        return err_set(err, STATUS_REFUSED, "no key document is known yet");
    return expiry_check(t, "the key document", t->state.keys.expires_ms, wall_ms, err);
}

enum status trust_fresh(const struct trust *trust, int64_t wall_ms, struct err *err)
{
    TRY(keys_check(trust, wall_ms, err));
    if (trust->state.floor.sequence == 0)
        return STATUS_OK;
    return expiry_check(trust, "the newest manifest seen", trust->state.floor.expires_ms, wall_ms,
                        err);
}

bool trust_newest(const struct trust *trust, struct trust_device *device)
{
    const struct trust_floor *floor = &trust->state.floor;
    if (floor->sequence == 0)
        return false;
    device->version = floor->version;
    device->set = floor->set;
    return true;
}

/* ---- manifests ---- */

/* A lower sequence is fine for a version below the floor's alone: a device that lost its slots, or
 * went back by itself, climbs again through what it has had. The same sequence is for the same
 * outcome: there may be more than one patch that leads there. */
static enum status sequence_check(const struct trust_floor *floor, const struct manifest *m,
                                  struct err *err)
{
    bool same = m->version == floor->version && hash_equal(&m->set, &floor->set);
    if (floor->sequence == 0)
        return m->sequence <= TRUST_SEQUENCE_FIRST
                   ? STATUS_OK
                   : err_set(err, STATUS_REFUSED, "sequence %" PRId64 " cannot be a first one",
                             m->sequence);
    if (m->sequence < floor->sequence && m->version >= floor->version)
        return err_set(err, STATUS_REFUSED,
                       "sequence %" PRId64 " goes back: %" PRId64 " was accepted before",
                       m->sequence, floor->sequence);
    if (m->sequence == floor->sequence && !same)
        return err_set(err, STATUS_REFUSED,
                       "sequence %" PRId64 " was accepted before, with other content", m->sequence);
    if (m->sequence - floor->sequence > TRUST_SEQUENCE_JUMP)
        return err_set(err, STATUS_REFUSED,
                       "sequence %" PRId64 " is more than %d ahead of %" PRId64, m->sequence,
                       TRUST_SEQUENCE_JUMP, floor->sequence);
    return STATUS_OK;
}

static enum status next_check(const struct manifest *m, const struct trust_device *device,
                              struct err *err)
{
    char theirs[HASH_HEX], ours[HASH_HEX];
    if (m->base_version != device->version || !hash_equal(&m->base_set, &device->set)) {
        hash_hex(&m->base_set, theirs);
        hash_hex(&device->set, ours);
        return err_set(err, STATUS_WRONG_BASE,
                       "version %" PRId64 " goes on from version %" PRId64
                       " (set %.12s); this device has version %" PRId64 " (set %.12s)",
                       m->version, m->base_version, theirs, device->version, ours);
    }
    if (m->version - device->version > TRUST_VERSION_JUMP)
        return err_set(err, STATUS_REFUSED, "version %" PRId64 " is more than %d ahead of %" PRId64,
                       m->version, TRUST_VERSION_JUMP, device->version);
    return STATUS_OK;
}

static enum status active_check(const struct manifest *m, const struct trust_device *device,
                                struct err *err)
{
    if (m->version == device->version && hash_equal(&m->set, &device->set))
        return STATUS_OK;
    return err_set(err, STATUS_WRONG_BASE,
                   "the manifest of version %" PRId64
                   " is not that of this device's version %" PRId64,
                   m->version, device->version);
}

/* The key of the release role that made the one signature we look at. */
static const struct sign_public *signer_find(const struct trust *t, const struct envelope *e)
{
    const struct keyring_role *role = &t->state.keys.release;
    for (int i = 0; i < role->count; i++)
        if (envelope_signed_by(e, &role->key[i], 1))
            return &role->key[i];
    return &role->key[0];
}

static enum status floor_raise(struct trust *t, const struct envelope *e, const struct manifest *m,
                               struct err *err)
{
    struct trust_state next = t->state;
    struct trust_floor *floor = &next.floor;
    if (m->sequence <= floor->sequence && m->expires_ms <= floor->expires_ms)
        return STATUS_OK;
    if (m->sequence > floor->sequence) {
        floor->sequence = m->sequence;
        floor->version = m->version;
        floor->set = m->set;
        floor->key = *signer_find(t, e);
    }
    floor->created_ms = later(floor->created_ms, m->created_ms);
    floor->expires_ms = later(floor->expires_ms, m->expires_ms);
    TRY(trust_file_write(t->io, t->path, &next, err));
    t->state = next;
    return STATUS_OK;
}

typedef enum status release_check(const struct manifest *m, const struct trust_device *device,
                                  struct err *err);

/* The order matters: who signed it, then what it says, then whether that is new, then whether it is
 * for us; the floor at last. */
static enum status manifest_check(struct trust *t, const struct envelope *e,
                                  const struct trust_device *device, release_check *check,
                                  int64_t wall_ms, struct manifest *out, struct err *err)
{
    const struct keyring_role *role = &t->state.keys.release;
    TRY(envelope_verify(e, role->key, role->count, err));
    TRY(manifest_parse(e->payload.data, e->payload.len, out, err));
    TRY(expiry_check(t, "the manifest", out->expires_ms, wall_ms, err));
    TRY(sequence_check(&t->state.floor, out, err));
    TRY(manifest_check_base(out, device->base, err));
    TRY(check(out, device, err));
    return floor_raise(t, e, out, err);
}

static enum status envelope_check(struct trust *t, const void *data, size_t len,
                                  const struct trust_device *device, release_check *check,
                                  int64_t wall_ms, struct manifest *out, struct err *err)
{
    struct envelope envelope;
    TRY(keys_check(t, wall_ms, err));
    TRY(envelope_parse(data, len, ENVELOPE_MANIFEST, &envelope, err));
    enum status status = manifest_check(t, &envelope, device, check, wall_ms, out, err);
    envelope_free(&envelope);
    return status;
}

enum status trust_accept(struct trust *trust, const void *envelope, size_t len,
                         const struct trust_device *device, int64_t wall_ms, struct manifest *out,
                         struct err *err)
{
    return envelope_check(trust, envelope, len, device, next_check, wall_ms, out, err);
}

enum status trust_confirm(struct trust *trust, const void *envelope, size_t len,
                          const struct trust_device *device, int64_t wall_ms, struct err *err)
{
    struct manifest manifest;
    return envelope_check(trust, envelope, len, device, active_check, wall_ms, &manifest, err);
}
