/* The tables as data: which trials stand in which row, and which of their measures in which column.
 * Numbers are the paper's: 1 VQA, 2 captions, 3 ablation, 4 sampling, 5 bytes; 6 is the new
 * concepts. */
#ifndef CDCCA_TABLES_H
#define CDCCA_TABLES_H

#include "model/tool/study.h"

enum {
    TABLE_ROWS = 48,
    TABLE_COLUMNS = 12,
    TABLE_PLOTS = 2,
    AT_LAST = -1,
    AT_MEAN = -2 /* over the rounds */
};

struct table_column {
    const char *title;
    enum measure first, second; /* "first / second"; MEASURES: none */
    int at;                     /* a round, or AT_LAST, AT_MEAN */
};

struct table_row {
    char label[80];
    struct trial_options options; /* the seed is set for each trial */
    enum measure sent, plain;     /* of table 5: which bytes are this row's (table_bytes.h) */
};

struct table_plot {
    const char *title, *x_title;
    const char *name;    /* behind "tableN" in the file's name: "" or "-up" */
    enum measure y, x;   /* x MEASURES: the round */
    int first_row, rows; /* rows 0: all of them, joined by what the labels share; else each of these
                            is a mark of its own */
};

struct table {
    int number;
    const char *title, *about; /* a sentence on what it answers */
    struct table_row row[TABLE_ROWS];
    int rows;
    struct table_column column[TABLE_COLUMNS];
    int columns;
    struct table_plot plot[TABLE_PLOTS];
    int plots;
    struct {
        int source, method, teacher; /* rows */
        enum measure first, second;
    } contest; /* method 0: none. Two more columns: the share of the way from source to teacher that
                  a row has gone after the last round, and by how much the method is ahead of it in
                  the mean of the rounds, seed by seed */
};

/* What every trial of a table starts from, and what the tuning chose. */
struct table_plan {
    int rounds, window;
    struct trial_options tent, cotta, pl, pkd, cwd, head, cdcca;
};
/* The methods as they are named, with these rounds and this window. */
enum status table_plan_init(struct table_plan *plan, int rounds, int window, struct err *err);

/* Building, for the files that write tables down: the row's options, to be changed; a column; a
 * plot over all rows. There is room for what is written here. */
struct trial_options *table_row_add(struct table *t, const struct trial_options *options,
                                    const char *format, ...) __attribute__((format(printf, 3, 4)));
void table_column_add(struct table *t, const char *title, enum measure first, enum measure second,
                      int at);
struct table_plot *table_plot_add(struct table *t, const char *title, const char *x_title,
                                  enum measure y, enum measure x);

/* number: 1..6. tokens: visual tokens of an image (of the student's encoder); parameters: of the
 * trainable set. */
enum status table_make(int number, const struct table_plan *plan, int tokens, size_t parameters,
                       struct table *out, struct err *err);

#endif
