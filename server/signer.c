/* See signer.h. */
#include "server/signer.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "server/envelopes.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIGNER_CHECK_S = 1 };

struct signer {
    struct signer_config config;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards stopping */
    pthread_cond_t wake;
    bool stopping;
};

/* ---- one manifest ---- */

static enum status envelope_write(struct signer *signer, const struct buf *payload, bool sign,
                                  struct buf *out, struct err *err)
{
    struct envelope envelope;
    enum status status =
        envelope_init(&envelope, ENVELOPE_MANIFEST, payload->data, payload->len, err);
    if (status == STATUS_OK && sign)
        status = keys_sign(signer->config.keys, &envelope, err);
    if (status == STATUS_OK)
        status = envelope_encode(&envelope, out, err);
    envelope_free(&envelope);
    return status;
}

/* For jobs: the payload's envelope, signed or waiting. */
static enum status envelope_store(struct signer *signer, struct store *store,
                                  const struct manifest *m, const struct buf *payload,
                                  struct err *err)
{
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    struct keyring now;
    bool sign = keys_can_sign(signer->config.keys);
    keys_current(signer->config.keys, &now);
    enum status status = envelope_write(signer, payload, sign, &text, err);
    if (status == STATUS_OK) {
        const char *made = (const char *)text.data;
        struct stored_envelope row = {.version = m->version,
                                      .sequence = m->sequence,
                                      .expires_ms = m->expires_ms,
                                      .keys = now.version,
                                      .envelope = sign ? made : NULL,
                                      .waiting = sign ? NULL : made};
        status = envelopes_put(store, &row, err);
    }
    if (status == STATUS_OK && sign)
        status = store_release_signed(store, m->version, err);
    buf_free(&text);
    return status;
}

static enum status payload_make(struct signer *signer, struct store *store, struct manifest *m,
                                struct buf *out, struct err *err)
{
    TRY(envelopes_sequence(store, &m->sequence, err));
    m->created_ms = clock_wall_ms();
    m->expires_ms = m->created_ms + signer->config.life_ms;
    return manifest_encode(m, out, err);
}

enum status signer_add(struct signer *signer, struct store *store, struct release *release,
                       struct manifest *manifest, const void *patch, size_t len, struct err *err)
{
    struct buf payload = {.max = LIMIT_ENVELOPE_BYTES};
    enum status status = payload_make(signer, store, manifest, &payload, err);
    if (status == STATUS_OK) {
        release->manifest = (const char *)payload.data;
        release->state = rollout_state_name(ROLLOUT_UNSIGNED);
        status = store_release_add(store, release, patch, len, err);
    }
    if (status == STATUS_OK)
        status = envelope_store(signer, store, manifest, &payload, err);
    release->manifest = NULL;
    buf_free(&payload);
    return status;
}

/* ---- another way to a version ---- */

static bool signed_copy(void *ctx, const struct stored_envelope *stored)
{
    if (stored->envelope)
        buf_append(ctx, stored->envelope, strlen(stored->envelope));
    return true;
}

/* What the version's own manifest says, as devices have it. */
static enum status own_read(struct signer *signer, int64_t version, struct manifest *out,
                            struct err *err)
{
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    struct envelope envelope = {.signatures = 0};
    enum status status = envelopes_get(signer->config.store, version, signed_copy, &text, err);
    if (status == STATUS_OK && text.len == 0)
        status = err_set(err, STATUS_NOT_FOUND, "version %lld is not signed", (long long)version);
    if (status == STATUS_OK)
        status = envelope_parse(text.data, text.len, ENVELOPE_MANIFEST, &envelope, err);
    if (status == STATUS_OK)
        status = manifest_parse(envelope.payload.data, envelope.payload.len, out, err);
    envelope_free(&envelope);
    buf_free(&text);
    return status;
}

enum status signer_seal(struct signer *signer, struct manifest *manifest, struct buf *out,
                        struct err *err)
{
    struct manifest own;
    struct buf payload = {.max = LIMIT_ENVELOPE_BYTES};
    TRY(own_read(signer, manifest->version, &own, err));
    manifest->sequence = own.sequence;
    manifest->created_ms = own.created_ms;
    manifest->expires_ms = own.expires_ms;
    enum status status = manifest_encode(manifest, &payload, err);
    if (status == STATUS_OK)
        status = envelope_write(signer, &payload, true, out, err);
    buf_free(&payload);
    return status;
}

/* ---- all of them anew ---- */

struct renewal {
    struct signer *signer;
    struct manifest *manifest;
    size_t count, room;
    bool failed; /* no memory */
};

static bool manifest_collect(void *ctx, const struct release *release)
{
    struct renewal *renewal = ctx;
    struct err why = {0};
    if (renewal->count == renewal->room) {
        size_t room = renewal->room ? 2 * renewal->room : 64;
        struct manifest *longer = realloc(renewal->manifest, room * sizeof *longer);
        renewal->failed = !longer;
        if (!longer)
            return false;
        renewal->manifest = longer;
        renewal->room = room;
    }
    if (manifest_parse(release->manifest, strlen(release->manifest),
                       &renewal->manifest[renewal->count], &why) == STATUS_OK)
        renewal->count++;
    else
        log_line(LOG_ERROR, "signer", "version %lld stays unsigned: its manifest: %s",
                 (long long)release->version, why.text);
    return true;
}

static enum status renewal_run(struct store *store, void *ctx, struct err *err)
{
    struct renewal *renewal = ctx;
    for (size_t i = 0; i < renewal->count; i++) {
        struct buf payload = {.max = LIMIT_ENVELOPE_BYTES};
        enum status status =
            payload_make(renewal->signer, store, &renewal->manifest[i], &payload, err);
        if (status == STATUS_OK)
            status = envelope_store(renewal->signer, store, &renewal->manifest[i], &payload, err);
        buf_free(&payload);
        TRY(status);
    }
    return STATUS_OK;
}

