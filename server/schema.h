/* The tables of cloud.db, in steps: a database of an earlier program gets the steps it lacks when
 * it is opened. A step that was released is never changed; a new table or column is a new step. */
#ifndef CDCCA_SCHEMA_H
#define CDCCA_SCHEMA_H

#include "server/db.h"

/* STATUS_UNSUPPORTED: the database is of a newer program. */
enum status schema_ensure(struct db *db, struct err *err);
/* Would schema_ensure take it? Writes nothing. */
enum status schema_check(struct db *db, struct err *err);

#endif
