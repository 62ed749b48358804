/* The parameters of any version, put together again from the factory's and the chain of patches;
 * each step is checked against the hash that its patch names. */
#ifndef CDCCA_VERSIONS_H
#define CDCCA_VERSIONS_H

#include "model/learn/trainable.h"
#include "server/store.h"

/* student: the factory's, with a neutral trainable set; not changed. out: the set's values. From
 * any thread; takes about as long as decoding every patch. STATUS_CORRUPT, STATUS_NOT_FOUND: a
 * patch is damaged or missing. */
enum status versions_read(struct io *io, struct store *store, const struct mllm *student,
                          int64_t version, float *out, struct err *err);

#endif
