/* Releases in the store: one rolls at a time, halts, goes on, is superseded; what devices report is
 * counted once; squashed patches stay within their bytes. */
// links: server
#include "api/base/clock.h"
#include "tests/unit/store_place.h"

struct seen {
    int64_t version, stage, offered, applied, failed;
    char state[16], detail[64];
};

static bool see(void *ctx, const struct release *release)
{
    struct seen *seen = ctx;
    *seen = (struct seen){.version = release->version,
                          .stage = release->stage,
                          .offered = release->offered,
                          .applied = release->applied,
                          .failed = release->failed};
    snprintf(seen->state, sizeof seen->state, "%s", release->state);
    snprintf(seen->detail, sizeof seen->detail, "%s", release->detail ? release->detail : "");
    return false;
}

static struct seen look(struct place *place, int64_t version)
{
    struct seen seen = {0};
    assert_int_equal(store_release(place->store, version, see, &seen, NULL), STATUS_OK);
    return seen;
}

static enum status halt_run(struct store *store, void *ctx, struct err *err)
{
    return store_release_halt(store, *(int64_t *)ctx, "too bad", err);
}

static enum status resume_run(struct store *store, void *ctx, struct err *err)
{
    return store_release_resume(store, *(int64_t *)ctx, err);
}

static enum status withdraw_run(struct store *store, void *ctx, struct err *err)
{
    return store_release_withdraw(store, *(int64_t *)ctx, err);
}

static enum status complete_run(struct store *store, void *ctx, struct err *err)
{
    struct rollout_step step = {.state = ROLLOUT_COMPLETE};
    return store_release_step(store, *(int64_t *)ctx, &step, err);
}

struct asking {
    const char *id;
    int64_t version, release;
};

static enum status ask_run(struct store *store, void *ctx, struct err *err)
{
    struct asking *a = ctx;
    return store_device_ask(store, a->id, a->version, a->release, err);
}

static void ask(struct place *place, const char *id, int64_t version, int64_t release)
{
    struct asking a = {id, version, release};
    assert_int_equal(place_apply(place, ask_run, &a), STATUS_OK);
}

static enum status feedback_run(struct store *store, void *ctx, struct err *err)
{
    return store_device_feedback(store, ctx, err);
}

static enum status report(struct place *place, const char *id, int64_t version, const char *outcome)
{
    struct device d = {.id = id, .outcome = outcome, .outcome_version = version, .took_ms = -1};
    return place_apply(place, feedback_run, &d);
}

static struct rollout_counts counts(struct place *place, int64_t version, int64_t silent_before)
{
    struct rollout_counts out;
    assert_int_equal(store_release_counts(place->store, version, silent_before, &out, NULL),
                     STATUS_OK);
    return out;
}

static void a_newer_release_supersedes_an_unfinished_one(void **state)
{
    struct place *place = *state;
    int64_t first = 1;
    place_release(place, 1, "100%");
    assert_string_equal(look(place, 1).state, "rolling");
    assert_int_equal(place_apply(place, complete_run, &first), STATUS_OK);
    place_release(place, 2, "100%");
    place_release(place, 3, "100%");
    assert_string_equal(look(place, 1).state, "complete");
    assert_string_equal(look(place, 2).state, "superseded");
    place_again(place);
    assert_string_equal(look(place, 3).state, "rolling");
}

static bool count_see(void *ctx, const struct release *release)
{
    (void)release;
    ++*(int *)ctx;
    return true;
}

static enum status unsigned_run(struct store *store, void *ctx, struct err *err)
{
    struct releasing *r = ctx;
    r->release.state = rollout_state_name(ROLLOUT_UNSIGNED);
    return release_run(store, r, err);
}

static void a_release_rolls_once_it_is_signed(void **state)
{
    struct place *place = *state;
    int listed = 0;
    struct releasing second = {.release = {.version = 2, .base_version = 1}, .content = "2"};
    struct releasing third = {.release = {.version = 3, .base_version = 2}, .content = "3"};
    place_release(place, 1, "100%");
    place_sign(place, 1);
    assert_int_equal(place_apply(place, unsigned_run, &second), STATUS_OK);
    assert_int_equal(place_apply(place, unsigned_run, &third), STATUS_OK);
    assert_string_equal(look(place, 1).state, "rolling");
    assert_string_equal(look(place, 3).state, "unsigned");
    assert_int_equal(store_releases(place->store, 0, 9, count_see, &listed, NULL), STATUS_OK);
    assert_int_equal(listed, 1);
    place_sign(place, 3);
    assert_string_equal(look(place, 1).state, "superseded");
    assert_string_equal(look(place, 3).state, "rolling");
    place_sign(place, 2); /* the newest was signed first */
    assert_string_equal(look(place, 2).state, "superseded");
    assert_string_equal(look(place, 3).state, "rolling");
    place_sign(place, 3); /* anew */
    assert_int_equal(store_releases_all(place->store, count_see, &listed, NULL), STATUS_OK);
    assert_int_equal(listed, 4);
}

