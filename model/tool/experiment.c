/* The experiment command (experiment.h): flags, labs (one for questions, one for captions, and the
 * same for validation), tuning, tables in order, and an index. */
#include "model/tool/experiment.h"
#include "api/base/clock.h"
#include "api/wire/json.h"
#include "api/wire/options.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tool/table_report.h"
#include "model/tool/tuning.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_SEED = 11,
    VALIDATION_SEED = 1,
    EVALUATION = 770001,
    VALIDATION = 880001,
    BRIEF_ROUNDS = 3, /* of tables 2 to 5, as in the paper; 1 and 6 show all of them */
    INDEX_BYTES = 8 << 20,
    PATH_BYTES = 4096,
};

struct flags {
    const char *table, *out, *teacher, *student, *source, *target, *stream;
    int64_t seeds, rounds, window, count, steps, threads, validation;
    bool quick, json;
};

struct experiment {
    struct flags flags;
    bool wanted[7]; /* by number */
    struct buf index;
};

static void quick_set(struct flags *f)
{
    f->seeds = 2;
    f->rounds = f->validation = 1;
    f->window = 20;
    f->count = 12;
    f->steps = 2;
}

static enum status flags_parse(struct flags *f, int argc, char **argv, struct err *err)
{
    *f = (struct flags){.table = "all",
                        .out = "run/experiment",
                        .teacher = "models/teacher",
                        .student = "models/student",
                        .seeds = 3,
                        .rounds = 5,
                        .window = 910,
                        .count = 1300,
                        .validation = 3};
    const struct option table[] = {
        {"table", OPTION_STRING, &f->table, 0, 0, "N",
         "1 VQA, 2 captions, 3 ablation, 4 sampling, 5 bytes and time, 6 new concepts, or all"},
        {"seeds", OPTION_INT, &f->seeds, 1, SEEDS_MAX, "N", "streams; mean and spread over them"},
        {"out", OPTION_STRING, &f->out, 0, 0, "DIR", "what is there is not computed again"},
        {"teacher", OPTION_STRING, &f->teacher, 0, 0, "DIR", "the cloud's model"},
        {"student", OPTION_STRING, &f->student, 0, 0, "DIR", "the device's model"},
        {"stream-data", OPTION_STRING, &f->stream, 0, 0, "SPEC",
         "what the device meets, instead of world:drift: world:NAME or a directory"},
        {"target-data", OPTION_STRING, &f->target, 0, 0, "SPEC",
         "what is scored, instead of world:target; without --stream-data also what is met"},
        {"source-data", OPTION_STRING, &f->source, 0, 0, "SPEC",
         "what must not be forgotten, instead of world:source"},
        {"rounds", OPTION_INT, &f->rounds, 1, STUDY_ROUNDS, "N", "rounds of a trial"},
        {"window", OPTION_INT, &f->window, 10, 100000, "N", "samples a round"},
        {"count", OPTION_INT, &f->count, 10, 100000, "N", "samples of each evaluation"},
        {"steps", OPTION_INT, &f->steps, 0, 100000, "N",
         "optimiser steps of a round in the cloud; 0: as each method has them"},
        {"validation", OPTION_INT, &f->validation, 0, STUDY_ROUNDS, "N",
         "rounds by which baselines are tuned; 0: as they are"},
        {"quick", OPTION_FLAG, &f->quick, 0, 0, NULL,
         "everything on a tiny scale, in minutes: that it runs, not what it reaches"},
        {"threads", OPTION_INT, &f->threads, 0, 64, "N", "0: one per core"},
        {"json", OPTION_FLAG, &f->json, 0, 0, NULL, "print the paths of what was written as JSON"},
        {0}};
    const struct options options = {.program = "cdcca-model experiment",
                                    .summary = "the paper's tables, with baselines and seeds",
                                    .table = table};
    int positional;
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (f->quick)
        quick_set(f);
    return STATUS_OK;
}

