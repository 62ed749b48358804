/* Which factory model a directory holds, by the SHA-256 of its files: what a manifest is held
 * against, computed the same way where releases are made and where they are applied. */
#ifndef CDCCA_FINGERPRINT_H
#define CDCCA_FINGERPRINT_H

#include "api/base/io.h"
#include "api/wire/manifest.h"

/* config.json, the weights and the tokenizer; encoder is left alone, the loaded model knows it. A
 * sharded model is named by its index, a model without tokenizer has "" there. Files are read piece
 * by piece. */
enum status fingerprint_read(struct io *io, const char *dir, struct manifest_base *out,
                             struct err *err);

#endif
