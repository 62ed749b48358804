/* The store: what is acknowledged stays, once; rounds own uploads; a full disk refuses and
 * recovers; the writer commits groups. */
// links: server
#include "api/base/clock.h"
#include "server/db.h"
#include "server/writer.h"
#include "tests/unit/store_place.h"
#include <pthread.h>

/* ---- jobs ---- */

static enum status delete_run(struct store *store, void *ctx, struct err *err)
{
    return store_upload_delete(store, *(int64_t *)ctx, err);
}

static enum status create_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_create(store, "request", "{}", ctx, err);
}

static const char *finish_state;

static enum status finish_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_finish(store, *(int64_t *)ctx, finish_state, "{}", NULL, 0, err);
}

static enum status add(struct place *place, const char *content, const char *key, int64_t *id,
                       bool *repeated)
{
    struct adding a = {.content = content, .key = key};
    enum status status = place_apply(place, add_run, &a);
    if (id)
        *id = a.upload.id;
    if (repeated)
        *repeated = a.repeated;
    return status;
}

static struct store_totals totals(struct place *place)
{
    struct store_totals out;
    assert_int_equal(store_totals(place->store, &out, NULL), STATUS_OK);
    return out;
}

static bool blob_there(struct place *place, const char *content)
{
    char hex[HASH_HEX];
    struct hash hash;
    struct buf bytes = {.max = 1000};
    hash_bytes(content, strlen(content), &hash);
    hash_hex(&hash, hex);
    enum status status = store_upload_bytes(place->store, hex, &bytes, NULL);
    bool same = bytes.len == strlen(content) && memcmp(bytes.data, content, bytes.len) == 0;
    buf_free(&bytes);
    if (status == STATUS_OK)
        assert_true(same);
    else
        assert_int_equal(status, STATUS_NOT_FOUND);
    return status == STATUS_OK;
}

/* Anywhere in a file of the directory, whatever it belongs to. */
static bool on_disk(struct place *place, const char *content)
{
    static const char *const files[] = {"cloud.db", "cloud.db-wal"};
    bool found = false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        struct buf bytes = {.max = 64 << 20};
        snprintf(path, sizeof path, "%s/%s", place->dir, files[i]);
        if (io_read_file(io_posix(), path, &bytes, NULL) == STATUS_OK)
            found |= memmem(bytes.data, bytes.len, content, strlen(content)) != NULL;
        buf_free(&bytes);
    }
    return found;
}

/* ---- tests ---- */

static void the_same_content_is_stored_once(void **state)
{
    struct place *place = *state;
    int64_t first, again;
    bool repeated;
    assert_int_equal(add(place, "a", NULL, &first, &repeated), STATUS_OK);
    assert_false(repeated);
    assert_int_equal(add(place, "a", NULL, &again, &repeated), STATUS_OK);
    assert_true(repeated);
    assert_int_equal(first, again);
    assert_int_equal(totals(place).uploads, 1);
    place_again(place);
    assert_int_equal(add(place, "a", NULL, &again, &repeated), STATUS_OK);
    assert_true(repeated);
    assert_int_equal(totals(place).new_instances, 3);
}

static void a_key_belongs_to_one_content(void **state)
{
    struct place *place = *state;
    assert_int_equal(add(place, "a", "k", NULL, NULL), STATUS_OK);
    assert_int_equal(add(place, "a", "k", NULL, NULL), STATUS_OK);
    assert_int_equal(add(place, "b", "k", NULL, NULL), STATUS_CONFLICT);
    assert_int_equal(add(place, "b", "k2", NULL, NULL), STATUS_OK);
    assert_int_equal(totals(place).uploads, 2);
}

static void a_failed_job_leaves_the_others_of_its_group(void **state)
{
    struct place *place = *state;
    int64_t none = 99;
    struct adding a = {.content = "a"}, b = {.content = "b"};
    struct store_job jobs[] = {{.run = add_run, .ctx = &a},
                               {.run = delete_run, .ctx = &none},
                               {.run = add_run, .ctx = &b}};
    assert_int_equal(store_apply(place->store, jobs, 3, NULL), STATUS_OK);
    assert_int_equal(jobs[0].status, STATUS_OK);
    assert_int_equal(jobs[1].status, STATUS_NOT_FOUND);
    assert_int_equal(jobs[2].status, STATUS_OK);
    assert_int_equal(totals(place).uploads, 2);
}

