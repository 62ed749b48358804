/* The store: what is acknowledged stays, once; rounds own uploads; a full disk refuses and
 * recovers; the writer commits groups. */
// links: server
#include "server/store.h"
#include "server/writer.h"
#include "tests/unit/fault_io.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[64];
    struct fault_io io;
    struct store *store;
};

static int place_open(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct err err = {0};
    strcpy(place->dir, "/tmp/cdcca-store-XXXXXX");
    place->io = fault_io_make(-1, ENOSPC);
    *state = place;
    return !mkdtemp(place->dir) || store_open(&place->io.io, place->dir, &place->store, &err);
}

static int place_close(void **state)
{
    struct place *place = *state;
    char command[128];
    store_close(place->store);
    snprintf(command, sizeof command, "rm -rf %s", place->dir);
    int failed = system(command);
    free(place);
    return failed;
}

static void place_again(struct place *place)
{
    struct err err;
    store_close(place->store);
    assert_int_equal(store_open(&place->io.io, place->dir, &place->store, &err), STATUS_OK);
}

/* ---- jobs ---- */

struct adding {
    const char *content, *key;
    struct upload upload;
    char sha256[HASH_HEX];
    bool repeated;
};

static enum status add_run(struct store *store, void *ctx, struct err *err)
{
    struct adding *a = ctx;
    struct hash hash;
    hash_bytes(a->content, strlen(a->content), &hash);
    hash_hex(&hash, a->sha256);
    a->upload = (struct upload){.sha256 = a->sha256,
                                .device = "edge-1",
                                .key = a->key,
                                .received_ms = 1,
                                .instances = 3,
                                .tokens = 12,
                                .size_bytes = (int64_t)strlen(a->content)};
    return store_upload_add(store, &a->upload, a->content, strlen(a->content), &a->repeated, err);
}

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

static enum status apply(struct place *place,
                         enum status (*run)(struct store *, void *, struct err *), void *ctx)
{
    struct store_job job = {.run = run, .ctx = ctx};
    store_apply(place->store, &job, 1, NULL);
    return job.status;
}

static enum status add(struct place *place, const char *content, const char *key, int64_t *id,
                       bool *repeated)
{
    struct adding a = {.content = content, .key = key};
    enum status status = apply(place, add_run, &a);
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
    char path[256], hex[HASH_HEX];
    struct hash hash;
    hash_bytes(content, strlen(content), &hash);
    hash_hex(&hash, hex);
    assert_int_equal(store_upload_path(place->store, hex, path, sizeof path, NULL), STATUS_OK);
    return io_exists(path);
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
    assert_int_equal(apply(place, delete_run, &id), STATUS_OK);
    assert_false(blob_there(place, "a"));
    assert_int_equal(apply(place, delete_run, &id), STATUS_NOT_FOUND);

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
    assert_int_equal(apply(place, create_run, &id), STATUS_CONFLICT);
    add(place, "a", NULL, &upload, NULL);
    add(place, "b", NULL, NULL, NULL);
    assert_int_equal(apply(place, create_run, &id), STATUS_OK);
    add(place, "c", NULL, &late, NULL);
    assert_int_equal(totals(place).new_instances, 3);
    assert_int_equal(totals(place).new_last, late);
    assert_int_equal(apply(place, delete_run, &upload), STATUS_CONFLICT);

    place_again(place);
    assert_int_equal(store_round_open(place->store, round_state, found, NULL), STATUS_OK);
    assert_string_equal(found, "queued");
    finish_state = "cancelled";
    assert_int_equal(apply(place, finish_run, &id), STATUS_OK);
    assert_int_equal(totals(place).new_instances, 9);
    assert_int_equal(store_round_open(place->store, round_state, found, NULL), STATUS_NOT_FOUND);

    assert_int_equal(apply(place, create_run, &id), STATUS_OK);
    finish_state = "rejected";
    assert_int_equal(apply(place, finish_run, &id), STATUS_OK);
    assert_int_equal(totals(place).new_instances, 0);
    assert_int_equal(apply(place, create_run, &id), STATUS_CONFLICT);
    assert_int_equal(apply(place, delete_run, &upload), STATUS_OK);
}

/* Whichever call fails, the upload is refused whole, and taken when there is room again. */
static void a_full_disk_refuses_and_recovers(void **state)
{
    struct place *place = *state;
    for (int n = 0; n < 6; n++) {
        char content[8];
        snprintf(content, sizeof content, "c%d", n);
        int64_t before = totals(place).uploads;
        place->io.countdown = n;
        enum status status = add(place, content, NULL, NULL, NULL);
        bool failed = place->io.countdown < 0;
        place->io.countdown = -1;
        assert_int_equal(totals(place).uploads, before + (status == STATUS_OK));
        if (failed && status != STATUS_OK)
            assert_int_equal(status, STATUS_DISK_FULL);
        assert_int_equal(add(place, content, NULL, NULL, NULL), STATUS_OK);
        assert_true(blob_there(place, content));
    }
}

enum { GROUP = 8 };

/* The directory is synced once for all blobs of a group; when any sync fails, none is stored. */
static void a_group_is_synced_at_once_or_not_stored(void **state)
{
    struct place *place = *state;
    struct adding adding[GROUP];
    struct store_job jobs[GROUP];
    char content[GROUP][16];
    for (int failing = 1; failing >= 0; failing--) {
        for (int i = 0; i < GROUP; i++) {
            snprintf(content[i], sizeof content[i], "content %d", i);
            adding[i] = (struct adding){.content = content[i]};
            jobs[i] = (struct store_job){.run = add_run, .ctx = &adding[i]};
        }
        memset(place->io.calls, 0, sizeof place->io.calls);
        place->io.countdown = failing ? 2 * GROUP : -1; /* open and write of each, then a sync */
        enum status status = store_apply(place->store, jobs, GROUP, NULL);
        assert_int_equal(place->io.calls[FAULT_SYNC], failing ? GROUP : GROUP + 1);
        assert_int_equal(status, failing ? STATUS_DISK_FULL : STATUS_OK);
        for (int i = 0; i < GROUP; i++)
            assert_int_equal(jobs[i].status, status);
        place->io.countdown = -1;
        assert_int_equal(totals(place).uploads, failing ? 0 : GROUP);
    }
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
        PLACED(a_full_disk_refuses_and_recovers),
        PLACED(a_group_is_synced_at_once_or_not_stored),
        PLACED(a_directory_has_one_owner),
        PLACED(a_damaged_database_is_said_to_be),
        PLACED(the_writer_refuses_beyond_its_queue_and_finishes_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
