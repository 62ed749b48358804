/* Runs the trials of a table and writes it: DIR/tableN.md, DIR/tableN.json and, where a plot says
 * more, DIR/tableN.svg. Mean and sample deviation over the seeds. */
#ifndef CDCCA_TABLE_REPORT_H
#define CDCCA_TABLE_REPORT_H

#include "model/tool/tables.h"

enum { SEEDS_MAX = 16 };

struct table_results {
    const struct table *table;
    int seeds;
    struct result *result; /* (rows, seeds) */
    uint64_t first_seed;
};

/* Seeds first_seed .. first_seed + seeds - 1. Release with table_results_free. */
enum status table_run(struct study *study, const struct table *table, uint64_t first_seed,
                      int seeds, const volatile int *cancel, struct table_results *out,
                      struct err *err);
void table_results_free(struct table_results *results);
/* Rounds that table_run would have to compute. */
int64_t table_rounds_left(const struct study *study, const struct table *table, uint64_t first_seed,
                          int seeds);
/* The measure of a row over the seeds; NAN means are left out, count says how many there were. */
struct spread table_value(const struct table_results *r, int row, enum measure measure, int at);
enum status table_write(const struct study *study, const struct table_results *results,
                        struct err *err);
/* The Markdown of the table alone. */
enum status table_markdown(const struct table_results *results, struct buf *out, struct err *err);

#endif