/* "3", "1,6" or "all" */
static enum status tables_parse(struct experiment *e, struct err *err)
{
    const char *at = e->flags.table;
    bool directory = e->flags.target && strncmp(e->flags.target, "world:", 6) != 0;
    if (strcmp(at, "all") == 0) {
        for (int i = 1; i <= 6; i++)
            e->wanted[i] = !(directory && (i == 2 || i == 6));
        return STATUS_OK;
    }
    for (; *at; at += at[1] == ',' ? 2 : 1) {
        if (*at < '1' || *at > '6' || (at[1] && at[1] != ','))
            return err_set(err, STATUS_USAGE,
                           "--table %s; wanted are 1, 2, 3, 4, 5, 6, several as 1,6, or all",
                           e->flags.table);
        e->wanted[*at - '0'] = true;
    }
    return STATUS_OK;
}

/* ---- labs ---- */

/* captions: of the world alone. */
static struct lab_options lab_of(const struct flags *f, bool captions, uint64_t seed)
{
    const char *target = f->target ? f->target : "world:target";
    struct lab_options o = {.teacher = f->teacher,
                            .student = f->student,
                            .target = target,
                            .source = f->source ? f->source : "world:source",
                            .stream = f->stream   ? f->stream
                                      : f->target ? f->target
                                                  : "world:drift",
                            .seed = seed,
                            .count = (int)f->count,
                            .threads = (int)f->threads};
    if (captions) {
        o.target = "world:target/caption";
        o.source = "world:source/caption";
        o.near = "world:shift/caption";
        o.stream = "world:drift/caption";
    }
    return o;
}

static void plan_steps(struct table_plan *plan, int steps)
{
    struct trial_options *cloud[] = {&plan->pl, &plan->pkd, &plan->cwd, &plan->head, &plan->cdcca};
    for (size_t i = 0; steps > 0 && i < sizeof cloud / sizeof *cloud; i++)
        cloud[i]->distill.steps = steps;
}

static void plan_rounds(struct table_plan *plan, int rounds)
{
    struct trial_options *all[] = {&plan->tent, &plan->cotta, &plan->pl,   &plan->pkd,
                                   &plan->cwd,  &plan->head,  &plan->cdcca};
    plan->rounds = rounds;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        all[i]->rounds = rounds;
}

/* By questions, for captions too. */
static enum status tuned(const struct experiment *e, struct table_plan *plan, struct err *err)
{
    const struct flags *f = &e->flags;
    struct lab_options options = lab_of(f, false, VALIDATION);
    struct lab lab;
    struct study study;
    char dir[PATH_BYTES];
    TRY(table_plan_init(plan, (int)f->validation, (int)f->window, err));
    plan_steps(plan, (int)f->steps);
    TRY(io_join(dir, sizeof dir, f->out, "validation", err));
    TRY(lab_open(&lab, &options, err));
    enum status s = study_init(&study, &lab, dir, err);
    if (s == STATUS_OK) {
        progress_start(&study.progress, "tuning", "rounds",
                       tuning_rounds_left(&study, plan, VALIDATION_SEED), 0, false);
        s = tuning_run(&study, plan, VALIDATION_SEED, NULL, err);
        progress_finish(&study.progress, NULL);
    }
    lab_close(&lab);
    return s;
}

/* The plan of the tables: what the tuning chose, over the tables' own rounds. */
static enum status plan_make(const struct experiment *e, struct table_plan *plan, struct err *err)
{
    const struct flags *f = &e->flags;
    if (f->validation == 0) {
        TRY(table_plan_init(plan, (int)f->rounds, (int)f->window, err));
        plan_steps(plan, (int)f->steps);
        return STATUS_OK;
    }
    TRY(tuned(e, plan, err));
    plan_rounds(plan, (int)f->rounds);
    return STATUS_OK;
}

/* ---- tables ---- */

static int visual_tokens(const struct mllm *m)
{
    int side = m->config.vision.image / m->config.vision.patch;
    return 1 + side * side;
}

/* Of what a plan trains: for budgets in bits a parameter. */
static enum status parameters_count(const struct mllm *student, const struct table_plan *plan,
                                    size_t *out, struct err *err)
{
    struct mllm *clone;
    struct trainable set;
    TRY(mllm_clone(student, &clone, err));
    enum status s = trainable_attach(clone, &plan->cdcca.trainable, &set, err);
    if (s == STATUS_OK) {
        *out = set.values;
        trainable_free(&set);
    }
    mllm_release(clone);
    return s;
}

