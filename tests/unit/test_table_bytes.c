/* table_bytes: times from bytes, each row's own bytes, and that a trial as it always was keeps its
 * settings, by which results are found again. */
// links: tool
#include "api/wire/json.h"
#include "model/tool/table_bytes.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void times_follow_from_frames(void **state)
{
    (void)state;
    /* 1,448 bytes with their headers: 1,514 on the wire */
    assert_true(fabs(transfer_seconds(1448 - 400, 1514 * 8) - 1) < 1e-12);
    assert_true(fabs(transfer_seconds(51816, 256e3) - 1.7061253) < 1e-6);
}

static struct result round_of(double uplink, double png, double downlink, double difference)
{
    struct result r = {.rounds = 1};
    for (int m = 0; m < MEASURES; m++)
        r.value[0][m] = (double)NAN;
    r.value[0][UPLOADS] = 10;
    r.value[0][UPLINK] = uplink;
    r.value[0][UPLINK_PNG] = png;
    r.value[0][UPLINK_PNG_PLAIN] = 2 * png;
    r.value[0][DOWNLINK] = downlink;
    r.value[0][DOWNLINK_DIFFERENCE] = difference;
    r.value[0][BITS] = 32;
    return r;
}

static void a_row_shows_the_bytes_that_it_sends(void **state)
{
    (void)state;
    struct table_row png = {.sent = UPLINK_PNG, .plain = UPLINK_PNG_PLAIN};
    struct table_row difference = {.sent = DOWNLINK_DIFFERENCE, .plain = MEASURES};
    struct result r = round_of(5000, 3000, 4000, 1000);
    table_bytes_fill(&png, &r);
    assert_true(r.value[0][SENT] == 3000 && r.value[0][SENT_EACH] == 300);
    assert_true(r.value[0][SENT_PLAIN] == 600 && isnan(r.value[0][SENT_BITS]));
    assert_true(r.value[0][TIME_SLOW] == transfer_seconds(3000, 256e3));
    r = round_of(5000, 3000, 4000, 1000);
    table_bytes_fill(&difference, &r);
    assert_true(r.value[0][SENT] == 1000 && r.value[0][SENT_BITS] == 8);
    assert_true(isnan(r.value[0][SENT_EACH]) && r.value[0][TIME_FAST] < r.value[0][TIME_MIDDLE]);
}

static void rows_of_other_tables_are_left_alone(void **state)
{
    (void)state;
    struct table_row row = {.sent = TARGET_MC};
    struct result r = round_of(5000, 3000, 4000, 1000);
    table_bytes_fill(&row, &r);
    assert_true(isnan(r.value[0][SENT]) && isnan(r.value[0][TIME_FAST]));
}

static void every_row_sends_something_and_has_a_mark(void **state)
{
    (void)state;
    static struct table t;
    struct table_plan plan;
    struct err err = {0};
    assert_int_equal(table_plan_init(&plan, 5, 910, &err), STATUS_OK);
    assert_int_equal(table_make(5, &plan, 65, 200000, &t, &err), STATUS_OK);
    assert_in_range(t.rows, 20, TABLE_ROWS - 1);
    for (int i = 0; i < t.rows; i++) {
        assert_true(t.row[i].sent >= UPLINK && t.row[i].sent < SENT);
        assert_int_equal(t.row[i].plain == MEASURES, strncmp(t.row[i].label, "down", 4) == 0);
    }
    assert_int_equal(t.plot[0].rows + t.plot[1].rows, t.rows);
    assert_int_equal(t.plot[1].first_row, t.plot[0].rows);
}

static json *settings_of(const struct trial_options *options)
{
    struct lab lab = {.options = {.stream = "a", .target = "b", .source = "c"}};
    struct study study = {.lab = &lab};
    struct err err = {0};
    json *o = NULL;
    assert_int_equal(study_settings(&study, options, &o, &err), STATUS_OK);
    return o;
}

static void what_is_not_used_does_not_enter_a_trials_settings(void **state)
{
    (void)state;
    static const char *const added[] = {"form", "quality", "delivery", "selected_share"};
    struct trial_options o;
    struct err err = {0};
    assert_int_equal(trial_named("cdcca", &o, &err), STATUS_OK);
    json *plain = settings_of(&o);
    for (int i = 0; i < 4; i++)
        assert_false(json_has(plain, added[i]));
    assert_true(json_has(plain, "codec") && json_has(plain, "token_bits"));
    o.edge.form = FORM_JPEG;
    o.delivery = DELIVERY_BITDELTA;
    json *other = settings_of(&o);
    assert_true(json_has(other, "form") && json_has(other, "quality") &&
                json_has(other, "delivery"));
    assert_false(json_has(other, "keep") || json_has(other, "codec"));
    json_free(plain);
    json_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_follow_from_frames),
        cmocka_unit_test(a_row_shows_the_bytes_that_it_sends),
        cmocka_unit_test(rows_of_other_tables_are_left_alone),
        cmocka_unit_test(every_row_sends_something_and_has_a_mark),
        cmocka_unit_test(what_is_not_used_does_not_enter_a_trials_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
