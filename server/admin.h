/* The commands about who may do what: cdcca-cloud token and cdcca-cloud enroll-code. They write
 * DIR/auth.db, also beside a running service. */
#ifndef CDCCA_ADMIN_H
#define CDCCA_ADMIN_H

#include "api/base/status.h"
#include <stdint.h>

/* argv[0]: "token" or "enroll-code". What was asked for goes to stdout, what to know to stderr.
 * STATUS_CANCELLED after --help. */
enum status admin_token(int argc, char **argv, struct err *err);
enum status admin_enroll_code(int argc, char **argv, struct err *err);

/* "30s", "15m", "12h", "7d"; STATUS_USAGE for anything else and what is over a hundred years. */
enum status admin_duration_parse(const char *text, int64_t *ms, struct err *err);

#endif