static void deleting_removes_the_bytes_unless_they_came_back(void **state)
{
    struct place *place = *state;
    int64_t id;
    assert_int_equal(add(place, "a", NULL, &id, NULL), STATUS_OK);
    assert_true(blob_there(place, "a"));
    assert_int_equal(place_apply(place, delete_run, &id), STATUS_OK);
    assert_false(blob_there(place, "a"));
    assert_int_equal(place_apply(place, delete_run, &id), STATUS_NOT_FOUND);

    assert_int_equal(add(place, "a", NULL, &id, NULL), STATUS_OK);
    struct adding back = {.content = "a"};
    struct store_job jobs[] = {{.run = delete_run, .ctx = &id}, {.run = add_run, .ctx = &back}};
    assert_int_equal(store_apply(place->store, jobs, 2, NULL), STATUS_OK);
    assert_true(blob_there(place, "a"));
    assert_int_equal(totals(place).uploads, 1);
}

static bool round_state(void *ctx, const struct round *round)
{
    snprintf(ctx, 16, "%s", round->state);
    return true;
}

static void a_round_owns_its_uploads(void **state)
{
    struct place *place = *state;
    int64_t id, upload, late;
    char found[16];
    assert_int_equal(place_apply(place, create_run, &id), STATUS_CONFLICT);
    add(place, "a", NULL, &upload, NULL);
    add(place, "b", NULL, NULL, NULL);
    assert_int_equal(place_apply(place, create_run, &id), STATUS_OK);
    add(place, "c", NULL, &late, NULL);
    assert_int_equal(totals(place).new_instances, 3);
    assert_int_equal(totals(place).new_last, late);
    assert_int_equal(place_apply(place, delete_run, &upload), STATUS_CONFLICT);

    place_again(place);
    assert_int_equal(store_round_open(place->store, round_state, found, NULL), STATUS_OK);
    assert_string_equal(found, "queued");
    finish_state = "cancelled";
    assert_int_equal(place_apply(place, finish_run, &id), STATUS_OK);
    assert_int_equal(totals(place).new_instances, 9);
    assert_int_equal(store_round_open(place->store, round_state, found, NULL), STATUS_NOT_FOUND);

    assert_int_equal(place_apply(place, create_run, &id), STATUS_OK);
    finish_state = "rejected";
    assert_int_equal(place_apply(place, finish_run, &id), STATUS_OK);
    assert_int_equal(totals(place).new_instances, 0);
    assert_int_equal(place_apply(place, create_run, &id), STATUS_CONFLICT);
    assert_int_equal(place_apply(place, delete_run, &upload), STATUS_OK);
}

/* ---- removal ---- */

struct expiring {
    int64_t before_ms, deleted;
};

static enum status expire_run(struct store *store, void *ctx, struct err *err)
{
    struct expiring *e = ctx;
    return store_uploads_expire(store, e->before_ms, 32, &e->deleted, err);
}

static void uploads_expire_after_their_round_and_not_before(void **state)
{
    struct place *place = *state;
    int64_t round;
    struct expiring all = {.before_ms = INT64_MAX}, early = {.before_ms = 1};
    place_upload(place, "a");
    place_upload(place, "b");
    assert_int_equal(place_apply(place, expire_run, &all), STATUS_OK);
    assert_int_equal(all.deleted, 0); /* new */
    assert_int_equal(place_apply(place, create_run, &round), STATUS_OK);
    place_upload(place, "c");
    assert_int_equal(place_apply(place, expire_run, &all), STATUS_OK);
    assert_int_equal(all.deleted, 0); /* in a round */
    finish_state = "rejected";
    assert_int_equal(place_apply(place, finish_run, &round), STATUS_OK);
    assert_int_equal(place_apply(place, expire_run, &early), STATUS_OK);
    assert_int_equal(early.deleted, 0);
    assert_int_equal(place_apply(place, expire_run, &all), STATUS_OK);
    assert_int_equal(all.deleted, 2);
    assert_false(blob_there(place, "a"));
    assert_false(blob_there(place, "b"));
    assert_true(blob_there(place, "c"));
    assert_int_equal(totals(place).uploads, 1);
}

