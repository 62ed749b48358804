/* Model slots: a delta is applied whole or not at all, a start finds a whole slot whatever lies
 * there, a version that misbehaves can be left, and one that fails three times is blocked. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/slots.h"
#include "edge_patch.h"
#include "fault_io.h"
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

struct fixture {
    char root[TINY_PATH], model[2 * TINY_PATH], data[2 * TINY_PATH];
    struct buf patch[2];  /* 0 -> 1, 1 -> 2 */
    struct hash hash[3];  /* of the set at each version */
    struct buf nan_patch; /* 0 -> 1 whose result has wild values */
};

static void make_patches(struct fixture *f)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set;
    struct mllm *m = tiny_load(f->model);
    assert_int_equal(trainable_attach(m, &options, &set, NULL), STATUS_OK);
    float *values = malloc(set.values * sizeof *values);
    assert_non_null(values);
    trainable_hash(&set, &f->hash[0]);
    trainable_read(&set, values);
    patch_make(&set, values, 1, 1e30f, 'f', &f->nan_patch);
    trainable_read(&set, values);
    for (int i = 0; i < 2; i++) {
        patch_make(&set, values, i + 1, 0.01f, '2', &f->patch[i]);
        trainable_write(&set, values);
        trainable_hash(&set, &f->hash[i + 1]);
    }
    free(values);
    trainable_free(&set);
    mllm_release(m);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->root);
    snprintf(f->model, sizeof f->model, "%s/model", f->root);
    snprintf(f->data, sizeof f->data, "%s/data", f->root);
    tiny_student(f->model, 3);
    make_patches(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    tiny_remove(f->root);
    buf_free(&f->patch[0]);
    buf_free(&f->patch[1]);
    buf_free(&f->nan_patch);
    free(f);
    return 0;
}

