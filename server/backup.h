/* A copy of a data directory, whole at one moment, made while the service runs; restoring is the
 * same copy the other way.
 *
 * The order makes it whole. First what is neither database nor named by one (state, keys); then
 * each database as of one moment (VACUUM INTO); then the first once more, for a round that ended in
 * between: the database says which version and round were the last, and their state is in one of
 * the two passes. Last the patches that the copied database names: each is durable before its row,
 * so all of them are there. Patches and uploads are checked against their SHA-256.
 *
 * Keys and hashed tokens are part of it; its files are for their owner alone. */
#ifndef CDCCA_BACKUP_H
#define CDCCA_BACKUP_H

#include "api/base/io.h"

struct backup_count {
    int64_t uploads, releases, bytes; /* bytes: of the files copied */
};

/* to must be absent or an empty directory (CONFLICT otherwise) and is there at the end or not at
 * all: the work is done in TO.partial. STATUS_NOT_FOUND: from has no cloud.db; CORRUPT: a file is
 * not what its row says. */
enum status backup_copy(struct io *io, const char *from, const char *to, struct backup_count *out,
                        struct err *err);

#endif