static void what_was_deleted_is_on_the_disk_no_more(void **state)
{
    struct place *place = *state;
    char content[20001];
    memset(content, 'x', sizeof content - 1);
    content[sizeof content - 1] = '\0';
    memcpy(content, "a secret at the start", 21);
    memcpy(content + sizeof content - 22, "a secret at the end ", 20);
    int64_t id = place_upload(place, content);
    assert_true(on_disk(place, "a secret at the start"));
    assert_true(on_disk(place, "a secret at the end"));
    assert_int_equal(place_apply(place, delete_run, &id), STATUS_OK);
    assert_false(on_disk(place, "a secret at the start"));
    assert_false(on_disk(place, "a secret at the end"));
}

struct slow_look {
    struct place *place;
    int64_t id;
};

static bool delete_meanwhile(void *ctx, const struct upload *upload)
{
    struct slow_look *look = ctx;
    (void)upload;
    assert_int_equal(place_apply(look->place, delete_run, &look->id), STATUS_OK);
    return false;
}

/* Nobody waits for a reader, such as a backup; the log is emptied after the next commit. */
static void a_reader_only_puts_off_the_removal(void **state)
{
    struct place *place = *state;
    struct slow_look look = {.place = place, .id = place_upload(place, "a secret")};
    assert_int_equal(store_uploads(place->store, 0, 1, delete_meanwhile, &look, NULL), STATUS_OK);
    assert_true(on_disk(place, "a secret"));
    place_upload(place, "another");
    assert_false(on_disk(place, "a secret"));
}

/* ---- uploads that an earlier version kept as files ---- */

static void file_put(struct place *place, const char *content)
{
    char path[256], hex[HASH_HEX];
    struct hash hash;
    hash_bytes(content, strlen(content), &hash);
    hash_hex(&hash, hex);
    snprintf(path, sizeof path, "%s/blobs/%s", place->dir, hex);
    assert_int_equal(io_write_file(io_posix(), path, content, strlen(content), NULL), STATUS_OK);
}

/* A directory as an earlier version left it: rows in the database, bytes in files; a file whose row
 * was deleted, and one half written. */
static void files_make(struct place *place, int count)
{
    char path[128], content[32];
    struct db *db;
    store_close(place->store);
    place->store = NULL;
    snprintf(path, sizeof path, "%s/blobs", place->dir);
    assert_int_equal(io_make_dirs(io_posix(), path, NULL), STATUS_OK);
    for (int i = 0; i < count; i++) {
        snprintf(content, sizeof content, "old %d", i);
        file_put(place, content);
    }
    file_put(place, "nobody's");
    snprintf(path, sizeof path, "%s/blobs/half.tmp", place->dir);
    assert_int_equal(io_write_file(io_posix(), path, "hal", 3, NULL), STATUS_OK);
    snprintf(path, sizeof path, "%s/cloud.db", place->dir);
    assert_int_equal(db_open(path, true, &db, NULL), STATUS_OK);
    assert_int_equal(db_exec(db,
                             "DROP TABLE blobs; PRAGMA user_version=4;"
                             "CREATE TABLE doomed(sha256 TEXT PRIMARY KEY) WITHOUT ROWID;",
                             NULL),
                     STATUS_OK);
    db_close(db);
}

static void files_check(struct place *place, int count)
{
    char path[128], content[32];
    for (int i = 0; i < count; i++) {
        snprintf(content, sizeof content, "old %d", i);
        assert_true(blob_there(place, content));
    }
    assert_int_equal(totals(place).uploads, count);
    snprintf(path, sizeof path, "%s/blobs", place->dir);
    assert_false(io_exists(path));
}

static void files_become_rows(void **state)
{
    enum { FILES = 150 };
    struct place *place = *state;
    char content[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(content, sizeof content, "old %d", i);
        place_upload(place, content);
    }
    files_make(place, FILES);
    assert_int_equal(store_open(&place->io.io, place->dir, &place->store, NULL), STATUS_OK);
    files_check(place, FILES);
    place_again(place);
    files_check(place, FILES);
}

/* Whichever call fails, the next start finishes it. */
static void files_become_rows_whatever_fails(void **state)
{
    enum { FILES = 3 };
    struct place *place = *state;
    char content[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(content, sizeof content, "old %d", i);
        place_upload(place, content);
    }
    int failures = 0;
    place->io.countdown = 0;
    for (bool hit = true; hit; place->io.countdown++) {
        int countdown = place->io.countdown;
        files_make(place, FILES);
        bool failed = store_open(&place->io.io, place->dir, &place->store, NULL) != STATUS_OK;
        hit = place->io.countdown < 0;
        place->io.countdown = -1;
        if (failed)
            assert_int_equal(store_open(&place->io.io, place->dir, &place->store, NULL), STATUS_OK);
        files_check(place, FILES);
        place->io.countdown = countdown;
        failures += failed;
    }
    assert_true(failures >= 3 * FILES); /* an open, a read and a removal of each at least */
}

