/* The tables (tables.h), row by row. */
#include "model/tool/tables.h"
#include "model/tool/table_bytes.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status table_plan_init(struct table_plan *plan, int rounds, int window, struct err *err)
{
    const struct {
        const char *name;
        struct trial_options *into;
    } methods[] = {{"tent", &plan->tent},  {"cotta", &plan->cotta}, {"pl", &plan->pl},
                   {"pkd", &plan->pkd},    {"cwd", &plan->cwd},     {"head", &plan->head},
                   {"cdcca", &plan->cdcca}};
    plan->rounds = rounds;
    plan->window = window;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        TRY(trial_named(methods[i].name, methods[i].into, err));
        methods[i].into->rounds = rounds;
        methods[i].into->window = window;
    }
    return STATUS_OK;
}

/* ---- building ---- */

struct trial_options *table_row_add(struct table *t, const struct trial_options *options,
                                    const char *format, ...)
{
    va_list args;
    struct table_row *row = &t->row[t->rows < TABLE_ROWS ? t->rows++ : TABLE_ROWS - 1];
    va_start(args, format);
    vsnprintf(row->label, sizeof row->label, format, args);
    va_end(args);
    row->options = *options;
    return &row->options;
}

void table_column_add(struct table *t, const char *title, enum measure first, enum measure second,
                      int at)
{
    if (t->columns < TABLE_COLUMNS)
        t->column[t->columns++] = (struct table_column){title, first, second, at};
}

struct table_plot *table_plot_add(struct table *t, const char *title, const char *x_title,
                                  enum measure y, enum measure x)
{
    struct table_plot *plot = &t->plot[t->plots < TABLE_PLOTS ? t->plots++ : TABLE_PLOTS - 1];
    *plot = (struct table_plot){.title = title, .x_title = x_title, .name = "", .y = y, .x = x};
    return plot;
}

/* Tables 1, 2 and 6: every method, beside the model as shipped and the teacher. */
static void methods_add(struct table *t, const struct table_plan *p, enum measure first,
                        enum measure second)
{
    struct trial_options source = trial_defaults(TRIAL_SOURCE),
                         teacher = trial_defaults(TRIAL_TEACHER);
    table_row_add(t, &source, "source-only");
    table_row_add(t, &p->tent, "TENT-continual");
    table_row_add(t, &p->cotta, "CoTTA");
    table_row_add(t, &p->pl, "pseudo labels");
    table_row_add(t, &p->pl, "pseudo labels, crossed questions")->cross = p->cdcca.cross;
    table_row_add(t, &p->pkd, "PKD");
    table_row_add(t, &p->cwd, "CWD");
    table_row_add(t, &p->head, "head refit");
    t->contest.method = t->rows;
    table_row_add(t, &p->cdcca, "CD-CCA");
    t->contest.teacher = t->rows;
    table_row_add(t, &teacher, "teacher");
    t->contest.first = first;
    t->contest.second = second;
}

static void rounds_add(struct table *t, const struct table_plan *p, enum measure first,
                       enum measure second)
{
    static const char *const titles[] = {"round 1", "round 2", "round 3", "round 4", "round 5"};
    for (int i = 0; i < p->rounds && i < 5; i++)
        table_column_add(t, titles[i], first, second, i);
    table_column_add(t, "mean", first, second, AT_MEAN);
}

static void vqa_make(struct table *t, const struct table_plan *p)
{
    t->title = "VQA under drift, MC / DA";
    t->about = "What a device gains by each method, round after round, and what it forgets.";
    methods_add(t, p, TARGET_MC, TARGET_DA);
    rounds_add(t, p, TARGET_MC, TARGET_DA);
    table_column_add(t, "source after the last round", SOURCE_MC, SOURCE_DA, AT_LAST);
    table_plot_add(t, "Target, multiple choice (%)", "round", TARGET_MC, MEASURES);
}

static void captions_make(struct table *t, const struct table_plan *p)
{
    t->title = "Captions, BLEU-4 / CIDEr, times 100";
    t->about =
        "In-domain: scenes as in training. Near: the changed world. Out: captions of it that "
        "need a concept the student met in no stage.";
    methods_add(t, p, NEW_BLEU, NEW_CIDER);
    table_column_add(t, "in-domain", SOURCE_BLEU, SOURCE_CIDER, AT_LAST);
    table_column_add(t, "near-domain", NEAR_BLEU, NEAR_CIDER, AT_LAST);
    table_column_add(t, "out-of-domain", NEW_BLEU, NEW_CIDER, AT_LAST);
    table_column_add(t, "all of the target", TARGET_BLEU, TARGET_CIDER, AT_LAST);
    table_plot_add(t, "Captions of the target, CIDEr times 100", "round", TARGET_CIDER, MEASURES);
}

