/* The grids and the choice (tuning.h). */
#include "model/tool/tuning.h"
#include "api/wire/json.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { CANDIDATES = 48, REPORT_BYTES = 1 << 20, PATH_BYTES = 4096 };

/* One point of a method's grid: what it changes, and what that is called. */
struct candidate {
    size_t method; /* offset of the method's options in struct table_plan */
    const char *name;
    char setting[48];
    struct trial_options options;
    double score;
    bool chosen;
};

struct grid {
    struct candidate item[CANDIDATES];
    int count;
};

static struct candidate *add(struct grid *g, const struct table_plan *plan, size_t method,
                             const char *name)
{
    struct candidate *c = &g->item[g->count < CANDIDATES ? g->count++ : CANDIDATES - 1];
    *c = (struct candidate){.method = method, .name = name};
    memcpy(&c->options, (const char *)plan + method, sizeof c->options);
    return c;
}

static void add_adapt(struct grid *g, const struct table_plan *plan)
{
    static const float tent[] = {1e-4f, 3e-4f, 1e-3f, 3e-3f}, cotta[] = {1e-4f, 1e-3f};
    static const float momentum[] = {0.99f, 0.999f};
    for (int i = 0; i < 4; i++) {
        struct candidate *c = add(g, plan, offsetof(struct table_plan, tent), "TENT-continual");
        c->options.adapt.lr = tent[i];
        snprintf(c->setting, sizeof c->setting, "lr %g", (double)tent[i]);
    }
    for (int i = 0; i < 4; i++) {
        struct candidate *c = add(g, plan, offsetof(struct table_plan, cotta), "CoTTA");
        c->options.adapt.lr = cotta[i / 2];
        c->options.adapt.momentum = momentum[i % 2];
        snprintf(c->setting, sizeof c->setting, "lr %g, momentum %g", (double)cotta[i / 2],
                 (double)momentum[i % 2]);
    }
}

static void add_words(struct grid *g, const struct table_plan *plan)
{
    static const float rates[] = {1e-3f, 3e-3f};
    for (int i = 0; i < 2; i++) {
        struct candidate *c = add(g, plan, offsetof(struct table_plan, pl), "pseudo labels");
        c->options.distill.lr = rates[i];
        snprintf(c->setting, sizeof c->setting, "lr %g", (double)rates[i]);
    }
    for (int i = 0; i < 4; i++) {
        struct candidate *c = add(g, plan, offsetof(struct table_plan, head), "head refit");
        c->options.distill.lr = rates[i / 2];
        c->options.cross = i % 2 ? DISTILL_CROSS : 0;
        snprintf(c->setting, sizeof c->setting, "lr %g, %d crossed questions", (double)rates[i / 2],
                 c->options.cross);
    }
}

static void add_features(struct grid *g, const struct table_plan *plan)
{
    static const float weights[] = {0.3f, 1, 3};
    const struct {
        size_t method;
        const char *name;
    } methods[] = {{offsetof(struct table_plan, pkd), "PKD"},
                   {offsetof(struct table_plan, cwd), "CWD"}};
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < 3; i++) {
            struct candidate *c = add(g, plan, methods[m].method, methods[m].name);
            c->options.distill.query = c->options.distill.repr = weights[i];
            snprintf(c->setting, sizeof c->setting, "weight %g", (double)weights[i]);
        }
}

static void grid_make(struct grid *g, const struct table_plan *plan, uint64_t seed)
{
    g->count = 0;
    add_adapt(g, plan);
    add_words(g, plan);
    add_features(g, plan);
    for (int i = 0; i < g->count; i++)
        g->item[i].options.seed = seed;
}

/* Mean over the rounds of MC and DA, or of CIDEr; a run that diverged is the worst. */
static double score_of(const struct result *r)
{
    double sum = 0;
    int n = 0;
    static const enum measure measures[] = {TARGET_MC, TARGET_DA, TARGET_CIDER};
    for (int i = 0; i < r->rounds; i++)
        for (int m = 0; m < 3; m++)
            if (!isnan(r->value[i][measures[m]])) {
                sum += r->value[i][measures[m]];
                n++;
            }
    return n ? sum / n : 0;
}

