/* Tables, run and written (table_report.h). */
#include "model/tool/table_report.h"
#include "api/wire/json.h"
#include "model/tool/plot.h"
#include "model/tool/table_bytes.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPORT_BYTES = 4 << 20, PATH_BYTES = 4096, CELL_BYTES = 96 };

/* ---- running ---- */

static struct trial_options seeded(const struct table_row *row, uint64_t seed)
{
    struct trial_options options = row->options;
    options.seed = seed;
    return options;
}

/* Rows that differ in nothing but what is shown of them are one trial. */
static bool is_repeated(const struct study *study, const struct table *table, int row)
{
    for (int r = 0; r < row; r++)
        if (study_same(study, &table->row[r].options, &table->row[row].options))
            return true;
    return false;
}

int64_t table_rounds_left(const struct study *study, const struct table *table, uint64_t first_seed,
                          int seeds)
{
    int64_t left = 0;
    for (int r = 0; r < table->rows; r++)
        for (int s = 0; s < seeds && !is_repeated(study, table, r); s++) {
            struct trial_options options = seeded(&table->row[r], first_seed + (uint64_t)s);
            left += study_has(study, &options) ? 0 : study_rounds(&options);
        }
    return left;
}

enum status table_run(struct study *study, const struct table *table, uint64_t first_seed,
                      int seeds, const volatile int *cancel, struct table_results *out,
                      struct err *err)
{
    *out = (struct table_results){.table = table, .seeds = seeds, .first_seed = first_seed};
    out->result = calloc((size_t)table->rows * (size_t)seeds, sizeof *out->result);
    if (!out->result)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d rows", table->rows);
    enum status status = STATUS_OK;
    for (int s = 0; s < seeds && status == STATUS_OK; s++)
        for (int r = 0; r < table->rows && status == STATUS_OK; r++) {
            struct trial_options options = seeded(&table->row[r], first_seed + (uint64_t)s);
            status = study_trial(study, &options, cancel, &out->result[r * seeds + s], err);
            if (status == STATUS_OK)
                table_bytes_fill(&table->row[r], &out->result[r * seeds + s]);
            else
                err_prefix(err, "table %d, %s", table->number, table->row[r].label);
        }
    if (status != STATUS_OK)
        table_results_free(out);
    return status;
}

void table_results_free(struct table_results *results)
{
    free(results->result);
    results->result = NULL;
}

/* ---- values ---- */

/* A model that does not change is the same in every round. */
static double result_at(const struct result *r, enum measure measure, int at)
{
    double sum = 0;
    int n = 0;
    if (at >= 0)
        return r->value[at < r->rounds ? at : r->rounds - 1][measure];
    if (at == AT_LAST)
        return r->value[r->rounds - 1][measure];
    for (int i = 0; i < r->rounds; i++)
        if (!isnan(r->value[i][measure])) {
            sum += r->value[i][measure];
            n++;
        }
    return n ? sum / n : (double)NAN;
}

struct spread table_value(const struct table_results *r, int row, enum measure measure, int at)
{
    double values[SEEDS_MAX];
    int n = 0;
    for (int s = 0; s < r->seeds && n < SEEDS_MAX; s++) {
        double value = result_at(&r->result[row * r->seeds + s], measure, at);
        if (!isnan(value))
            values[n++] = value;
    }
    return spread_of(values, n);
}

/* By how much the contest's method is ahead of a row, seed by seed. */
static struct spread ahead_of(const struct table_results *r, int row, enum measure measure)
{
    double values[SEEDS_MAX];
    int n = 0, method = r->table->contest.method;
    for (int s = 0; s < r->seeds && n < SEEDS_MAX; s++) {
        double value = result_at(&r->result[method * r->seeds + s], measure, AT_MEAN) -
                       result_at(&r->result[row * r->seeds + s], measure, AT_MEAN);
        if (!isnan(value))
            values[n++] = value;
    }
    return spread_of(values, n);
}

