/* Model slots; see slots.h for the files, the order of steps and what a crash leaves. */
#include "client/slots.h"
#include "api/base/log.h"
#include "api/wire/delta.h"
#include "model/learn/compress.h"
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slots {
    struct io *io;
    char dir[PATH_MAX]; /* DATA/slots */
    char state_path[PATH_MAX];
    bool writable;
    struct selftest selftest;
    struct replay *replay; /* borrowed, or NULL */
    double share;
    int64_t parameters;
    pthread_mutex_t change; /* held through an apply or a rollback: one change at a time */
    pthread_mutex_t lock;   /* guards the two below; only a holder of `change` writes them, so that
                               he may read them without it */
    struct slots_state state;
    struct mllm *active;
};

static enum status slots_path(const struct slots *slots, int64_t version, char out[PATH_MAX],
                              struct err *err)
{
    char name[40];
    snprintf(name, sizeof name, "v%" PRId64 ".safetensors", version);
    return io_join(out, PATH_MAX, slots->dir, name, err);
}

/* ---- opening: the first slot that is whole ---- */

/* Loads version's slot into the model; expected NULL: any hash that the file itself vouches for. */
static enum status slots_load(const struct slots *slots, int64_t version,
                              const struct trainable *set, const struct hash *expected,
                              struct hash *hash, struct err *err)
{
    char path[PATH_MAX];
    int64_t stored;
    TRY(slots_path(slots, version, path, err));
    TRY(trainable_load(slots->io, set, path, &stored, err));
    trainable_hash(set, hash);
    if (stored != version || (expected && !hash_equal(hash, expected)))
        return err_set(err, STATUS_CORRUPT, "%s: not version %" PRId64 " as state.json knows it",
                       path, version);
    return STATUS_OK;
}

static enum status slots_try(struct slots *slots, int64_t version, const struct trainable *set,
                             const struct hash *expected)
{
    struct err problem = {0};
    struct hash hash;
    enum status status = slots_load(slots, version, set, expected, &hash, &problem);
    if (status == STATUS_OK) {
        slots->state.active = version;
        slots->state.hash = hash;
    } else {
        log_line(LOG_WARN, "slots", "version %" PRId64 " cannot be used: %s", version,
                 problem.text);
    }
    return status;
}

/* The version that a slot file's name stands for, or -1. */
static int64_t slots_version(const char *name)
{
    char again[40];
    int64_t version = name[0] == 'v' ? strtoll(name + 1, NULL, 10) : SLOTS_NONE;
    snprintf(again, sizeof again, "v%" PRId64 ".safetensors", version);
    return version >= 0 && strcmp(again, name) == 0 ? version : SLOTS_NONE;
}

/* The highest version below `below` that has a file, or -1. */
static int64_t slots_newest(const struct slots *slots, int64_t below)
{
    int64_t best = SLOTS_NONE;
    DIR *dir = opendir(slots->dir);
    if (!dir)
        return best;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int64_t version = slots_version(entry->d_name);
        if (version < below && version > best)
            best = version;
    }
    closedir(dir);
    return best;
}

/* Sets state.active and the model's values. factory: the values of version 0. */
static void slots_choose(struct slots *slots, const struct trainable *set, const float *factory,
                         bool known)
{
    struct slots_state *state = &slots->state;
    int64_t named = state->active, before = state->previous;
    struct hash hash = state->hash, previous_hash = state->previous_hash;
    struct hash patch = state->patch;
    state->previous = SLOTS_NONE;
    state->patch = (struct hash){0};
    if (known && slots_try(slots, named, set, &hash) == STATUS_OK) {
        state->previous = before;
        state->patch = patch;
        return;
    }
    if (known && before >= 0 && slots_try(slots, before, set, &previous_hash) == STATUS_OK)
        return;
    for (int64_t v = INT64_MAX; (v = slots_newest(slots, v)) >= 0;)
        if ((!known || (v != named && v != before)) && slots_try(slots, v, set, NULL) == STATUS_OK)
            return;
    trainable_write(set, factory);
    state->active = 0;
    state->hash = state->factory;
}

