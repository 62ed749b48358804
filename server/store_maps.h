/* Maps of rounds: the picture of a round's visual tokens (mapper.h), kept as the text of its
 * answer. A map goes, in the same transaction, when any upload of its round goes or is given back:
 * the database itself sees to that (schema.c), so no way of deleting can leave a point behind. Part
 * of store.h. */
#ifndef CDCCA_STORE_MAPS_H
#define CDCCA_STORE_MAPS_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

struct store;

typedef bool map_visit(void *ctx, const char *json);
/* STATUS_NOT_FOUND, without text: none was made, or an upload has gone since. */
enum status store_map(struct store *store, int64_t round, map_visit *visit, void *ctx,
                      struct err *err);
/* For jobs. STATUS_CONFLICT: the round no longer has as many uploads as the map was made of. */
enum status store_map_put(struct store *store, int64_t round, int64_t uploads, const char *json,
                          struct err *err);

#endif
