/* The loop offline (loop.h): flags become a trial (trial.h), whose rounds are printed. */
#include "model/tool/loop.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/tool/trial.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EVAL_SEED = 990001 };

struct flags {
    const char *teacher, *student, *stream, *labels, *method, *select, *score, *codec;
    int64_t rounds, window, keep, bits, seed, steps, batch, eval_count, threads, delta_budget,
        cross, rank;
    double budget, lr, adapt_lr, holdout, query, repr, wavelet, kl, temperature, token_drop;
    bool afterwards, json;
};

struct run {
    struct flags flags;
    struct lab lab;
    struct trial_options options;
    struct evaluation source_only[2], ceiling[2], last[2]; /* target, source */
    json *rounds;
};

static struct flags flags_defaults(void)
{
    struct distill_options distill = distill_defaults();
    return (struct flags){.stream = "world:drift",
                          .method = "cdcca",
                          .select = "ent2",
                          .score = "attention",
                          .codec = "b",
                          .rounds = 5,
                          .window = 910,
                          .keep = uts_defaults().keep,
                          .bits = 4,
                          .seed = 1,
                          .batch = distill.batch,
                          .eval_count = 1300,
                          .cross = -1,
                          .rank = trainable_defaults().lora_rank,
                          .budget = 0.1,
                          .lr = (double)distill.lr,
                          .holdout = (double)distill.holdout,
                          .query = (double)NAN,
                          .repr = (double)NAN,
                          .kl = (double)distill.kl,
                          .temperature = (double)distill.temperature};
}