static struct slots *open_with(struct fixture *f, struct io *io)
{
    struct slots *slots = NULL;
    struct err err = {0};
    if (slots_open(io, f->data, tiny_load(f->model), true, &slots, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return slots;
}

static struct slots *open_slots(struct fixture *f)
{
    return open_with(f, io_posix());
}

static void expect_version(struct fixture *f, struct slots *slots, int64_t version)
{
    struct slots_info info;
    struct trainable set;
    struct hash hash;
    int64_t acquired;
    slots_info(slots, &info);
    assert_int_equal(info.version, version);
    assert_true(hash_equal(&info.hash, &f->hash[version]));
    struct mllm *m = slots_acquire(slots, &acquired);
    assert_int_equal(acquired, version);
    assert_int_equal(trainable_list(m, &set, NULL), STATUS_OK);
    trainable_hash(&set, &hash);
    assert_true(hash_equal(&hash, &f->hash[version]));
    trainable_free(&set);
    mllm_release(m);
}

/* What a start finds. */
static void expect_after_restart(struct fixture *f, int64_t version)
{
    struct slots *slots = open_slots(f);
    expect_version(f, slots, version);
    slots_close(slots);
}

static enum status apply(struct slots *slots, const struct buf *patch, struct err *err)
{
    return slots_apply(slots, patch->data, patch->len, NULL, err);
}

/* Data at versions 1 and 2. */
static void advance(struct fixture *f)
{
    struct err err = {0};
    struct slots *slots = open_slots(f);
    for (int i = 0; i < 2; i++)
        if (apply(slots, &f->patch[i], &err) != STATUS_OK)
            fail_msg("%s", err.text);
    expect_version(f, slots, 2);
    slots_close(slots);
}

static void slot_path(const struct fixture *f, const char *name, char out[4 * TINY_PATH])
{
    snprintf(out, 4 * TINY_PATH, "%s/%s", f->data, name);
}

static void test_applies_and_comes_back(void **state)
{
    struct fixture *f = *state;
    expect_after_restart(f, 0);
    advance(f);
    expect_after_restart(f, 2);
    char slots[4 * TINY_PATH];
    slot_path(f, "slots", slots);
    assert_int_equal(tiny_count(slots, ".safetensors"), 2); /* active and previous */
}

static void test_a_held_model_outlives_the_swap(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = open_slots(f);
    struct trainable set;
    struct hash hash;
    int64_t version;
    struct mllm *held = slots_acquire(slots, &version);
    assert_int_equal(apply(slots, &f->patch[0], NULL), STATUS_OK);
    expect_version(f, slots, 1);
    assert_int_equal(trainable_list(held, &set, NULL), STATUS_OK);
    trainable_hash(&set, &hash);
    assert_true(hash_equal(&hash, &f->hash[0]));
    trainable_free(&set);
    mllm_release(held);
    slots_close(slots);
}

static void test_refuses_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = open_slots(f);
    struct err err = {0};
    assert_int_equal(apply(slots, &f->patch[1], &err), STATUS_WRONG_BASE);
    assert_non_null(strstr(err.text, "version 0"));
    assert_int_equal(apply(slots, &f->patch[0], &err), STATUS_OK);
    assert_int_equal(apply(slots, &f->patch[0], &err), STATUS_WRONG_BASE);
    expect_version(f, slots, 1);
    slots_close(slots);
    expect_after_restart(f, 1);
}

static void test_refuses_truncated_and_altered_patches(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = open_slots(f);
    struct buf *patch = &f->patch[0];
    for (size_t len = 0; len < patch->len; len += 1 + patch->len / 40)
        assert_int_not_equal(slots_apply(slots, patch->data, len, NULL, NULL), STATUS_OK);
    for (size_t at = 0; at < patch->len; at += 1 + patch->len / 40) {
        patch->data[at] ^= 0x10;
        struct err err = {0};
        assert_int_not_equal(apply(slots, patch, &err), STATUS_OK);
        assert_true(err.text[0] != '\0');
        patch->data[at] ^= 0x10;
    }
    expect_version(f, slots, 0);
    assert_int_equal(apply(slots, patch, NULL), STATUS_OK);
    slots_close(slots);
}

static void test_the_self_test_holds_back_wild_weights(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = open_slots(f);
    struct err err = {0};
    assert_int_equal(apply(slots, &f->nan_patch, &err), STATUS_REFUSED);
    assert_non_null(strstr(err.text, "self-test"));
    expect_version(f, slots, 0);
    slots_close(slots);
    expect_after_restart(f, 0);
}

static void test_rolls_back_to_the_previous_version(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct hash patch;
    advance(f);
    struct slots *slots = open_slots(f);
    if (slots_rollback(slots, 2, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    expect_version(f, slots, 1);
    hash_bytes(f->patch[1].data, f->patch[1].len, &patch);
    assert_true(slots_blocked(slots, 2, &patch));
    assert_int_equal(slots_rollback(slots, 1, &err), STATUS_NOT_FOUND);
    slots_close(slots);
    expect_after_restart(f, 1);
}

static void test_three_failures_block_a_patch_over_restarts(void **state)
{
    struct fixture *f = *state;
    struct hash bad = {{1}}, other = {{2}};
    struct slots *slots = open_slots(f);
    assert_false(slots_failed(slots, 1, &bad));
    assert_false(slots_failed(slots, 1, &bad));
    assert_false(slots_blocked(slots, 1, &bad));
    slots_close(slots);
    slots = open_slots(f);
    assert_true(slots_failed(slots, 1, &bad));
    assert_true(slots_blocked(slots, 1, &bad));
    assert_false(slots_blocked(slots, 1, &other));
    assert_false(slots_failed(slots, 1, &other));
    assert_true(slots_blocked(slots, 1, &bad)); /* a newer failure does not forget it */
    slots_close(slots);
}

static void damage(const struct fixture *f, const char *name)
{
    char path[4 * TINY_PATH];
    struct stat info;
    slot_path(f, name, path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size / 2), 0);
}

static void test_a_damaged_active_slot_gives_way_to_the_previous(void **state)
{
    struct fixture *f = *state;
    advance(f);
    damage(f, "slots/v2.safetensors");
    expect_after_restart(f, 1);
    damage(f, "slots/v1.safetensors");
    expect_after_restart(f, 0);
}

static void test_a_damaged_state_finds_the_newest_slot(void **state)
{
    struct fixture *f = *state;
    advance(f);
    damage(f, "state.json");
    expect_after_restart(f, 2);
}

static void test_another_factory_model_is_refused(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = NULL;
    struct err err = {0};
    char model[3 * TINY_PATH];
    advance(f);
    snprintf(model, sizeof model, "%s/other", f->root);
    tiny_student(model, 4);
    assert_int_equal(slots_open(io_posix(), f->data, tiny_load(model), true, &slots, &err),
                     STATUS_CONFLICT);
}

static void test_reading_alone_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = NULL;
    assert_int_equal(slots_open(io_posix(), f->data, tiny_load(f->model), false, &slots, NULL),
                     STATUS_OK);
    expect_version(f, slots, 0);
    slots_close(slots);
    assert_false(io_exists(f->data));
}

/* An apply whose n-th io call fails, and then the process is gone: the old version or the new one,
 * whole, and the next apply works. */
static void test_apply_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    expect_after_restart(f, 0);
    for (int n = 0; !finished && n < 100; n++) {
        struct fault_io fault = fault_io_make(-1, EIO);
        struct err err = {0};
        tiny_remove(f->data);
        struct slots *slots = open_with(f, &fault.io);
        fault.countdown = n;
        enum status status = apply(slots, &f->patch[0], &err);
        finished = fault.countdown >= 0;
        fault.countdown = -1;
        expect_version(f, slots, status == STATUS_OK ? 1 : 0);
        slots_close(slots);
        slots = open_slots(f);
        struct slots_info info;
        slots_info(slots, &info);
        if (status == STATUS_OK)
            assert_int_equal(info.version, 1);
        if (info.version == 0)
            assert_int_equal(apply(slots, &f->patch[0], &err), STATUS_OK);
        expect_version(f, slots, 1);
        slots_close(slots);
    }
    assert_true(finished);
}

