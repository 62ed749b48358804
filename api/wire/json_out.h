/* Where a document goes that a program has made: to stdout, as --json has it, or into a file. Both
 * take `value` and free it; `whole` says whether memory sufficed to make it, NULL is never whole.
 */
#ifndef CDCCA_JSON_OUT_H
#define CDCCA_JSON_OUT_H

#include "api/base/io.h"
#include "api/wire/json.h"

/* Indented, with a newline behind it. */
enum status json_say(json *value, bool whole, struct err *err);
/* As io_write_file: the old file or the new one, whatever happens. */
enum status json_save(struct io *io, const char *path, json *value, bool whole, struct err *err);

#endif