/* In the order of versions, so that sequences rise along the way a device takes. */
static enum status all_renew(struct signer *signer, struct err *err)
{
    struct store *store = signer->config.store;
    struct renewal renewal = {.signer = signer};
    enum status status = store_releases_all(store, manifest_collect, &renewal, err);
    if (status == STATUS_OK && renewal.failed)
        status = err_set(err, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK)
        status = store_run(store, renewal_run, &renewal, err);
    free(renewal.manifest);
    TRY(status);
    log_line(LOG_INFO, "signer", "%zu manifests %s", renewal.count,
             keys_can_sign(signer->config.keys) ? "signed anew" : "wait for cdcca-cloud sign");
    signer->config.on_signed(signer->config.ctx);
    return STATUS_OK;
}

enum status signer_check(struct signer *signer, struct err *err)
{
    struct keyring now;
    bool due = false;
    TRY(keys_reload(signer->config.keys, err));
    TRY(keys_renew(signer->config.keys, err));
    keys_current(signer->config.keys, &now);
    TRY(envelopes_due(signer->config.store, clock_wall_ms() + signer->config.life_ms / 2,
                      now.version, keys_can_sign(signer->config.keys), &due, err));
    return due ? all_renew(signer, err) : STATUS_OK;
}

/* ---- signatures from elsewhere ---- */

static bool waiting_copy(void *ctx, const struct stored_envelope *stored)
{
    struct signer_taking *taking = ctx;
    if (stored->waiting)
        buf_append(&taking->waiting, stored->waiting, strlen(stored->waiting));
    return true;
}

enum status signer_taking_run(struct store *store, void *ctx, struct err *err)
{
    struct signer_taking *taking = ctx;
    TRY(envelopes_settle(store, taking->version, (const char *)taking->waiting.data,
                         (const char *)taking->text.data, err));
    return store_release_signed(store, taking->version, err);
}

/* Is this what waits, signed? */
static enum status waiting_check(struct signer *signer, const struct signer_taking *taking,
                                 const struct envelope *given, struct err *err)
{
    struct envelope waiting;
    if (taking->waiting.len == 0)
        return err_set(err, STATUS_CONFLICT, "no manifest of version %lld waits for a signature",
                       (long long)taking->version);
    TRY(envelope_parse(taking->waiting.data, taking->waiting.len, ENVELOPE_MANIFEST, &waiting,
                       err));
    bool same = waiting.payload.len == given->payload.len &&
                memcmp(waiting.payload.data, given->payload.data, given->payload.len) == 0;
    envelope_free(&waiting);
    if (!same)
        return err_set(err, STATUS_CONFLICT,
                       "another manifest of version %lld waits for a signature; GET /unsigned has "
                       "it",
                       (long long)taking->version);
    return keys_verify(signer->config.keys, given, err);
}

enum status signer_take(struct signer *signer, int64_t version, const void *envelope, size_t len,
                        struct signer_taking *out, struct err *err)
{
    struct envelope given;
    *out = (struct signer_taking){
        .version = version, .waiting.max = LIMIT_ENVELOPE_BYTES, .text.max = LIMIT_ENVELOPE_BYTES};
    TRY(envelope_parse(envelope, len, ENVELOPE_MANIFEST, &given, err));
    enum status status = envelopes_get(signer->config.store, version, waiting_copy, out, err);
    if (status == STATUS_OK)
        status = waiting_check(signer, out, &given, err);
    if (status == STATUS_OK)
        status = envelope_encode(&given, &out->text, err);
    envelope_free(&given);
    return status;
}

void signer_taken(struct signer *signer)
{
    signer->config.on_signed(signer->config.ctx);
}

void signer_taking_free(struct signer_taking *taking)
{
    buf_free(&taking->waiting);
    buf_free(&taking->text);
}

/* ---- the thread ---- */

/* True when it is time to end. */
static bool signer_wait(struct signer *signer)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SIGNER_CHECK_S;
    pthread_mutex_lock(&signer->lock);
    while (!signer->stopping && pthread_cond_timedwait(&signer->wake, &signer->lock, &until) == 0)
        ;
    bool stopping = signer->stopping;
    pthread_mutex_unlock(&signer->lock);
    return stopping;
}

/* What stays wrong is said once. */
static void *signer_main(void *arg)
{
    struct signer *signer = arg;
    struct err said = {0};
    do {
        struct err err = {0};
        if (signer_check(signer, &err) != STATUS_OK && strcmp(err.text, said.text) != 0)
            log_line(LOG_ERROR, "signer", "%s", err.text);
        said = err;
    } while (!signer_wait(signer));
    return NULL;
}

enum status signer_create(const struct signer_config *config, struct signer **out, struct err *err)
{
    struct signer *signer = calloc(1, sizeof *signer);
    if (!signer)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    signer->config = *config;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&signer->lock, NULL);
    pthread_cond_init(&signer->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    *out = signer;
    return STATUS_OK;
}

enum status signer_run(struct signer *signer, struct err *err)
{
    signer->started = pthread_create(&signer->thread, NULL, signer_main, signer) == 0;
    return signer->started ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
}

void signer_destroy(struct signer *signer)
{
    if (!signer)
        return;
    pthread_mutex_lock(&signer->lock);
    signer->stopping = true;
    pthread_cond_signal(&signer->wake);
    pthread_mutex_unlock(&signer->lock);
    if (signer->started)
        pthread_join(signer->thread, NULL);
    pthread_cond_destroy(&signer->wake);
    pthread_mutex_destroy(&signer->lock);
    free(signer);
}
