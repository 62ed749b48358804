/* See store_releases.h. At most one release is rolling: beginning one supersedes what was under
 * way. The rows of offers are kept while a release may be offered; then their counts go into its
 * row and they go away, so that there are at most two for a device. */
#include "server/store_releases.h"
#include "api/base/clock.h"
#include "server/store_parts.h"
#include <stdio.h>

/* ---- reading ---- */

struct release_query {
    release_visit *visit;
    void *ctx;
};

static bool release_emit(void *ctx, struct db_row *r)
{
    const struct release_query *query = ctx;
    struct release release = {
        .version = db_row_int(r, 0),
        .base_version = db_row_int(r, 1),
        .round = db_row_int(r, 2),
        .size_bytes = db_row_int(r, 3),
        .parameters = db_row_int(r, 4),
        .created_ms = db_row_int(r, 5),
        .sha256 = db_row_text(r, 6),
        .base_set_sha256 = db_row_text(r, 7),
        .set_sha256 = db_row_text(r, 8),
        .manifest = db_row_text(r, 9),
        .plan = db_row_text(r, 10),
        .tensors = db_row_text(r, 11),
        .state = db_row_text(r, 12),
        .detail = db_row_text(r, 13),
        .stage = db_row_int(r, 14),
        .stage_at = db_row_int(r, 15),
        .offered = db_row_int(r, 16),
        .applied = db_row_int(r, 17),
        .failed = db_row_int(r, 18),
    };
    return query->visit(query->ctx, &release);
}

#define RELEASES                                                                                   \
    "SELECT version,base_version,round,size_bytes,parameters,created_ms,sha256,base_set_sha256,"   \
    "set_sha256,manifest,plan,tensors,state,detail,stage,stage_at,offered,applied,failed "         \
    "FROM releases "

enum status store_releases(struct store *store, int64_t after, int limit, release_visit *visit,
                           void *ctx, struct err *err)
{
    struct release_query query = {visit, ctx};
    return store_list_status(
        store_select(store, err, release_emit, &query,
                     RELEASES "WHERE version>? AND version IN (SELECT version FROM envelopes WHERE "
                              "envelope IS NOT NULL) ORDER BY version LIMIT ?",
                     "ii", after, (int64_t)limit));
}

enum status store_releases_all(struct store *store, release_visit *visit, void *ctx,
                               struct err *err)
{
    struct release_query query = {visit, ctx};
    return store_list_status(
        store_select(store, err, release_emit, &query, RELEASES "ORDER BY version", ""));
}

enum status store_releases_newest(struct store *store, int64_t before, int limit,
                                  release_visit *visit, void *ctx, struct err *err)
{
    struct release_query query = {visit, ctx};
    return store_list_status(store_select(store, err, release_emit, &query,
                                          RELEASES
                                          "WHERE ?1=0 OR version<?1 ORDER BY version DESC LIMIT ?2",
                                          "ii", before, (int64_t)limit));
}

enum status store_release(struct store *store, int64_t version, release_visit *visit, void *ctx,
                          struct err *err)
{
    struct release_query query = {visit, ctx};
    return store_one_status(
        store_select(store, err, release_emit, &query, RELEASES "WHERE version=?", "i", version),
        "release", version, err);
}

enum status store_release_in_state(struct store *store, enum rollout_state state,
                                   release_visit *visit, void *ctx, struct err *err)
{
    struct release_query query = {visit, ctx};
    return store_select(store, err, release_emit, &query,
                        RELEASES "WHERE state=? ORDER BY version DESC LIMIT 1", "s",
                        rollout_state_name(state));
}

static bool counts_take(void *ctx, struct db_row *r)
{
    *(struct rollout_counts *)ctx = (struct rollout_counts){.offered = db_row_int(r, 0),
                                                            .applied = db_row_int(r, 1),
                                                            .failed = db_row_int(r, 2),
                                                            .silent = db_row_int(r, 3)};
    return false;
}

enum status store_release_counts(struct store *store, int64_t version, int64_t silent_before,
                                 struct rollout_counts *out, struct err *err)
{
    return store_select(store, err, counts_take, out,
                        "SELECT count(*), count(*) FILTER (WHERE state='applied'),"
                        "count(*) FILTER (WHERE state='failed'),"
                        "count(*) FILTER (WHERE state='offered' AND offered_at<?2) "
                        "FROM offers WHERE version=?1",
                        "ii", version, silent_before);
}

/* ---- the rollout ---- */

