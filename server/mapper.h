/* The mapper: a picture of what a round's uploads were about: their visual tokens, as sent, laid
 * out in the plane by t-SNE (model/learn/tsne.h). Of more than MAPPER_POINTS tokens it takes as
 * many, evenly along the uploads.
 *
 * Maps are made by a thread of the mapper's, when someone asks, and kept in the store until an
 * upload of the round goes (store_maps.h); then the next one to ask has it made of the rest. */
#ifndef CDCCA_MAPPER_H
#define CDCCA_MAPPER_H

#include "server/store.h"

enum { MAPPER_POINTS = 1000 };

struct mapper;

struct mapper_config {
    struct store *store;
    void (*on_change)(void *ctx); /* a map was made, or could not be */
    void *ctx;
};

enum status mapper_create(const struct mapper_config *config, struct mapper **out, struct err *err);
/* Ends the thread, between two steps of what it is doing. */
void mapper_stop(struct mapper *mapper);
void mapper_destroy(struct mapper *mapper); /* NULL is fine */
/* Has a round's map made, soon. STATUS_BUSY: too many are waiting; else why it could not be made,
 * said once. */
enum status mapper_want(struct mapper *mapper, int64_t round, struct err *err);

#endif
