/* Codes are what people type, in whatever way they do. */
// links: base
#include "api/base/secret.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_code_reads_as_it_was_made(void **state)
{
    char code[SECRET_CODE], again[SECRET_CODE], other[SECRET_CODE];
    (void)state;
    for (int i = 0; i < 1000; i++) {
        secret_code_make(code);
        assert_int_equal(strlen(code), SECRET_CODE - 1);
        assert_int_equal(strspn(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ-"), SECRET_CODE - 1);
        assert_true(secret_code_read(code, again));
        assert_string_equal(again, code);
        secret_code_make(other);
        assert_string_not_equal(other, code);
    }
}

static void typing_is_forgiven_and_other_text_refused(void **state)
{
    static const char *const right[] = {"10V2A-BCDEF-GHJKM-NPQRS", "10v2abcdefghjkmnpqrs",
                                        " 10V2A BCDEF GHJKM NPQRS ", "iou2a-bcdef-ghjkm-npqrs",
                                        "L0V2A--BCDEF-GHJKMNPQRS-"};
    static const char *const wrong[] = {"",
                                        "-",
                                        "10V2A-BCDEF-GHJKM-NPQR",
                                        "10V2A-BCDEF-GHJKM-NPQRST",
                                        "10V2A-BCDEF-GHJKM-NPQR!",
                                        "10V2A-BCDEF-GHJKM-NPQR\xc3\x84",
                                        "10V2A\nBCDEF-GHJKM-NPQRS"};
    char code[SECRET_CODE];
    (void)state;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_true(secret_code_read(right[i], code));
        assert_string_equal(code, right[0]);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(secret_code_read(wrong[i], code));
}

static void two_secrets_differ(void **state)
{
    struct hash a, b;
    (void)state;
    secret_make(&a);
    secret_make(&b);
    assert_false(hash_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_code_reads_as_it_was_made),
        cmocka_unit_test(typing_is_forgiven_and_other_text_refused),
        cmocka_unit_test(two_secrets_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