/* Offers of what is not offered any more: their counts go into the releases' rows. */
#define CLOSED                                                                                     \
    "version<? AND version<>(SELECT coalesce(max(version),0) FROM releases WHERE "                 \
    "state='complete')"

static enum status offers_close(struct store *store, int64_t version, struct err *err)
{
    TRY(db_change(store->writer, err,
                  "UPDATE releases SET offered=offered+c.n, applied=applied+c.a, failed=failed+c.f "
                  "FROM (SELECT version AS v, count(*) AS n,"
                  "count(*) FILTER (WHERE state='applied') AS a,"
                  "count(*) FILTER (WHERE state='failed') AS f FROM offers WHERE " CLOSED
                  " GROUP BY version) AS c WHERE releases.version=c.v",
                  "i", version));
    return db_change(store->writer, err, "DELETE FROM offers WHERE " CLOSED, "i", version);
}

enum status store_release_roll(struct store *store, int64_t version, struct err *err)
{
    TRY(offers_close(store, version, err));
    TRY(db_change(store->writer, err,
                  "UPDATE releases SET state='superseded' "
                  "WHERE version<? AND state IN('unsigned','rolling','halted')",
                  "i", version));
    TRY(db_change(store->writer, err,
                  "UPDATE releases SET state='rolling', stage=0, stage_at=? WHERE version=?", "ii",
                  store_uptime_ms(store), version));
    return store_uptime_keep(store, err);
}

enum status store_release_signed(struct store *store, int64_t version, struct err *err)
{
    int64_t waits = 0;
    TRY(db_int(store->writer, err, &waits,
               "SELECT count(*) FROM releases WHERE version=? AND state='unsigned'", "i", version));
    return waits ? store_release_roll(store, version, err) : STATUS_OK;
}

enum status store_release_add(struct store *store, const struct release *release, const void *data,
                              size_t len, struct err *err)
{
    char path[STORE_PATH];
    TRY(store_patch_path(store, release->sha256, path, sizeof path, err));
    TRY(io_write_file(store->io, path, data, len, err));
    TRY(db_change(store->writer, err,
                  "INSERT INTO releases(version,base_version,round,size_bytes,parameters,"
                  "created_ms,sha256,base_set_sha256,set_sha256,manifest,plan,tensors,state) "
                  "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
                  "iiiiiisssssss", release->version, release->base_version, release->round,
                  release->size_bytes, release->parameters, release->created_ms, release->sha256,
                  release->base_set_sha256, release->set_sha256, release->manifest,
                  release->plan ? release->plan : "100%", release->tensors,
                  release->state ? release->state : "unsigned"));
    return release->state ? STATUS_OK : store_release_roll(store, release->version, err);
}

enum status store_release_step(struct store *store, int64_t version,
                               const struct rollout_step *step, struct err *err)
{
    TRY(db_change(store->writer, err,
                  "UPDATE releases SET state=?, stage=?, stage_at=?, detail=? "
                  "WHERE version=? AND state='rolling'",
                  "siisi", rollout_state_name(step->state), (int64_t)step->stage,
                  store_uptime_ms(store), step->reason[0] ? step->reason : NULL, version));
    return store_uptime_keep(store, err);
}

static enum status state_read(struct store *store, int64_t version, enum rollout_state *out,
                              struct err *err)
{
    int64_t index = 0;
    enum status status =
        db_int(store->writer, err, &index,
               "SELECT CASE state WHEN 'unsigned' THEN 0 WHEN 'rolling' THEN 1 WHEN 'complete' "
               "THEN 3 WHEN 'superseded' THEN 4 ELSE 2 END FROM releases WHERE version=?",
               "i", version);
    *out = (enum rollout_state)index;
    return store_one_status(status, "release", version, err);
}

enum status store_release_halt(struct store *store, int64_t version, const char *why,
                               struct err *err)
{
    enum rollout_state state;
    TRY(state_read(store, version, &state, err));
    if (state != ROLLOUT_ROLLING && state != ROLLOUT_COMPLETE)
        return err_set(err, STATUS_CONFLICT,
                       "release %lld is %s; what can be halted is rolling or complete",
                       (long long)version, rollout_state_name(state));
    return db_change(store->writer, err,
                     "UPDATE releases SET state='halted', detail=? WHERE version=?", "si", why,
                     version);
}

