/* See learner.h. The factory student is kept untouched, so that any state can be rebuilt from it.
 */
#include "server/learner.h"
#include "api/base/log.h"
#include "server/lessons.h"
#include "server/report.h"
#include "server/versions.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEARNER_PATH = 4096, RECALL_UPLOADS = 256 };

static const size_t LESSONS_BYTES = (size_t)192 << 20;

struct learner {
    struct io *io;
    char state_dir[LEARNER_PATH];
    size_t patch_bytes;
    struct mllm *teacher, *student; /* student: the factory's, with a neutral trainable set */
    struct mllm *edge;              /* a clone; edge_set lists its trainable parameters */
    struct trainable edge_set;
    float *edge_values, *next_values; /* as devices have them; as they will after the round */
    struct pool *pool;
    struct distiller *distiller;
    struct facts facts;
    int64_t version, round; /* last committed; 0: none */
    bool recalled;          /* earlier uploads are back in the distiller's buffer */
};

/* ---- create and destroy ---- */

static enum status models_load(struct learner *learner, const struct learner_config *config,
                               struct err *err)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set;
    TRY(mllm_load(config->io, config->teacher_dir, &learner->teacher, err));
    TRY(mllm_load(config->io, config->student_dir, &learner->student, err));
    if (!learner->student->config.multimodal || !learner->student->tokenizer)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s: the student must be multimodal and have a "
                       "tokenizer",
                       config->student_dir);
    int64_t parameters = facts_parameters(learner->student);
    TRY(trainable_attach(learner->student, &options, &set, err));
    enum status status =
        facts_read(config->io, learner->teacher, config->teacher_dir, learner->student,
                   config->student_dir, &set, &learner->facts, err);
    trainable_free(&set);
    TRY(status);
    learner->facts.student_parameters = parameters;
    TRY(mllm_clone(learner->student, &learner->edge, err));
    return trainable_list(learner->edge, &learner->edge_set, err);
}