/* Percent of the way from source to teacher, after the last round. */
static struct spread recovered(const struct table_results *r, int row, enum measure measure)
{
    double values[SEEDS_MAX];
    int n = 0;
    for (int s = 0; s < r->seeds && n < SEEDS_MAX; s++) {
        const struct result *at = r->result + s;
        double from = result_at(&at[r->table->contest.source * r->seeds], measure, AT_LAST);
        double to = result_at(&at[r->table->contest.teacher * r->seeds], measure, AT_LAST);
        double here = result_at(&at[row * r->seeds], measure, AT_LAST);
        if (to > from)
            values[n++] = 100 * (here - from) / (to - from);
    }
    return spread_of(values, n);
}

/* ---- Markdown ---- */

static int digits_of(enum measure m)
{
    switch (m) {
    case BITS:
    case SENT_BITS:
        return 2;
    case TIME_FAST:
        return 5;
    case TIME_MIDDLE:
        return 3;
    case TIME_SLOW:
        return 1;
    default:
        return m >= UPLOADS ? 0 : 1;
    }
}

static int spread_print(char *out, size_t size, struct spread s, int digits)
{
    if (s.count == 0)
        return snprintf(out, size, "-");
    if (s.count == 1 || s.deviation == 0)
        return snprintf(out, size, "%.*f", digits, s.mean);
    return snprintf(out, size, "%.*f ± %.*f", digits, s.mean, digits, s.deviation);
}

static enum status cell_put(struct buf *out, struct spread first, struct spread second, bool both,
                            int digits)
{
    char a[CELL_BYTES], b[CELL_BYTES];
    spread_print(a, sizeof a, first, digits);
    spread_print(b, sizeof b, second, digits);
    return both ? buf_printf(out, " %s / %s |", a, b) : buf_printf(out, " %s |", a);
}

static enum status row_put(const struct table_results *r, int row, struct buf *out)
{
    const struct table *t = r->table;
    bool method = row == t->contest.method && t->contest.method > 0;
    TRY(buf_printf(out, method ? "| **%s** |" : "| %s |", t->row[row].label));
    for (int c = 0; c < t->columns; c++) {
        const struct table_column *column = &t->column[c];
        bool both = column->second != MEASURES;
        TRY(cell_put(out, table_value(r, row, column->first, column->at),
                     both ? table_value(r, row, column->second, column->at) : (struct spread){0},
                     both, digits_of(column->first)));
    }
    if (t->contest.method > 0) {
        enum measure a = t->contest.first, b = t->contest.second;
        TRY(cell_put(out, recovered(r, row, a), recovered(r, row, b), true, 0));
        TRY(method ? buf_printf(out, "  |")
                   : cell_put(out, ahead_of(r, row, a), ahead_of(r, row, b), true, 1));
    }
    return buf_printf(out, "\n");
}

static enum status markdown_put(const struct table_results *r, struct buf *out)
{
    const struct table *t = r->table;
    int columns = t->columns + (t->contest.method > 0 ? 2 : 0);
    TRY(buf_printf(out, "## Table %d: %s\n\n%s Mean ± sample deviation over %d seeds.\n\n| |",
                   t->number, t->title, t->about, r->seeds));
    for (int c = 0; c < t->columns; c++)
        TRY(buf_printf(out, " %s |", t->column[c].title));
    if (t->contest.method > 0)
        TRY(buf_printf(out, " gap recovered (%%) | %s ahead by |",
                       t->row[t->contest.method].label));
    TRY(buf_printf(out, "\n|---|"));
    for (int c = 0; c < columns; c++)
        TRY(buf_printf(out, "---|"));
    TRY(buf_printf(out, "\n"));
    for (int row = 0; row < t->rows; row++)
        TRY(row_put(r, row, out));
    for (int i = 0; i < t->plots; i++)
        TRY(buf_printf(out, "\n![%s](table%d%s.svg)\n", t->plot[i].title, t->number,
                       t->plot[i].name));
    return STATUS_OK;
}

