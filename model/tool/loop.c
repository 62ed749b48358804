/* The loop offline (loop.h): flags, the two models, rounds, and what is printed. The simulated edge
 * is in simulated.c. Every round: the edge answers a window and uploads; the distiller trains its
 * master copy; the update is coded, sent through the wire format, applied, and its hash checked. */
#include "model/tool/loop.h"
#include "api/base/clock.h"
#include "api/wire/json.h"
#include "api/wire/options.h"
#include "model/learn/compress.h"
#include "model/task/evaluate.h"
#include "model/tool/simulated.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVAL_SEED = 990001, HEAD_STEPS = 400 };

struct flags {
    const char *teacher, *student, *stream, *labels, *method, *select, *score, *codec;
    int64_t rounds, window, keep, bits, seed, steps, batch, eval_count, threads, delta_budget,
        cross;
    double budget, lr, holdout, query, repr, kl, temperature, token_drop;
    bool json;
};

struct run {
    struct flags flags;
    struct pool *pool;
    struct mllm *teacher, *edge, *master;
    struct trainable edge_set, master_set;
    struct distiller *distiller;
    struct evalset *target, *source;
    float *before, *after;                                 /* edge_set.values each */
    struct evaluation source_only[2], ceiling[2], last[2]; /* target, source */
    json *rounds;
};

static enum status flags_parse(struct flags *f, int argc, char **argv, struct err *err)
{
    struct distill_options distill = distill_defaults();
    *f = (struct flags){.stream = "world:drift",
                        .labels = "soft",
                        .method = "cdcca",
                        .select = "ent2",
                        .score = "attention",
                        .codec = "2",
                        .rounds = 5,
                        .window = 910,
                        .keep = uts_defaults().keep,
                        .bits = 4,
                        .seed = 1,
                        .steps = distill.steps,
                        .batch = distill.batch,
                        .eval_count = 1300,
                        .cross = DISTILL_CROSS,
                        .budget = 0.1,
                        .lr = (double)distill.lr,
                        .holdout = (double)distill.holdout,
                        .query = (double)distill.query,
                        .repr = (double)distill.repr,
                        .kl = (double)distill.kl,
                        .temperature = (double)distill.temperature};
    const struct option table[] = {
        {"teacher", OPTION_STRING, &f->teacher, 0, 0, "DIR", "the cloud's model"},
        {"student", OPTION_STRING, &f->student, 0, 0, "DIR", "the device's model"},
        {"stream", OPTION_STRING, &f->stream, 0, 0, "SPEC",
         "world:drift, world:NAME or a directory"},
        {"method", OPTION_STRING, &f->method, 0, 0, "NAME", "cdcca, pl (labels alone), head, none"},
        {"rounds", OPTION_INT, &f->rounds, 1, 1000, "N", "rounds"},
        {"window", OPTION_INT, &f->window, 10, 100000, "N", "samples a round"},
        {"budget", OPTION_NUMBER, &f->budget, 0, 1, "SHARE", "of the samples that may be uploaded"},
        {"select", OPTION_STRING, &f->select, 0, 0, "HOW", "instances: ent2, entropy, random"},
        {"keep", OPTION_INT, &f->keep, 1, 4096, "N", "visual tokens kept per instance"},
        {"score", OPTION_STRING, &f->score, 0, 0, "HOW",
         "tokens: attention, variance, norm, random"},
        {"bits", OPTION_INT, &f->bits, 4, 8, "N", "per channel of a token: 8 or 4"},
        {"labels", OPTION_STRING, &f->labels, 0, 0, "KIND", "soft or hard"},
        {"steps", OPTION_INT, &f->steps, 1, 100000, "N", "optimiser steps a round"},
        {"batch", OPTION_INT, &f->batch, 1, 256, "N", "uploads a step"},
        {"lr", OPTION_NUMBER, &f->lr, 1e-8, 10, "RATE", "learning rate"},
        {"query", OPTION_NUMBER, &f->query, 0, 1000, "W", "weight of the query loss"},
        {"repr", OPTION_NUMBER, &f->repr, 0, 1000, "W", "weight of the cross-attention loss"},
        {"kl", OPTION_NUMBER, &f->kl, 0, 1, "W", "weight of KL; cross-entropy has the rest of 1"},
        {"temperature", OPTION_NUMBER, &f->temperature, 0.1, 100, "T", "of soft labels"},
        {"cross", OPTION_INT, &f->cross, 0, 32, "N", "questions of others asked of each upload"},
        {"token-drop", OPTION_NUMBER, &f->token_drop, 0, 0.9, "SHARE",
         "of tokens away from a step"},
        {"holdout", OPTION_NUMBER, &f->holdout, 0, 0.9, "SHARE",
         "of a round's uploads, for the gate"},
        {"codec", OPTION_STRING, &f->codec, 0, 0, "LETTER", "of the delta: s 2 n 8 k f, or auto"},
        {"delta-budget", OPTION_INT, &f->delta_budget, 0, 1 << 28, "BYTES", "for --codec auto"},
        {"eval-count", OPTION_INT, &f->eval_count, 10, 100000, "N", "samples of each evaluation"},
        {"seed", OPTION_INT, &f->seed, 0, 1 << 30, "N", "of the stream and of the training"},
        {"threads", OPTION_INT, &f->threads, 0, 64, "N", "0: one per core"},
        {"json", OPTION_FLAG, &f->json, 0, 0, NULL, "print one JSON document"},
        {0}};
    const struct options options = {.program = "cdcca-model loop",
                                    .summary = "the whole loop in one process, for tuning",
                                    .table = table};
    int positional;
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!f->teacher || !f->student)
        return err_set(err, STATUS_USAGE, "--teacher DIR and --student DIR are needed");
    return STATUS_OK;
}

