/* AKD over rounds (distill.h): who owns what, and the order of a round.
 *
 * A round is a transaction over the master copy: parameters, moments and phi are copied aside first
 * and copied back when anything fails, the loss diverges, the caller cancels or the gate says no.
 * Randomness comes from (options->seed, optimiser step), so a distiller that was saved, loaded and
 * given its buffer again goes on with the same bits. */
#include "model/learn/distill.h"
#include "api/base/clock.h"
#include "model/learn/akd.h"
#include "model/learn/coded.h"
#include "model/learn/gate.h"
#include "model/learn/intake.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPLAY_MAX = 64, WARMUP = 5, MEAN_STEPS = 8, SHARDS = 2 };
static const size_t ARENA_CAP = (size_t)4 << 30; /* address space, per shard */
static const float FLOOR = 0.01f, DIVERGED = 3;

struct distiller {
    struct mllm *teacher, *student;
    struct pool *pool;
    struct trainable set;
    struct intake in;
    struct phi phi;
    struct param **list; /* what is trained: the set and phi, or the output head */
    int list_count;
    struct trainer trainer;
    bool ready, head_only; /* trainer is initialised, for this list */
};

/* ---- life ---- */

static enum status pair_check(const struct mllm *t, const struct mllm *s, struct err *err)
{
    if (!t->config.multimodal || !s->config.multimodal)
        return err_set(err, STATUS_UNSUPPORTED, "teacher and student must be multimodal models");
    if (!hash_equal(&t->encoder, &s->encoder))
        return err_set(err, STATUS_WRONG_BASE,
                       "teacher and student have different vision encoders");
    if (t->config.text.vocab != s->config.text.vocab || t->config.queries != s->config.queries ||
        t->config.qformer.vocab != s->config.qformer.vocab ||
        strcmp(t->config.prompt, s->config.prompt) != 0)
        return err_set(err, STATUS_WRONG_BASE,
                       "teacher and student differ in vocabulary, prompt or query tokens");
    return STATUS_OK;
}

static enum status distiller_init(struct distiller *d, struct err *err)
{
    TRY(pair_check(d->teacher, d->student, err));
    TRY(trainable_list(d->student, &d->set, err));
    intake_init(&d->in, d->teacher, d->student, d->pool);
    return phi_init(&d->phi, 1 + d->in.match.pairs, d->student->config.qformer.hidden,
                    d->teacher->config.qformer.hidden, err);
}

enum status distiller_create(struct mllm *teacher, struct mllm *student, struct pool *pool,
                             struct distiller **out, struct err *err)
{
    struct distiller *d = calloc(1, sizeof *d);
    if (!d)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a distiller");
    mllm_retain(teacher);
    mllm_retain(student);
    d->teacher = teacher;
    d->student = student;
    d->pool = pool;
    enum status s = distiller_init(d, err);
    if (s == STATUS_OK)
        *out = d;
    else
        distiller_destroy(d);
    return s;
}

void distiller_destroy(struct distiller *d)
{
    if (!d)
        return;
    if (d->ready)
        trainer_deinit(&d->trainer);
    intake_deinit(&d->in);
    phi_deinit(&d->phi);
    trainable_free(&d->set);
    free(d->list);
    mllm_release(d->student);
    mllm_release(d->teacher);
    free(d);
}

void distiller_cross(struct distiller *d, int questions)
{
    intake_cross(&d->in, questions);
}

struct mllm *distiller_student(struct distiller *d)
{
    return d->student;
}