static void choose(struct grid *g, struct table_plan *plan)
{
    for (int i = 0; i < g->count; i++) {
        struct candidate *best = &g->item[i];
        if (i > 0 && g->item[i - 1].method == best->method)
            continue;
        for (int j = i; j < g->count && g->item[j].method == g->item[i].method; j++)
            if (g->item[j].score > best->score)
                best = &g->item[j];
        best->chosen = true;
        memcpy((char *)plan + best->method, &best->options, sizeof best->options);
    }
}

/* ---- what is written ---- */

static enum status markdown_put(const struct grid *g, uint64_t seed, struct buf *out)
{
    TRY(buf_printf(out,
                   "## Tuning of the baselines\n\nValidation stream (seed %llu) with evaluation "
                   "samples of its own; score: mean over the rounds of MC and DA.\n\n"
                   "| method | setting | score | |\n|---|---|---|---|\n",
                   (unsigned long long)seed));
    for (int i = 0; i < g->count; i++)
        TRY(buf_printf(out, "| %s | %s | %.1f | %s |\n", g->item[i].name, g->item[i].setting,
                       g->item[i].score, g->item[i].chosen ? "chosen" : ""));
    return STATUS_OK;
}

static enum status json_put(const struct grid *g, uint64_t seed, struct buf *out)
{
    json *o = json_object_new(), *grid = json_array_new();
    for (int i = 0; i < g->count; i++) {
        json *item = json_object_new();
        json_set_string(item, "method", g->item[i].name);
        json_set_string(item, "setting", g->item[i].setting);
        json_set_number(item, "score", g->item[i].score);
        json_set_bool(item, "chosen", g->item[i].chosen);
        json_append_take(grid, item);
    }
    json_set_int(o, "seed", (int64_t)seed);
    bool complete = json_set_take(o, "grid", grid);
    enum status s = complete ? json_print(o, true, out) : STATUS_NO_MEMORY;
    json_free(o);
    return s;
}

static enum status file_put(const struct study *study, const char *name, enum status built,
                            struct buf *text, struct err *err)
{
    char path[PATH_BYTES];
    if (built != STATUS_OK)
        return err_set(err, built, "no memory for %s", name);
    TRY(io_join(path, sizeof path, study->dir, name, err));
    enum status s = io_write_file(io_posix(), path, text->data, text->len, err);
    buf_clear(text);
    return s;
}

static enum status grid_write(const struct study *study, const struct grid *g, uint64_t seed,
                              struct err *err)
{
    struct buf text = {.max = REPORT_BYTES};
    enum status s = file_put(study, "tuning.md", markdown_put(g, seed, &text), &text, err);
    if (s == STATUS_OK)
        s = file_put(study, "tuning.json", json_put(g, seed, &text), &text, err);
    buf_free(&text);
    return s;
}

/* ---- running ---- */

int64_t tuning_rounds_left(const struct study *study, const struct table_plan *plan, uint64_t seed)
{
    static struct grid g;
    int64_t left = 0;
    grid_make(&g, plan, seed);
    for (int i = 0; i < g.count; i++)
        left += study_has(study, &g.item[i].options) ? 0 : study_rounds(&g.item[i].options);
    return left;
}

enum status tuning_run(struct study *study, struct table_plan *plan, uint64_t seed,
                       const volatile int *cancel, struct err *err)
{
    static struct grid g;
    static struct result result;
    grid_make(&g, plan, seed);
    for (int i = 0; i < g.count; i++) {
        enum status s = study_trial(study, &g.item[i].options, cancel, &result, err);
        if (s != STATUS_OK && s != STATUS_REFUSED && s != STATUS_MALFORMED)
            return err_prefix(err, "tuning %s, %s", g.item[i].name, g.item[i].setting);
        g.item[i].score = s == STATUS_OK ? score_of(&result) : 0;
    }
    choose(&g, plan);
    return grid_write(study, &g, seed, err);
}