static void ablation_make(struct table *t, const struct table_plan *p, int tokens)
{
    struct trial_options o = p->pl;
    t->title = "Ablation";
    t->about = "Upper rows: one part of the method after the other. Lower rows: the whole method "
               "with one part changed.";
    o.edge.pick = PICK_RANDOM;
    o.edge.uts.keep = tokens;
    table_row_add(t, &o, "PL: random uploads, all tokens");
    o.distill = p->cdcca.distill;
    table_row_add(t, &o, "+ AKD (features, soft labels)");
    o.edge.pick = p->cdcca.edge.pick;
    table_row_add(t, &o, "+ UTS-1 (instances by entropy)");
    o.edge.uts = p->cdcca.edge.uts;
    table_row_add(t, &o, "+ UTS-2 (%d of %d tokens)", o.edge.uts.keep, tokens);
    table_row_add(t, &p->cdcca, "+ crossed questions = CD-CCA");
    table_row_add(t, &p->cdcca, "CD-CCA without the query term")->distill.query = 0;
    table_row_add(t, &p->cdcca, "CD-CCA without the representation term")->distill.repr = 0;
    table_row_add(t, &p->cdcca, "CD-CCA with the wavelet term")->distill.wavelet = 1;
    table_row_add(t, &p->cdcca, "CD-CCA without adapters")->trainable.adapter_width = 0;
    table_row_add(t, &p->cdcca, "CD-CCA with hard labels")->distill.labels = LABELS_HARD;
    table_row_add(t, &p->cdcca, "CD-CCA without the rest's token")->edge.uts.rest = false;
    table_row_add(t, &p->cdcca, "CD-CCA, coded after training")->coded = false;
    table_column_add(t, "target, mean of rounds", TARGET_MC, TARGET_DA, AT_MEAN);
    table_column_add(t, "target, last", TARGET_MC, TARGET_DA, AT_LAST);
    table_column_add(t, "new concepts, last", NEW_MC, NEW_DA, AT_LAST);
    table_column_add(t, "source, last", SOURCE_MC, SOURCE_DA, AT_LAST);
    table_column_add(t, "uplink, bytes an instance", UPLINK_EACH, MEASURES, AT_MEAN);
}

static void sampling_make(struct table *t, const struct table_plan *p, int tokens)
{
    static const double budgets[] = {0.02, 0.05, 0.1, 0.25};
    static const char *const picks[] = {"ent2", "entropy", "random", "confidence"};
    static const char *const scores[] = {"VIS, attention mass", "VIS, variance", "norm",
                                         "random tokens"};
    struct trial_options o = p->cdcca;
    t->title = "Sampling: how few bytes buy how much accuracy";
    t->about = "Upper rows: share of the instances uploaded and how they are picked. Lower rows: "
               "share of each one's visual tokens, at 10% of the instances.";
    o.every_round = false;
    for (size_t b = 0; b < 4; b++)
        for (size_t i = 0; i < 4; i++) {
            struct trial_options *r =
                table_row_add(t, &o, "%g%% of instances, %s", 100 * budgets[b], picks[i]);
            r->budget = budgets[b];
            r->edge.pick = (enum simulated_pick)i;
        }
    o.edge.pick = PICK_RANDOM;
    table_row_add(t, &o, "20%% of instances, random")->budget = 0.2;
    o.edge.pick = p->cdcca.edge.pick;
    table_row_add(t, &o, "100%% of instances")->budget = 1;
    for (int share = 25; share <= 75; share += 25)
        for (size_t i = 0; i < 4; i++) {
            struct trial_options *r = table_row_add(t, &o, "%d%% of tokens, %s", share, scores[i]);
            r->edge.uts.keep = (tokens * share + 50) / 100;
            r->edge.uts.score = (enum uts_score)i;
        }
    table_row_add(t, &o, "100%% of tokens")->edge.uts.keep = tokens;
    table_column_add(t, "target", TARGET_MC, TARGET_DA, AT_LAST);
    table_column_add(t, "new concepts", NEW_MC, NEW_DA, AT_LAST);
    table_column_add(t, "source", SOURCE_MC, SOURCE_DA, AT_LAST);
    table_column_add(t, "uplink, bytes an instance", UPLINK_EACH, MEASURES, AT_MEAN);
    table_column_add(t, "uplink, bytes a round", UPLINK, MEASURES, AT_MEAN);
    table_plot_add(t, "Target after the last round, direct answers (%)", "uplink, bytes a round",
                   TARGET_DA, UPLINK);
}

static void concepts_make(struct table *t, const struct table_plan *p)
{
    t->title = "New concepts, MC / DA";
    t->about = "Questions about shapes, colours and textures whose words and looks the student has "
               "met in no stage of its training: what a method teaches, not what it revives.";
    methods_add(t, p, NEW_MC, NEW_DA);
    rounds_add(t, p, NEW_MC, NEW_DA);
    table_plot_add(t, "New concepts, direct answers (%)", "round", NEW_DA, MEASURES);
}

enum status table_make(int number, const struct table_plan *plan, int tokens, size_t parameters,
                       struct table *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    out->number = number;
    switch (number) {
    case 1:
        vqa_make(out, plan);
        return STATUS_OK;
    case 2:
        captions_make(out, plan);
        return STATUS_OK;
    case 3:
        ablation_make(out, plan, tokens);
        return STATUS_OK;
    case 4:
        sampling_make(out, plan, tokens);
        return STATUS_OK;
    case 5:
        table_bytes_make(out, plan, tokens, parameters);
        return STATUS_OK;
    case 6:
        concepts_make(out, plan);
        return STATUS_OK;
    default:
        return err_set(err, STATUS_USAGE, "no table %d; there are 1 to 6", number);
    }
}