static const char *const SELECTS[] = {"ent2", "entropy", "random", NULL}; /* simulated_pick */

static int index_of(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

static enum status words_check(const struct flags *f, struct err *err)
{
    static const char *const methods[] = {"cdcca", "pl", "head", "none", NULL};
    static const char *const scores[] = {"attention", "variance", "norm", "random", NULL};
    static const char *const codecs[] = {"auto", "s", "2", "n", "8", "k", "f", NULL};
    static const char *const labels[] = {"hard", "soft", NULL};
    const struct {
        const char *flag, *value;
        const char *const *words;
    } checks[] = {{"method", f->method, methods},
                  {"select", f->select, SELECTS},
                  {"score", f->score, scores},
                  {"codec", f->codec, codecs},
                  {"labels", f->labels, labels}};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (index_of(checks[i].value, checks[i].words) < 0)
            return err_set(err, STATUS_USAGE, "--%s %s: see --help", checks[i].flag,
                           checks[i].value);
    return STATUS_OK;
}

static struct distill_options distill_flags(const struct flags *f)
{
    struct distill_options o = distill_defaults();
    o.labels = strcmp(f->labels, "soft") == 0 ? LABELS_SOFT : LABELS_HARD;
    o.steps = (int)f->steps;
    o.batch = (int)f->batch;
    o.lr = (float)f->lr;
    o.query = (float)f->query;
    o.repr = (float)f->repr;
    o.kl = (float)f->kl;
    o.ce = 1 - o.kl;
    o.temperature = (float)f->temperature;
    o.holdout = (float)f->holdout;
    o.token_drop = (float)f->token_drop;
    o.seed = (uint64_t)f->seed;
    if (strcmp(f->method, "pl") == 0) {
        o.labels = LABELS_HARD;
        o.query = o.repr = 0;
    }
    if (strcmp(f->method, "head") == 0) {
        o.head_only = true;
        o.steps = HEAD_STEPS;
    }
    return o;
}

static struct simulated_options simulated_flags(const struct flags *f, int round)
{
    struct simulated_options o = {.uts = uts_defaults(), .bits = (int)f->bits};
    o.pick = (enum simulated_pick)index_of(f->select, SELECTS);
    o.uts.keep = (int)f->keep;
    o.uts.score = f->score[0] == 'a'   ? UTS_ATTENTION
                  : f->score[0] == 'v' ? UTS_VARIANCE
                  : f->score[0] == 'n' ? UTS_NORM
                                       : UTS_RANDOM;
    o.seed = (uint64_t)f->seed * 1000003u + (uint64_t)round;
    return o;
}

/* ---- what a run owns ---- */

static enum status students_make(struct run *r, struct err *err)
{
    struct trainable_options options = trainable_defaults();
    TRY(mllm_load(io_posix(), r->flags.student, &r->edge, err));
    TRY(trainable_attach(r->edge, &options, &r->edge_set, err));
    TRY(mllm_clone(r->edge, &r->master, err));
    TRY(trainable_list(r->master, &r->master_set, err));
    r->before = calloc(2 * r->edge_set.values, sizeof *r->before);
    if (!r->before)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu parameters", r->edge_set.values);
    r->after = r->before + r->edge_set.values;
    return STATUS_OK;
}

static enum status run_open(struct run *r, struct err *err)
{
    const struct flags *f = &r->flags;
    bool drift = strcmp(f->stream, "world:drift") == 0;
    const char *target = drift ? "world:target" : f->stream;
    r->rounds = json_array_new();
    TRY(pool_create((int)f->threads, &r->pool, err));
    TRY(mllm_load(io_posix(), f->teacher, &r->teacher, err));
    TRY(students_make(r, err));
    TRY(distiller_create(r->teacher, r->master, r->pool, &r->distiller, err));
    distiller_cross(r->distiller, (int)f->cross);
    TRY(evalset_create(r->edge, r->pool, target, EVAL_SEED, (int)f->eval_count, &r->target, err));
    return evalset_create(r->edge, r->pool, "world:source", EVAL_SEED, (int)f->eval_count,
                          &r->source, err);
}

static void run_close(struct run *r)
{
    evalset_destroy(r->target);
    evalset_destroy(r->source);
    distiller_destroy(r->distiller);
    trainable_free(&r->edge_set);
    trainable_free(&r->master_set);
    if (r->edge)
        mllm_release(r->edge);
    if (r->master)
        mllm_release(r->master);
    if (r->teacher)
        mllm_release(r->teacher);
    if (r->pool)
        pool_destroy(r->pool);
    json_free(r->rounds);
    free(r->before);
}

static enum status score_both(struct run *r, const struct mllm *m, struct evaluation out[2],
                              struct err *err)
{
    TRY(evalset_score(r->target, m, r->pool, &out[0], err));
    return evalset_score(r->source, m, r->pool, &out[1], err);
}

/* ---- a round ---- */

struct outcome {
    int instances;
    size_t uplink_bytes, delta_bytes;
    double bits; /* per parameter of the set */
    struct distill_report report;
    struct evaluation score[2];
};

static enum status round_collect(struct run *r, int round, struct payload *payload,
                                 struct outcome *out, struct err *err)
{
    const struct flags *f = &r->flags;
    struct simulated window;
    char spec[256];
    bool drift = strcmp(f->stream, "world:drift") == 0;
    snprintf(spec, sizeof spec, drift ? "%s:%d" : "%s", f->stream, round);
    struct simulated_options options = simulated_flags(f, round);
    uint64_t first = (uint64_t)round * (uint64_t)f->window;
    TRY(simulated_answer(&window, r->edge, r->pool, spec, (uint64_t)f->seed, first, (int)f->window,
                         err));
    int n = (int)(f->budget * (double)f->window);
    enum status s =
        simulated_upload(&window, r->edge, n, &options, payload, &out->uplink_bytes, err);
    struct distill_options distill = distill_flags(f);
    struct distill_instance *instances = NULL;
    float *visual = NULL;
    if (s == STATUS_OK)
        s = simulated_instances(payload, &instances, &visual, err);
    if (s == STATUS_OK)
        s = distiller_round(r->distiller, instances, (int)payload->instances, &distill, NULL, NULL,
                            NULL, &out->report, err);
    out->instances = (int)payload->instances;
    free(instances);
    free(visual);
    simulated_free(&window);
    return s;
}

/* Codes the master's update, sends it through the wire format and applies it to the edge. */
static enum status round_deliver(struct run *r, int round, struct outcome *out, struct err *err)
{
    struct compress_options options = compress_defaults();
    struct delta delta, received;
    struct buf wire = {.max = (size_t)64 << 20};
    options.codec = strcmp(r->flags.codec, "auto") == 0 ? 0 : r->flags.codec[0];
    options.budget_bytes = (size_t)r->flags.delta_budget;
    trainable_read(&r->edge_set, r->before);
    trainable_read(&r->master_set, r->after);
    TRY(compress_encode(&r->edge_set, r->before, r->after, round, round + 1, &options, &delta, NULL,
                        err));
    enum status s = delta_encode(&delta, &wire, err);
    if (s == STATUS_OK)
        s = delta_decode(wire.data, wire.len, &received, err);
    if (s == STATUS_OK) {
        s = compress_apply(&r->edge_set, &received, err);
        delta_free(&received);
    }
    out->delta_bytes = wire.len;
    out->bits = (double)wire.len * 8 / (double)r->edge_set.values;
    delta_free(&delta);
    buf_free(&wire);
    return s;
}

static enum status round_run(struct run *r, int round, struct outcome *out, struct err *err)
{
    struct payload payload = {0};
    memset(out, 0, sizeof *out);
    enum status s = round_collect(r, round, &payload, out, err);
    free(payload.instance);
    TRY(s);
    bool head = strcmp(r->flags.method, "head") == 0;
    if (!head && out->report.passed)
        TRY(round_deliver(r, round, out, err));
    return score_both(r, head ? r->master : r->edge, out->score, err);
}

/* ---- what is printed ---- */

static json *score_json(const struct score *s)
{
    json *object = json_object_new();
    json_set_number(object, "mc", s->mc);
    json_set_number(object, "da", s->da);
    return object;
}

static void scores_json(json *object, const struct evaluation score[2])
{
    json_set_take(object, "target", score_json(&score[0].five));
    json_set_take(object, "source", score_json(&score[1].five));
    json_set_take(object, "new_concepts", score_json(&score[0].new_concepts));
    json_set_take(object, "all_kinds", score_json(&score[0].all));
}

static void scores_print(const char *name, const struct evaluation score[2])
{
    printf("%-12s target %5.1f/%5.1f  source %5.1f/%5.1f  new %5.1f/%5.1f", name, score[0].five.mc,
           score[0].five.da, score[1].five.mc, score[1].five.da, score[0].new_concepts.mc,
           score[0].new_concepts.da);
}

static void round_print(struct run *r, int round, const struct outcome *o)
{
    const struct distill_report *d = &o->report;
    double up = o->instances ? (double)o->uplink_bytes / o->instances : 0;
    if (!r->flags.json) {
        char name[24];
        snprintf(name, sizeof name, "round %d", round + 1);
        scores_print(name, o->score);
        printf("  up %d x %.0f B  down %zu B %.3f bit  loss %.3f-%.3f  gate %.2f-%.2f %.2f-%.2f %s"
               "  %.1f s (teacher %.1f)\n",
               o->instances, up, o->delta_bytes, o->bits, (double)d->loss_first,
               (double)d->loss_last, (double)d->agreement_before, (double)d->agreement_after,
               (double)d->replay_before, (double)d->replay_after, d->passed ? "ok" : "no",
               d->seconds, d->teacher_seconds);
        fflush(stdout);
        return;
    }
    json *object = json_object_new();
    scores_json(object, o->score);
    json_set_int(object, "uploads", o->instances);
    json_set_number(object, "uplink_bytes_per_instance", up);
    json_set_int(object, "delta_bytes", (int64_t)o->delta_bytes);
    json_set_number(object, "bits_per_parameter", o->bits);
    json_set_bool(object, "passed", d->passed);
    json_set_number(object, "seconds", d->seconds);
    json_append_take(r->rounds, object);
}

static double recovered(double from, double to, double ceiling)
{
    return ceiling > from ? 100 * (to - from) / (ceiling - from) : 0;
}

static void gaps_print(const struct run *r)
{
    const struct evaluation *a = r->source_only, *b = r->last, *c = r->ceiling;
    printf("recovered    target %.0f%% MC, %.0f%% DA   new concepts %.0f%% MC, %.0f%% DA   source "
           "%+.1f/%+.1f points\n",
           recovered(a[0].five.mc, b[0].five.mc, c[0].five.mc),
           recovered(a[0].five.da, b[0].five.da, c[0].five.da),
           recovered(a[0].new_concepts.mc, b[0].new_concepts.mc, c[0].new_concepts.mc),
           recovered(a[0].new_concepts.da, b[0].new_concepts.da, c[0].new_concepts.da),
           b[1].five.mc - a[1].five.mc, b[1].five.da - a[1].five.da);
}

static enum status summary_json(struct run *r, struct err *err)
{
    json *document = json_object_new(), *first = json_object_new(), *ceiling = json_object_new();
    struct buf text = {.max = 1 << 20};
    scores_json(first, r->source_only);
    scores_json(ceiling, r->ceiling);
    json_set_string(document, "method", r->flags.method);
    json_set_int(document, "seed", r->flags.seed);
    json_set_take(document, "source_only", first);
    json_set_take(document, "teacher", ceiling);
    json_set_take(document, "rounds", r->rounds);
    r->rounds = NULL;
    enum status s = json_print(document, true, &text);
    if (s == STATUS_OK)
        printf("%s\n", (const char *)text.data);
    else
        err_set(err, s, "cannot print the report");
    json_free(document);
    buf_free(&text);
    return s;
}

static enum status run_all(struct run *r, struct err *err)
{
    TRY(run_open(r, err));
    TRY(score_both(r, r->edge, r->source_only, err));
    TRY(score_both(r, r->teacher, r->ceiling, err));
    memcpy(r->last, r->source_only, sizeof r->last);
    if (!r->flags.json) {
        scores_print("source-only", r->source_only);
        printf("\n");
        scores_print("teacher", r->ceiling);
        printf("\n");
        fflush(stdout);
    }
    int rounds = strcmp(r->flags.method, "none") == 0 ? 0 : (int)r->flags.rounds;
    for (int i = 0; i < rounds; i++) {
        struct outcome outcome;
        TRY(round_run(r, i, &outcome, err));
        memcpy(r->last, outcome.score, sizeof r->last);
        round_print(r, i, &outcome);
    }
    if (r->flags.json)
        return summary_json(r, err);
    gaps_print(r);
    return STATUS_OK;
}

enum status loop_run(int argc, char **argv, struct err *err)
{
    struct run run = {0};
    TRY(flags_parse(&run.flags, argc, argv, err));
    TRY(words_check(&run.flags, err));
    enum status s = run_all(&run, err);
    run_close(&run);
    return s;
}
