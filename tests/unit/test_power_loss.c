/* Power loss at every point of what the agent writes: uploads that counted are there, whole, and
 * once; a version in use is a whole one; budgets are not spent twice. The disk may have dropped,
 * torn or reordered whatever was not synced (tests/fault/power_io.h). */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/meter.h"
#include "client/probation.h"
#include "client/slots.h"
#include "client/spool.h"
#include "edge_patch.h"
#include "tests/fault/power_io.h"

enum { SEEDS = 4, UPLOADS = 3 };

struct fixture {
    char root[TINY_PATH], data[2 * TINY_PATH], model[2 * TINY_PATH], left[2 * TINY_PATH];
    struct power_io *power;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->root);
    snprintf(f->data, sizeof f->data, "%s/data", f->root);
    snprintf(f->left, sizeof f->left, "%s/left", f->root);
    snprintf(f->model, sizeof f->model, "%s/model", f->root);
    assert_int_equal(mkdir(f->data, 0700), 0);
    f->power = power_create(f->data);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    power_destroy(f->power);
    tiny_remove(f->root);
    free(f);
    return 0;
}

/* f->left becomes what the disk holds then. */
static void lose_power(struct fixture *f, int at, int seed)
{
    uint64_t seeds[] = {power_all, power_none};
    tiny_remove(f->left);
    assert_int_equal(mkdir(f->left, 0700), 0);
    power_replay(f->power, at, seed < 2 ? seeds[seed] : (uint64_t)seed, f->left);
}

/* ---- the spool ---- */

static const char *const upload_text[UPLOADS] = {"the first upload", "the second upload, longer",
                                                 "the third"};

