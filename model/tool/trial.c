/* Trials (trial.h). Every round: the edge answers a window and uploads; the distiller trains its
 * master copy; the update is coded, sent through the wire format, applied, and its hash checked. */
#include "model/tool/trial.h"
#include "api/base/clock.h"
#include "model/tool/arrival.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_STEPS = 400, JPEG_QUALITY = 85 };

/* ---- the lab ---- */

enum status lab_open(struct lab *lab, const struct lab_options *options, struct err *err)
{
    const struct lab_options *o = options;
    *lab = (struct lab){.options = *options};
    enum status s = pool_create(o->threads, &lab->pool, err);
    if (s == STATUS_OK)
        s = mllm_load(io_posix(), o->teacher, &lab->teacher, err);
    if (s == STATUS_OK)
        s = mllm_load(io_posix(), o->student, &lab->student, err);
    if (s == STATUS_OK)
        s = evalset_create(lab->student, lab->pool, o->target, o->seed, o->count, &lab->target,
                           err);
    if (s == STATUS_OK)
        s = evalset_create(lab->student, lab->pool, o->source, o->seed, o->count, &lab->source,
                           err);
    if (s == STATUS_OK && o->near)
        s = evalset_create(lab->student, lab->pool, o->near, o->seed, o->count, &lab->near, err);
    if (s != STATUS_OK)
        lab_close(lab);
    return s;
}

void lab_close(struct lab *lab)
{
    evalset_destroy(lab->target);
    evalset_destroy(lab->source);
    evalset_destroy(lab->near);
    mllm_release(lab->teacher);
    mllm_release(lab->student);
    if (lab->pool)
        pool_destroy(lab->pool);
    memset(lab, 0, sizeof *lab);
}

/* ---- settings ---- */

struct trial_options trial_defaults(enum trial_method method)
{
    struct trial_options o = {
        .method = method,
        .rounds = 5,
        .window = 910,
        .budget = 0.1,
        .cross = DISTILL_CROSS,
        .edge = {.pick = PICK_ENT2, .quality = JPEG_QUALITY, .uts = uts_defaults(), .bits = 4},
        .distill = distill_defaults(),
        .adapt = adapt_defaults(method == TRIAL_COTTA ? ADAPT_COTTA : ADAPT_TENT),
        .trainable = trainable_defaults(),
        .codec = 'b',
        .selected_share = compress_defaults().selected_share,
        .coded = true,
        .every_round = true,
        .seed = 1};
    if (method == TRIAL_HEAD) {
        o.distill.head_only = true;
        o.distill.steps = HEAD_STEPS;
    }
    return o;
}

enum status trial_named(const char *name, struct trial_options *out, struct err *err)
{
    static const struct {
        const char *name;
        enum trial_method method;
        bool words; /* hard labels, uncrossed */
        enum distill_features features;
        float feature_weight;
    } methods[] = {{"source", TRIAL_SOURCE, false, FEATURES_MSE, 0},
                   {"tent", TRIAL_TENT, false, FEATURES_MSE, 0},
                   {"cotta", TRIAL_COTTA, false, FEATURES_MSE, 0},
                   {"pl", TRIAL_DISTILL, true, FEATURES_MSE, 0},
                   {"pkd", TRIAL_DISTILL, true, FEATURES_PKD, 1},
                   {"cwd", TRIAL_DISTILL, true, FEATURES_CWD, 1},
                   {"head", TRIAL_HEAD, false, FEATURES_MSE, 0},
                   {"cdcca", TRIAL_DISTILL, false, FEATURES_MSE, 1},
                   {"teacher", TRIAL_TEACHER, false, FEATURES_MSE, 0}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (strcmp(methods[i].name, name) != 0)
            continue;
        *out = trial_defaults(methods[i].method);
        out->distill.features = methods[i].features;
        out->distill.query = out->distill.repr = methods[i].feature_weight;
        if (methods[i].words) {
            out->distill.labels = LABELS_HARD;
            out->cross = 0;
        }
        return STATUS_OK;
    }
    return err_set(err, STATUS_USAGE,
                   "no method \"%.40s\"; there are source, tent, cotta, pl, pkd, cwd, head, cdcca "
                   "and teacher",
                   name);
}

/* ---- what a trial owns ---- */

