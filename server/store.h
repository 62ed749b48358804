/* What the cloud remembers, in SQLite: uploads with their bytes, rounds, releases and devices.
 * Patches, which are sent as they are, are content-addressed files, in DIR/patches and
 * DIR/squashes. A large fleet will want another database behind this interface. One file a noun:
 * store_releases.h, store_devices.h; uploads and rounds are here.
 *
 * Invariants: an upload belongs to at most one round; a release and the end of the round that made
 * it are one transaction; what was acknowledged is committed. A patch is durable before the row
 * that names it. The pages of an upload that was deleted are zeroed, and the log is emptied.
 *
 * Writes happen inside store_apply alone: any number of jobs, one transaction, each in a savepoint
 * of its own, so that a group of uploads costs one sync. Reads have a connection of their own and
 * never wait for a commit. All functions may be called from any thread, except as noted. */
#ifndef CDCCA_STORE_H
#define CDCCA_STORE_H

#include "api/base/buf.h"
#include "api/base/hash.h"
#include "api/base/io.h"
#include "api/base/status.h"
#include "server/store_devices.h"
#include "server/store_releases.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum status store_open(struct io *io, const char *dir, struct store **out, struct err *err);
void store_close(struct store *store);
/* Milliseconds that the store has been open in all its life, to within what no job has kept: what
 * rollouts are timed by, because it neither jumps nor counts the time that the service was down. */
int64_t store_uptime_ms(const struct store *store);
/* For jobs: no later start begins before the up-time that there is now. */
enum status store_uptime_keep(struct store *store, struct err *err);
/* Could store_open take this directory, now or once another process has let go of it? Writes
 * nothing. */
enum status store_check(const char *dir, struct err *err);
/* DIR/patches/HEX, a release's bytes. */
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
/* One job in a transaction of its own; its status. */
enum status store_run(struct store *store,
                      enum status (*run)(struct store *store, void *ctx, struct err *err),
                      void *ctx, struct err *err);

/* The functions below are for jobs only. */

struct upload {
    int64_t id;
    const char *sha256, *device;
    const char *key; /* the client's idempotency key, or NULL */
    int64_t received_ms, base_version, instances, tokens, size_bytes;
    int64_t round;   /* 0: not used yet */
    int64_t version; /* that the round released, 0: none */
};

/* Sets upload->id; *repeated: the same content was there. STATUS_CONFLICT: the key
 * was used for other content. */
enum status store_upload_add(struct store *store, struct upload *upload, const void *data,
                             size_t len, bool *repeated, struct err *err);
/* STATUS_CONFLICT while the round that uses it is not over. */
enum status store_upload_delete(struct store *store, int64_t id, struct err *err);
/* At most `limit` uploads of rounds that were over at that time (wall clock). *deleted: how many.
 */
enum status store_uploads_expire(struct store *store, int64_t before_ms, int limit,
                                 int64_t *deleted, struct err *err);

struct round {
    int64_t id;
    const char *state;    /* queued, running, released, rejected, cancelled, failed */
    const char *cause;    /* request, count, time, rollback */
    const char *settings; /* JSON */
    const char *report;   /* JSON, or NULL */
    const char *detail;   /* why it failed, or NULL */
    int64_t created_ms, started_ms, finished_ms; /* 0: not yet */
    int64_t uploads, instances, version;         /* version: that it released, or 0 */
    int64_t target;             /* of a rollback: the version whose parameters come back; else -1 */
    int64_t size_bytes, tokens; /* of its uploads that are still there */
};

/* A queued round with every upload that no round has used. STATUS_CONFLICT: there are none. */
enum status store_round_create(struct store *store, const char *cause, const char *settings,
                               int64_t *id, struct err *err);
/* A queued round that uses no upload and brings back the parameters of version target. */
enum status store_round_create_rollback(struct store *store, int64_t target, int64_t *id,
                                        struct err *err);
enum status store_round_start(struct store *store, int64_t id, struct err *err);
/* state: one of the last four. A cancelled round gives its uploads back. */
enum status store_round_finish(struct store *store, int64_t id, const char *state,
                               const char *report, const char *detail, int64_t version,
                               struct err *err);

/* Writes something that changes nothing, to see whether the database takes it. */
enum status store_probe(struct store *store, struct err *err);

/* ---- reading: visitors get rows whose strings live until they return; false ends the walk ---- */

typedef bool upload_visit(void *ctx, const struct upload *upload);
typedef bool round_visit(void *ctx, const struct round *round);

/* Ascending from after the id. */
enum status store_uploads(struct store *store, int64_t after, int limit, upload_visit *visit,
                          void *ctx, struct err *err);
/* Descending from before the id. */
enum status store_uploads_newest(struct store *store, int64_t before, int limit,
                                 upload_visit *visit, void *ctx, struct err *err);
enum status store_upload(struct store *store, int64_t id, upload_visit *visit, void *ctx,
                         struct err *err);
/* Its bytes, into *out (bounded by out->max). NOT_FOUND: it was deleted. CORRUPT: they are not what
 * their name says. */
enum status store_upload_bytes(struct store *store, const char *sha256, struct buf *out,
                               struct err *err);
/* A page of one round's. */
enum status store_uploads_of(struct store *store, int64_t round, int64_t after, int limit,
                             upload_visit *visit, void *ctx, struct err *err);
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
struct store_totals {
    int64_t version;                 /* newest release, 0: none */
    int64_t uploads, instances;      /* in all */
    int64_t new_instances, new_last; /* not used by a round; the last such upload's id */
};
/* Looks at every upload; where only the version is wanted, store_version is there. */
enum status store_totals(struct store *store, struct store_totals *out, struct err *err);
enum status store_version(struct store *store, int64_t *version, struct err *err);

struct store_usage {
    int64_t uploads, bytes;
};
/* What a device has stored since then. */
enum status store_usage(struct store *store, const char *device, int64_t since_ms,
                        struct store_usage *out, struct err *err);

#endif