/* The same for a rollback: the version left, or the one before, whole; the decision to leave it is
 * made again or kept. */
static void test_rollback_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    struct hash patch;
    hash_bytes(f->patch[1].data, f->patch[1].len, &patch);
    for (int n = 0; !finished && n < 100; n++) {
        struct fault_io fault = fault_io_make(-1, EIO);
        struct slots_info info;
        tiny_remove(f->data);
        advance(f);
        struct slots *slots = open_with(f, &fault.io);
        fault.countdown = n;
        enum status status = slots_rollback(slots, 2, NULL);
        finished = fault.countdown >= 0;
        fault.countdown = -1;
        expect_version(f, slots, status == STATUS_OK ? 1 : 2);
        slots_close(slots);
        slots = open_slots(f);
        slots_info(slots, &info);
        if (info.version == 2)
            assert_int_equal(slots_rollback(slots, 2, NULL), STATUS_OK);
        expect_version(f, slots, 1);
        assert_true(slots_blocked(slots, 2, &patch));
        slots_close(slots);
    }
    assert_true(finished);
}

/* Failing at start, too: it says so, or finds a whole version that was in use. */
static void test_start_with_every_io_call_failing_once(void **state)
{
    struct fixture *f = *state;
    bool finished = false;
    advance(f);
    for (int n = 0; !finished && n < 100; n++) {
        struct fault_io fault = fault_io_make(n, EIO);
        struct slots *slots = NULL;
        struct slots_info info;
        if (slots_open(&fault.io, f->data, tiny_load(f->model), true, &slots, NULL) == STATUS_OK) {
            slots_info(slots, &info);
            expect_version(f, slots, info.version);
            slots_close(slots);
        }
        finished = fault.countdown >= 0;
        slots = open_slots(f);
        slots_info(slots, &info);
        expect_version(f, slots, info.version);
        slots_close(slots);
    }
    assert_true(finished);
}