/* state.json where there is one; a fresh start where there is none; a damaged one is reported. */
static enum status slots_recover(struct slots *slots, const struct trainable *set,
                                 const float *factory, struct err *err)
{
    struct err problem = {0};
    struct hash hash;
    trainable_hash(set, &hash);
    enum status status = slots->state_path[0] ? slots_state_load(slots->io, slots->state_path,
                                                                 &slots->state, &problem)
                                              : STATUS_NOT_FOUND;
    if (status == STATUS_OK && !hash_equal(&slots->state.factory, &hash))
        return err_set(err, STATUS_CONFLICT,
                       "%s belongs to another factory model; another --data (or the model it was "
                       "started with) is right",
                       slots->state_path);
    if (status != STATUS_OK)
        slots_state_init(&slots->state, &hash);
    if (status == STATUS_NOT_FOUND && slots_newest(slots, INT64_MAX) < 0)
        return STATUS_OK; /* a first start, or no folder at all */
    if (status != STATUS_OK)
        log_line(LOG_WARN, "slots", "looking for a whole slot: %s", problem.text);
    slots_choose(slots, set, factory, status == STATUS_OK);
    return STATUS_OK;
}

static enum status slots_first_files(struct slots *slots, const struct trainable *set,
                                     struct err *err)
{
    char path[PATH_MAX];
    TRY(slots_path(slots, slots->state.active, path, err));
    if (!io_exists(path))
        TRY(trainable_save(slots->io, set, slots->state.active, path, err));
    return slots_state_save(slots->io, slots->state_path, &slots->state, err);
}

static enum status slots_start(struct slots *slots, struct err *err)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set = {0};
    TRY(trainable_attach(slots->active, &options, &set, err));
    slots->parameters = (int64_t)set.values;
    float *factory = malloc(set.values * sizeof *factory);
    enum status status =
        factory ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for the factory values");
    if (status == STATUS_OK) {
        trainable_read(&set, factory);
        status = slots_recover(slots, &set, factory, err);
    }
    if (status == STATUS_OK && slots->writable)
        status = slots_first_files(slots, &set, err);
    free(factory);
    trainable_free(&set);
    return status;
}

static enum status slots_folders(struct slots *slots, const char *data_dir, struct err *err)
{
    TRY(io_join(slots->dir, sizeof slots->dir, data_dir, "slots", err));
    TRY(io_join(slots->state_path, sizeof slots->state_path, data_dir, "state.json", err));
    return slots->writable ? io_make_dirs(slots->io, slots->dir, err) : STATUS_OK;
}

enum status slots_open(struct io *io, const char *data_dir, struct mllm *model, bool writable,
                       struct slots **out, struct err *err)
{
    struct slots *slots = calloc(1, sizeof *slots);
    if (!slots) {
        mllm_release(model);
        return err_set(err, STATUS_NO_MEMORY, "no memory for the model slots");
    }
    slots->io = io;
    slots->active = model;
    slots->writable = writable;
    slots->share = SELFTEST_SHARE;
    pthread_mutex_init(&slots->change, NULL);
    pthread_mutex_init(&slots->lock, NULL);
    enum status status = data_dir ? slots_folders(slots, data_dir, err) : STATUS_OK;
    if (status == STATUS_OK)
        status = slots_start(slots, err);
    if (status == STATUS_OK && writable)
        status = selftest_init(model, &slots->selftest, err);
    if (status != STATUS_OK) {
        slots_close(slots);
        return status;
    }
    *out = slots;
    return STATUS_OK;
}

void slots_close(struct slots *slots)
{
    if (!slots)
        return;
    selftest_deinit(&slots->selftest);
    mllm_release(slots->active);
    pthread_mutex_destroy(&slots->lock);
    pthread_mutex_destroy(&slots->change);
    free(slots);
}

void slots_set_selftest(struct slots *slots, struct replay *replay, double share)
{
    slots->replay = replay;
    slots->share = share;
}

/* ---- reading ---- */

struct mllm *slots_acquire(struct slots *slots, int64_t *version)
{
    pthread_mutex_lock(&slots->lock);
    struct mllm *model = slots->active;
    mllm_retain(model);
    *version = slots->state.active;
    pthread_mutex_unlock(&slots->lock);
    return model;
}

void slots_info(struct slots *slots, struct slots_info *out)
{
    pthread_mutex_lock(&slots->lock);
    *out = (struct slots_info){.version = slots->state.active,
                               .previous = slots->state.previous,
                               .hash = slots->state.hash,
                               .parameters = slots->parameters};
    pthread_mutex_unlock(&slots->lock);
}

