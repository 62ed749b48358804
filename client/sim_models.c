/* See sim_models.h. */
#include "client/sim_models.h"
#include "api/wire/delta.h"
#include "client/selftest.h"
#include "model/learn/compress.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct sim_version {
    struct sim_running is; /* m NULL: a free place */
    int devices;
};

struct sim_models {
    struct selftest test;
    pthread_mutex_t lock; /* guards what follows; held through an apply */
    struct sim_version at[SIM_VERSIONS];
};

static enum status factory_add(struct sim_models *models, struct mllm *factory, struct err *err)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set = {0};
    TRY(trainable_attach(factory, &options, &set, err));
    trainable_hash(&set, &models->at[0].is.hash);
    trainable_free(&set);
    models->at[0].devices = 1; /* this table's own: version 0 stays for devices to come */
    return selftest_init(factory, &models->test, err);
}

enum status sim_models_create(struct mllm *factory, struct sim_models **out, struct err *err)
{
    struct sim_models *models = calloc(1, sizeof *models);
    if (!models) {
        mllm_release(factory);
        return err_set(err, STATUS_NO_MEMORY, "no memory for the fleet's models");
    }
    pthread_mutex_init(&models->lock, NULL);
    models->at[0].is.m = factory;
    enum status status = factory_add(models, factory, err);
    if (status != STATUS_OK) {
        sim_models_destroy(models);
        return status;
    }
    *out = models;
    return STATUS_OK;
}

void sim_models_destroy(struct sim_models *models)
{
    if (!models)
        return;
    for (int i = 0; i < SIM_VERSIONS; i++)
        if (models->at[i].is.m)
            mllm_release(models->at[i].is.m);
    selftest_deinit(&models->test);
    pthread_mutex_destroy(&models->lock);
    free(models);
}

/* ---- lock held ---- */

static struct sim_version *version_find(struct sim_models *models, int64_t version)
{
    for (int i = 0; i < SIM_VERSIONS; i++)
        if (models->at[i].is.m && models->at[i].is.version == version)
            return &models->at[i];
    return NULL;
}

static struct sim_version *version_free_place(struct sim_models *models)
{
    for (int i = 0; i < SIM_VERSIONS; i++)
        if (!models->at[i].is.m)
            return &models->at[i];
    return NULL;
}

/* Devices that are simulated have no samples of their own to agree about. */
static enum status patch_clone(const struct sim_models *models, const struct mllm *from,
                               const struct delta *delta, struct mllm *clone, struct err *err)
{
    struct selftest_report report;
    struct trainable set = {0};
    TRY(trainable_list(clone, &set, err));
    enum status status = compress_apply(&set, delta, err);
    trainable_free(&set);
    TRY(status);
    return selftest_run(&models->test, from, clone, NULL, SELFTEST_SHARE, &report, err);
}

static enum status version_make(struct sim_models *models, const struct sim_version *from,
                                const struct delta *delta, struct sim_version **made,
                                struct err *err)
{
    struct sim_version *place = version_free_place(models);
    struct mllm *clone;
    if (!place)
        return err_set(err, STATUS_BUSY, "the fleet runs %d versions at once", SIM_VERSIONS);
    TRY(mllm_clone(from->is.m, &clone, err));
    enum status status = patch_clone(models, from->is.m, delta, clone, err);
    if (status != STATUS_OK) {
        mllm_release(clone);
        return status;
    }
    place->is = (struct sim_running){delta->version, clone, delta->hash};
    *made = place;
    return STATUS_OK;
}

static enum status apply_locked(struct sim_models *models, int64_t from, const struct delta *delta,
                                struct sim_running *out, struct err *err)
{
    const struct sim_version *base = version_find(models, from);
    struct sim_version *made = version_find(models, delta->version);
    if (!base || delta->base_version != from || !hash_equal(&delta->base_hash, &base->is.hash))
        return err_set(err, STATUS_WRONG_BASE,
                       "the delta goes from version %" PRId64 "; the device has %" PRId64,
                       delta->base_version, from);
    if (!made)
        TRY(version_make(models, base, delta, &made, err));
    if (!hash_equal(&made->is.hash, &delta->hash))
        return err_set(err, STATUS_CONFLICT, "version %" PRId64 " was other parameters before",
                       delta->version);
    made->devices++;
    *out = made->is;
    return STATUS_OK;
}

/* ---- the interface ---- */

void sim_models_enter(struct sim_models *models, struct sim_running *out)
{
    pthread_mutex_lock(&models->lock);
    models->at[0].devices++;
    *out = models->at[0].is;
    pthread_mutex_unlock(&models->lock);
}

void sim_models_leave(struct sim_models *models, int64_t version)
{
    pthread_mutex_lock(&models->lock);
    struct sim_version *at = version_find(models, version);
    if (at && --at->devices == 0) {
        mllm_release(at->is.m);
        *at = (struct sim_version){0};
    }
    pthread_mutex_unlock(&models->lock);
}

enum status sim_models_apply(struct sim_models *models, int64_t from, const void *patch, size_t len,
                             struct sim_running *out, struct err *err)
{
    struct delta delta;
    TRY(delta_decode(patch, len, &delta, err));
    pthread_mutex_lock(&models->lock);
    enum status status = apply_locked(models, from, &delta, out, err);
    pthread_mutex_unlock(&models->lock);
    delta_free(&delta);
    return status;
}
