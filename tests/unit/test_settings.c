/* A round's settings: defaults, bounds, and that stored text means the same when it is read again.
 */
// links: server
#include "server/settings.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static enum status parse(const char *text, struct settings *out, struct err *err)
{
    return settings_parse(text, strlen(text), out, err);
}

static void nothing_means_the_defaults(void **state)
{
    struct settings none, empty, defaults = settings_defaults();
    struct err err;
    (void)state;
    assert_int_equal(parse("", &none, &err), STATUS_OK);
    assert_int_equal(parse("{}", &empty, &err), STATUS_OK);
    assert_int_equal(none.distill.steps, defaults.distill.steps);
    assert_int_equal(empty.distill.batch, defaults.distill.batch);
    assert_int_equal(empty.compress.codec, defaults.compress.codec);
}

static void fields_are_read(void **state)
{
    struct settings s;
    struct err err;
    (void)state;
    assert_int_equal(parse("{\"steps\":7,\"lr\":0.5,\"labels\":\"hard\",\"codec\":\"n\","
                           "\"budget_bytes\":4096,\"seed\":11}",
                           &s, &err),
                     STATUS_OK);
    assert_int_equal(s.distill.steps, 7);
    assert_true(s.distill.lr == 0.5f);
    assert_int_equal(s.distill.labels, LABELS_HARD);
    assert_int_equal(s.compress.codec, 'n');
    assert_int_equal(s.compress.budget_bytes, 4096);
    assert_int_equal(s.distill.seed, 11);
    assert_int_equal(parse("{\"codec\":\"auto\"}", &s, &err), STATUS_OK);
    assert_int_equal(s.compress.codec, 0);
}

static void bounds_are_held(void **state)
{
    static const char *const bad[] = {
        "{\"steps\":0}",
        "{\"steps\":10001}",
        "{\"steps\":1.0}",
        "{\"batch\":0}",
        "{\"batch\":257}",
        "{\"lr\":0}",
        "{\"lr\":1.5}",
        "{\"clip\":-1}",
        "{\"query\":-1}",
        "{\"ce\":\"1\"}",
        "{\"holdout\":0.95}",
        "{\"temperature\":0}",
        "{\"seed\":-1}",
        "{\"labels\":\"\"}",
        "{\"labels\":1}",
        "{\"codec\":\"\"}",
        "{\"codec\":\"ss\"}",
        "{\"codec\":\"0\"}",
        "{\"budget_bytes\":-1}",
        "{\"selected_share\":0}",
        "{\"none\":1}",
        "[]",
        "{",
        "{\"query\":0,\"repr\":0,\"ce\":0,\"kl\":0}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct settings s;
        struct err err = {0};
        if (parse(bad[i], &s, &err) == STATUS_OK || !err.text[0])
            fail_msg("%s was taken", bad[i]);
    }
}

static void stored_text_means_the_same(void **state)
{
    struct settings before, after;
    struct err err;
    struct buf text = {.max = 4096}, again = {.max = 4096};
    (void)state;
    assert_int_equal(
        parse("{\"lr\":0.0013,\"ce\":0.1,\"holdout\":0.15,\"codec\":\"k\"}", &before, &err),
        STATUS_OK);
    assert_int_equal(settings_write(&before, &text, &err), STATUS_OK);
    assert_int_equal(settings_parse(text.data, text.len, &after, &err), STATUS_OK);
    assert_true(after.distill.lr == before.distill.lr && after.distill.ce == before.distill.ce);
    assert_int_equal(settings_write(&after, &again, &err), STATUS_OK);
    assert_string_equal((const char *)text.data, (const char *)again.data);
    assert_non_null(strstr((const char *)text.data, "\"lr\":0.0013,"));
    buf_free(&text);
    buf_free(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_means_the_defaults),
        cmocka_unit_test(fields_are_read),
        cmocka_unit_test(bounds_are_held),
        cmocka_unit_test(stored_text_means_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