/* ---- changing ---- */

static void slots_publish(struct slots *slots, const struct slots_state *state, struct mllm *model)
{
    pthread_mutex_lock(&slots->lock);
    struct mllm *before = slots->active;
    slots->state = *state;
    slots->active = model;
    pthread_mutex_unlock(&slots->lock);
    if (before != model)
        mllm_release(before);
}

/* The commit: state.json, then the pointer. model is taken on success only. */
static enum status slots_commit(struct slots *slots, const struct slots_state *state,
                                struct mllm *model, struct err *err)
{
    TRY(slots_state_save(slots->io, slots->state_path, state, err));
    slots_publish(slots, state, model);
    return STATUS_OK;
}

/* Slot files that neither state names go; failures do not matter. */
static void slots_sweep(const struct slots *slots, int64_t active, int64_t previous)
{
    char path[PATH_MAX];
    for (int64_t v = INT64_MAX; (v = slots_newest(slots, v)) >= 0;)
        if (v != active && v != previous && slots_path(slots, v, path, NULL) == STATUS_OK)
            slots->io->unlink(slots->io, path);
}

static enum status slots_check_base(const struct slots *slots, const struct delta *delta,
                                    struct err *err)
{
    char theirs[HASH_HEX], ours[HASH_HEX];
    const struct slots_state *state = &slots->state;
    hash_hex(&delta->base_hash, theirs);
    hash_hex(&state->hash, ours);
    if (delta->base_version != state->active || !hash_equal(&delta->base_hash, &state->hash))
        return err_set(err, STATUS_WRONG_BASE,
                       "the delta goes from version %" PRId64 " (set %.12s) to %" PRId64
                       "; this device has version %" PRId64 " (set %.12s)",
                       delta->base_version, theirs, delta->version, state->active, ours);
    if (delta->version <= state->active)
        return err_set(err, STATUS_WRONG_BASE,
                       "the delta goes back from version %" PRId64 " to %" PRId64, state->active,
                       delta->version);
    return STATUS_OK;
}

/* The second slot: a patched clone that has passed its self-test and lies on disk. */
static enum status slots_build(struct slots *slots, const struct delta *delta, struct mllm *clone,
                               struct replay_set *replay, struct selftest_report *report,
                               struct err *err)
{
    char path[PATH_MAX];
    struct trainable set = {0};
    TRY(slots_path(slots, delta->version, path, err));
    TRY(trainable_list(clone, &set, err));
    enum status status = compress_apply(&set, delta, err);
    if (status == STATUS_OK)
        status =
            selftest_run(&slots->selftest, slots->active, clone, replay, slots->share, report, err);
    if (status == STATUS_OK)
        status = trainable_save(slots->io, &set, delta->version, path, err);
    trainable_free(&set);
    return status;
}

/* Built, and committed. */
static enum status slots_advance(struct slots *slots, const struct delta *delta,
                                 const struct hash *patch, struct replay_set *replay,
                                 struct selftest_report *report, struct err *err)
{
    struct mllm *clone;
    struct slots_state state = slots->state;
    TRY(mllm_clone(slots->active, &clone, err));
    enum status status = slots_build(slots, delta, clone, replay, report, err);
    state.previous = state.active;
    state.previous_hash = state.hash;
    state.active = delta->version;
    state.hash = delta->hash;
    state.patch = *patch;
    state.told = delta->version;
    state.told_outcome = SLOTS_APPLIED;
    if (status == STATUS_OK)
        status = slots_commit(slots, &state, clone, err);
    if (status != STATUS_OK)
        mllm_release(clone);
    return status;
}

static enum status slots_apply_delta(struct slots *slots, const struct delta *delta,
                                     const struct hash *patch, struct selftest_report *report,
                                     struct err *err)
{
    struct replay_set *replay = NULL;
    struct err unsaved = {0};
    TRY(slots_check_base(slots, delta, err));
    if (slots->replay)
        TRY(replay_snapshot(slots->replay, &replay, err));
    enum status status = slots_advance(slots, delta, patch, replay, report, err);
    if (status == STATUS_OK) {
        slots_sweep(slots, slots->state.active, slots->state.previous);
        if (replay && replay_adopt(slots->replay, replay, &unsaved) != STATUS_OK)
            log_line(LOG_WARN, "slots", "%s", unsaved.text);
    }
    replay_set_free(replay);
    return status;
}

