/* SQLite in a few verbs; db.c is the one file that knows sqlite3.h. Statements are texts where they
 * are used; the same text again costs no preparing. Values are bound by a string of kinds, one
 * letter each: i int64_t, s const char * (NULL becomes SQL's NULL). A handle is for one thread at a
 * time. */
#ifndef CDCCA_DB_H
#define CDCCA_DB_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

struct db;
struct db_row;

/* Writable: made if missing, write-ahead log, synchronous FULL, foreign keys held. */
enum status db_open(const char *path, bool writable, struct db **out, struct err *err);
void db_close(struct db *db); /* NULL is fine */

/* A script without values. */
enum status db_exec(struct db *db, const char *sql, struct err *err);
/* One statement that gives no rows. */
enum status db_change(struct db *db, struct err *err, const char *sql, const char *kinds, ...);
int64_t db_last_id(struct db *db); /* of the last insert */
int64_t db_changed(struct db *db); /* rows, by the last change */

/* Calls visit for each row until it returns false; its texts live until then.
 * STATUS_NOT_FOUND, without text, when there is no row. */
typedef bool db_visit(void *ctx, struct db_row *row);
enum status db_select(struct db *db, struct err *err, db_visit *visit, void *ctx, const char *sql,
                      const char *kinds, ...);
int64_t db_row_int(struct db_row *row, int column); /* NULL reads as 0 */
const char *db_row_text(struct db_row *row, int column);
/* The first column of the first row; STATUS_NOT_FOUND likewise. */
enum status db_int(struct db *db, struct err *err, int64_t *out, const char *sql, const char *kinds,
                   ...);

#endif