static enum status table_do(struct experiment *e, struct study *study,
                            const struct table_plan *whole, int number, struct err *err)
{
    static struct table table;
    struct table_plan brief = *whole;
    const struct table_plan *plan = number == 1 || number == 6 ? whole : &brief;
    struct table_results results;
    char label[32];
    plan_rounds(&brief, whole->rounds < BRIEF_ROUNDS ? whole->rounds : BRIEF_ROUNDS);
    int seeds = (int)e->flags.seeds;
    size_t parameters;
    TRY(parameters_count(study->lab->student, plan, &parameters, err));
    TRY(table_make(number, plan, visual_tokens(study->lab->student), parameters, &table, err));
    snprintf(label, sizeof label, "table %d", number);
    study->rounds_done = 0;
    progress_start(&study->progress, label, "rounds",
                   table_rounds_left(study, &table, FIRST_SEED, seeds), 0, false);
    TRY(table_run(study, &table, FIRST_SEED, seeds, NULL, &results, err));
    progress_finish(&study->progress, NULL);
    enum status s = table_write(study, &results, err);
    if (s == STATUS_OK)
        s = table_markdown(&results, &e->index, err);
    if (s == STATUS_OK)
        s = buf_printf(&e->index, "\n");
    table_results_free(&results);
    return s;
}

/* The tables that one lab serves: captions (2), or the others. */
static enum status tables_do(struct experiment *e, bool captions, struct err *err)
{
    struct lab_options options = lab_of(&e->flags, captions, EVALUATION);
    struct table_plan plan;
    struct study study;
    struct lab lab;
    bool any = false;
    for (int i = 1; i <= 6; i++)
        any = any || (e->wanted[i] && (i == 2) == captions);
    if (!any)
        return STATUS_OK;
    TRY(plan_make(e, &plan, err));
    TRY(lab_open(&lab, &options, err));
    enum status s = study_init(&study, &lab, e->flags.out, err);
    for (int i = 1; i <= 6 && s == STATUS_OK; i++)
        if (e->wanted[i] && (i == 2) == captions)
            s = table_do(e, &study, &plan, i, err);
    lab_close(&lab);
    return s;
}

/* ---- the index ---- */

static enum status index_head(struct experiment *e)
{
    const struct flags *f = &e->flags;
    return buf_printf(
        &e->index,
        "# Experiment\n\n%s; %lld seeds from %d on, %lld rounds of %lld samples, %lld "
        "evaluation samples; teacher %s, student %s; %ld cores, %s kernels. The "
        "exact settings of each row stand in tableN.json.\n\n",
        f->target ? f->target : "Built-in world", (long long)f->seeds, FIRST_SEED,
        (long long)f->rounds, (long long)f->window, (long long)f->count, f->teacher, f->student,
        sysconf(_SC_NPROCESSORS_ONLN), kernels()->name);
}

static enum status index_write(struct experiment *e, struct err *err)
{
    char path[PATH_BYTES];
    TRY(io_join(path, sizeof path, e->flags.out, "README.md", err));
    TRY(io_write_file(io_posix(), path, e->index.data, e->index.len, err));
    if (e->flags.json) {
        printf("{\"out\": \"%s\", \"tables\": [", e->flags.out);
        for (int i = 1, first = 1; i <= 6; i++)
            if (e->wanted[i]) {
                printf("%s%d", first ? "" : ", ", i);
                first = 0;
            }
        printf("]}\n");
    } else {
        printf("%s\n", (const char *)e->index.data);
    }
    return STATUS_OK;
}

enum status experiment_run(int argc, char **argv, struct err *err)
{
    struct experiment e = {.index = {.max = INDEX_BYTES}};
    TRY(flags_parse(&e.flags, argc, argv, err));
    TRY(tables_parse(&e, err));
    TRY(io_make_dirs(io_posix(), e.flags.out, err));
    enum status s = index_head(&e);
    if (s == STATUS_OK)
        s = tables_do(&e, false, err);
    if (s == STATUS_OK)
        s = tables_do(&e, true, err);
    if (s == STATUS_OK)
        s = index_write(&e, err);
    buf_free(&e.index);
    return s;
}