static enum status list_make(struct distiller *d, bool head_only, struct err *err)
{
    d->list = calloc((size_t)d->set.count + 2 * EXEMPLAR_FEATURES + 1, sizeof(struct param *));
    if (!d->list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the list of parameters");
    if (head_only) {
        d->list[0] = d->student->llama.head.weight;
        d->list_count = 1;
        return STATUS_OK;
    }
    memcpy(d->list, d->set.params, (size_t)d->set.count * sizeof(struct param *));
    d->list_count = d->set.count + phi_params(&d->phi, d->list + d->set.count);
    return STATUS_OK;
}

/* The trainer is made at the first round, which says what is trained; it stays so. */
static enum status distiller_prepare(struct distiller *d, bool head_only, struct err *err)
{
    /* The decay pulls adapters and LoRA back to nothing: to the model as shipped. An output head
     * is nothing to decay. */
    const struct adamw adamw = {
        .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = head_only ? 0 : 0.5f};
    if (d->ready && d->head_only == head_only)
        return STATUS_OK;
    if (d->ready)
        return err_set(err, STATUS_CONFLICT, "head_only cannot change between rounds");
    if (head_only && d->student->config.text.tied)
        return err_set(err, STATUS_UNSUPPORTED, "head_only needs a head of its own, not tied");
    free(d->list);
    TRY(list_make(d, head_only, err));
    enum status s =
        trainer_init(&d->trainer, d->pool, d->list, d->list_count, adamw, SHARDS, ARENA_CAP, err);
    if (s != STATUS_OK) {
        trainer_deinit(&d->trainer);
        return s;
    }
    d->trainer.within = mllm_is_large(d->student);
    d->head_only = head_only;
    d->ready = true;
    return STATUS_OK;
}

/* ---- a copy of the state, to go back to ---- */

struct snapshot {
    float *values; /* parameters, m, v: trainer.values each */
    int64_t step;
};

static void list_copy(const struct distiller *d, float *flat, bool out)
{
    for (int i = 0; i < d->list_count; i++) {
        size_t n = param_count(d->list[i]);
        memcpy(out ? flat : d->list[i]->data, out ? d->list[i]->data : flat, n * sizeof *flat);
        flat += n;
    }
}

static enum status snapshot_take(const struct distiller *d, struct snapshot *s, struct err *err)
{
    size_t n = d->trainer.values;
    s->step = d->trainer.opt.step;
    s->values = malloc(3 * n * sizeof *s->values);
    if (!s->values)
        return err_set(err, STATUS_NO_MEMORY, "no memory to copy %zu parameters aside", n);
    list_copy(d, s->values, true);
    memcpy(s->values + n, d->trainer.opt.m, n * sizeof *s->values);
    memcpy(s->values + 2 * n, d->trainer.opt.v, n * sizeof *s->values);
    return STATUS_OK;
}

static void snapshot_restore(struct distiller *d, struct snapshot *s)
{
    size_t n = d->trainer.values;
    list_copy(d, s->values, false);
    memcpy(d->trainer.opt.m, s->values + n, n * sizeof *s->values);
    memcpy(d->trainer.opt.v, s->values + 2 * n, n * sizeof *s->values);
    d->trainer.opt.step = s->step;
}

/* ---- a round ---- */

struct round {
    struct distiller *d;
    const struct distill_options *options;
    const volatile int *cancel;
    void (*progress)(void *ctx, const struct distill_progress *p);
    void *ctx;
    struct distill_report *report;
    struct coded coded;
    struct rng rng;
    int first;                     /* this round's first exemplar in the buffer */
    const struct exemplar **train; /* the buffer without what is held back */
    const struct exemplar **held, **replay;
    const struct exemplar **order; /* train, shuffled, and where we are in it */
    int train_count, held_count, replay_count, order_at;
    float loss_start; /* before the first update: what divergence is measured by */
};

/* ---- what is trained on, what is held back ---- */

/* May one more of e's device be drawn, when `share` of what it has among the n is its part? */
static bool has_part(const struct round *r, const int32_t *order, int n, float share,
                     const struct exemplar **drawn, int count, const struct exemplar *e)
{
    int has = 0, taken = 0;
    for (int i = 0; i < n; i++)
        has += r->d->in.buffer.item[order[i]].device == e->device;
    for (int i = 0; i < count; i++)
        taken += drawn[i]->device == e->device;
    return (float)taken < share * (float)has;
}

/* At most `share` of the buffer's uploads [from, to) and at most k, drawn at random and of every
 * device alike, into out. */
static enum status draw(struct round *r, int from, int to, float share, int k,
                        const struct exemplar **out, int *count, struct err *err)
{
    int32_t *order = malloc((size_t)(to - from + 1) * sizeof *order);
    int n = 0;
    if (!order)
        return err_set(err, STATUS_NO_MEMORY, "no memory to draw %d uploads", k);
    for (int i = from; i < to; i++)
        if (!r->d->in.buffer.item[i].crossed)
            order[n++] = i;
    rng_shuffle(&r->rng, order, n);
    int most = (int)(share * (float)n);
    most = most < k ? most : k;
    *count = 0;
    for (int i = 0; i < n && *count < most; i++) {
        const struct exemplar *e = &r->d->in.buffer.item[order[i]];
        if (share >= 1 || has_part(r, order, n, share, out, *count, e))
            out[(*count)++] = e;
    }
    free(order);
    return STATUS_OK;
}

static bool is_held(const struct round *r, const struct exemplar *e)
{
    for (int i = 0; i < r->held_count; i++)
        if (r->held[i]->origin == e->origin)
            return true;
    return false;
}

/* The gate asks the crossed questions of a held upload too: far less noise for the same bytes. */
static void held_cross(struct round *r)
{
    const struct exemplars *b = &r->d->in.buffer;
    int uploads = r->held_count;
    for (int i = r->first; i < b->count; i++)
        for (int h = 0; h < uploads && b->item[i].crossed; h++)
            if (r->held[h]->origin == b->item[i].origin) {
                r->held[r->held_count++] = &b->item[i];
                break;
            }
}

/* Cuts the buffer: held back of this round's, a sample of earlier ones, and what is trained on. */
static enum status round_split(struct round *r, struct err *err)
{
    const struct exemplars *b = &r->d->in.buffer;
    size_t room = (size_t)b->count + 1;
    r->train = calloc(4 * room, sizeof *r->train);
    if (!r->train)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d uploads", b->count);
    r->order = r->train + room;
    r->held = r->train + 2 * room;
    r->replay = r->train + 3 * room;
    bool gated = r->options->holdout > 0;
    TRY(draw(r, r->first, b->count, r->options->holdout, b->count, r->held, &r->held_count, err));
    TRY(draw(r, 0, r->first, 1, gated ? REPLAY_MAX : 0, r->replay, &r->replay_count, err));
    r->report->held = r->held_count;
    held_cross(r);
    for (int i = 0; i < b->count; i++)
        if (!is_held(r, &b->item[i]))
            r->train[r->train_count++] = &b->item[i];
    if (r->train_count == 0)
        return err_set(err, STATUS_MALFORMED, "no uploads to learn from");
    r->order_at = r->train_count;
    return STATUS_OK;
}

/* The next batch: the training set in random order, over and over, no batch across two passes. */
static const struct exemplar *const *batch_next(struct round *r, int batch)
{
    if (r->order_at + batch > r->train_count) {
        memcpy(r->order, r->train, (size_t)r->train_count * sizeof *r->order);
        for (int i = r->train_count - 1; i > 0; i--) {
            int j = (int)rng_below(&r->rng, (uint32_t)i + 1);
            const struct exemplar *swap = r->order[i];
            r->order[i] = r->order[j];
            r->order[j] = swap;
        }
        r->order_at = 0;
    }
    r->order_at += batch;
    return r->order + r->order_at - batch;
}

static void step_init(const struct round *r, struct akd_step *step)
{
    const struct distill_options *o = r->options;
    const struct distiller *d = r->d;
    bool soft = o->labels == LABELS_SOFT;
    size_t size = (size_t)d->teacher->config.queries * (size_t)d->teacher->config.qformer.hidden;
    memset(step, 0, sizeof *step);
    step->student = d->student;
    step->match = &d->in.match;
    step->phi = &r->d->phi;
    step->count = o->batch < r->train_count ? o->batch : r->train_count;
    step->weight[AKD_CE] = soft ? o->ce : o->ce + o->kl;
    step->weight[AKD_KL] = soft ? o->kl : 0;
    step->weight[AKD_QUERY] = o->head_only ? 0 : o->query;
    step->weight[AKD_REPR] = o->head_only ? 0 : o->repr;
    step->weight[AKD_WAVELET] = o->head_only ? 0 : o->wavelet;
    step->features = o->features;
    step->temperature = o->temperature;
    step->token_drop = o->token_drop;
    for (int p = 0; p < d->in.match.pairs; p++)
        step->variance[p] = akd_variance(r->train, r->train_count, 1 + p, size);
}

static void progress_tell(const struct round *r, const struct akd_step *step, int i, float loss)
{
    int shards = r->d->trainer.shards;
    struct distill_progress p = {.step = i + 1,
                                 .steps = r->options->steps,
                                 .loss = loss,
                                 .loss_query = akd_part_sum(step, AKD_QUERY, shards),
                                 .loss_repr = akd_part_sum(step, AKD_REPR, shards),
                                 .loss_ce = akd_part_sum(step, AKD_CE, shards),
                                 .loss_kl = akd_part_sum(step, AKD_KL, shards)};
    if (r->progress)
        r->progress(r->ctx, &p);
}

/* Adds step i's loss to the means of the first and of the last steps. */
static void loss_note(struct round *r, int i, float loss)
{
    int steps = r->options->steps, span = steps < MEAN_STEPS ? steps : MEAN_STEPS;
    if (i == 0)
        r->loss_start = loss;
    if (i < span)
        r->report->loss_first += loss / (float)span;
    if (i >= steps - span)
        r->report->loss_last += loss / (float)span;
}

static enum status round_step(struct round *r, struct akd_step *step, float lr, float *loss,
                              struct err *err)
{
    TRY(coded_show(&r->coded, err));
    TRY(trainer_step(&r->d->trainer, akd_loss, step, rng_u64(&r->rng), lr, r->options->clip, loss,
                     err));
    coded_move(&r->coded);
    coded_hide(&r->coded);
    return STATUS_OK;
}

static enum status round_train(struct round *r, struct err *err)
{
    const struct distill_options *o = r->options;
    struct akd_step step;
    step_init(r, &step);
    for (int i = 0; i < o->steps; i++) {
        float loss, lr = schedule_linear(i, o->steps, WARMUP, o->lr, FLOOR);
        if (r->cancel && __atomic_load_n(r->cancel, __ATOMIC_RELAXED))
            return err_set(err, STATUS_CANCELLED, "cancelled at step %d of %d", i, o->steps);
        step.items = batch_next(r, step.count);
        enum status s = round_step(r, &step, lr, &loss, err);
        if (s == STATUS_MALFORMED)
            return err_set(err, STATUS_REFUSED, "step %d: the loss diverged", i + 1);
        TRY(s);
        loss_note(r, i, loss);
        progress_tell(r, &step, i, loss);
    }
    if (r->report->loss_last > DIVERGED * r->loss_start)
        return err_set(err, STATUS_REFUSED, "the loss diverged: %.3g at first, %.3g at last",
                       (double)r->loss_start, (double)r->report->loss_last);
    return STATUS_OK;
}

static enum status gates_before(struct round *r, struct gate *held, struct gate *replay,
                                struct err *err)
{
    coded_show_edge(&r->coded);
    TRY(gate_open(held, r->d->student, r->d->pool, r->held, r->held_count, err));
    TRY(gate_open(replay, r->d->student, r->d->pool, r->replay, r->replay_count, err));
    coded_hide(&r->coded);
    return STATUS_OK;
}

static enum status gates_after(struct round *r, struct gate *held, struct gate *replay,
                               struct err *err)
{
    struct distill_report *report = r->report;
    TRY(coded_show_release(&r->coded, err));
    TRY(gate_measure(held, r->d->student, r->d->pool, err));
    TRY(gate_measure(replay, r->d->student, r->d->pool, err));
    coded_hide(&r->coded);
    report->agreement_before = held->before;
    report->agreement_after = held->after;
    report->replay_before = r->replay_count ? replay->before : -1;
    report->replay_after = r->replay_count ? replay->after : -1;
    report->passed = gate_passed(held) && gate_passed(replay);
    return STATUS_OK;
}

static enum status round_learn(struct round *r, struct err *err)
{
    struct distiller *d = r->d;
    struct gate held = {0}, replay = {0};
    TRY(coded_open(&r->coded, &d->set, r->options->edge, &r->options->code, err));
    enum status s = gates_before(r, &held, &replay, err);
    if (s == STATUS_OK && d->trainer.opt.step == 0 && !d->head_only)
        s = akd_phi_fit(&d->phi, d->student, &d->in.match, r->train, r->train_count, err);
    if (s == STATUS_OK)
        s = round_train(r, err);
    if (s == STATUS_OK)
        s = gates_after(r, &held, &replay, err);
    gate_close(&held);
    gate_close(&replay);
    coded_close(&r->coded);
    return s;
}

static enum status round_run(struct round *r, const struct distill_instance *instances, int n,
                             struct err *err)
{
    struct distill_report *report = r->report;
    int64_t start = clock_monotonic_ms();
    TRY(intake_add(&r->d->in, instances, n, report, err));
    report->teacher_seconds = (double)(clock_monotonic_ms() - start) / 1000;
    TRY(round_split(r, err));
    for (int i = r->first; i < r->d->in.buffer.count; i++)
        report->instances += !r->d->in.buffer.item[i].crossed;
    for (int i = 0; i < r->train_count; i++)
        report->trained += !r->train[i]->crossed;
    TRY(round_learn(r, err));
    report->seconds = (double)(clock_monotonic_ms() - start) / 1000;
    return STATUS_OK;
}

enum status distiller_round(struct distiller *d, const struct distill_instance *instances, int n,
                            const struct distill_options *options, const volatile int *cancel,
                            void (*progress)(void *ctx, const struct distill_progress *p),
                            void *ctx, struct distill_report *report, struct err *err)
{
    struct snapshot before;
    struct round r = {.d = d,
                      .options = options,
                      .cancel = cancel,
                      .progress = progress,
                      .ctx = ctx,
                      .report = report,
                      .first = d->in.buffer.count};
    const struct intake_mark mark = intake_mark(&d->in);
    memset(report, 0, sizeof *report);
    TRY(distill_options_check(options, err));
    TRY(distiller_prepare(d, options->head_only, err));
    TRY(snapshot_take(d, &before, err));
    rng_init(&r.rng, options->seed, (uint64_t)d->trainer.opt.step);
    enum status s = round_run(&r, instances, n, err);
    if (s != STATUS_OK || !report->passed)
        snapshot_restore(d, &before);
    if (s != STATUS_OK)
        intake_back(&d->in, mark);
    intake_trim(&d->in);
    free(before.values);
    free(r.train);
    return s;
}

/* ---- across restarts ---- */

enum status distiller_save(struct io *io, const struct distiller *d, const char *path,
                           struct err *err)
{
    if (!d->ready)
        return err_set(err, STATUS_CONFLICT, "no round has been run: there is nothing to save");
    return trainer_save(io, &d->trainer, path, err);
}

enum status distiller_load(struct io *io, struct distiller *d, const char *path, struct err *err)
{
    struct snapshot before;
    TRY(distiller_prepare(d, false, err));
    TRY(snapshot_take(d, &before, err));
    enum status s = trainer_load(io, &d->trainer, path, err);
    for (size_t i = 0; s == STATUS_OK && i < (size_t)d->list_count; i++)
        for (size_t j = 0; s == STATUS_OK && j < param_count(d->list[i]); j++)
            if (!isfinite(d->list[i]->data[j]))
                s = err_set(err, STATUS_MALFORMED, "%s: a value of %s is not finite", path,
                            d->list[i]->name);
    if (s != STATUS_OK)
        snapshot_restore(d, &before);
    free(before.values);
    return s;
}

enum status distiller_recall(struct distiller *d, const struct distill_instance *instances, int n,
                             struct err *err)
{
    const struct intake_mark mark = intake_mark(&d->in);
    enum status s = intake_recall(&d->in, instances, n, err);
    if (s != STATUS_OK)
        intake_back(&d->in, mark);
    intake_trim(&d->in);
    return s;
}