enum status slots_apply(struct slots *slots, const void *patch, size_t len,
                        struct selftest_report *report, struct err *err)
{
    struct delta delta;
    struct hash hash;
    struct selftest_report ignored = {.finite = false};
    report = report ? report : &ignored;
    *report = ignored;
    hash_bytes(patch, len, &hash);
    TRY(delta_decode(patch, len, &delta, err));
    pthread_mutex_lock(&slots->change);
    enum status status = slots_apply_delta(slots, &delta, &hash, report, err);
    pthread_mutex_unlock(&slots->change);
    delta_free(&delta);
    return status;
}

static enum status slots_restore(struct slots *slots, struct slots_state *state, struct mllm *clone,
                                 struct err *err)
{
    struct trainable set = {0};
    struct hash expected = state->hash;
    TRY(trainable_list(clone, &set, err));
    enum status status = slots_load(slots, state->active, &set, &expected, &state->hash, err);
    trainable_free(&set);
    return status == STATUS_OK ? slots_commit(slots, state, clone, err) : status;
}

static enum status slots_rollback_locked(struct slots *slots, int64_t version, struct err *err)
{
    struct mllm *clone;
    struct slots_state state = slots->state;
    if (state.active != version)
        return err_set(err, STATUS_NOT_FOUND,
                       "version %" PRId64 " is no longer active, version %" PRId64 " is", version,
                       state.active);
    if (state.previous < 0)
        return err_set(err, STATUS_NOT_FOUND, "version %" PRId64 " has no previous one",
                       state.active);
    TRY(mllm_clone(slots->active, &clone, err));
    slots_state_fail(&state, state.active, &state.patch, SLOTS_FAILURES_MAX);
    state.told = state.active;
    state.told_outcome = SLOTS_ROLLED_BACK;
    state.patch = (struct hash){0};
    state.active = state.previous;
    state.hash = state.previous_hash;
    state.previous = SLOTS_NONE;
    enum status status = slots_restore(slots, &state, clone, err);
    if (status != STATUS_OK)
        mllm_release(clone);
    return status;
}

enum status slots_rollback(struct slots *slots, int64_t version, struct err *err)
{
    pthread_mutex_lock(&slots->change);
    enum status status = slots_rollback_locked(slots, version, err);
    pthread_mutex_unlock(&slots->change);
    return status;
}

/* ---- what the cloud is to hear, and versions that fail ---- */

bool slots_untold(struct slots *slots, int64_t *version, enum slots_outcome *outcome)
{
    pthread_mutex_lock(&slots->lock);
    *version = slots->state.told;
    *outcome = slots->state.told_outcome;
    pthread_mutex_unlock(&slots->lock);
    return *version != SLOTS_NONE;
}

/* A changed state, saved if that is possible: what is lost is told or counted once more. `change`
 * is held. */
static void slots_note(struct slots *slots, const struct slots_state *state)
{
    struct err problem = {0};
    if (slots_state_save(slots->io, slots->state_path, state, &problem) != STATUS_OK)
        log_line(LOG_WARN, "slots", "%s", problem.text);
    slots_publish(slots, state, slots->active);
}

void slots_told(struct slots *slots, int64_t version, enum slots_outcome outcome)
{
    pthread_mutex_lock(&slots->change);
    struct slots_state state = slots->state;
    if (state.told == version && state.told_outcome == outcome) {
        state.told = SLOTS_NONE;
        slots_note(slots, &state);
    }
    pthread_mutex_unlock(&slots->change);
}

bool slots_failed(struct slots *slots, int64_t version, const struct hash *patch)
{
    pthread_mutex_lock(&slots->change);
    struct slots_state state = slots->state;
    bool blocked = slots_state_fail(&state, version, patch, 1) == SLOTS_FAILURES_MAX;
    slots_note(slots, &state);
    pthread_mutex_unlock(&slots->change);
    return blocked;
}

bool slots_blocked(struct slots *slots, int64_t version, const struct hash *patch)
{
    pthread_mutex_lock(&slots->lock);
    const struct slots_failed *failed = slots_state_find(&slots->state, version, patch);
    bool blocked = failed && failed->failures == SLOTS_FAILURES_MAX;
    pthread_mutex_unlock(&slots->lock);
    return blocked;
}