static void halting_and_resuming_hold_over_a_restart(void **state)
{
    struct place *place = *state;
    int64_t version = 1, none = 9;
    place_release(place, 1, "100%");
    assert_int_equal(place_apply(place, resume_run, &version), STATUS_CONFLICT);
    assert_int_equal(place_apply(place, halt_run, &version), STATUS_OK);
    assert_int_equal(place_apply(place, halt_run, &version), STATUS_CONFLICT);
    assert_int_equal(place_apply(place, halt_run, &none), STATUS_NOT_FOUND);
    place_again(place);
    assert_string_equal(look(place, 1).state, "halted");
    assert_string_equal(look(place, 1).detail, "too bad");
    assert_int_equal(place_apply(place, resume_run, &version), STATUS_OK);
    assert_string_equal(look(place, 1).state, "rolling");
    assert_string_equal(look(place, 1).detail, "");
}

static void a_step_does_not_undo_a_halt(void **state)
{
    struct place *place = *state;
    int64_t version = 1;
    place_release(place, 1, "100%");
    assert_int_equal(place_apply(place, halt_run, &version), STATUS_OK);
    assert_int_equal(place_apply(place, complete_run, &version), STATUS_OK);
    assert_string_equal(look(place, 1).state, "halted");
}

static void a_withdrawn_release_is_offered_no_more(void **state)
{
    struct place *place = *state;
    int64_t one = 1, two = 2;
    struct seen newest = {0};
    place_release(place, 1, "100%");
    place_apply(place, complete_run, &one);
    place_release(place, 2, "100%");
    place_apply(place, complete_run, &two);
    assert_int_equal(place_apply(place, withdraw_run, &one), STATUS_OK);
    assert_int_equal(store_release_in_state(place->store, ROLLOUT_COMPLETE, see, &newest, NULL),
                     STATUS_OK);
    assert_int_equal(newest.version, 1);
}

static void every_device_counts_once(void **state)
{
    struct place *place = *state;
    int64_t version = 2;
    place_release(place, 1, "100%");
    place_release(place, 2, "100%");
    ask(place, "a", 1, 2);
    ask(place, "a", 1, 2);
    ask(place, "b", 0, 2);
    ask(place, "c", 1, 2);
    assert_int_equal(counts(place, 2, -1).offered, 3);
    assert_int_equal(counts(place, 2, INT64_MAX).silent, 3);
    assert_int_equal(report(place, "a", 2, "applied"), STATUS_OK);
    assert_int_equal(report(place, "a", 2, "applied"), STATUS_OK);
    assert_int_equal(report(place, "b", 2, "failed"), STATUS_OK);
    assert_int_equal(report(place, "d", 2, "rolled_back"), STATUS_OK);
    assert_int_equal(report(place, "a", 9, "applied"), STATUS_NOT_FOUND);
    struct rollout_counts c = counts(place, 2, INT64_MAX);
    assert_int_equal(c.offered, 4);
    assert_int_equal(c.applied, 1);
    assert_int_equal(c.failed, 2);
    assert_int_equal(c.silent, 1);
    ask(place, "c", 2, 0); /* asking for what comes after says that it is there */
    assert_int_equal(counts(place, 2, INT64_MAX).applied, 2);
    assert_int_equal(report(place, "b", 2, "applied"), STATUS_OK);
    assert_int_equal(counts(place, 2, INT64_MAX).failed, 1);

    assert_int_equal(place_apply(place, halt_run, &version), STATUS_OK);
    assert_int_equal(place_apply(place, resume_run, &version), STATUS_OK);
    assert_int_equal(counts(place, 2, INT64_MAX).offered, 3); /* those that failed come again */
    place_release(place, 3, "100%");
    assert_int_equal(look(place, 2).offered, 3);
    assert_int_equal(look(place, 2).applied, 3);
    assert_int_equal(counts(place, 2, INT64_MAX).offered, 0);
}

/* ---- squashed patches ---- */

static enum status squash_run(struct store *store, void *ctx, struct err *err)
{
    int64_t version = *(int64_t *)ctx;
    char content[16], hex[HASH_HEX];
    struct hash hash;
    snprintf(content, sizeof content, "squash %06d", (int)(version % 1000000));
    hash_bytes(content, strlen(content), &hash);
    hash_hex(&hash, hex);
    struct squash squash = {.version = version,
                            .size_bytes = (int64_t)strlen(content),
                            .sha256 = hex,
                            .manifest = "{}"};
    return store_squash_add(store, &squash, content, strlen(content), 30, err);
}

static bool stored_see(void *ctx, const struct squash *squash)
{
    *(int *)ctx = squash->stored;
    return false;
}

static void the_oldest_squash_goes_when_there_are_too_many_bytes(void **state)
{
    struct place *place = *state;
    int stored = 0;
    for (int64_t version = 1; version <= 4; version++) {
        assert_int_equal(place_apply(place, squash_run, &version), STATUS_OK);
        clock_sleep_ms(3);
    }
    for (int64_t version = 1; version <= 4; version++) {
        assert_int_equal(store_squash(place->store, 0, version, stored_see, &stored, NULL),
                         STATUS_OK);
        assert_int_equal(stored, version >= 3);
    }
    assert_int_equal(store_squash(place->store, 1, 4, stored_see, &stored, NULL), STATUS_NOT_FOUND);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_newer_release_supersedes_an_unfinished_one),
        PLACED(a_release_rolls_once_it_is_signed),
        PLACED(halting_and_resuming_hold_over_a_restart),
        PLACED(a_step_does_not_undo_a_halt),
        PLACED(a_withdrawn_release_is_offered_no_more),
        PLACED(every_device_counts_once),
        PLACED(the_oldest_squash_goes_when_there_are_too_many_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