static void test_short_reads_and_writes_are_no_error(void **state)
{
    struct fixture *f = *state;
    struct fault_io fault = fault_io_make(-1, 0);
    struct slots *slots = open_with(f, &fault.io);
    fault.trickle = true;
    assert_int_equal(apply(slots, &f->patch[0], NULL), STATUS_OK);
    fault.trickle = false;
    slots_close(slots);
    expect_after_restart(f, 1);
}

struct answering { /* one that answers without a pause while versions change */
    struct fixture *f;
    struct slots *slots;
    atomic_bool ending;
    int answered, seen[3];
};

static void *answer_on(void *ctx)
{
    struct answering *a = ctx;
    while (!atomic_load(&a->ending)) {
        int64_t version;
        struct trainable set;
        struct hash hash;
        struct mllm *m = slots_acquire(a->slots, &version);
        assert_int_equal(trainable_list(m, &set, NULL), STATUS_OK);
        trainable_hash(&set, &hash);
        assert_true(hash_equal(&hash, &a->f->hash[version]));
        trainable_free(&set);
        mllm_release(m);
        a->seen[version]++;
        a->answered++;
    }
    return NULL;
}

static void test_answers_go_on_while_versions_change(void **state)
{
    struct fixture *f = *state;
    struct answering a = {.f = f, .slots = open_slots(f)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, answer_on, &a), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(apply(a.slots, &f->patch[i], NULL), STATUS_OK);
    assert_int_equal(slots_rollback(a.slots, 2, NULL), STATUS_OK);
    atomic_store(&a.ending, true);
    pthread_join(thread, NULL);
    assert_true(a.answered > 0);
    slots_close(a.slots);
}

static void test_a_late_rollback_leaves_the_next_version_alone(void **state)
{
    struct fixture *f = *state;
    advance(f);
    struct slots *slots = open_slots(f);
    assert_int_equal(slots_rollback(slots, 1, NULL), STATUS_NOT_FOUND);
    expect_version(f, slots, 2);
    slots_close(slots);
}

static void test_many_failures_forget_the_oldest_alone(void **state)
{
    struct fixture *f = *state;
    struct slots *slots = open_slots(f);
    for (int i = 0; i <= SLOTS_FAILED_MAX; i++) {
        struct hash patch = {{(unsigned char)(i + 1)}};
        for (int j = 0; j < SLOTS_FAILURES_MAX; j++)
            slots_failed(slots, i + 1, &patch);
    }
    slots_close(slots);
    slots = open_slots(f);
    for (int i = 0; i <= SLOTS_FAILED_MAX; i++) {
        struct hash patch = {{(unsigned char)(i + 1)}};
        assert_int_equal(slots_blocked(slots, i + 1, &patch), i > 0);
    }
    slots_close(slots);
}

#define EDGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EDGE_TEST(test_applies_and_comes_back),
        EDGE_TEST(test_a_held_model_outlives_the_swap),
        EDGE_TEST(test_refuses_what_does_not_fit),
        EDGE_TEST(test_refuses_truncated_and_altered_patches),
        EDGE_TEST(test_the_self_test_holds_back_wild_weights),
        EDGE_TEST(test_rolls_back_to_the_previous_version),
        EDGE_TEST(test_three_failures_block_a_patch_over_restarts),
        EDGE_TEST(test_a_damaged_active_slot_gives_way_to_the_previous),
        EDGE_TEST(test_a_damaged_state_finds_the_newest_slot),
        EDGE_TEST(test_another_factory_model_is_refused),
        EDGE_TEST(test_reading_alone_writes_nothing),
        EDGE_TEST(test_apply_with_every_io_call_failing_once),
        EDGE_TEST(test_rollback_with_every_io_call_failing_once),
        EDGE_TEST(test_start_with_every_io_call_failing_once),
        EDGE_TEST(test_short_reads_and_writes_are_no_error),
        EDGE_TEST(test_answers_go_on_while_versions_change),
        EDGE_TEST(test_a_late_rollback_leaves_the_next_version_alone),
        EDGE_TEST(test_many_failures_forget_the_oldest_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
