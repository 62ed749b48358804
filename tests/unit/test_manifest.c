/* Manifests: what is written comes back, and what is held against one. Bad bytes are in
 * tests/data/manifest. */
// links: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "signed_sample.h"
#include <stdlib.h>

static void a_manifest_comes_back_as_it_was(void **state)
{
    struct manifest m = sample_manifest(7, 3), out;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    (void)state;
    snprintf(m.channel, sizeof m.channel, "beta");
    m.base.tokenizer[0] = '\0';
    assert_int_equal(manifest_encode(&m, &text, NULL), STATUS_OK);
    assert_int_equal(manifest_parse(text.data, text.len, &out, NULL), STATUS_OK);
    assert_int_equal(out.sequence, 7);
    assert_int_equal(out.base_version, 2);
    assert_int_equal(out.expires_ms, m.expires_ms);
    assert_string_equal(out.channel, "beta");
    assert_string_equal(out.base.encoder, m.base.encoder);
    assert_string_equal(out.base.tokenizer, "");
    assert_true(hash_equal(&out.set, &m.set));
    assert_true(out.gate.passed);
    buf_free(&text);
}

static void every_flipped_bit_of_a_patch_is_refused(void **state)
{
    struct manifest m = sample_manifest(1, 1);
    unsigned char patch[300];
    (void)state;
    for (size_t i = 0; i < sizeof patch; i++)
        patch[i] = (unsigned char)(i * 7);
    m.size = sizeof patch;
    hash_bytes(patch, sizeof patch, &m.patch);
    assert_int_equal(manifest_check_patch(&m, patch, sizeof patch, NULL), STATUS_OK);
    assert_int_equal(manifest_check_patch(&m, patch, sizeof patch - 1, NULL), STATUS_CORRUPT);
    assert_int_equal(manifest_check_patch(&m, patch, 0, NULL), STATUS_CORRUPT);
    for (size_t bit = 0; bit < 8 * sizeof patch; bit++) {
        patch[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_equal(manifest_check_patch(&m, patch, sizeof patch, NULL), STATUS_CORRUPT);
        patch[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

static void another_factory_model_is_named_by_its_part(void **state)
{
    struct manifest m = sample_manifest(1, 1);
    const struct manifest_base mine = m.base;
    const struct {
        char *part;
        const char *word;
    } parts[] = {{m.base.config, "config.json"},
                 {m.base.model, "weights"},
                 {m.base.tokenizer, "tokenizer"},
                 {m.base.encoder, "encoder"}};
    (void)state;
    assert_int_equal(manifest_check_base(&m, &mine, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct err err = {0};
        m.base = mine;
        sample_hex("another", parts[i].part);
        assert_int_equal(manifest_check_base(&m, &mine, &err), STATUS_WRONG_BASE);
        assert_non_null(strstr(err.text, parts[i].word));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_comes_back_as_it_was),
        cmocka_unit_test(every_flipped_bit_of_a_patch_is_refused),
        cmocka_unit_test(another_factory_model_is_named_by_its_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