enum status table_markdown(const struct table_results *results, struct buf *out, struct err *err)
{
    enum status s = markdown_put(results, out);
    return s == STATUS_OK ? s : err_set(err, s, "no memory for table %d", results->table->number);
}

/* ---- JSON ---- */

static json *values_json(const struct table_results *r, int row, enum measure measure)
{
    const struct result *first = &r->result[row * r->seeds];
    json *seeds = json_array_new();
    for (int s = 0; s < r->seeds; s++) {
        json *rounds = json_array_new();
        for (int i = 0; i < first[s].rounds; i++)
            json_append_number(rounds, first[s].value[i][measure]);
        json_append_take(seeds, rounds);
    }
    return seeds;
}

static bool is_measured(const struct table_results *r, int row, enum measure measure)
{
    const struct result *first = &r->result[row * r->seeds];
    for (int s = 0; s < r->seeds; s++)
        for (int i = 0; i < first[s].rounds; i++)
            if (!isnan(first[s].value[i][measure]))
                return true;
    return false;
}

static json *spread_json(struct spread s)
{
    json *o = json_object_new();
    json_set_number(o, "mean", s.mean);
    json_set_number(o, "deviation", s.deviation);
    return o;
}

static json *measure_json(const struct table_results *r, int row, enum measure measure)
{
    json *o = json_object_new();
    json_set_take(o, "last", spread_json(table_value(r, row, measure, AT_LAST)));
    json_set_take(o, "mean_of_rounds", spread_json(table_value(r, row, measure, AT_MEAN)));
    json_set_take(o, "seeds", values_json(r, row, measure));
    return o;
}

static json *row_json(const struct study *study, const struct table_results *r, int row)
{
    json *o = json_object_new(), *settings = NULL, *measures = json_object_new();
    struct trial_options options = seeded(&r->table->row[row], r->first_seed);
    double seconds = 0;
    for (int s = 0; s < r->seeds; s++)
        seconds += r->result[row * r->seeds + s].seconds / r->seeds;
    json_set_string(o, "label", r->table->row[row].label);
    if (study_settings(study, &options, &settings, NULL) == STATUS_OK)
        json_set_take(o, "settings", settings);
    for (int m = 0; m < MEASURES; m++)
        if (is_measured(r, row, (enum measure)m))
            json_set_take(measures, MEASURE_NAMES[m], measure_json(r, row, (enum measure)m));
    json_set_take(o, "measures", measures);
    json_set_number(o, "seconds_a_trial", seconds);
    return o;
}

static enum status json_put(const struct study *study, const struct table_results *r,
                            struct buf *out, struct err *err)
{
    json *o = json_object_new(), *rows = json_array_new();
    for (int row = 0; row < r->table->rows; row++)
        json_append_take(rows, row_json(study, r, row));
    json_set_int(o, "table", r->table->number);
    json_set_string(o, "title", r->table->title);
    json_set_int(o, "first_seed", (int64_t)r->first_seed);
    json_set_int(o, "seeds", r->seeds);
    bool complete = json_set_take(o, "rows", rows);
    enum status s = complete ? json_print(o, true, out) : STATUS_NO_MEMORY;
    json_free(o);
    return s == STATUS_OK ? s : err_set(err, s, "no memory for table %d", r->table->number);
}

/* ---- plots ---- */

static void point_add(struct plot_series *series, double x, struct spread y)
{
    if (series->count == PLOT_POINTS || y.count == 0)
        return;
    series->x[series->count] = x;
    series->y[series->count] = y.mean;
    series->error[series->count++] = y.deviation;
}

