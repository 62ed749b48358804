/* What the cloud remembers: uploads, rounds and releases in SQLite, their bytes in
 * content-addressed files: uploads under DIR/blobs, patches under DIR/patches. A fleet will want
 * another database behind this interface.
 *
 * Invariants: a blob is durable before the row that names it; an upload belongs to at most one
 * round; a release and the end of the round that made it are one transaction; what was acknowledged
 * is committed. A crash can leave a blob without a row, never the other way round.
 *
 * Writes happen inside store_apply alone: any number of jobs, one transaction, each in a savepoint
 * of its own, so that a group of uploads costs one sync. Reads have a connection of their own and
 * never wait for a commit. All functions may be called from any thread, except as noted. */
#ifndef CDCCA_STORE_H
#define CDCCA_STORE_H

#include "api/base/hash.h"
#include "api/base/io.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum status store_open(struct io *io, const char *dir, struct store **out, struct err *err);
void store_close(struct store *store);
/* DIR/blobs/HEX, an upload's bytes; DIR/patches/HEX, a release's. */
enum status store_upload_path(const struct store *store, const char *sha256, char *out, size_t size,
                              struct err *err);
enum status store_patch_path(const struct store *store, const char *sha256, char *out, size_t size,
                             struct err *err);

/* ---- writing ---- */

struct store_job {
    enum status (*run)(struct store *store, void *ctx, struct err *err);
    void *ctx;
    enum status status; /* out: run's, or the commit's */
    struct err err;
};

/* Runs the jobs in one transaction. A job that fails is undone by itself; when the commit fails,
 * all are. Returns the commit's status. */
enum status store_apply(struct store *store, struct store_job *jobs, size_t count, struct err *err);

/* The functions below are for jobs only. */

struct upload {
    int64_t id;
    const char *sha256, *device;
    const char *key; /* the client's idempotency key, or NULL */
    int64_t received_ms, base_version, instances, tokens, size_bytes;
    int64_t round; /* 0: not used yet */
};

/* Blob and row. Sets upload->id; *repeated: the same content was there. STATUS_CONFLICT: the key
 * was used for other content. */
enum status store_upload_add(struct store *store, struct upload *upload, const void *data,
                             size_t len, bool *repeated, struct err *err);
/* STATUS_CONFLICT while the round that uses it is not over. */
enum status store_upload_delete(struct store *store, int64_t id, struct err *err);

struct round {
    int64_t id;
    const char *state;    /* queued, running, released, rejected, cancelled, failed */
    const char *cause;    /* request, count, time */
    const char *settings; /* JSON */
    const char *report;   /* JSON, or NULL */
    const char *detail;   /* why it failed, or NULL */
    int64_t created_ms, started_ms, finished_ms; /* 0: not yet */
    int64_t uploads, instances, version;         /* version: that it released, or 0 */
};

/* A queued round with every upload that no round has used. STATUS_CONFLICT: there are none. */
enum status store_round_create(struct store *store, const char *cause, const char *settings,
                               int64_t *id, struct err *err);
enum status store_round_start(struct store *store, int64_t id, struct err *err);
/* state: one of the last four. A cancelled round gives its uploads back. */
enum status store_round_finish(struct store *store, int64_t id, const char *state,
                               const char *report, const char *detail, int64_t version,
                               struct err *err);

struct release {
    int64_t version, base_version, round, size_bytes, parameters, created_ms;
    const char *sha256, *base_set_sha256, *set_sha256;
    const char *manifest; /* JSON */
};

enum status store_release_add(struct store *store, const struct release *release, const void *data,
                              size_t len, struct err *err);

/* ---- reading: visitors get rows whose strings live until they return; false ends the walk ---- */

typedef bool upload_visit(void *ctx, const struct upload *upload);
typedef bool round_visit(void *ctx, const struct round *round);
typedef bool release_visit(void *ctx, const struct release *release);

/* Ascending from after the id. */
enum status store_uploads(struct store *store, int64_t after, int limit, upload_visit *visit,
                          void *ctx, struct err *err);
enum status store_upload(struct store *store, int64_t id, upload_visit *visit, void *ctx,
                         struct err *err);
/* Those of one round, in order. */
enum status store_round_uploads(struct store *store, int64_t round, upload_visit *visit, void *ctx,
                                struct err *err);
/* Those of rounds that came to an end of their own, the latest first. */
enum status store_learned_uploads(struct store *store, int64_t limit, upload_visit *visit,
                                  void *ctx, struct err *err);
/* Newest first, ids below `before` (0: all). */
enum status store_rounds(struct store *store, int64_t before, int limit, round_visit *visit,
                         void *ctx, struct err *err);
enum status store_round(struct store *store, int64_t id, round_visit *visit, void *ctx,
                        struct err *err);
/* The newest round that came to an end of its own. STATUS_NOT_FOUND: none. */
enum status store_round_learned(struct store *store, round_visit *visit, void *ctx,
                                struct err *err);
/* The round that a crash or a stop interrupted: queued or running. STATUS_NOT_FOUND: none. */
enum status store_round_open(struct store *store, round_visit *visit, void *ctx, struct err *err);
/* Ascending from after the version. */
enum status store_releases(struct store *store, int64_t after, int limit, release_visit *visit,
                           void *ctx, struct err *err);
enum status store_release(struct store *store, int64_t version, release_visit *visit, void *ctx,
                          struct err *err);

struct store_totals {
    int64_t version;                 /* newest release, 0: none */
    int64_t uploads, instances;      /* in all */
    int64_t new_instances, new_last; /* not used by a round; the last such upload's id */
};
/* Looks at every upload; where only the version is wanted, store_version is there. */
enum status store_totals(struct store *store, struct store_totals *out, struct err *err);
enum status store_version(struct store *store, int64_t *version, struct err *err);

#endif
