/* See planner.h. */
#include "server/planner.h"
#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/wire/manifest.h"
#include "model/learn/compress.h"
#include "server/versions.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WANTED_MAX = 16 };

struct wanted {
    int64_t base_version, version;
};

struct planner {
    struct planner_config config;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    bool stopping;
    struct wanted wanted[WANTED_MAX]; /* the first is being made */
    int count;
    struct wanted failed; /* the last that could not be made, and why */
    struct err why;
};

/* ---- which way ---- */

bool planner_squashes(const struct planner_chain *chain)
{
    return chain->length > 1 && chain->squash_bytes > 0 &&
           (chain->detour || chain->squash_bytes < chain->bytes);
}

bool planner_would_squash(const struct planner_chain *chain)
{
    return chain->length > 1 && chain->squash_bytes == 0 &&
           (chain->detour || chain->bytes > chain->parameters);
}

struct chain_walk {
    struct planner_chain *chain;
    int64_t version;
};

static bool chain_take(void *ctx, const struct release *release)
{
    struct chain_walk *walk = ctx;
    if (release->version > walk->version)
        return false;
    walk->chain->length++;
    walk->chain->bytes += release->size_bytes;
    walk->chain->parameters = release->parameters;
    walk->chain->detour |= release->version < walk->version && release->detail;
    return true;
}

static bool squash_size(void *ctx, const struct squash *squash)
{
    *(int64_t *)ctx = squash->size_bytes;
    return false;
}