/* One series a row, over the rounds. */
static void rounds_plot(const struct table_results *r, const struct table_plot *of, struct plot *p)
{
    const struct table *t = r->table;
    int rounds = 1;
    for (int i = 0; i < t->rows * r->seeds; i++)
        rounds = r->result[i].rounds > rounds ? r->result[i].rounds : rounds;
    for (int row = 0; row < t->rows && p->count < PLOT_SERIES; row++) {
        struct plot_series *series = &p->series[p->count++];
        series->label = t->row[row].label;
        for (int i = 0; i < rounds && i < PLOT_POINTS; i++)
            point_add(series, i + 1, table_value(r, row, of->y, i));
    }
}

/* Rows "SHARE of WHAT, HOW" become one series for each HOW, joined along x. */
static void shares_plot(const struct table_results *r, const struct table_plot *of, struct plot *p)
{
    const struct table *t = r->table;
    for (int row = 0; row < t->rows; row++) {
        const char *how = strstr(t->row[row].label, ", ");
        const char *label = how ? how + 2 : t->row[row].label;
        int s = 0;
        while (s < p->count && strcmp(p->series[s].label, label) != 0)
            s++;
        if (s == PLOT_SERIES)
            continue;
        if (s == p->count)
            p->series[p->count++].label = label;
        point_add(&p->series[s], table_value(r, row, of->x, AT_MEAN).mean,
                  table_value(r, row, of->y, AT_LAST));
    }
}

/* One mark a row. */
static void marks_plot(const struct table_results *r, const struct table_plot *of, struct plot *p)
{
    for (int row = of->first_row; row < of->first_row + of->rows && p->count < PLOT_SERIES; row++) {
        struct plot_series *series = &p->series[p->count++];
        series->label = r->table->row[row].label;
        series->points_alone = true;
        point_add(series, table_value(r, row, of->x, AT_MEAN).mean,
                  table_value(r, row, of->y, AT_LAST));
    }
}

static enum status plot_put(const struct table_results *r, const struct table_plot *of,
                            struct buf *out, struct err *err)
{
    static struct plot p;
    p = (struct plot){.title = of->title, .x_title = of->x_title, .log_x = of->x != MEASURES};
    if (of->rows)
        marks_plot(r, of, &p);
    else if (p.log_x)
        shares_plot(r, of, &p);
    else
        rounds_plot(r, of, &p);
    return plot_svg(&p, out, err);
}

/* ---- writing ---- */

/* rest: what stands behind "tableN" in the file's name. */
static enum status file_put(const struct study *study, const struct table *table, const char *rest,
                            const struct buf *text, struct err *err)
{
    char path[PATH_BYTES], name[32];
    snprintf(name, sizeof name, "table%d%s", table->number, rest);
    TRY(io_join(path, sizeof path, study->dir, name, err));
    return io_write_file(io_posix(), path, text->data, text->len, err);
}

static enum status plots_write(const struct study *study, const struct table_results *results,
                               struct buf *text, struct err *err)
{
    const struct table *t = results->table;
    for (int i = 0; i < t->plots; i++) {
        char rest[32];
        buf_clear(text);
        snprintf(rest, sizeof rest, "%s.svg", t->plot[i].name);
        enum status s = plot_put(results, &t->plot[i], text, err);
        if (s == STATUS_MALFORMED) /* nothing of it was measured */
            continue;
        TRY(s);
        TRY(file_put(study, t, rest, text, err));
    }
    return STATUS_OK;
}

enum status table_write(const struct study *study, const struct table_results *results,
                        struct err *err)
{
    struct buf text = {.max = REPORT_BYTES};
    const struct table *t = results->table;
    enum status s = table_markdown(results, &text, err);
    if (s == STATUS_OK)
        s = file_put(study, t, ".md", &text, err);
    buf_clear(&text);
    if (s == STATUS_OK)
        s = json_put(study, results, &text, err);
    if (s == STATUS_OK)
        s = file_put(study, t, ".json", &text, err);
    if (s == STATUS_OK)
        s = plots_write(study, results, &text, err);
    buf_free(&text);
    return s;
}
