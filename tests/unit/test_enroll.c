/* One-time codes: used once, also under a race, and again by whom the first answer did not reach.
 */
// links: server
#include "api/base/clock.h"
#include "auth_place.h"
#include "server/enroll.h"
#include <pthread.h>

static void code_make(struct place *place, const char *device, int64_t ttl_ms, int64_t uses,
                      char code[SECRET_CODE])
{
    struct err err = {0};
    if (enroll_code_add(place->auth, device, ttl_ms, uses, code, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

enum { HOUR_MS = 3600000 };

static void a_code_is_used_once(void **state)
{
    struct place *place = *state;
    char code[SECRET_CODE];
    struct enrolment first, second;
    code_make(place, NULL, HOUR_MS, 1, code);
    assert_int_equal(enroll_redeem(place->auth, code, "kiosk-7", NULL, &first, NULL), STATUS_OK);
    assert_string_equal(first.device, "kiosk-7");
    assert_string_equal(owner(place->auth, first.token), "kiosk-7");
    assert_int_equal(enroll_redeem(place->auth, code, "kiosk-8", NULL, &second, NULL),
                     STATUS_REFUSED);
    assert_int_equal(enroll_redeem(place->auth, code, "kiosk-7", NULL, &second, NULL),
                     STATUS_REFUSED);
    assert_string_equal(owner(place->auth, first.token), "kiosk-7");
}

static void a_code_serves_as_many_as_it_says(void **state)
{
    struct place *place = *state;
    char code[SECRET_CODE];
    struct enrolment one, two, three;
    code_make(place, NULL, HOUR_MS, 2, code);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, NULL, &one, NULL), STATUS_OK);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, NULL, &two, NULL), STATUS_OK);
    assert_string_not_equal(one.device, two.device);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, NULL, &three, NULL), STATUS_REFUSED);
}

static void other_codes_are_refused(void **state)
{
    struct place *place = *state;
    char code[SECRET_CODE], other[SECRET_CODE];
    struct enrolment enrolment;
    static const char *const bad[] = {"", "x", "00000-00000-00000-00000", "' OR 1=1 --"};
    code_make(place, NULL, HOUR_MS, 1, code);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(enroll_redeem(place->auth, bad[i], "a", NULL, &enrolment, NULL),
                         STATUS_REFUSED);
    strcpy(other, code);
    other[22] = other[22] == 'A' ? 'B' : 'A';
    assert_int_equal(enroll_redeem(place->auth, other, "a", NULL, &enrolment, NULL),
                     STATUS_REFUSED);
    code_make(place, NULL, 1, 1, other);
    clock_sleep_ms(5);
    assert_int_equal(enroll_redeem(place->auth, other, "a", NULL, &enrolment, NULL),
                     STATUS_REFUSED);
}

/* The answer was lost: the same device asks again. */
static void a_lost_answer_is_given_again(void **state)
{
    struct place *place = *state;
    char code[SECRET_CODE];
    struct enrolment lost, again, other;
    code_make(place, NULL, HOUR_MS, 1, code);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, "nonce-1", &lost, NULL), STATUS_OK);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, "nonce-1", &again, NULL), STATUS_OK);
    assert_string_equal(again.device, lost.device);
    assert_string_equal(owner(place->auth, again.token), again.device);
    assert_string_equal(owner(place->auth, lost.token), "");
    assert_int_equal(enroll_redeem(place->auth, code, NULL, "nonce-2", &other, NULL),
                     STATUS_REFUSED);
    assert_int_equal(enroll_redeem(place->auth, code, "b", "nonce-1", &other, NULL),
                     STATUS_REFUSED);
    assert_int_equal(auth_token_revoke(place->auth, again.device, NULL), STATUS_OK);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, "nonce-1", &other, NULL),
                     STATUS_REFUSED);
}

static void a_code_for_one_device_is_for_that_alone(void **state)
{
    struct place *place = *state;
    char code[SECRET_CODE];
    struct enrolment before, after;
    struct err err = {0};
    code_make(place, "kiosk-7", HOUR_MS, 1, code);
    assert_int_equal(enroll_redeem(place->auth, code, "kiosk-8", NULL, &before, &err),
                     STATUS_REFUSED);
    assert_non_null(strstr(err.text, "kiosk-7"));
    assert_int_equal(enroll_redeem(place->auth, code, NULL, NULL, &before, NULL), STATUS_OK);
    assert_string_equal(before.device, "kiosk-7");
    code_make(place, "kiosk-7", HOUR_MS, 1, code);
    assert_int_equal(enroll_redeem(place->auth, code, "kiosk-7", NULL, &after, NULL), STATUS_OK);
    assert_string_equal(owner(place->auth, before.token), "");
    assert_string_equal(owner(place->auth, after.token), "kiosk-7");
}

static void nobody_takes_anothers_name(void **state)
{
    struct place *place = *state;
    char code[SECRET_CODE], token[AUTH_TOKEN];
    struct enrolment enrolment;
    code_make(place, NULL, HOUR_MS, 1, code);
    assert_int_equal(auth_token_add(place->auth, ROLE_OPERATOR, "boss", 0, token, NULL), STATUS_OK);
    assert_int_equal(enroll_redeem(place->auth, code, "boss", NULL, &enrolment, NULL),
                     STATUS_CONFLICT);
    assert_int_equal(auth_token_add(place->auth, ROLE_DEVICE, "a", 0, token, NULL), STATUS_OK);
    assert_int_equal(enroll_redeem(place->auth, code, "a", NULL, &enrolment, NULL),
                     STATUS_CONFLICT);
    assert_string_equal(owner(place->auth, token), "a");
    assert_int_equal(enroll_redeem(place->auth, code, "b", NULL, &enrolment, NULL), STATUS_OK);
    code_make(place, "boss", HOUR_MS, 1, code);
    assert_int_equal(enroll_redeem(place->auth, code, NULL, NULL, &enrolment, NULL),
                     STATUS_CONFLICT);
}

struct racer {
    struct place *place;
    const char *code;
    pthread_t thread;
    enum status status;
};

static void *race(void *ctx)
{
    struct racer *racer = ctx;
    struct enrolment enrolment;
    struct auth *auth;
    struct err err;
    if (auth_open(racer->place->dir, &auth, &err) != STATUS_OK)
        return NULL;
    racer->status = enroll_redeem(auth, racer->code, NULL, NULL, &enrolment, &err);
    auth_close(auth);
    return NULL;
}

static void one_of_many_at_once_gets_it(void **state)
{
    char code[SECRET_CODE];
    struct racer racers[8];
    int won = 0;
    code_make(*state, NULL, HOUR_MS, 1, code);
    for (int i = 0; i < 8; i++) {
        racers[i] = (struct racer){.place = *state, .code = code, .status = STATUS_IO};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(racers[i].thread, NULL);
        won += racers[i].status == STATUS_OK;
        assert_true(racers[i].status == STATUS_OK || racers[i].status == STATUS_REFUSED);
    }
    assert_int_equal(won, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_code_is_used_once),
        PLACED(a_code_serves_as_many_as_it_says),
        PLACED(other_codes_are_refused),
        PLACED(a_lost_answer_is_given_again),
        PLACED(a_code_for_one_device_is_for_that_alone),
        PLACED(nobody_takes_anothers_name),
        PLACED(one_of_many_at_once_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
