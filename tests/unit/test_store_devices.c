/* Devices in the store: put and put again, paged by id, filtered, grouped; ten thousand of them. */
// links: server
#include "tests/unit/store_place.h"

static enum status put_run(struct store *store, void *ctx, struct err *err)
{
    return store_device_put(store, ctx, err);
}

static enum status feedback_run(struct store *store, void *ctx, struct err *err)
{
    return store_device_feedback(store, ctx, err);
}

static void put(struct place *place, struct device device)
{
    assert_int_equal(place_apply(place, put_run, &device), STATUS_OK);
}

struct seen {
    char id[65], class_id[65], channel[65], health[16], reason[32];
    int64_t version;
    int count;
};

static bool see(void *ctx, const struct device *d)
{
    struct seen *seen = ctx;
    snprintf(seen->id, sizeof seen->id, "%s", d->id);
    snprintf(seen->class_id, sizeof seen->class_id, "%s", d->class_id ? d->class_id : "");
    snprintf(seen->channel, sizeof seen->channel, "%s", d->channel);
    snprintf(seen->health, sizeof seen->health, "%s", d->health);
    snprintf(seen->reason, sizeof seen->reason, "%s", d->reason ? d->reason : "");
    seen->version = d->version;
    seen->count++;
    return true;
}

static struct seen look(struct place *place, const char *id, int64_t silent_before)
{
    struct seen seen = {.count = 0};
    assert_int_equal(store_device(place->store, id, silent_before, see, &seen, NULL), STATUS_OK);
    return seen;
}

static void what_is_left_out_stays(void **state)
{
    struct place *place = *state;
    put(place, (struct device){.id = "a", .class_id = "camera", .channel = "beta", .version = 3});
    put(place, (struct device){.id = "a", .version = -1, .program = "0.1.0"});
    struct seen seen = look(place, "a", 0);
    assert_string_equal(seen.class_id, "camera");
    assert_string_equal(seen.channel, "beta");
    assert_int_equal(seen.version, 3);
    put(place, (struct device){.id = "b", .version = -1});
    assert_string_equal(look(place, "b", 0).channel, "stable");
    assert_int_equal(look(place, "b", 0).version, 0);
    assert_int_equal(store_device(place->store, "c", 0, see, &seen, NULL), STATUS_NOT_FOUND);
}

static void health_is_the_last_update_or_silence(void **state)
{
    struct place *place = *state;
    place_release(place, 1, "100%");
    put(place, (struct device){.id = "a", .version = 0});
    assert_string_equal(look(place, "a", 0).health, "ok");
    struct device failed = {.id = "a",
                            .outcome = "failed",
                            .outcome_version = 1,
                            .took_ms = -1,
                            .reason = "not finite"};
    assert_int_equal(place_apply(place, feedback_run, &failed), STATUS_OK);
    assert_string_equal(look(place, "a", 0).health, "failing");
    assert_string_equal(look(place, "a", 0).reason, "not finite");
    assert_int_equal(look(place, "a", 0).version, 0);
    assert_string_equal(look(place, "a", INT64_MAX).health, "silent");
    struct device applied = {.id = "a", .outcome = "applied", .outcome_version = 1, .took_ms = 10};
    assert_int_equal(place_apply(place, feedback_run, &applied), STATUS_OK);
    assert_string_equal(look(place, "a", 0).health, "ok");
    assert_int_equal(look(place, "a", 0).version, 1);
}

enum { MANY = 10000 };

static enum status many_run(struct store *store, void *ctx, struct err *err)
{
    (void)ctx;
    for (int i = 0; i < MANY; i++) {
        char id[16];
        snprintf(id, sizeof id, "d%05d", i);
        TRY(store_device_put(
            store,
            &(struct device){.id = id, .version = i % 4, .channel = i % 10 ? "stable" : "beta"},
            err));
    }
    return STATUS_OK;
}

struct grouped {
    int64_t devices, beta;
    int groups;
};

static bool group_see(void *ctx, const struct device_group *group)
{
    struct grouped *grouped = ctx;
    grouped->devices += group->devices;
    grouped->groups++;
    if (strcmp(group->channel, "beta") == 0)
        grouped->beta += group->devices;
    return true;
}

static void ten_thousand_are_paged_filtered_and_grouped(void **state)
{
    struct place *place = *state;
    assert_int_equal(place_apply(place, many_run, NULL), STATUS_OK);
    struct seen seen = {.count = 0};
    struct device_filter filter = {.after = "", .version = -1, .limit = 100};
    for (int page = 1; page <= MANY / 100; page++) {
        assert_int_equal(store_devices(place->store, &filter, see, &seen, NULL), STATUS_OK);
        assert_int_equal(seen.count, page * 100);
        char expected[16];
        snprintf(expected, sizeof expected, "d%05d", page * 100 - 1);
        assert_string_equal(seen.id, expected);
        filter.after = seen.id;
    }
    seen.count = 0;
    filter = (struct device_filter){.after = "d00500", .version = 1, .limit = 3, .health = "ok"};
    assert_int_equal(store_devices(place->store, &filter, see, &seen, NULL), STATUS_OK);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.id, "d00509");
    struct grouped grouped = {0};
    assert_int_equal(store_device_groups(place->store, 0, group_see, &grouped, NULL), STATUS_OK);
    assert_int_equal(grouped.devices, MANY);
    assert_int_equal(grouped.beta, MANY / 10);
    assert_int_equal(grouped.groups, 6); /* beta has even versions alone */
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(what_is_left_out_stays),
        PLACED(health_is_the_last_update_or_silence),
        PLACED(ten_thousand_are_paged_filtered_and_grouped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