static bool lineage_see(void *ctx, const struct upload *upload)
{
    int64_t *out = ctx;
    out[0] = upload->round;
    out[1] = upload->version;
    return true;
}

static enum status released_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_finish(store, *(int64_t *)ctx, "released", "{}", NULL, 7, err);
}

static void an_upload_leads_to_its_round_and_release(void **state)
{
    struct place *place = *state;
    int64_t id = place_upload(place, "a"), round, found[2] = {-1, -1};
    assert_int_equal(store_upload(place->store, id, lineage_see, found, NULL), STATUS_OK);
    assert_int_equal(found[0], 0);
    assert_int_equal(place_apply(place, create_run, &round), STATUS_OK);
    assert_int_equal(place_apply(place, released_run, &round), STATUS_OK);
    assert_int_equal(store_uploads_of(place->store, round, 0, 10, lineage_see, found, NULL),
                     STATUS_OK);
    assert_int_equal(found[0], round);
    assert_int_equal(found[1], 7);
}

/* ---- a database of the first schema ---- */

static const char old_rows[] =
    "DROP TABLE devices; DROP TABLE offers; DROP TABLE squashes; DROP TABLE blobs;"
    "DROP TABLE uptime; DROP TABLE maps; DROP TRIGGER uploads_unmap; DROP TRIGGER uploads_return;"
    "DROP INDEX releases_state; DROP INDEX uploads_new;"
    "DROP INDEX uploads_instances;"
    "ALTER TABLE rounds DROP COLUMN target; ALTER TABLE releases DROP COLUMN state;"
    "ALTER TABLE releases DROP COLUMN plan; ALTER TABLE releases DROP COLUMN stage;"
    "ALTER TABLE releases DROP COLUMN stage_at; ALTER TABLE releases DROP COLUMN detail;"
    "ALTER TABLE releases DROP COLUMN tensors; ALTER TABLE releases DROP COLUMN offered;"
    "ALTER TABLE releases DROP COLUMN applied; ALTER TABLE releases DROP COLUMN failed;"
    "PRAGMA user_version=1;"
    "INSERT INTO rounds VALUES(1,'released','count','{}','{}',NULL,1,2,3,1,3,1);"
    "INSERT INTO uploads VALUES(1,'00',NULL,'edge-1',1,0,3,12,5,1);"
    "INSERT INTO releases VALUES(1,0,1,8,10,3,'aa','bb','cc','{}');"
    "INSERT INTO releases VALUES(2,1,1,8,10,3,'aa','bb','cc','{}');"
    "INSERT INTO envelopes VALUES(1,1,1,1,'{}',NULL);";

static bool old_see(void *ctx, const struct release *release)
{
    snprintf(ctx, 16, "%s", release->state);
    return false;
}

static void a_database_of_the_first_schema_opens(void **state)
{
    struct place *place = *state;
    struct db *db;
    char path[128], found[16] = "";
    int64_t lineage[2];
    snprintf(path, sizeof path, "%s/cloud.db", place->dir);
    store_close(place->store);
    assert_int_equal(db_open(path, true, &db, NULL), STATUS_OK);
    assert_int_equal(db_exec(db, old_rows, NULL), STATUS_OK);
    db_close(db);
    assert_int_equal(store_open(&place->io.io, place->dir, &place->store, NULL), STATUS_OK);
    assert_int_equal(store_release(place->store, 1, old_see, found, NULL), STATUS_OK);
    assert_string_equal(found, "complete");
    assert_int_equal(store_release(place->store, 2, old_see, found, NULL), STATUS_OK);
    assert_string_equal(found, "unsigned");
    assert_int_equal(store_upload(place->store, 1, lineage_see, lineage, NULL), STATUS_OK);
    assert_int_equal(lineage[1], 1);
    place_upload(place, "new");
    place_again(place);
    assert_int_equal(totals(place).uploads, 2);
}

static void a_database_of_a_newer_program_is_refused(void **state)
{
    struct place *place = *state;
    struct db *db;
    struct err err;
    char path[128];
    struct store *second = NULL;
    snprintf(path, sizeof path, "%s/cloud.db", place->dir);
    store_close(place->store);
    assert_int_equal(db_open(path, true, &db, NULL), STATUS_OK);
    assert_int_equal(db_exec(db, "PRAGMA user_version=99", NULL), STATUS_OK);
    db_close(db);
    assert_int_equal(store_open(&place->io.io, place->dir, &second, &err), STATUS_UNSUPPORTED);
    place->store = NULL;
}

