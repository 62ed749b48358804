/* Reading uploads and rounds: see store.h. Rows are handed to visitors while the reader is held, so
 * a visitor does nothing slow and calls no store function. */
#include "server/store_parts.h"
#include <string.h>

enum status store_select(struct store *store, struct err *err, db_visit *visit, void *ctx,
                         const char *sql, const char *kinds, ...)
{
    va_list values;
    va_start(values, kinds);
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_select_list(store->reader, err, visit, ctx, sql, kinds, values);
    pthread_mutex_unlock(&store->read_lock);
    va_end(values);
    return status;
}

/* A visitor of typed rows and the function that makes them. */
struct query {
    bool (*emit)(const struct query *query, struct db_row *row);
    union {
        upload_visit *upload;
        round_visit *round;
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
        .version = db_row_int(r, 10),
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
        .target = db_row_int(r, 12),
        .size_bytes = db_row_int(r, 13),
        .tokens = db_row_int(r, 14),
    };
    return query->visit.round(query->ctx, &round);
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
    return store_select(store, err, row_emit, query, sql, "ii", first, second);
}

enum status store_list_status(enum status status)
{
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status store_one_status(enum status status, const char *what, int64_t id, struct err *err)
{
    if (status != STATUS_NOT_FOUND)
        return status;
    return err_set(err, status, "there is no %s %lld", what, (long long)id);
}

#define UPLOADS                                                                                    \
    "SELECT id,sha256,key,device,received_ms,base_version,instances,tokens,size_bytes,round,"      \
    "(SELECT version FROM rounds WHERE rounds.id=uploads.round) FROM uploads "
#define ROUNDS                                                                                     \
    "SELECT id,state,cause,settings,report,detail,created_ms,started_ms,finished_ms,uploads,"      \
    "instances,version,target,"                                                                    \
    "(SELECT coalesce(sum(size_bytes),0) FROM uploads WHERE round=rounds.id),"                     \
    "(SELECT coalesce(sum(tokens),0) FROM uploads WHERE round=rounds.id) FROM rounds "

enum status store_uploads(struct store *store, int64_t after, int limit, upload_visit *visit,
                          void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return store_list_status(
        query_run(store, &query, UPLOADS "WHERE id>? ORDER BY id LIMIT ?", after, limit, err));
}

enum status store_uploads_newest(struct store *store, int64_t before, int limit,
                                 upload_visit *visit, void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return store_list_status(query_run(store, &query, UPLOADS "WHERE id<? ORDER BY id DESC LIMIT ?",
                                       before, limit, err));
}

enum status store_upload(struct store *store, int64_t id, upload_visit *visit, void *ctx,
                         struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return store_one_status(query_run(store, &query, UPLOADS "WHERE id=? LIMIT ?", id, 1, err),
                            "upload", id, err);
}

/* ---- an upload's bytes ---- */

struct bytes {
    struct buf *out;
    enum status status;
};

static bool bytes_take(void *ctx, struct db_row *row)
{
    struct bytes *bytes = ctx;
    size_t len;
    const void *data = db_row_bytes(row, 0, &len);
    bytes->status = buf_append(bytes->out, data, len);
    return false;
}

enum status store_upload_bytes(struct store *store, const char *sha256, struct buf *out,
                               struct err *err)
{
    struct bytes bytes = {.out = out};
    struct hash hash;
    char hex[HASH_HEX];
    enum status status = store_select(
        store, err, bytes_take, &bytes,
        "SELECT b.data FROM uploads u JOIN blobs b ON b.id=u.id WHERE u.sha256=?", "s", sha256);
    if (status == STATUS_NOT_FOUND)
        return err_set(err, status, "there is no upload with SHA-256 %.64s", sha256);
    TRY(status);
    if (bytes.status != STATUS_OK)
        return err_set(err, bytes.status, "an upload of %zu bytes has no room", out->max);
    hash_bytes(out->data, out->len, &hash);
    hash_hex(&hash, hex);
    return strcmp(hex, sha256) == 0
               ? STATUS_OK
               : err_set(err, STATUS_CORRUPT, "the bytes of upload %.64s have SHA-256 %s", sha256,
                         hex);
}

/* ---- lists ---- */

enum status store_uploads_of(struct store *store, int64_t round, int64_t after, int limit,
                             upload_visit *visit, void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return store_list_status(store_select(store, err, row_emit, &query,
                                          UPLOADS "WHERE round=? AND id>? ORDER BY id LIMIT ?",
                                          "iii", round, after, (int64_t)limit));
}

enum status store_round_uploads(struct store *store, int64_t round, upload_visit *visit, void *ctx,
                                struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return store_list_status(
        query_run(store, &query, UPLOADS "WHERE round=? ORDER BY id LIMIT ?", round, -1, err));
}

enum status store_learned_uploads(struct store *store, int64_t limit, upload_visit *visit,
                                  void *ctx, struct err *err)
{
    struct query query = {.emit = emit_upload, .visit.upload = visit, .ctx = ctx};
    return store_list_status(query_run(
        store, &query,
        UPLOADS "WHERE round IN (SELECT id FROM rounds WHERE state IN('released','rejected')) AND "
                "id>? ORDER BY round DESC, id DESC LIMIT ?",
        0, limit, err));
}

enum status store_rounds(struct store *store, int64_t before, int limit, round_visit *visit,
                         void *ctx, struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return store_list_status(query_run(
        store, &query, ROUNDS "WHERE ?1=0 OR id<?1 ORDER BY id DESC LIMIT ?2", before, limit, err));
}

enum status store_round(struct store *store, int64_t id, round_visit *visit, void *ctx,
                        struct err *err)
{
    struct query query = {.emit = emit_round, .visit.round = visit, .ctx = ctx};
    return store_one_status(query_run(store, &query, ROUNDS "WHERE id=? LIMIT ?", id, 1, err),
                            "round", id, err);
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

static bool totals_take(void *ctx, struct db_row *r)
{
    *(struct store_totals *)ctx = (struct store_totals){.version = db_row_int(r, 0),
                                                        .uploads = db_row_int(r, 1),
                                                        .instances = db_row_int(r, 2),
                                                        .new_instances = db_row_int(r, 3),
                                                        .new_last = db_row_int(r, 4)};
    return false;
}

/* From indexes alone: the uploads table may be large. */
enum status store_totals(struct store *store, struct store_totals *out, struct err *err)
{
    static const char sql[] =
        "SELECT (SELECT coalesce(max(version),0) FROM releases), (SELECT count(*) FROM uploads),"
        "(SELECT coalesce(sum(instances),0) FROM uploads), coalesce(sum(instances),0),"
        "coalesce(max(id),0) FROM uploads WHERE round IS NULL";
    return store_select(store, err, totals_take, out, sql, "");
}

enum status store_version(struct store *store, int64_t *version, struct err *err)
{
    pthread_mutex_lock(&store->read_lock);
    enum status status =
        db_int(store->reader, err, version, "SELECT coalesce(max(version),0) FROM releases", "");
    pthread_mutex_unlock(&store->read_lock);
    return status;
}

static bool usage_take(void *ctx, struct db_row *r)
{
    *(struct store_usage *)ctx =
        (struct store_usage){.uploads = db_row_int(r, 0), .bytes = db_row_int(r, 1)};
    return false;
}

enum status store_usage(struct store *store, const char *device, int64_t since_ms,
                        struct store_usage *out, struct err *err)
{
    pthread_mutex_lock(&store->read_lock);
    enum status status = db_select(store->reader, err, usage_take, out,
                                   "SELECT count(*), coalesce(sum(size_bytes),0) FROM uploads "
                                   "WHERE device=? AND received_ms>?",
                                   "si", device, since_ms);
    pthread_mutex_unlock(&store->read_lock);
    return status;
}
