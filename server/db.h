/* SQLite in a few verbs; db.c is the one file that knows sqlite3.h. Statements are texts where they
 * are used; the same text again costs no preparing. Values are bound by a string of kinds, one
 * letter each: i int64_t, s const char * (NULL becomes SQL's NULL), b const void * and size_t. They
 * are borrowed for the call. A handle is for one thread at a time. */
#ifndef CDCCA_DB_H
#define CDCCA_DB_H

#include "api/base/status.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
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
bool db_in_transaction(struct db *db);
/* Moves what the log holds into the database and empties it, so that nothing of what was deleted is
 * left there. BUSY, at once: somebody is reading. */
enum status db_log_empty(struct db *db, struct err *err);

/* Calls visit for each row until it returns false; its texts live until then.
 * STATUS_NOT_FOUND, without text, when there is no row. */
typedef bool db_visit(void *ctx, struct db_row *row);
enum status db_select(struct db *db, struct err *err, db_visit *visit, void *ctx, const char *sql,
                      const char *kinds, ...);
enum status db_select_list(struct db *db, struct err *err, db_visit *visit, void *ctx,
                           const char *sql, const char *kinds, va_list values);
int64_t db_row_int(struct db_row *row, int column); /* NULL reads as 0 */
const char *db_row_text(struct db_row *row, int column);
const void *db_row_bytes(struct db_row *row, int column, size_t *len); /* NULL for NULL */
/* The first column of the first row; STATUS_NOT_FOUND likewise. */
enum status db_int(struct db *db, struct err *err, int64_t *out, const char *sql, const char *kinds,
                   ...);

#endif
