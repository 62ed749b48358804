/* The spool: uploads on disk until the cloud has acknowledged them.
 *
 * One file per upload, DIR/SEQUENCE_INSTANCES_JPEGBYTES_SHA256.upload, holding the very bytes that
 * will be sent. The name is the whole index, so there is nothing to keep in step with the files: a
 * start lists the folder. Invariants: a file under its final name is complete and durable
 * (io_write_file); it is removed only after an acknowledgement; the same content is kept once;
 * total size stays under max_bytes, the oldest giving way; what the cloud refuses for good, or what
 * no longer matches its hash, goes to DIR/rejected beside a .reason file and is never sent again.
 *
 * Thread-safe: the agent appends, the uploader takes. */
#ifndef CDCCA_SPOOL_H
#define CDCCA_SPOOL_H

#include "api/base/hash.h"
#include "api/base/io.h"
#include <stdbool.h>

enum { SPOOL_FILES_MAX = 4096 };

struct spool_item {
    uint64_t sequence;
    uint32_t instances;  /* in this upload */
    uint64_t jpeg_bytes; /* what the same images would weigh as JPEG, for the report */
    uint64_t size;
    struct hash hash; /* of the bytes: the upload's id */
};

struct spool_counts {
    size_t files, instances;
    uint64_t bytes;
    uint64_t dropped;  /* instances that gave way because the spool was full, since opened */
    uint64_t rejected; /* instances moved to rejected/, since opened */
};

struct spool;

/* Creates DIR if need be, removes leftovers of a torn write, lists what waits. */
enum status spool_open(struct io *io, const char *dir, uint64_t max_bytes, struct spool **out,
                       struct err *err);
void spool_close(struct spool *spool);

/* Durable when it returns STATUS_OK. The same bytes again: STATUS_OK, nothing new. TOO_LARGE: more
 * than the whole spool may hold. On failure nothing has changed. */
enum status spool_append(struct spool *spool, const void *data, size_t len, uint32_t instances,
                         uint64_t jpeg_bytes, struct err *err);
/* The oldest upload and its bytes (body->max bounds it). NOT_FOUND when empty. A file that does not
 * match its hash is moved to rejected/ and the next one is tried. */
enum status spool_first(struct spool *spool, struct spool_item *item, struct buf *body,
                        struct err *err);
/* Acknowledged: forget it. */
enum status spool_done(struct spool *spool, const struct spool_item *item, struct err *err);
/* Refused for good: to rejected/, with the reason beside it. */
enum status spool_reject(struct spool *spool, const struct spool_item *item, const char *reason,
                         struct err *err);
void spool_count(struct spool *spool, struct spool_counts *out);
/* Waits until something is in the spool, spool_wake is called, or ms have passed. True: not empty.
 */
bool spool_wait(struct spool *spool, int64_t ms);
void spool_wake(struct spool *spool);

#endif
