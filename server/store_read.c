/* Reading the store: see store.h. Rows are handed to visitors while the reader is held, so a
 * visitor does nothing slow and calls no store function. */
#include "server/store_parts.h"

/* A visitor of typed rows and the function that makes them. */
struct query {
    bool (*emit)(const struct query *query, struct db_row *row);
    union {
        upload_visit *upload;
        round_visit *round;
        release_visit *release;
    } visit;
    void *ctx;
};

static bool emit_upload(const struct query *query, struct db_row *r)
{
    struct upload upload = {
        .id = db_row_int(r, 0),
        .sha256 = db_row_text(r, 1),
        .key = db_row_text(r, 2),
        .device = db_row_text(r, 3),
        .received_ms = db_row_int(r, 4),
        .base_version = db_row_int(r, 5),
        .instances = db_row_int(r, 6),
        .tokens = db_row_int(r, 7),
        .size_bytes = db_row_int(r, 8),
        .round = db_row_int(r, 9),
    };
    return query->visit.upload(query->ctx, &upload);
}

static bool emit_round(const struct query *query, struct db_row *r)
{
    struct round round = {
        .id = db_row_int(r, 0),
        .state = db_row_text(r, 1),
        .cause = db_row_text(r, 2),
        .settings = db_row_text(r, 3),
        .report = db_row_text(r, 4),
        .detail = db_row_text(r, 5),
        .created_ms = db_row_int(r, 6),
        .started_ms = db_row_int(r, 7),
        .finished_ms = db_row_int(r, 8),
        .uploads = db_row_int(r, 9),
        .instances = db_row_int(r, 10),
        .version = db_row_int(r, 11),
    };
    return query->visit.round(query->ctx, &round);
}

static bool emit_release(const struct query *query, struct db_row *r)
{
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
    };
    return query->visit.release(query->ctx, &release);
}

static bool row_emit(void *ctx, struct db_row *row)
{
    const struct query *query = ctx;
    return query->emit(query, row);
}

/* sql has two integer parameters; STATUS_NOT_FOUND, without text, when there is no row. */
static enum status query_run(struct store *store, struct query *query, const char *sql,
                             int64_t first, int64_t second, struct err *err)
{
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_select(store->reader, err, row_emit, query, sql, "ii", first, second);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}

/* A list may be empty. */
static enum status list_status(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status one_status(enum status status, const char *what, int64_t id, struct err *err)
{
    if (status != STATUS_NOT_FOUND)
        return status;
    return err_set(err, status, "there is no %s %lld", what, (long long)id);
}

#define UPLOADS                                                                                    \
    "SELECT id,sha256,key,device,received_ms,base_version,instances,tokens,size_bytes,round FROM " \
    "uploads "
#define ROUNDS                                                                                     \
    "SELECT id,state,cause,settings,report,detail,created_ms,started_ms,finished_ms,uploads,"      \
    "instances,version FROM rounds "
#define RELEASES                                                                                   \
    "SELECT version,base_version,round,size_bytes,parameters,created_ms,sha256,base_set_sha256,"   \
    "set_sha256,manifest FROM releases "

enum status store_uploads(struct store *store, int64_t after, int limit, upload_visit *visit,
                          void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return list_status(
        query_run(store, &query, UPLOADS "WHERE id>? ORDER BY id LIMIT ?", after, limit, err));
}

enum status store_upload(struct store *store, int64_t id, upload_visit *visit, void *ctx,
                         struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return one_status(query_run(store, &query, UPLOADS "WHERE id=? LIMIT ?", id, 1, err), "upload",
                      id, err);
}

enum status store_round_uploads(struct store *store, int64_t round, upload_visit *visit, void *ctx,
                                struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return list_status(
        query_run(store, &query, UPLOADS "WHERE round=? ORDER BY id LIMIT ?", round, -1, err));
}

enum status store_learned_uploads(struct store *store, int64_t limit, upload_visit *visit,
                                  void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return list_status(query_run(
        store, &query,
        UPLOADS "WHERE round IN (SELECT id FROM rounds WHERE state IN('released','rejected')) AND "
                "id>? ORDER BY round DESC, id DESC LIMIT ?",
        0, limit, err));
}

enum status store_rounds(struct store *store, int64_t before, int limit, round_visit *visit,
                         void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return list_status(query_run(
        store, &query, ROUNDS "WHERE ?1=0 OR id<?1 ORDER BY id DESC LIMIT ?2", before, limit, err));
}

enum status store_round(struct store *store, int64_t id, round_visit *visit, void *ctx,
                        struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return one_status(query_run(store, &query, ROUNDS "WHERE id=? LIMIT ?", id, 1, err), "round",
                      id, err);
}

enum status store_round_learned(struct store *store, round_visit *visit, void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return query_run(store, &query,
                     ROUNDS
                     "WHERE id>? AND state IN('released','rejected') ORDER BY id DESC LIMIT ?",
                     0, 1, err);
}

enum status store_round_open(struct store *store, round_visit *visit, void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return query_run(store, &query,
                     ROUNDS "WHERE finished_ms=? AND state IN('queued','running') LIMIT ?", 0, 1,
                     err);
}

enum status store_releases(struct store *store, int64_t after, int limit, release_visit *visit,
                           void *ctx, struct err *err)
{
    struct query query = {.emit = emit_release, .visit.release = visit, .ctx = ctx};
    return list_status(query_run(store, &query, RELEASES "WHERE version>? ORDER BY version LIMIT ?",
                                 after, limit, err));
}

enum status store_release(struct store *store, int64_t version, release_visit *visit, void *ctx,
                          struct err *err)
{
    struct query query = {.emit = emit_release, .visit.release = visit, .ctx = ctx};
    return one_status(query_run(store, &query, RELEASES "WHERE version=? LIMIT ?", version, 1, err),
                      "release", version, err);
}

static bool totals_take(void *ctx, struct db_row *r)
{
    *(struct store_totals *)ctx = (struct store_totals){.version = db_row_int(r, 0),
                                                        .uploads = db_row_int(r, 1),
                                                        .instances = db_row_int(r, 2),
                                                        .new_instances = db_row_int(r, 3),
                                                        .new_last = db_row_int(r, 4)};
    return false;
}

enum status store_totals(struct store *store, struct store_totals *out, struct err *err)
{
    static const char sql[] =
        "SELECT (SELECT coalesce(max(version),0) FROM releases), count(*),"
        "coalesce(sum(instances),0), coalesce(sum(instances) FILTER (WHERE round IS NULL),0),"
        "coalesce(max(id) FILTER (WHERE round IS NULL),0) FROM uploads";
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_select(store->reader, err, totals_take, out, sql, "");
    pthread_mutex_unlock(&store->read_lock);
    return status;
}

enum status store_version(struct store *store, int64_t *version, struct err *err)
{
    pthread_mutex_lock(&store->read_lock);
    enum status status =
        db_int(store->reader, err, version, "SELECT coalesce(max(version),0) FROM releases", "");
    pthread_mutex_unlock(&store->read_lock);
    return status;
}
