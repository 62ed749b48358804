/* Quotas: who asks too much is told for how long; a restart forgets nothing of a device's day. */
// links: server
#include "api/base/clock.h"
#include "server/quota.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY_MS = 24 * 60 * 60 * 1000 };

struct place {
    char dir[64];
    struct store *store;
    struct quota *quota;
    struct http_request request;
};

static int place_open(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct err err = {0};
    if (!place)
        return -1;
    *state = place;
    strcpy(place->dir, "/tmp/cdcca-quota-XXXXXX");
    place->request.response.fd = -1;
    return !mkdtemp(place->dir) ||
           store_open(io_posix(), place->dir, &place->store, &err) != STATUS_OK ||
           quota_create(place->store, 1000, &place->quota, &err) != STATUS_OK;
}

static int place_close(void **state)
{
    struct place *place = *state;
    char command[128];
    quota_destroy(place->quota);
    store_close(place->store);
    snprintf(command, sizeof command, "rm -rf %s", place->dir);
    int failed = system(command);
    free(place);
    return failed;
}

/* What the last refusal said. */
static int64_t retry_after(struct place *place)
{
    struct http_response *response = &place->request.response;
    for (int i = 0; i < response->headers; i++)
        if (strcmp(response->header[i].name, "Retry-After") == 0)
            return atoll(response->header[i].value);
    return 0;
}

static enum status upload(struct place *place, const char *device, int64_t bytes)
{
    place->request.response.headers = 0;
    return quota_upload(place->quota, &place->request, device, bytes, NULL);
}

static void a_devices_bytes_are_counted_by_the_day(void **state)
{
    struct place *place = *state;
    struct err err = {0};
    assert_int_equal(upload(place, "a", 600), STATUS_OK);
    assert_int_equal(upload(place, "a", 600), STATUS_OK); /* 200 too many, to be waited for */
    assert_int_equal(upload(place, "a", 1), STATUS_BUSY);
    assert_in_range(retry_after(place), 17279 - 5, 17281); /* 200 of 1000 bytes a day */
    assert_int_equal(quota_check(place->quota, &place->request, "a", &err), STATUS_BUSY);
    assert_non_null(strstr(err.text, "device a"));
    assert_int_equal(upload(place, "b", 600), STATUS_OK);
    quota_give_back(place->quota, "a", 600);
    assert_int_equal(quota_check(place->quota, &place->request, "a", NULL), STATUS_OK);
}

static void a_devices_uploads_are_counted(void **state)
{
    struct place *place = *state;
    int passed = 0;
    while (passed < 2000 && upload(place, "a", 0) == STATUS_OK)
        passed++;
    assert_in_range(passed, 1000, 1001);
    assert_true(retry_after(place) > 0);
}

static enum status add_run(struct store *store, void *ctx, struct err *err)
{
    struct upload *upload = ctx;
    bool repeated;
    return store_upload_add(store, upload, upload->sha256, 1, &repeated, err);
}

static void stored(struct place *place, const char *sha256, const char *device, int64_t age_ms,
                   int64_t bytes)
{
    struct upload upload = {.sha256 = sha256,
                            .device = device,
                            .received_ms = clock_wall_ms() - age_ms,
                            .instances = 1,
                            .size_bytes = bytes};
    struct store_job job = {.run = add_run, .ctx = &upload};
    assert_int_equal(store_apply(place->store, &job, 1, NULL), STATUS_OK);
    assert_int_equal(job.status, STATUS_OK);
}

static void a_restart_begins_with_what_is_stored(void **state)
{
    struct place *place = *state;
#define HEX "00000000000000000000000000000000000000000000000000000000000000"
    stored(place, HEX "01", "a", 1000, 700);
    stored(place, HEX "02", "a", DAY_MS - 60000, 500);
    stored(place, HEX "03", "b", DAY_MS + 60000, 5000);
    stored(place, HEX "04", "c", 1000, 999);
#undef HEX
    assert_int_equal(upload(place, "a", 1), STATUS_BUSY);
    assert_in_range(retry_after(place), 17279 - 5, 17281);
    assert_int_equal(upload(place, "b", 1), STATUS_OK);
    assert_int_equal(upload(place, "c", 1), STATUS_OK);
    assert_int_equal(upload(place, "c", 1), STATUS_BUSY);
}

static int strangers(struct place *place, const char *address, int most)
{
    int passed = 0;
    snprintf(place->request.address, sizeof place->request.address, "%s", address);
    while (passed < most && quota_stranger(place->quota, &place->request, NULL) == STATUS_OK)
        passed++;
    return passed;
}

static void each_address_has_its_own_share(void **state)
{
    struct place *place = *state;
    assert_in_range(strangers(place, "192.0.2.1", 1000), 120, 125);
    assert_in_range(strangers(place, "192.0.2.2", 50), 50, 50);
    assert_in_range(strangers(place, "2001:db8::1", 1000), 120, 125);
    assert_in_range(strangers(place, "2001:db8::2", 50), 0, 3); /* the same network */
    assert_in_range(strangers(place, "2001:db8:0:1::1", 50), 50, 50);
}

static void guesses_are_few_and_right_ones_are_free(void **state)
{
    struct place *place = *state;
    strcpy(place->request.address, "192.0.2.1");
    for (int i = 0; i < 50; i++) {
        assert_int_equal(quota_guess(place->quota, &place->request, NULL), STATUS_OK);
        quota_guess_right(place->quota, &place->request);
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(quota_guess(place->quota, &place->request, NULL), STATUS_OK);
    place->request.response.headers = 0;
    assert_int_equal(quota_guess(place->quota, &place->request, NULL), STATUS_BUSY);
    assert_in_range(retry_after(place), 1, 60);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_open, place_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_devices_bytes_are_counted_by_the_day),  PLACED(a_devices_uploads_are_counted),
        PLACED(a_restart_begins_with_what_is_stored),    PLACED(each_address_has_its_own_share),
        PLACED(guesses_are_few_and_right_ones_are_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