enum status store_release_resume(struct store *store, int64_t version, struct err *err)
{
    enum rollout_state state;
    TRY(state_read(store, version, &state, err));
    if (state != ROLLOUT_HALTED)
        return err_set(err, STATUS_CONFLICT, "release %lld is %s; what can be resumed is halted",
                       (long long)version, rollout_state_name(state));
    TRY(db_change(store->writer, err, "DELETE FROM offers WHERE version=? AND state<>'applied'",
                  "i", version));
    TRY(db_change(store->writer, err,
                  "UPDATE releases SET state='rolling', detail=NULL, stage_at=? WHERE version=?",
                  "ii", store_uptime_ms(store), version));
    return store_uptime_keep(store, err);
}

enum status store_release_withdraw(struct store *store, int64_t target, struct err *err)
{
    return db_change(store->writer, err, "UPDATE releases SET state='superseded' WHERE version>?",
                     "i", target);
}

/* ---- squashed patches ---- */

struct squash_query {
    squash_visit *visit;
    void *ctx;
};

static bool squash_emit(void *ctx, struct db_row *r)
{
    const struct squash_query *query = ctx;
    struct squash squash = {.base_version = db_row_int(r, 0),
                            .version = db_row_int(r, 1),
                            .size_bytes = db_row_int(r, 2),
                            .sha256 = db_row_text(r, 3),
                            .manifest = db_row_text(r, 4),
                            .stored = db_row_int(r, 5) != 0};
    return query->visit(query->ctx, &squash);
}

enum status store_squash(struct store *store, int64_t base_version, int64_t version,
                         squash_visit *visit, void *ctx, struct err *err)
{
    struct squash_query query = {visit, ctx};
    return store_select(store, err, squash_emit, &query,
                        "SELECT base_version,version,size_bytes,sha256,manifest,stored "
                        "FROM squashes WHERE base_version=? AND version=?",
                        "ii", base_version, version);
}

enum status store_squash_path(const struct store *store, const char *sha256, char *out, size_t size,
                              struct err *err)
{
    return store_blob_path(store, "squashes", sha256, out, size, err);
}

struct oldest {
    int64_t base_version, version;
    char sha256[HASH_HEX];
};

static bool oldest_take(void *ctx, struct db_row *r)
{
    struct oldest *oldest = ctx;
    *oldest = (struct oldest){.base_version = db_row_int(r, 0), .version = db_row_int(r, 1)};
    snprintf(oldest->sha256, sizeof oldest->sha256, "%s", db_row_text(r, 2));
    return false;
}

/* One file less. Two rows may share one file: content decides its name. */
static enum status squash_evict(struct store *store, int64_t keep_version, int64_t keep_base,
                                struct err *err)
{
    struct oldest oldest;
    char path[STORE_PATH];
    TRY(db_select(store->writer, err, oldest_take, &oldest,
                  "SELECT base_version,version,sha256 FROM squashes WHERE stored=1 AND "
                  "NOT (version=? AND base_version=?) ORDER BY used_at LIMIT 1",
                  "ii", keep_version, keep_base));
    TRY(db_change(store->writer, err, "UPDATE squashes SET stored=0 WHERE sha256=?", "s",
                  oldest.sha256));
    TRY(store_squash_path(store, oldest.sha256, path, sizeof path, err));
    store->io->unlink(store->io, path);
    return STATUS_OK;
}

enum status store_squash_add(struct store *store, const struct squash *squash, const void *data,
                             size_t len, int64_t max_bytes, struct err *err)
{
    char path[STORE_PATH];
    int64_t bytes = 0;
    TRY(store_squash_path(store, squash->sha256, path, sizeof path, err));
    TRY(io_write_file(store->io, path, data, len, err));
    TRY(db_change(store->writer, err,
                  "INSERT OR REPLACE INTO squashes(base_version,version,size_bytes,sha256,manifest,"
                  "used_at,stored) VALUES(?,?,?,?,?,?,1)",
                  "iiissi", squash->base_version, squash->version, squash->size_bytes,
                  squash->sha256, squash->manifest, store_uptime_ms(store)));
    for (enum status status = STATUS_OK; status == STATUS_OK;) {
        TRY(db_int(store->writer, err, &bytes,
                   "SELECT coalesce(sum(size_bytes),0) FROM squashes WHERE stored=1", ""));
        if (bytes <= max_bytes)
            break;
        status = squash_evict(store, squash->version, squash->base_version, err);
    }
    return store_uptime_keep(store, err);
}

enum status store_squash_use(struct store *store, int64_t base_version, int64_t version,
                             struct err *err)
{
    return db_change(store->writer, err,
                     "UPDATE squashes SET used_at=? WHERE base_version=? AND version=?", "iii",
                     store_uptime_ms(store), base_version, version);
}