static enum status keep_run(struct store *store, void *ctx, struct err *err)
{
    (void)ctx;
    return store_uptime_keep(store, err);
}

static void uptime_goes_on_after_a_restart(void **state)
{
    struct place *place = *state;
    clock_sleep_ms(20);
    int64_t before = store_uptime_ms(place->store);
    assert_true(before >= 20);
    assert_int_equal(place_apply(place, keep_run, NULL), STATUS_OK);
    place_again(place);
    assert_true(store_uptime_ms(place->store) >= before);
}

static void a_directory_has_one_owner(void **state)
{
    struct place *place = *state;
    struct store *second;
    struct err err;
    assert_int_equal(store_open(io_posix(), place->dir, &second, &err), STATUS_BUSY);
}

static void a_damaged_database_is_said_to_be(void **state)
{
    struct place *place = *state;
    struct store *second;
    struct err err;
    char path[128];
    snprintf(path, sizeof path, "%s/broken", place->dir);
    assert_int_equal(io_make_dirs(io_posix(), path, NULL), STATUS_OK);
    snprintf(path, sizeof path, "%s/broken/cloud.db", place->dir);
    char junk[4096];
    memset(junk, 'x', sizeof junk);
    assert_int_equal(io_write_file(io_posix(), path, junk, sizeof junk, NULL), STATUS_OK);
    snprintf(path, sizeof path, "%s/broken", place->dir);
    assert_int_equal(store_open(io_posix(), path, &second, &err), STATUS_CORRUPT);
    assert_non_null(strstr(err.text, "broken"));
}

/* ---- the writer ---- */

struct counting {
    struct write write;
    struct adding adding;
    char content[16];
    int *done;
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static enum status gated_run(struct store *store, void *ctx, struct err *err)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return add_run(store, ctx, err);
}

static void count_done(struct write *write)
{
    struct counting *counting = (struct counting *)write;
    *counting->done += write->job.status == STATUS_OK;
}

static void the_writer_refuses_beyond_its_queue_and_finishes_the_rest(void **state)
{
    enum { WRITES = 40, LIMIT = 8 };
    struct place *place = *state;
    static struct counting writes[WRITES];
    struct writer *writer;
    struct err err;
    int done = 0, taken = 0;
    assert_int_equal(writer_create(place->store, LIMIT, &writer, &err), STATUS_OK);
    pthread_mutex_lock(&gate);
    for (int i = 0; i < WRITES; i++) {
        struct counting *w = &writes[i];
        snprintf(w->content, sizeof w->content, "w%d", i);
        w->adding = (struct adding){.content = w->content};
        w->write = (struct write){.job = {.run = gated_run, .ctx = &w->adding}, .done = count_done};
        w->done = &done;
        enum status status = writer_submit(writer, &w->write, &err);
        taken += status == STATUS_OK;
        assert_true(status == STATUS_OK || status == STATUS_BUSY);
    }
    pthread_mutex_unlock(&gate);
    writer_destroy(writer);
    assert_true(taken >= LIMIT && taken < WRITES);
    assert_int_equal(done, taken);
    assert_int_equal(totals(place).uploads, taken);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(the_same_content_is_stored_once),
        PLACED(a_key_belongs_to_one_content),
        PLACED(a_failed_job_leaves_the_others_of_its_group),
        PLACED(deleting_removes_the_bytes_unless_they_came_back),
        PLACED(a_round_owns_its_uploads),
        PLACED(uploads_expire_after_their_round_and_not_before),
        PLACED(what_was_deleted_is_on_the_disk_no_more),
        PLACED(a_reader_only_puts_off_the_removal),
        PLACED(files_become_rows),
        PLACED(files_become_rows_whatever_fails),
        PLACED(an_upload_leads_to_its_round_and_release),
        PLACED(a_database_of_the_first_schema_opens),
        PLACED(a_database_of_a_newer_program_is_refused),
        PLACED(uptime_goes_on_after_a_restart),
        PLACED(a_directory_has_one_owner),
        PLACED(a_damaged_database_is_said_to_be),
        PLACED(the_writer_refuses_beyond_its_queue_and_finishes_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