struct trial {
    struct lab *lab;
    const struct trial_options *options;
    struct mllm *edge, *master;
    struct trainable edge_set, master_set;
    struct distiller *distiller;
    struct adapt *adapt;
    float *before, *after; /* edge_set.values each */
};

static bool has_cloud(const struct trial *t)
{
    return t->options->method == TRIAL_DISTILL || t->options->method == TRIAL_HEAD;
}

static bool has_rounds(const struct trial *t)
{
    return t->options->method != TRIAL_SOURCE && t->options->method != TRIAL_TEACHER;
}

static enum status cloud_open(struct trial *t, struct err *err)
{
    TRY(mllm_clone(t->edge, &t->master, err));
    TRY(trainable_list(t->master, &t->master_set, err));
    t->before = calloc(2 * t->edge_set.values, sizeof *t->before);
    if (!t->before)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu parameters", t->edge_set.values);
    t->after = t->before + t->edge_set.values;
    TRY(distiller_create(t->lab->teacher, t->master, t->lab->pool, &t->distiller, err));
    distiller_cross(t->distiller, t->options->cross);
    return STATUS_OK;
}

static enum status trial_open(struct trial *t, struct err *err)
{
    struct adapt_options adapt = t->options->adapt;
    if (!has_rounds(t))
        return STATUS_OK;
    TRY(mllm_clone(t->lab->student, &t->edge, err));
    TRY(trainable_attach(t->edge, &t->options->trainable, &t->edge_set, err));
    if (has_cloud(t))
        return cloud_open(t, err);
    adapt.seed = t->options->seed;
    return adapt_create(t->edge, t->lab->pool, &adapt, &t->adapt, err);
}

static void trial_close(struct trial *t)
{
    distiller_destroy(t->distiller);
    adapt_destroy(t->adapt);
    trainable_free(&t->edge_set);
    trainable_free(&t->master_set);
    mllm_release(t->edge);
    mllm_release(t->master);
    free(t->before);
}

/* The model that answers on the device now. */
static const struct mllm *answering(const struct trial *t)
{
    switch (t->options->method) {
    case TRIAL_SOURCE:
        return t->lab->student;
    case TRIAL_TEACHER:
        return t->lab->teacher;
    case TRIAL_HEAD:
        return t->master;
    default:
        return t->adapt ? adapt_model(t->adapt) : t->edge;
    }
}

/* ---- a round ---- */

static enum status window_answer(const struct trial *t, int round, struct simulated *window,
                                 struct err *err)
{
    const struct trial_options *o = t->options;
    const char *stream = t->lab->options.stream, *kind = strchr(stream, '/');
    char spec[4096];
    size_t name = strlen("world:drift");
    if (strncmp(stream, "world:drift", name) == 0 && (stream[name] == 0 || stream[name] == '/'))
        snprintf(spec, sizeof spec, "world:drift:%d%s", round, kind ? kind : "");
    else
        snprintf(spec, sizeof spec, "%s", stream);
    return simulated_answer(window, t->edge, t->lab->pool, spec, o->seed,
                            (uint64_t)round * (uint64_t)o->window, o->window, err);
}

static struct delivery_options trial_delivery(const struct trial_options *o)
{
    return (struct delivery_options){.way = o->delivery,
                                     .codec = o->codec,
                                     .budget_bytes = o->delta_budget,
                                     .selected_share = o->selected_share};
}

static bool trains_coded(const struct trial_options *o)
{
    return o->coded && o->method == TRIAL_DISTILL && o->delivery == DELIVERY_DELTA;
}

static enum status cloud_learn(struct trial *t, const struct arrival *arrival,
                               const volatile int *cancel, struct trial_round *out, struct err *err)
{
    struct distill_options distill = t->options->distill;
    distill.seed = t->options->seed;
    if (trains_coded(t->options)) {
        const struct delivery_options delivery = trial_delivery(t->options);
        trainable_read(&t->edge_set, t->before);
        distill.edge = t->before;
        distill.code = delivery_code(&delivery);
    }
    out->instances = arrival->count;
    out->uplink_bytes = arrival->bytes;
    out->uplink_plain = arrival->plain;
    out->png_bytes = arrival->png_bytes;
    out->png_plain = arrival->png_plain;
    return distiller_round(t->distiller, arrival->instances, arrival->count, &distill, cancel, NULL,
                           NULL, &out->report, err);
}