static enum status buffers_create(struct learner *learner, struct err *err)
{
    size_t values = learner->edge_set.values;
    learner->edge_values = calloc(values + 1, sizeof(float));
    learner->next_values = calloc(values + 1, sizeof(float));
    if (!learner->edge_values || !learner->next_values)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

enum status learner_create(const struct learner_config *config, struct learner **out,
                           struct err *err)
{
    struct learner *learner = calloc(1, sizeof *learner);
    if (!learner)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    learner->io = config->io;
    learner->patch_bytes = config->patch_bytes;
    enum status status =
        io_join(learner->state_dir, sizeof learner->state_dir, config->data_dir, "state", err);
    if (status == STATUS_OK)
        status = io_make_dirs(config->io, learner->state_dir, err);
    if (status == STATUS_OK)
        status = pool_create(config->threads, &learner->pool, err);
    if (status == STATUS_OK)
        status = models_load(learner, config, err);
    if (status == STATUS_OK)
        status = buffers_create(learner, err);
    if (status != STATUS_OK) {
        learner_destroy(learner);
        return status;
    }
    *out = learner;
    return STATUS_OK;
}

static void release_model(struct mllm *model)
{
    if (model)
        mllm_release(model);
}

void learner_destroy(struct learner *learner)
{
    if (!learner)
        return;
    if (learner->distiller)
        distiller_destroy(learner->distiller);
    if (learner->edge)
        trainable_free(&learner->edge_set);
    release_model(learner->edge);
    release_model(learner->student);
    release_model(learner->teacher);
    if (learner->pool)
        pool_destroy(learner->pool);
    free(learner->edge_values);
    free(learner->next_values);
    free(learner);
}

enum status learner_check(const struct learner_config *config, struct err *err)
{
    struct learner *learner = calloc(1, sizeof *learner);
    if (!learner)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = models_load(learner, config, err);
    learner_destroy(learner);
    return status;
}

const struct facts *learner_facts(const struct learner *learner)
{
    return &learner->facts;
}

const struct mllm *learner_student(const struct learner *learner)
{
    return learner->student;
}

/* ---- state on disk ---- */

static enum status state_path(const struct learner *learner, const char *what, int64_t number,
                              char out[LEARNER_PATH], struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%lld.safetensors", what, (long long)number);
    return io_join(out, LEARNER_PATH, learner->state_dir, name, err);
}

struct last {
    int64_t version, round;
    char set_hash[HASH_HEX];
};

static bool last_release(void *ctx, const struct release *release)
{
    struct last *last = ctx;
    last->version = release->version;
    snprintf(last->set_hash, sizeof last->set_hash, "%s", release->set_sha256);
    return true;
}

static bool last_round(void *ctx, const struct round *round)
{
    ((struct last *)ctx)->round = round->id;
    return true;
}

static enum status last_read(struct store *store, struct last *last, struct err *err)
{
    struct store_totals totals;
    TRY(store_totals(store, &totals, err));
    if (totals.version)
        TRY(store_release(store, totals.version, last_release, last, err));
    enum status status = store_round_learned(store, last_round, last, err);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static bool edge_is(const struct learner *learner, const char *set_hash)
{
    struct hash hash;
    char hex[HASH_HEX];
    trainable_hash(&learner->edge_set, &hash);
    hash_hex(&hash, hex);
    return strcmp(hex, set_hash) == 0;
}

static enum status edge_reset(struct learner *learner, struct err *err)
{
    struct trainable factory;
    TRY(trainable_list(learner->student, &factory, err));
    trainable_read(&factory, learner->edge_values);
    trainable_write(&learner->edge_set, learner->edge_values);
    trainable_free(&factory);
    return STATUS_OK;
}

/* The edge's parameters at the last version: from their file, or by every delta once more. */
static enum status edge_restore(struct learner *learner, struct store *store,
                                const struct last *last, struct err *err)
{
    char path[LEARNER_PATH];
    int64_t version = 0;
    struct err why = {0};
    TRY(edge_reset(learner, err));
    if (last->version == 0)
        return STATUS_OK;
    TRY(state_path(learner, "edge", last->version, path, err));
    if (trainable_load(learner->io, &learner->edge_set, path, &version, &why) == STATUS_OK &&
        version == last->version && edge_is(learner, last->set_hash))
        return STATUS_OK;
    log_line(LOG_WARN, "learner", "%s is of no use (%s); applying every delta again", path,
             why.text[0] ? why.text : "another version");
    TRY(versions_read(learner->io, store, learner->student, last->version, learner->edge_values,
                      err));
    trainable_write(&learner->edge_set, learner->edge_values);
    if (!edge_is(learner, last->set_hash))
        return err_set(err, STATUS_CORRUPT, "the deltas do not add up to version %lld's SHA-256",
                       (long long)last->version);
    return STATUS_OK;
}

static enum status distiller_renew(struct learner *learner, struct err *err)
{
    struct mllm *master;
    if (learner->distiller)
        distiller_destroy(learner->distiller);
    learner->distiller = NULL;
    learner->recalled = false;
    TRY(mllm_clone(learner->student, &master, err));
    enum status status =
        distiller_create(learner->teacher, master, learner->pool, &learner->distiller, err);
    mllm_release(master);
    return status;
}

/* A master that has these values, and no history. */
static enum status distiller_begin(struct learner *learner, const float *values, struct err *err)
{
    struct trainable set;
    TRY(distiller_renew(learner, err));
    TRY(trainable_list(distiller_student(learner->distiller), &set, err));
    trainable_write(&set, values);
    trainable_free(&set);
    return STATUS_OK;
}

/* Without a usable file the master starts from the edge's parameters: only the feedback is lost. */
static enum status distiller_restore(struct learner *learner, int64_t round, struct err *err)
{
    char path[LEARNER_PATH];
    struct err why;
    TRY(distiller_renew(learner, err));
    if (round == 0)
        return STATUS_OK;
    TRY(state_path(learner, "distiller", round, path, err));
    if (distiller_load(learner->io, learner->distiller, path, &why) == STATUS_OK)
        return STATUS_OK;
    log_line(LOG_WARN, "learner", "starting from the devices' parameters: %s", why.text);
    return distiller_begin(learner, learner->edge_values, err);
}

enum status learner_restore(struct learner *learner, struct store *store, struct err *err)
{
    struct last last = {0};
    TRY(last_read(store, &last, err));
    TRY(edge_restore(learner, store, &last, err));
    trainable_read(&learner->edge_set, learner->edge_values);
    TRY(distiller_restore(learner, last.round, err));
    learner->version = last.version;
    learner->round = last.round;
    return STATUS_OK;
}

/* ---- a round ---- */

/* After a restart the buffer of earlier uploads is filled again, just before it is needed. */
static enum status recall(struct learner *learner, struct store *store, struct err *err)
{
    struct lessons lessons;
    if (learner->recalled)
        return STATUS_OK;
    enum status status = lessons_load_learned(store, RECALL_UPLOADS, learner->facts.tokens_max,
                                              LESSONS_BYTES, &lessons, err);
    if (status == STATUS_OK && lessons.count > 0)
        status = distiller_recall(learner->distiller, lessons.items, lessons.count, err);
    learner->recalled = status == STATUS_OK;
    lessons_free(&lessons);
    return status;
}

/* What the round's update will be coded with, and so what is trained through: what was asked for;
 * or, where that would not fit the smallest budget of a device class, the best that does. Every
 * device gets the same bits, so the budget of one class is that of all. */
static enum status code_choose(const struct learner *learner, struct compress_options *code,
                               struct err *err)
{
    size_t bytes = 0, most = learner->patch_bytes;
    if (most == 0)
        return STATUS_OK;
    TRY(compress_expect(&learner->edge_set, code, &bytes, err));
    if (bytes + bytes / 50 <= most)
        return STATUS_OK;
    code->codec = '\0';
    code->budget_bytes = most;
    return STATUS_OK;
}

static enum status train(struct learner *learner, struct store *store, int64_t round,
                         const struct distill_options *options, const struct learner_hooks *hooks,
                         struct distill_report *report, struct err *err)
{
    struct lessons lessons;
    TRY(recall(learner, store, err));
    enum status status =
        lessons_load_round(store, round, learner->facts.tokens_max, LESSONS_BYTES, &lessons, err);
    if (status == STATUS_OK && lessons.count == 0)
        status = err_set(err, STATUS_NOT_FOUND, "none of the round's uploads can be read");
    if (status == STATUS_OK)
        status = distiller_round(learner->distiller, lessons.items, lessons.count, options,
                                 hooks->cancel, hooks->progress, hooks->ctx, report, err);
    lessons_free(&lessons);
    return status;
}

static void outcome_hashes(struct outcome *out, const struct delta *delta)
{
    struct hash hash;
    hash_bytes(out->patch.data, out->patch.len, &hash);
    hash_hex(&hash, out->patch_hash);
    hash_hex(&delta->base_hash, out->base_set_hash);
    hash_hex(&delta->hash, out->set_hash);
    out->base_version = delta->base_version;
    out->version = delta->version;
    out->parameters = delta->parameters;
}

/* Takes the delta: the patch as it travels, and what there is to say of it. */
static enum status outcome_fill(struct learner *learner, struct delta *delta, struct outcome *out,
                                struct err *err)
{
    out->patch.max = LIMIT_DELTA_BYTES;
    out->tensors.max = TENSORS_MAX;
    enum status status = delta_encode(delta, &out->patch, err);
    if (status == STATUS_OK)
        status = tensors_write(&learner->edge_set, delta, &out->tensors, err);
    if (status == STATUS_OK)
        outcome_hashes(out, delta);
    delta_free(delta);
    return status;
}

static enum status master_read(struct learner *learner, float *out, struct err *err)
{
    struct trainable set;
    TRY(trainable_list(distiller_student(learner->distiller), &set, err));
    trainable_read(&set, out);
    trainable_free(&set);
    return STATUS_OK;
}

static enum status update_encode(struct learner *learner, const float *master,
                                 const struct compress_options *options, struct outcome *out,
                                 struct err *err)
{
    struct delta delta;
    TRY(compress_encode(&learner->edge_set, learner->edge_values, master, learner->version,
                        learner->version + 1, options, &delta, learner->next_values, err));
    return outcome_fill(learner, &delta, out, err);
}

/* master - edge as a patch; next_values: what devices will have after it. A patch that came out
 * over the smallest budget of a device class is made again under it. */
static enum status update_code(struct learner *learner, const struct compress_options *options,
                               struct outcome *out, struct err *err)
{
    float *master = calloc(learner->edge_set.values + 1, sizeof *master);
    if (!master)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    struct compress_options within = *options;
    within.codec = '\0';
    within.budget_bytes = learner->patch_bytes;
    enum status status = master_read(learner, master, err);
    if (status == STATUS_OK)
        status = update_encode(learner, master, options, out, err);
    if (status == STATUS_OK && learner->patch_bytes && out->patch.len > learner->patch_bytes) {
        outcome_free(out);
        status = update_encode(learner, master, &within, out, err);
    }
    free(master);
    return status;
}

static enum status edge_save(struct learner *learner, int64_t version, struct err *err)
{
    char path[LEARNER_PATH];
    trainable_write(&learner->edge_set, learner->next_values);
    TRY(state_path(learner, "edge", version, path, err));
    return trainable_save(learner->io, &learner->edge_set, version, path, err);
}

static enum status state_save(struct learner *learner, int64_t round, const struct outcome *out,
                              struct err *err)
{
    char path[LEARNER_PATH];
    if (out->released)
        TRY(edge_save(learner, out->version, err));
    TRY(state_path(learner, "distiller", round, path, err));
    return distiller_save(learner->io, learner->distiller, path, err);
}

enum status learner_round(struct learner *learner, struct store *store, int64_t round,
                          const struct settings *settings, const struct learner_hooks *hooks,
                          struct outcome *out, struct err *err)
{
    struct distill_options options = settings->distill;
    *out = (struct outcome){0};
    options.edge = learner->edge_values;
    options.code = settings->compress;
    TRY(code_choose(learner, &options.code, err));
    TRY(train(learner, store, round, &options, hooks, &out->report, err));
    if (out->report.passed)
        TRY(update_code(learner, &options.code, out, err));
    out->released = out->report.passed;
    return state_save(learner, round, out, err);
}

/* There is no file of the distiller after it: a master without history is made from the edge's. */
enum status learner_rollback(struct learner *learner, struct store *store, int64_t target,
                             struct outcome *out, struct err *err)
{
    struct delta delta;
    *out = (struct outcome){.report.passed = true};
    TRY(versions_read(learner->io, store, learner->student, target, learner->next_values, err));
    TRY(compress_exact(&learner->edge_set, learner->edge_values, learner->next_values,
                       learner->version, learner->version + 1, &delta, err));
    TRY(outcome_fill(learner, &delta, out, err));
    out->released = true;
    TRY(distiller_begin(learner, learner->next_values, err));
    return edge_save(learner, out->version, err);
}

static void state_remove(struct learner *learner, const char *what, int64_t number)
{
    char path[LEARNER_PATH];
    if (number > 0 && state_path(learner, what, number, path, NULL) == STATUS_OK)
        learner->io->unlink(learner->io, path);
}

void learner_adopt(struct learner *learner, int64_t round, const struct outcome *outcome)
{
    if (outcome->released) {
        state_remove(learner, "edge", learner->version);
        learner->version = outcome->version;
        memcpy(learner->edge_values, learner->next_values,
               learner->edge_set.values * sizeof(float));
    }
    state_remove(learner, "distiller", learner->round);
    learner->round = round;
}

void outcome_free(struct outcome *outcome)
{
    buf_free(&outcome->patch);
    buf_free(&outcome->tensors);
}
