/* See envelopes.h. */
#include "server/envelopes.h"
#include "server/store_parts.h"

const char envelopes_schema[] =
    "CREATE TABLE IF NOT EXISTS envelopes("
    "  version INTEGER PRIMARY KEY REFERENCES releases(version), sequence INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL, keys INTEGER NOT NULL, envelope TEXT, waiting TEXT);";

/* ---- writing ---- */

enum status envelopes_sequence(struct store *store, int64_t *out, struct err *err)
{
    return db_int(store->writer, err, out, "SELECT coalesce(max(sequence),0)+1 FROM envelopes", "");
}

enum status envelopes_put(struct store *store, const struct stored_envelope *e, struct err *err)
{
    return db_change(store->writer, err,
                     "INSERT INTO envelopes(version,sequence,expires_ms,keys,envelope,waiting) "
                     "VALUES(?,?,?,?,?,?) ON CONFLICT(version) DO UPDATE SET "
                     "sequence=excluded.sequence, expires_ms=excluded.expires_ms,"
                     "keys=excluded.keys, envelope=coalesce(excluded.envelope,envelope),"
                     "waiting=excluded.waiting",
                     "iiiiss", e->version, e->sequence, e->expires_ms, e->keys, e->envelope,
                     e->waiting);
}

enum status envelopes_settle(struct store *store, int64_t version, const char *waiting,
                             const char *envelope, struct err *err)
{
    TRY(db_change(store->writer, err,
                  "UPDATE envelopes SET envelope=?, waiting=NULL WHERE version=? AND waiting=?",
                  "sis", envelope, version, waiting));
    if (db_changed(store->writer) == 1)
        return STATUS_OK;
    return err_set(err, STATUS_CONFLICT,
                   "the manifest of version %lld waits no longer as it was; get it again",
                   (long long)version);
}

/* ---- reading ---- */

struct query {
    envelope_visit *visit;
    void *ctx;
};

static bool row_emit(void *ctx, struct db_row *r)
{
    const struct query *query = ctx;
    struct stored_envelope envelope = {
        .version = db_row_int(r, 0),
        .sequence = db_row_int(r, 1),
        .expires_ms = db_row_int(r, 2),
        .keys = db_row_int(r, 3),
        .envelope = db_row_text(r, 4),
        .waiting = db_row_text(r, 5),
    };
    return query->visit(query->ctx, &envelope);
}

#define ENVELOPES "SELECT version,sequence,expires_ms,keys,envelope,waiting FROM envelopes "

static enum status query_run(struct store *store, const char *sql, int64_t value,
                             envelope_visit *visit, void *ctx, struct err *err)
{
    struct query query = {visit, ctx};
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_select(store->reader, err, row_emit, &query, sql, "i", value);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}

enum status envelopes_get(struct store *store, int64_t version, envelope_visit *visit, void *ctx,
                          struct err *err)
{
    enum status status = query_run(store, ENVELOPES "WHERE version=?", version, visit, ctx, err);
    if (status != STATUS_NOT_FOUND)
        return status;
    return err_set(err, status, "there is no release %lld", (long long)version);
}

enum status envelopes_waiting(struct store *store, int limit, envelope_visit *visit, void *ctx,
                              struct err *err)
{
    enum status status =
        query_run(store, ENVELOPES "WHERE waiting IS NOT NULL ORDER BY version DESC LIMIT ?", limit,
                  visit, ctx, err);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status envelopes_due(struct store *store, int64_t before_ms, int64_t keys, bool can_sign,
                          bool *due, struct err *err)
{
    int64_t count = 0;
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_int(
        store->reader, err, &count,
        "SELECT count(*) FROM releases r LEFT JOIN envelopes e ON e.version=r.version "
        "WHERE e.version IS NULL OR e.expires_ms<? OR e.keys<>? OR (? AND e.waiting IS NOT NULL)",
        "iii", before_ms, keys, (int64_t)can_sign);
    pthread_mutex_unlock(&store->read_lock);
    *due = count > 0;
    return status;
}