/* Sends the master's update and applies it to the edge. */
static enum status update_deliver(struct trial *t, struct trial_round *out, struct err *err)
{
    const struct trial_options *o = t->options;
    const struct delivery_options options = trial_delivery(o);
    trainable_read(&t->edge_set, t->before);
    trainable_read(&t->master_set, t->after);
    TRY(delivery_run(t->edge, &t->edge_set, t->before, t->after, out->round, &options,
                     &out->delivered, err));
    out->delta_bytes = out->delivered.bytes;
    out->bits = (double)out->delta_bytes * 8 / (double)t->edge_set.values;
    return STATUS_OK;
}

static enum status cloud_round(struct trial *t, const struct simulated *window,
                               const volatile int *cancel, struct trial_round *out, struct err *err)
{
    struct arrival arrival;
    struct simulated_options edge = t->options->edge;
    edge.seed = t->options->seed * 1000003u + (uint64_t)out->round;
    int n = (int)(t->options->budget * (double)t->options->window);
    n = n > 0 ? n : 1;
    TRY(arrival_make(window, t->edge, t->lab->pool, n, &edge, &arrival, err));
    enum status s = cloud_learn(t, &arrival, cancel, out, err);
    if (s == STATUS_OK && out->report.passed && t->options->method == TRIAL_DISTILL)
        s = update_deliver(t, out, err);
    arrival_free(&arrival);
    return s;
}

static enum status alone_round(struct trial *t, const struct simulated *window,
                               struct trial_round *out, struct err *err)
{
    size_t row = (size_t)window->tokens * (size_t)window->width;
    struct distill_instance *samples = calloc((size_t)window->count + 1, sizeof *samples);
    if (!samples)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d samples", window->count);
    for (int i = 0; i < window->count; i++)
        samples[i] = (struct distill_instance){.question = window->question[i],
                                               .visual = window->visual + (size_t)i * row,
                                               .count = window->tokens};
    enum status s = adapt_window(t->adapt, samples, window->count, &out->loss, err);
    free(samples);
    return s;
}

static enum status round_adapt(struct trial *t, const volatile int *cancel, struct trial_round *out,
                               struct err *err)
{
    struct simulated window;
    if (!has_rounds(t))
        return STATUS_OK;
    TRY(window_answer(t, out->round, &window, err));
    enum status s =
        t->adapt ? alone_round(t, &window, out, err) : cloud_round(t, &window, cancel, out, err);
    simulated_free(&window);
    return s;
}

static enum status round_score(struct trial *t, struct trial_round *out, struct err *err)
{
    const struct lab *lab = t->lab;
    out->scored = true;
    TRY(evalset_score(lab->target, answering(t), lab->pool, &out->target, err));
    if (lab->near)
        TRY(evalset_score(lab->near, answering(t), lab->pool, &out->near, err));
    return evalset_score(lab->source, answering(t), lab->pool, &out->source, err);
}

static enum status rounds_run(struct trial *t, const volatile int *cancel,
                              void (*tell)(void *ctx, const struct trial_round *round), void *ctx,
                              struct err *err)
{
    int rounds = has_rounds(t) ? t->options->rounds : 1;
    for (int i = 0; i < rounds; i++) {
        struct trial_round round = {.round = i};
        int64_t start = clock_monotonic_ms();
        if (cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED))
            return err_set(err, STATUS_CANCELLED, "stopped before round %d of %d", i + 1, rounds);
        TRY(round_adapt(t, cancel, &round, err));
        round.seconds = (double)(clock_monotonic_ms() - start) / 1000;
        if (t->options->every_round || i + 1 == rounds)
            TRY(round_score(t, &round, err));
        if (tell)
            tell(ctx, &round);
    }
    return STATUS_OK;
}

enum status trial_run(struct lab *lab, const struct trial_options *options,
                      const volatile int *cancel,
                      void (*tell)(void *ctx, const struct trial_round *round), void *ctx,
                      struct err *err)
{
    struct trial t = {.lab = lab, .options = options};
    enum status s = trial_open(&t, err);
    if (s == STATUS_OK)
        s = rounds_run(&t, cancel, tell, ctx, err);
    trial_close(&t);
    return s;
}