enum status planner_chain_read(struct store *store, int64_t base_version, int64_t version,
                               struct planner_chain *out, struct err *err)
{
    struct chain_walk walk = {out, version};
    *out = (struct planner_chain){0};
    TRY(store_releases(store, base_version, -1, chain_take, &walk, err));
    enum status status =
        store_squash(store, base_version, version, squash_size, &out->squash_bytes, err);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum { BUDGET_MIN = 512 };

enum status planner_budget_parse(const char *text, int64_t *smallest, struct err *err)
{
    *smallest = 0;
    for (const char *at = text; at && *at;) {
        size_t name = strcspn(at, "=,");
        char *end = NULL;
        long bytes = at[name] == '=' && at[name + 1] >= '1' && at[name + 1] <= '9'
                         ? strtol(at + name + 1, &end, 10)
                         : 0;
        if (name == 0 || name > LIMIT_ID || bytes < BUDGET_MIN || bytes > LIMIT_DELTA_BYTES ||
            (*end != ',' && *end != '\0'))
            return err_set(err, STATUS_USAGE,
                           "class budgets: \"%.40s\"; right is CLASS=BYTES, %d bytes to %d, as in "
                           "camera=30000",
                           at, BUDGET_MIN, LIMIT_DELTA_BYTES);
        if (*smallest == 0 || bytes < *smallest)
            *smallest = bytes;
        at = *end ? end + 1 : end;
    }
    return STATUS_OK;
}

/* ---- making one ---- */

struct making {
    struct planner *planner;
    struct wanted want;
    struct buf patch, manifest;
    struct hash base_set, hash; /* of the patch */
    char sha256[HASH_HEX];
};

static enum status delta_make(struct making *m, const struct trainable *set, float *base,
                              float *target, struct delta *delta, struct err *err)
{
    const struct planner_config *c = &m->planner->config;
    TRY(versions_read(c->io, c->store, c->student, m->want.base_version, base, err));
    TRY(versions_read(c->io, c->store, c->student, m->want.version, target, err));
    return compress_exact(set, base, target, m->want.base_version, m->want.version, delta, err);
}

static enum status patch_make(struct making *m, struct err *err)
{
    struct trainable set;
    struct delta delta = {0};
    TRY(trainable_list(m->planner->config.student, &set, err));
    float *values = calloc(2 * set.values + 1, sizeof *values);
    enum status status = values ? delta_make(m, &set, values, values + set.values, &delta, err)
                                : err_set(err, STATUS_NO_MEMORY, "out of memory");
    free(values);
    trainable_free(&set);
    if (status == STATUS_OK)
        status = delta_encode(&delta, &m->patch, err);
    if (status == STATUS_OK) {
        m->base_set = delta.base_hash;
        hash_bytes(m->patch.data, m->patch.len, &m->hash);
        hash_hex(&m->hash, m->sha256);
    }
    delta_free(&delta);
    return status;
}

static bool manifest_copy(void *ctx, const struct release *release)
{
    struct buf *out = ctx;
    return buf_append(out, release->manifest, strlen(release->manifest)) == STATUS_OK;
}

/* The version's own manifest with another patch and another base, to be sealed (signer.h). */
static enum status manifest_make(struct making *m, struct err *err)
{
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    struct manifest manifest;
    enum status status =
        store_release(m->planner->config.store, m->want.version, manifest_copy, &text, err);
    if (status == STATUS_OK)
        status = manifest_parse(text.data, text.len, &manifest, err);
    buf_free(&text);
    TRY(status);
    manifest.base_version = m->want.base_version;
    manifest.base_set = m->base_set;
    manifest.size = (int64_t)m->patch.len;
    manifest.patch = m->hash;
    TRY(manifest_encode(&manifest, &m->manifest, err));
    return STATUS_OK;
}

static enum status making_store(struct store *store, void *ctx, struct err *err)
{
    struct making *m = ctx;
    struct squash squash = {.base_version = m->want.base_version,
                            .version = m->want.version,
                            .size_bytes = (int64_t)m->patch.len,
                            .sha256 = m->sha256,
                            .manifest = (const char *)m->manifest.data};
    return store_squash_add(store, &squash, m->patch.data, m->patch.len,
                            m->planner->config.cache_bytes, err);
}

static enum status squash_make(struct planner *planner, struct wanted want, struct err *err)
{
    struct making m = {.planner = planner,
                       .want = want,
                       .patch.max = LIMIT_DELTA_BYTES,
                       .manifest.max = LIMIT_ENVELOPE_BYTES};
    int64_t begun_ms = clock_monotonic_ms();
    struct store_job job = {.run = making_store, .ctx = &m};
    enum status status = patch_make(&m, err);
    if (status == STATUS_OK)
        status = manifest_make(&m, err);
    if (status == STATUS_OK)
        status = store_apply(planner->config.store, &job, 1, err);
    if (status == STATUS_OK && job.status != STATUS_OK) {
        status = job.status;
        *err = job.err;
    }
    if (status == STATUS_OK)
        log_line(LOG_INFO, "planner", "versions %lld to %lld in one patch: %zu bytes, %.1f s",
                 (long long)want.base_version, (long long)want.version, m.patch.len,
                 (double)(clock_monotonic_ms() - begun_ms) / 1000);
    buf_free(&m.patch);
    buf_free(&m.manifest);
    return status;
}

/* ---- the thread ---- */

static bool wanted_next(struct planner *planner, struct wanted *out)
{
    pthread_mutex_lock(&planner->lock);
    while (!planner->stopping && planner->count == 0)
        pthread_cond_wait(&planner->wake, &planner->lock);
    bool stopping = planner->stopping;
    *out = planner->wanted[0];
    pthread_mutex_unlock(&planner->lock);
    return !stopping;
}

static void wanted_end(struct planner *planner, enum status status, const struct err *why)
{
    pthread_mutex_lock(&planner->lock);
    if (status != STATUS_OK) {
        planner->failed = planner->wanted[0];
        planner->why = *why;
    }
    planner->count--;
    memmove(planner->wanted, planner->wanted + 1,
            (size_t)planner->count * sizeof planner->wanted[0]);
    pthread_mutex_unlock(&planner->lock);
}

static void *planner_main(void *arg)
{
    struct planner *planner = arg;
    struct wanted want;
    while (wanted_next(planner, &want)) {
        struct err err = {0};
        enum status status = squash_make(planner, want, &err);
        if (status != STATUS_OK)
            log_line(LOG_WARN, "planner", "versions %lld to %lld in one patch: %s",
                     (long long)want.base_version, (long long)want.version, err.text);
        wanted_end(planner, status, &err);
        planner->config.on_change(planner->config.ctx);
    }
    return NULL;
}

enum status planner_create(const struct planner_config *config, struct planner **out,
                           struct err *err)
{
    struct planner *planner = calloc(1, sizeof *planner);
    if (!planner)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    planner->config = *config;
    pthread_mutex_init(&planner->lock, NULL);
    pthread_cond_init(&planner->wake, NULL);
    planner->started = pthread_create(&planner->thread, NULL, planner_main, planner) == 0;
    if (!planner->started) {
        planner_destroy(planner);
        return err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
    }
    *out = planner;
    return STATUS_OK;
}

void planner_stop(struct planner *planner)
{
    pthread_mutex_lock(&planner->lock);
    planner->stopping = true;
    pthread_cond_signal(&planner->wake);
    pthread_mutex_unlock(&planner->lock);
    if (planner->started)
        pthread_join(planner->thread, NULL);
    planner->started = false;
}

void planner_destroy(struct planner *planner)
{
    if (!planner)
        return;
    planner_stop(planner);
    pthread_cond_destroy(&planner->wake);
    pthread_mutex_destroy(&planner->lock);
    free(planner);
}

static bool wanted_is(const struct wanted *wanted, int64_t base_version, int64_t version)
{
    return wanted->base_version == base_version && wanted->version == version;
}

/* With the lock held. */
static enum status want_add(struct planner *planner, int64_t base_version, int64_t version,
                            struct err *err)
{
    if (wanted_is(&planner->failed, base_version, version) && planner->why.code != STATUS_OK) {
        enum status status = planner->why.code;
        if (err)
            *err = planner->why;
        planner->why.code = STATUS_OK;
        return status;
    }
    for (int i = 0; i < planner->count; i++)
        if (wanted_is(&planner->wanted[i], base_version, version))
            return STATUS_OK;
    if (planner->count == WANTED_MAX || planner->stopping)
        return err_set(err, STATUS_BUSY, "too many patches are waiting to be made; try again");
    planner->wanted[planner->count++] = (struct wanted){base_version, version};
    pthread_cond_signal(&planner->wake);
    return STATUS_OK;
}

enum status planner_want(struct planner *planner, int64_t base_version, int64_t version,
                         struct err *err)
{
    pthread_mutex_lock(&planner->lock);
    enum status status = want_add(planner, base_version, version, err);
    pthread_mutex_unlock(&planner->lock);
    return status;
}
