/* Spans of time as people write them. The commands themselves are run by the integration tests. */
// links: server
#include "server/admin.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void spans_have_a_number_and_a_unit(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* 0: refused */
    } cases[] = {{"1s", 1000},
                 {"15m", 900000},
                 {"12h", 43200000},
                 {"7d", 604800000},
                 {"36500d", 3153600000000},
                 {"36501d", 0},
                 {"", 0},
                 {"1", 0},
                 {"h", 0},
                 {"0h", 0},
                 {"-1h", 0},
                 {"1.5h", 0},
                 {"1h ", 0},
                 {"1H", 0},
                 {"1hh", 0},
                 {"9999999s", 0},
                 {"99999999999999999999d", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = 0;
        enum status status = admin_duration_parse(cases[i].text, &ms, NULL);
        assert_int_equal(status, cases[i].ms ? STATUS_OK : STATUS_USAGE);
        assert_int_equal(ms, cases[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spans_have_a_number_and_a_unit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
