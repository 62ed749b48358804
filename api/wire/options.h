/* Command lines, their environment twins and the JSON configuration file, from one table:
 * --upload-budget 0.1 == CDCCA_UPLOAD_BUDGET=0.1 == {"upload_budget": 0.1}; the flag wins over the
 * environment, the environment over the file (--config FILE). --help and --version are built in. */
#ifndef CDCCA_OPTIONS_H
#define CDCCA_OPTIONS_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

enum option_kind { OPTION_STRING, OPTION_INT, OPTION_NUMBER, OPTION_FLAG };

struct option {
    const char *name; /* "upload-budget" */
    enum option_kind kind;
    void *value; /* const char ** (borrowed from argv, env or options_file), int64_t *, double *,
                    bool * */
    double min, max;      /* for INT and NUMBER */
    const char *argument; /* "SHARE" in the help; NULL for flags */
    const char *help;
};

struct options {
    const char *program;        /* "cdcca-edge run" */
    const char *summary;        /* one line */
    const char *positional;     /* "IMAGE QUESTION" for the usage line, or NULL */
    const struct option *table; /* name NULL ends it */
    int positional_min, positional_max;
};

/* Parses argv[1..]; positional arguments are moved to argv[1..*positional_count]. Returns
 * STATUS_OK, STATUS_USAGE (err says what is wrong and what is right), or STATUS_CANCELLED after
 * --help or
 * --version printed their text to stdout. */
enum status options_parse(const struct options *options, int argc, char **argv,
                          int *positional_count, struct err *err);

#endif
