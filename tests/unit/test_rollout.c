/* rollout: plans are parsed or refused by stage, every decision of
 * tests/data/rollout/decisions.txt, and who is in a stage: stable, nested, even, another choice for
 * another release. */
// links: server
#include "server/rollout.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void plans_are_read(void **state)
{
    struct rollout_plan plan;
    (void)state;
    assert_int_equal(rollout_plan_parse("beta=100%:1h,10%:10m,50%:30s:80%:2.5%,100%", &plan, NULL),
                     STATUS_OK);
    assert_int_equal(plan.count, 4);
    assert_string_equal(plan.stage[0].channel, "beta");
    assert_int_equal(plan.stage[0].soak_ms, 3600000);
    assert_string_equal(plan.stage[1].channel, "");
    assert_true(plan.stage[1].success > 0.89 && plan.stage[1].errors < 0.051);
    assert_int_equal(plan.stage[2].soak_ms, 30000);
    assert_true(plan.stage[2].success > 0.79 && plan.stage[2].success < 0.81);
    assert_true(plan.stage[2].errors > 0.024 && plan.stage[2].errors < 0.026);
}

static void plans_that_make_no_sense_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "100",
                                      "0%,100%",
                                      "-5%,100%",
                                      "101%",
                                      "10%",
                                      "beta=100%",
                                      "100%,",
                                      ",100%",
                                      "10%:,100%",
                                      "10%:10,100%",
                                      "10%:10x,100%",
                                      "10%:-1m,100%",
                                      "10%:999999999999d,100%",
                                      "10%:10m:90,100%",
                                      "10%:10m:90%:101%,100%",
                                      "10%:10m:90%:5%:1%,100%",
                                      "=10%,100%",
                                      "nan%,100%",
                                      "1%,2%,3%,4%,5%,6%,7%,8%,100%",
                                      "10% ,100%"};
    struct rollout_plan plan;
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (rollout_plan_parse(bad[i], &plan, &err) != STATUS_USAGE)
            fail_msg("\"%s\" is taken", bad[i]);
}

static void decide(const char *line, int number)
{
    char text[128], before[16], after[16];
    int stage, stage_after;
    long long seconds, offered, applied, failed, silent, reached;
    struct rollout_plan plan;
    struct rollout_step step;
    if (sscanf(line, "%127s | %15s %d %lld | %lld %lld %lld %lld %lld | %15s %d", text, before,
               &stage, &seconds, &offered, &applied, &failed, &silent, &reached, after,
               &stage_after) != 11)
        fail_msg("line %d is no case", number);
    assert_int_equal(rollout_plan_parse(text, &plan, NULL), STATUS_OK);
    struct rollout_now now = {rollout_state_parse(before), stage, seconds * 1000};
    struct rollout_counts counts = {offered, applied, failed, silent, reached};
    rollout_decide(&plan, &now, &counts, &step);
    if (strcmp(rollout_state_name(step.state), after) != 0 || step.stage != stage_after)
        fail_msg("line %d: %s %d, should be %s %d", number, rollout_state_name(step.state),
                 step.stage, after, stage_after);
    assert_int_equal(step.reason[0] != '\0',
                     step.state == ROLLOUT_HALTED && now.state == ROLLOUT_ROLLING);
}

static void every_decision_is_as_written(void **state)
{
    char line[256];
    int cases = 0, number = 0;
    FILE *file = fopen(SOURCE_DIR "/tests/data/rollout/decisions.txt", "r");
    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        number++;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        decide(line, number);
        cases++;
    }
    fclose(file);
    assert_true(cases >= 25);
}

static void a_stage_is_stable_nested_even_and_another_for_another_release(void **state)
{
    enum { DEVICES = 10000 };
    struct rollout_plan plan;
    int first = 0, both = 0, other = 0;
    (void)state;
    assert_int_equal(rollout_plan_parse("10%,50%,100%", &plan, NULL), STATUS_OK);
    for (int i = 0; i < DEVICES; i++) {
        char id[32];
        snprintf(id, sizeof id, "kiosk-%d", i);
        bool in = rollout_reaches(&plan, 0, 7, id, "stable");
        assert_int_equal(in, rollout_reaches(&plan, 0, 7, id, "stable"));
        assert_true(!in || rollout_reaches(&plan, 1, 7, id, "stable"));
        assert_true(rollout_reaches(&plan, 2, 7, id, "stable"));
        first += in;
        bool in_next = rollout_reaches(&plan, 0, 8, id, "stable");
        other += in_next;
        both += in && in_next;
    }
    assert_in_range(first, DEVICES / 10 - 100, DEVICES / 10 + 100);
    assert_in_range(other, DEVICES / 10 - 100, DEVICES / 10 + 100);
    assert_in_range(both, DEVICES / 100 - 50, DEVICES / 100 + 50);
}

static void a_channel_comes_first_and_stays(void **state)
{
    struct rollout_plan plan;
    (void)state;
    assert_int_equal(rollout_plan_parse("beta=100%,0.001%,100%", &plan, NULL), STATUS_OK);
    assert_true(rollout_reaches(&plan, 0, 7, "a", "beta"));
    assert_true(rollout_reaches(&plan, 1, 7, "a", "beta"));
    assert_false(rollout_reaches(&plan, 0, 7, "a", "stable"));
    assert_false(rollout_reaches(&plan, 1, 7, "a", "stable"));
    assert_true(rollout_reaches(&plan, 2, 7, "a", "stable"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_read),
        cmocka_unit_test(plans_that_make_no_sense_are_refused),
        cmocka_unit_test(every_decision_is_as_written),
        cmocka_unit_test(a_stage_is_stable_nested_even_and_another_for_another_release),
        cmocka_unit_test(a_channel_comes_first_and_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
