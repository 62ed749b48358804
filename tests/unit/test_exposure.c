/* Where the service may listen: the whole table. */
// links: server
#include "server/exposure.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void every_way_to_listen(void **state)
{
    static const struct {
        struct exposure exposure;
        enum status status;
        bool auth;
    } cases[] = {
        {{.loopback = true}, STATUS_OK, false},
        {{.loopback = true, .auth = true}, STATUS_OK, true},
        {{.loopback = true, .tls = true}, STATUS_OK, false},
        {{.loopback = true, .proxied = true}, STATUS_OK, true},
        {{.loopback = true, .proxied = true, .insecure = true}, STATUS_OK, false},
        {{.loopback = false}, STATUS_REFUSED, false},
        {{.loopback = false, .auth = true}, STATUS_REFUSED, false},
        {{.loopback = false, .tls = true}, STATUS_OK, true},
        {{.loopback = false, .proxied = true}, STATUS_OK, true},
        {{.loopback = false, .insecure = true}, STATUS_OK, false},
        {{.loopback = false, .insecure = true, .auth = true}, STATUS_OK, true},
        {{.loopback = false, .insecure = true, .tls = true}, STATUS_OK, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct exposure exposure = cases[i].exposure;
        struct err err = {0};
        enum status status = exposure_settle(&exposure, "0.0.0.0:80", &err);
        if (status != cases[i].status || (status == STATUS_OK && exposure.auth != cases[i].auth))
            fail_msg("case %zu: %s, auth %d", i, status_name(status), exposure.auth);
        if (status != STATUS_OK)
            assert_non_null(strstr(err.text, "--tls-cert"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_way_to_listen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
