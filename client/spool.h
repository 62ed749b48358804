/* The spool: uploads on disk until the cloud has acknowledged them.
 *
 * One file per upload, DIR/SEQUENCE_WINDOW_INSTANCES_CORRECTIONS_JPEGBYTES_MILLINATS_BORN_SHA256
 * and .upload, holding the very bytes that will be sent. The name is the whole index, so there is
 * nothing to keep in step with the files: a start lists the folder. Invariants: a file under its
 * final name is complete and durable (io_write_file); it is removed only after an acknowledgement;
 * the same content is kept once; total size stays under max_bytes; what the cloud refuses for good,
 * or what no longer matches its hash, goes to DIR/rejected beside a .reason file and is never sent
 * again.
 *
 * A window's uploads are first held (.held): the notebook, when it says that the window is closed,
 * releases them. So a window counts once: with its uploads, or not at all and is answered again.
 *
 * When there is no room, what tells least per byte goes first (the entropy of its instances over
 * its size; of equals the oldest), and nothing that a user corrected before all else is gone. What
 * is older than max_age_s goes, too, corrections apart.
 *
 * Thread-safe: the agent appends, the uploader takes. */
#ifndef CDCCA_SPOOL_H
#define CDCCA_SPOOL_H

#include "api/base/hash.h"
#include "api/base/io.h"
#include "client/meter.h"
#include <stdbool.h>

enum { SPOOL_FILES_MAX = 4096, SPOOL_DAYS = 7 };

struct spool_facts {      /* of one upload, for its place in the spool and for the report */
    uint32_t instances;   /* in it */
    uint32_t corrections; /* of these, with a user's correction */
    uint64_t jpeg_bytes;  /* what the same images would weigh as JPEG */
    double entropy;       /* nats, summed over its instances */
};

struct spool_item {
    uint64_t sequence, window;
    struct spool_facts facts;
    int64_t born_s;  /* device time, see meter.h */
    int64_t since_s; /* what its age counts from: born_s, or the start if that is earlier */
    uint64_t size;
    struct hash hash; /* of the bytes: the upload's id */
    bool held;
};

struct spool_counts {
    size_t files, instances;
    uint64_t bytes;
    uint64_t dropped;  /* instances that gave way for room or age, since opened */
    uint64_t rejected; /* instances moved to rejected/, since opened */
};

struct spool_options {
    uint64_t max_bytes;
    int64_t max_age_s;   /* 0: no upload is too old */
    struct meter *meter; /* borrowed; NULL: all are born at 0 and nothing ages */
};

struct spool;

/* Creates DIR if need be, removes leftovers of a torn write, lists what waits, drops what is too
 * old or too much. */
enum status spool_open(struct io *io, const char *dir, const struct spool_options *options,
                       struct spool **out, struct err *err);
void spool_close(struct spool *spool);

/* Durable when it returns STATUS_OK, and free to go. The same bytes again: STATUS_OK, nothing new.
 * OK, too, when all that waits tells more per byte: then the new one is dropped and counted.
 * TOO_LARGE: more than the whole spool may hold. On failure nothing has changed. */
enum status spool_append(struct spool *spool, const void *data, size_t len,
                         const struct spool_facts *facts, struct err *err);
/* The same, but it stays until window number `window` is released. */
enum status spool_hold(struct spool *spool, const void *data, size_t len,
                       const struct spool_facts *facts, uint64_t window, struct err *err);
/* Held uploads of windows below `windows` are free to go. What fails now is done by the next. */
enum status spool_release(struct spool *spool, uint64_t windows, struct err *err);
/* Held uploads of this window and later ones go: it did not close. */
void spool_discard(struct spool *spool, uint64_t window);
/* What is too old goes. */
void spool_expire(struct spool *spool);

/* The oldest upload of max_bytes or less that is free to go, and its bytes (body->max bounds it).
 * NOT_FOUND: there is none. A file that does not match its hash is moved to rejected/ and the next
 * one is tried. */
enum status spool_first(struct spool *spool, uint64_t max_bytes, struct spool_item *item,
                        struct buf *body, struct err *err);
/* Acknowledged: forget it. */
enum status spool_done(struct spool *spool, const struct spool_item *item, struct err *err);
/* Refused for good: to rejected/, with the reason beside it. */
enum status spool_reject(struct spool *spool, const struct spool_item *item, const char *reason,
                         struct err *err);
void spool_count(struct spool *spool, struct spool_counts *out);
/* Is there an upload of max_bytes or less that is free to go? Waits until there is, spool_wake is
 * called, or ms have passed. */
bool spool_wait(struct spool *spool, uint64_t max_bytes, int64_t ms);
void spool_wake(struct spool *spool);

#endif