static struct spool *open_spool(struct io *io, const char *dir)
{
    const struct spool_options options = {.max_bytes = 10000};
    char path[3 * TINY_PATH];
    struct spool *spool = NULL;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/spool", dir);
    if (spool_open(io, path, &options, &spool, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return spool;
}

/* How many operations were recorded when each upload counted, and when it was acknowledged. */
struct spool_marks {
    int counted[UPLOADS], acknowledged[UPLOADS];
};

static void use_spool(struct fixture *f, struct spool_marks *marks)
{
    const struct spool_facts facts = {.instances = 1};
    struct buf body = {.max = 1000};
    struct spool_item item;
    struct spool *spool = open_spool(&f->power->io, f->data);
    for (int i = 0; i < UPLOADS; i++) {
        const char *text = upload_text[i];
        assert_int_equal(i == 1 ? spool_hold(spool, text, strlen(text), &facts, 7, NULL)
                                : spool_append(spool, text, strlen(text), &facts, NULL),
                         STATUS_OK);
        marks->counted[i] = f->power->ops;
    }
    assert_int_equal(spool_release(spool, 8, NULL), STATUS_OK);
    for (int i = 0; i < UPLOADS; i++) {
        assert_int_equal(spool_first(spool, UINT64_MAX, &item, &body, NULL), STATUS_OK);
        marks->acknowledged[i] = f->power->ops; /* by the cloud; then it is removed */
        assert_int_equal(spool_done(spool, &item, NULL), STATUS_OK);
    }
    buf_free(&body);
    spool_close(spool);
}

/* Everything that the spool gives out, each time one of ours, whole, and never twice. */
static void drain(struct spool *spool, bool found[UPLOADS])
{
    struct buf body = {.max = 1000};
    struct spool_item item;
    while (spool_first(spool, UINT64_MAX, &item, &body, NULL) == STATUS_OK) {
        int i = 0;
        while (i < UPLOADS && (strlen(upload_text[i]) != body.len ||
                               memcmp(upload_text[i], body.data, body.len) != 0))
            i++;
        if (i < UPLOADS && !found[i])
            found[i] = true;
        else
            fail_msg("an upload that is none of ours, or there twice");
        assert_int_equal(spool_done(spool, &item, NULL), STATUS_OK);
    }
    buf_free(&body);
}

static void test_uploads_that_counted_are_there_once_and_whole(void **state)
{
    struct fixture *f = *state;
    struct spool_marks marks;
    use_spool(f, &marks);
    for (int at = 0; at <= f->power->ops; at++)
        for (int seed = 0; seed < SEEDS; seed++) {
            bool found[UPLOADS] = {false};
            struct spool_counts counts;
            lose_power(f, at, seed);
            struct spool *spool = open_spool(io_posix(), f->left);
            assert_int_equal(spool_release(spool, 8, NULL), STATUS_OK);
            drain(spool, found);
            spool_count(spool, &counts);
            assert_int_equal(counts.rejected, 0); /* none was torn */
            for (int i = 0; i < UPLOADS; i++)
                if (marks.counted[i] <= at && at <= marks.acknowledged[i])
                    assert_true(found[i]);
            spool_close(spool);
        }
}

/* ---- the slots ---- */

struct version_marks { /* operations recorded when each version had come into use */
    struct hash hash[3];
    int used[4]; /* versions 0, 1, then 0 again by a rollback */
};

static struct slots *open_slots(const struct fixture *f, struct io *io, const char *dir)
{
    struct slots *slots = NULL;
    struct err err = {0};
    if (slots_open(io, dir, tiny_load(f->model), true, &slots, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return slots;
}

static void use_slots(struct fixture *f, struct version_marks *marks)
{
    struct buf patch = {0};
    struct slots_info info;
    tiny_student(f->model, 3);
    patch_first(f->model, 0.01f, '2', &patch);
    struct slots *slots = open_slots(f, &f->power->io, f->data);
    for (int i = 0; i < 3; i++) {
        struct err err = {0};
        if (i == 1 && slots_apply(slots, patch.data, patch.len, NULL, &err) != STATUS_OK)
            fail_msg("%s", err.text);
        if (i == 2)
            assert_int_equal(slots_rollback(slots, 1, NULL), STATUS_OK);
        slots_info(slots, &info);
        marks->hash[i] = info.hash;
        marks->used[i] = f->power->ops;
    }
    marks->used[3] = INT_MAX;
    slots_close(slots);
    buf_free(&patch);
}

/* After the power fails a start finds the version that was in use, or the one that was just coming;
 * a version that was left stays left. */
static void test_a_start_finds_the_version_that_was_in_use(void **state)
{
    struct fixture *f = *state;
    struct version_marks marks;
    use_slots(f, &marks);
    for (int at = 0; at <= f->power->ops; at++)
        for (int seed = 0; seed < SEEDS; seed++) {
            struct slots_info info;
            lose_power(f, at, seed);
            struct slots *slots = open_slots(f, io_posix(), f->left);
            slots_info(slots, &info);
            int now = 0; /* the version in use by then, if it is not version 0 from nothing */
            while (marks.used[now + 1] <= at)
                now++;
            bool is_now = hash_equal(&info.hash, &marks.hash[now]);
            bool is_next = now < 2 && hash_equal(&info.hash, &marks.hash[now + 1]);
            assert_true(is_now || is_next);
            slots_close(slots);
        }
}

/* ---- budget and probation ---- */

static int64_t still(void)
{
    return 1000;
}

static void test_a_budget_is_not_spent_twice(void **state)
{
    struct fixture *f = *state;
    const struct meter_clock clock = {still, still};
    struct meter *meter = NULL;
    int taken[4];
    assert_int_equal(meter_open(&f->power->io, f->data, clock, 1000, &meter, NULL), STATUS_OK);
    taken[0] = f->power->ops;
    for (int i = 1; i < 4; i++) {
        assert_int_equal(meter_take(meter, 200, NULL), STATUS_OK);
        taken[i] = f->power->ops;
    }
    meter_close(meter);
    for (int at = 0; at <= f->power->ops; at++)
        for (int seed = 0; seed < SEEDS; seed++) {
            uint64_t most = 1000;
            for (int i = 1; i < 4; i++)
                most -= taken[i] <= at ? 200 : 0;
            lose_power(f, at, seed);
            assert_int_equal(meter_open(io_posix(), f->left, clock, 1000, &meter, NULL), STATUS_OK);
            assert_true(meter_left(meter) <= most);
            meter_close(meter);
        }
}

static void test_a_bad_version_stays_on_probation(void **state)
{
    struct fixture *f = *state;
    struct probation *p = NULL;
    int noted = 0;
    assert_int_equal(probation_open(&f->power->io, f->data, &p, NULL), STATUS_OK);
    assert_false(probation_note(p, 1, 20, 10));
    noted = f->power->ops;
    assert_false(probation_note(p, 1, 20, 0));
    probation_close(p);
    for (int at = noted; at <= f->power->ops; at++)
        for (int seed = 0; seed < SEEDS; seed++) {
            lose_power(f, at, seed);
            assert_int_equal(probation_open(io_posix(), f->left, &p, NULL), STATUS_OK);
            assert_true(probation_note(p, 1, 1, 1));
            probation_close(p);
        }
}

/* ---- the recorder itself ---- */

static void write_raw(struct io *io, const char *path, const char *text, bool sync)
{
    int fd = io->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(io->write(io, fd, text, strlen(text)), (ssize_t)strlen(text));
    if (sync)
        assert_int_equal(io->sync(io, fd), 0);
    assert_int_equal(io->close(io, fd), 0);
}

/* A store that forgets a sync is found out: it would not be worth much otherwise. */
static void test_the_recorder_loses_what_was_not_synced(void **state)
{
    struct fixture *f = *state;
    struct io *io = &f->power->io;
    char a[3 * TINY_PATH], b[3 * TINY_PATH];
    struct stat info;
    snprintf(a, sizeof a, "%s/a", f->data);
    snprintf(b, sizeof b, "%s/b", f->data);
    write_raw(io, a, "not synced", false);
    assert_int_equal(io->rename(io, a, b), 0);
    write_raw(io, a, "synced, but not its name", true);
    snprintf(a, sizeof a, "%s/a", f->left);
    snprintf(b, sizeof b, "%s/b", f->left);
    lose_power(f, f->power->ops, 0); /* power_all */
    assert_int_equal(stat(a, &info), 0);
    assert_int_equal(stat(b, &info), 0);
    assert_int_equal(info.st_size, 10);
    lose_power(f, f->power->ops, 1); /* power_none */
    assert_int_not_equal(stat(a, &info), 0);
    assert_int_not_equal(stat(b, &info), 0);
    bool torn = false;
    for (int seed = 2; seed < 60; seed++) {
        lose_power(f, f->power->ops, seed);
        torn = torn || (stat(b, &info) == 0 && info.st_size < 10);
    }
    assert_true(torn);
}

#define POWER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POWER_TEST(test_uploads_that_counted_are_there_once_and_whole),
        POWER_TEST(test_a_start_finds_the_version_that_was_in_use),
        POWER_TEST(test_a_budget_is_not_spent_twice),
        POWER_TEST(test_a_bad_version_stays_on_probation),
        POWER_TEST(test_the_recorder_loses_what_was_not_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
