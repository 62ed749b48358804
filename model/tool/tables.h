/* The tables as data: which trials stand in which row, and which of their measures in which column.
 * Numbers are the paper's: 1 VQA, 2 captions, 3 ablation, 4 sampling, 5 bytes; 6 is the new
 * concepts. */
#ifndef CDCCA_TABLES_H
#define CDCCA_TABLES_H

#include "model/tool/study.h"

enum { TABLE_ROWS = 48, TABLE_COLUMNS = 12, AT_LAST = -1, AT_MEAN = -2 /* over the rounds */ };

struct table_column {
    const char *title;
    enum measure first, second; /* "first / second"; MEASURES: none */
    int at;                     /* a round, or AT_LAST, AT_MEAN */
};

struct table_row {
    char label[80];
    struct trial_options options; /* the seed is set for each trial */
};

struct table {
    int number;
    const char *title, *about; /* a sentence on what it answers */
    struct table_row row[TABLE_ROWS];
    int rows;
    struct table_column column[TABLE_COLUMNS];
    int columns;
    struct {
        const char *title, *x_title;
        enum measure y, x; /* x MEASURES: the round */
    } plot;                /* without a title: none */
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

/* number: 1..6 without 5. tokens: visual tokens of an image (of the student's encoder). */
enum status table_make(int number, const struct table_plan *plan, int tokens, struct table *out,
                       struct err *err);

#endif