static enum status flags_parse(struct flags *f, int argc, char **argv, struct err *err)
{
    *f = flags_defaults();
    const struct option table[] = {
        {"teacher", OPTION_STRING, &f->teacher, 0, 0, "DIR", "the cloud's model"},
        {"student", OPTION_STRING, &f->student, 0, 0, "DIR", "the device's model"},
        {"stream", OPTION_STRING, &f->stream, 0, 0, "SPEC",
         "world:drift, world:NAME or a directory"},
        {"method", OPTION_STRING, &f->method, 0, 0, "NAME",
         "source, tent, cotta, pl, pkd, cwd, head, cdcca"},
        {"rounds", OPTION_INT, &f->rounds, 1, 1000, "N", "rounds"},
        {"window", OPTION_INT, &f->window, 10, 100000, "N", "samples a round"},
        {"budget", OPTION_NUMBER, &f->budget, 0, 1, "SHARE", "of the samples that may be uploaded"},
        {"select", OPTION_STRING, &f->select, 0, 0, "HOW",
         "instances: ent2, entropy, random, confidence"},
        {"keep", OPTION_INT, &f->keep, 1, 4096, "N", "visual tokens kept per instance"},
        {"score", OPTION_STRING, &f->score, 0, 0, "HOW",
         "tokens: attention, variance, norm, random"},
        {"bits", OPTION_INT, &f->bits, 4, 8, "N", "per channel of a token: 8 or 4"},
        {"labels", OPTION_STRING, &f->labels, 0, 0, "KIND", "soft or hard; as the method has them"},
        {"steps", OPTION_INT, &f->steps, 0, 100000, "N",
         "optimiser steps a round; 0: as the method has them"},
        {"batch", OPTION_INT, &f->batch, 1, 256, "N", "uploads a step"},
        {"lr", OPTION_NUMBER, &f->lr, 1e-8, 10, "RATE", "learning rate"},
        {"query", OPTION_NUMBER, &f->query, 0, 1000, "W", "weight of the query loss"},
        {"repr", OPTION_NUMBER, &f->repr, 0, 1000, "W", "weight of the cross-attention loss"},
        {"wavelet", OPTION_NUMBER, &f->wavelet, 0, 1000, "W", "weight of its high bands"},
        {"adapt-lr", OPTION_NUMBER, &f->adapt_lr, 0, 10, "RATE", "learning rate of tent and cotta"},
        {"kl", OPTION_NUMBER, &f->kl, 0, 1, "W", "weight of KL; cross-entropy has the rest of 1"},
        {"temperature", OPTION_NUMBER, &f->temperature, 0.1, 100, "T", "of soft labels"},
        {"cross", OPTION_INT, &f->cross, -1, 32, "N",
         "questions of others asked of each upload; -1: as the method has it"},
        {"rank", OPTION_INT, &f->rank, 1, 256, "N", "of LoRA; its alpha is twice that"},
        {"token-drop", OPTION_NUMBER, &f->token_drop, 0, 0.9, "SHARE",
         "of tokens away from a step"},
        {"holdout", OPTION_NUMBER, &f->holdout, 0, 0.9, "SHARE",
         "of a round's uploads, for the gate"},
        {"codec", OPTION_STRING, &f->codec, 0, 0, "LETTER",
         "of the delta: h b s 2 n 8 k f, or auto"},
        {"code-afterwards", OPTION_FLAG, &f->afterwards, 0, 0, NULL,
         "train without a look at the delta's code"},
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

static const char *const SELECTS[] = {"ent2", "entropy", "random", "confidence",
                                      NULL}; /* simulated_pick */

static int index_of(const char *word, const char *const *words)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

static enum status words_check(const struct flags *f, struct err *err)
{
    static const char *const scores[] = {"attention", "variance", "norm", "random", NULL};
    static const char *const codecs[] = {"auto", "h", "b", "s", "2", "n", "8", "k", "f", NULL};
    static const char *const labels[] = {"hard", "soft", NULL};
    const struct {
        const char *flag, *value;
        const char *const *words;
    } checks[] = {{"select", f->select, SELECTS},
                  {"score", f->score, scores},
                  {"codec", f->codec, codecs},
                  {"labels", f->labels, labels}};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (checks[i].value && index_of(checks[i].value, checks[i].words) < 0)
            return err_set(err, STATUS_USAGE, "--%s %s: see --help", checks[i].flag,
                           checks[i].value);
    return STATUS_OK;
}

/* Flags that were given change what the method has. */
static void distill_flags(const struct flags *f, struct distill_options *o)
{
    if (f->labels)
        o->labels = strcmp(f->labels, "soft") == 0 ? LABELS_SOFT : LABELS_HARD;
    o->steps = f->steps ? (int)f->steps : o->steps;
    o->batch = (int)f->batch;
    o->lr = (float)f->lr;
    o->query = isnan(f->query) ? o->query : (float)f->query;
    o->repr = isnan(f->repr) ? o->repr : (float)f->repr;
    o->wavelet = (float)f->wavelet;
    o->kl = (float)f->kl;
    o->ce = 1 - o->kl;
    o->temperature = (float)f->temperature;
    o->holdout = (float)f->holdout;
    o->token_drop = (float)f->token_drop;
}

static enum status trial_flags(const struct flags *f, struct trial_options *o, struct err *err)
{
    TRY(trial_named(f->method, o, err));
    o->rounds = (int)f->rounds;
    o->window = (int)f->window;
    o->budget = f->budget;
    o->cross = f->cross < 0 ? o->cross : (int)f->cross;
    o->seed = (uint64_t)f->seed;
    o->trainable.lora_rank = (int)f->rank;
    o->trainable.lora_alpha = 2 * (float)f->rank;
    o->codec = strcmp(f->codec, "auto") == 0 ? 0 : f->codec[0];
    o->delta_budget = (size_t)f->delta_budget;
    o->coded = !f->afterwards;
    o->edge.pick = (enum simulated_pick)index_of(f->select, SELECTS);
    o->edge.bits = (int)f->bits;
    o->edge.uts.keep = (int)f->keep;
    o->edge.uts.score = f->score[0] == 'a'   ? UTS_ATTENTION
                        : f->score[0] == 'v' ? UTS_VARIANCE
                        : f->score[0] == 'n' ? UTS_NORM
                                             : UTS_RANDOM;
    o->adapt.lr = f->adapt_lr > 0 ? (float)f->adapt_lr : o->adapt.lr;
    distill_flags(f, &o->distill);
    return STATUS_OK;
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

static void round_json(struct run *r, const struct trial_round *o)
{
    const struct evaluation score[2] = {o->target, o->source};
    json *object = json_object_new();
    scores_json(object, score);
    json_set_int(object, "uploads", o->instances);
    json_set_number(object, "uplink_bytes_per_instance",
                    o->instances ? (double)o->uplink_bytes / o->instances : 0);
    json_set_int(object, "delta_bytes", (int64_t)o->delta_bytes);
    json_set_number(object, "bits_per_parameter", o->bits);
    json_set_bool(object, "passed", o->report.passed);
    json_set_number(object, "seconds", o->seconds);
    json_append_take(r->rounds, object);
}

static void round_print(const struct trial_round *o)
{
    const struct distill_report *d = &o->report;
    const struct evaluation score[2] = {o->target, o->source};
    char name[24];
    snprintf(name, sizeof name, "round %d", o->round + 1);
    scores_print(name, score);
    if (o->instances)
        printf("  up %d x %.0f B  down %zu B %.3f bit  loss %.3f-%.3f  gate %.2f-%.2f %.2f-%.2f %s"
               "  %.1f s (teacher %.1f)\n",
               o->instances, (double)o->uplink_bytes / o->instances, o->delta_bytes, o->bits,
               (double)d->loss_first, (double)d->loss_last, (double)d->agreement_before,
               (double)d->agreement_after, (double)d->replay_before, (double)d->replay_after,
               d->passed ? "ok" : "no", d->seconds, d->teacher_seconds);
    else
        printf("  loss %.3f  %.1f s\n", (double)o->loss, o->seconds);
    fflush(stdout);
}

static void round_tell(void *ctx, const struct trial_round *round)
{
    struct run *r = ctx;
    r->last[0] = round->target;
    r->last[1] = round->source;
    if (r->flags.json)
        round_json(r, round);
    else
        round_print(round);
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
    scores_json(first, r->source_only);
    scores_json(ceiling, r->ceiling);
    json_set_string(document, "method", r->flags.method);
    json_set_int(document, "seed", r->flags.seed);
    json_set_take(document, "source_only", first);
    json_set_take(document, "teacher", ceiling);
    json_set_take(document, "rounds", r->rounds);
    r->rounds = NULL;
    return json_say(document, true, err);
}

/* The models as they are, before any round: one trial without rounds each. */
static void plain_tell(void *ctx, const struct trial_round *round)
{
    struct evaluation *into = ctx;
    into[0] = round->target;
    into[1] = round->source;
}

static enum status plain_score(struct run *r, enum trial_method method, struct evaluation into[2],
                               struct err *err)
{
    struct trial_options options = trial_defaults(method);
    TRY(trial_run(&r->lab, &options, NULL, plain_tell, into, err));
    if (r->flags.json)
        return STATUS_OK;
    scores_print(method == TRIAL_SOURCE ? "source-only" : "teacher", into);
    printf("\n");
    fflush(stdout);
    return STATUS_OK;
}

static enum status run_all(struct run *r, struct err *err)
{
    const struct flags *f = &r->flags;
    bool drift = strcmp(f->stream, "world:drift") == 0;
    const struct lab_options lab = {.teacher = f->teacher,
                                    .student = f->student,
                                    .target = drift ? "world:target" : f->stream,
                                    .source = "world:source",
                                    .stream = f->stream,
                                    .seed = EVAL_SEED,
                                    .count = (int)f->eval_count,
                                    .threads = (int)f->threads};
    TRY(lab_open(&r->lab, &lab, err));
    TRY(plain_score(r, TRIAL_SOURCE, r->source_only, err));
    TRY(plain_score(r, TRIAL_TEACHER, r->ceiling, err));
    if (r->options.method == TRIAL_SOURCE)
        memcpy(r->last, r->source_only, sizeof r->last);
    else
        TRY(trial_run(&r->lab, &r->options, NULL, round_tell, r, err));
    if (f->json)
        return summary_json(r, err);
    gaps_print(r);
    return STATUS_OK;
}

enum status loop_run(int argc, char **argv, struct err *err)
{
    struct run run = {0};
    TRY(flags_parse(&run.flags, argc, argv, err));
    TRY(words_check(&run.flags, err));
    TRY(trial_flags(&run.flags, &run.options, err));
    run.rounds = json_array_new();
    enum status s = run_all(&run, err);
    lab_close(&run.lab);
    json_free(run.rounds);
    return s;
}
