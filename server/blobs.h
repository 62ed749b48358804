/* The files of a group of writes: written one by one, made durable together before the commit that
 * names them. Syncs that run at the same time share the file system's journal commits, so that many
 * cost little more than one. */
#ifndef CDCCA_BLOBS_H
#define CDCCA_BLOBS_H

#include "api/base/io.h"

enum { BLOBS_MAX = 64, BLOBS_PATH = 4096 };

/* Zero-initialised: none. */
struct blobs {
    struct blob {
        int fd;
        char path[BLOBS_PATH];
        enum status status; /* of its sync */
        struct err err;
    } blob[BLOBS_MAX];
    int count;
};

/* All of one directory. Over BLOBS_MAX the file is made durable at once. */
enum status blobs_write(struct blobs *blobs, struct io *io, const char *path, const void *data,
                        size_t len, struct err *err);
/* Syncs and names what was written; the first failure, after which others may be there. Empty
 * afterwards. io is called from several threads. */
enum status blobs_sync(struct blobs *blobs, struct io *io, struct err *err);

#endif
