/* Key documents: who may say which keys are in force. Bad bytes are in tests/data/keys. */
// links: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "signed_sample.h"

/* Opens the document signed by a and b against the roots; frees it. */
static enum status open_signed(const struct keyring *k, const struct sign_key *a,
                               const struct sign_key *b, const struct keyring_role *roots,
                               int64_t next)
{
    struct keyring out;
    struct buf text = sample_sealed_keys(k, a, b);
    enum status status = keyring_open(text.data, text.len, roots, next, &out, NULL);
    buf_free(&text);
    if (status == STATUS_OK)
        assert_int_equal(out.version, k->version);
    return status;
}

static void a_document_comes_back_as_it_was(void **state)
{
    struct sign_key root = sample_key(), release = sample_key(), second = sample_key();
    struct keyring k = sample_keyring(3, &root, &release), out;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    (void)state;
    k.release.key[k.release.count++] = second.public;
    assert_int_equal(keyring_encode(&k, &text, NULL), STATUS_OK);
    assert_int_equal(keyring_parse(text.data, text.len, &out, NULL), STATUS_OK);
    assert_memory_equal(&k, &out, sizeof k);
    buf_free(&text);
}

static void wrong_root_is_refused(void **state)
{
    struct sign_key root = sample_key(), other = sample_key(), release = sample_key();
    struct keyring k = sample_keyring(1, &root, &release);
    struct keyring foreign = sample_keyring(1, &other, &release);
    (void)state;
    assert_int_equal(open_signed(&k, &root, NULL, &k.root, 0), STATUS_OK);
    assert_int_equal(open_signed(&k, &other, NULL, &k.root, 0), STATUS_REFUSED);
    assert_int_equal(open_signed(&k, &release, NULL, &k.root, 0), STATUS_REFUSED);
    assert_int_equal(open_signed(&k, NULL, NULL, &k.root, 0), STATUS_REFUSED);
    assert_int_equal(open_signed(&foreign, &other, NULL, &k.root, 0), STATUS_REFUSED);
    /* a stranger's signature beside the good one is not passed over, but at a first document */
    assert_int_equal(open_signed(&k, &root, &other, &k.root, 1), STATUS_REFUSED);
    assert_int_equal(open_signed(&k, &root, &other, &k.root, 0), STATUS_OK);
}

static void versions_follow_each_other(void **state)
{
    struct sign_key root = sample_key(), release = sample_key();
    struct keyring k = sample_keyring(5, &root, &release);
    (void)state;
    assert_int_equal(open_signed(&k, &root, NULL, &k.root, 5), STATUS_OK);
    assert_int_equal(open_signed(&k, &root, NULL, &k.root, 4), STATUS_REFUSED);
    assert_int_equal(open_signed(&k, &root, NULL, &k.root, 6), STATUS_REFUSED);
}

static void root_rotation_needs_the_old_root_and_the_new_one(void **state)
{
    struct sign_key old = sample_key(), new = sample_key(), release = sample_key();
    struct keyring before = sample_keyring(1, &old, &release);
    struct keyring after = sample_keyring(2, &new, &release);
    (void)state;
    assert_int_equal(open_signed(&after, &old, &new, &before.root, 2), STATUS_OK);
    assert_int_equal(open_signed(&after, &old, NULL, &before.root, 2), STATUS_REFUSED);
    assert_int_equal(open_signed(&after, &new, NULL, &before.root, 2), STATUS_REFUSED);
    /* and then the old one no longer counts */
    struct keyring third = sample_keyring(3, &old, &release);
    assert_int_equal(open_signed(&third, &old, NULL, &after.root, 3), STATUS_REFUSED);
}

static void a_first_document_vouches_for_itself_alone(void **state)
{
    struct sign_key root = sample_key(), other = sample_key(), release = sample_key();
    struct keyring k = sample_keyring(1, &root, &release), out;
    struct buf good = sample_sealed_keys(&k, &root, NULL),
               bad = sample_sealed_keys(&k, &other, NULL);
    (void)state;
    assert_int_equal(keyring_open_own(good.data, good.len, &out, NULL), STATUS_OK);
    assert_int_equal(keyring_open_own(bad.data, bad.len, &out, NULL), STATUS_REFUSED);
    buf_free(&good);
    buf_free(&bad);
}

static void every_flipped_bit_of_a_rotation_is_refused(void **state)
{
    struct sign_key old = sample_key(), new = sample_key(), release = sample_key();
    struct keyring before = sample_keyring(1, &old, &release);
    struct keyring after = sample_keyring(2, &new, &release), out;
    struct buf text = sample_sealed_keys(&after, &old, &new);
    (void)state;
    for (size_t bit = 0; bit < 8 * text.len; bit++) {
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (keyring_open(text.data, text.len, &before.root, 2, &out, NULL) == STATUS_OK)
            fail_msg("bit %zu does not matter", bit);
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_int_equal(keyring_open(text.data, text.len, &before.root, 2, &out, NULL), STATUS_OK);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_comes_back_as_it_was),
        cmocka_unit_test(wrong_root_is_refused),
        cmocka_unit_test(versions_follow_each_other),
        cmocka_unit_test(root_rotation_needs_the_old_root_and_the_new_one),
        cmocka_unit_test(a_first_document_vouches_for_itself_alone),
        cmocka_unit_test(every_flipped_bit_of_a_rotation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
