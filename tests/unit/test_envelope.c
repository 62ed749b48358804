/* Envelopes: the protocol's own test vector for what is signed, and who is believed. Bad bytes are
 * in tests/data/envelope. */
// links: wire
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "signed_sample.h"

/* DSSE's protocol.md: PAE("http://example.com/HelloWorld", "hello world"). */
static void what_is_signed_is_the_protocols_encoding(void **state)
{
    static const char pae[] = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    struct sign_key key = sample_key();
    struct envelope e;
    (void)state;
    assert_int_equal(envelope_init(&e, "http://example.com/HelloWorld", "hello world", 11, NULL),
                     STATUS_OK);
    assert_int_equal(envelope_sign(&e, &key, NULL), STATUS_OK);
    assert_true(sign_verify(&key.public, pae, strlen(pae), &e.signature[0]));
    envelope_free(&e);
}

static enum status verify(const struct buf *text, const char *type, const struct sign_public *keys,
                          int count)
{
    struct envelope e;
    TRY(envelope_parse(text->data, text->len, type, &e, NULL));
    enum status status = envelope_verify(&e, keys, count, NULL);
    envelope_free(&e);
    return status;
}

static void every_signature_must_be_good_and_by_a_key_in_force(void **state)
{
    struct sign_key a = sample_key(), b = sample_key();
    struct sign_public both[2] = {a.public, b.public};
    unsigned char braces[] = "{}";
    struct buf payload = {.data = braces, .len = 2};
    struct buf one = sample_seal(ENVELOPE_MANIFEST, &payload, &a, NULL);
    struct buf two = sample_seal(ENVELOPE_MANIFEST, &payload, &a, &b);
    struct buf none = sample_seal(ENVELOPE_MANIFEST, &payload, NULL, NULL);
    (void)state;
    assert_int_equal(verify(&one, ENVELOPE_MANIFEST, both, 2), STATUS_OK);
    assert_int_equal(verify(&two, ENVELOPE_MANIFEST, both, 2), STATUS_OK);
    assert_int_equal(verify(&one, ENVELOPE_MANIFEST, &b.public, 1), STATUS_REFUSED);
    assert_int_equal(verify(&two, ENVELOPE_MANIFEST, &a.public, 1), STATUS_REFUSED);
    assert_int_equal(verify(&none, ENVELOPE_MANIFEST, both, 2), STATUS_REFUSED);
    assert_int_equal(verify(&one, ENVELOPE_MANIFEST, both, 0), STATUS_REFUSED);
    buf_free(&one);
    buf_free(&two);
    buf_free(&none);
}

/* A signature over a manifest is none over a key document with the same bytes. */
static void bytes_signed_as_one_type_are_not_signed_as_another(void **state)
{
    struct sign_key a = sample_key();
    unsigned char braces[] = "{}";
    struct buf payload = {.data = braces, .len = 2};
    struct envelope e;
    (void)state;
    assert_int_equal(envelope_init(&e, ENVELOPE_MANIFEST, "{}", 2, NULL), STATUS_OK);
    assert_int_equal(envelope_sign(&e, &a, NULL), STATUS_OK);
    snprintf(e.type, sizeof e.type, "%s", ENVELOPE_KEYS);
    assert_int_equal(envelope_verify(&e, &a.public, 1, NULL), STATUS_REFUSED);
    assert_false(envelope_signed_by(&e, &a.public, 1));
    envelope_free(&e);
    struct buf text = sample_seal(ENVELOPE_MANIFEST, &payload, &a, NULL);
    assert_int_equal(verify(&text, ENVELOPE_KEYS, &a.public, 1), STATUS_UNSUPPORTED);
    buf_free(&text);
}

static void every_flipped_bit_of_an_envelope_is_refused(void **state)
{
    struct sign_key key = sample_key();
    struct manifest m = sample_manifest(1, 1);
    struct buf text = sample_sealed_manifest(&m, &key);
    (void)state;
    assert_int_equal(verify(&text, ENVELOPE_MANIFEST, &key.public, 1), STATUS_OK);
    for (size_t bit = 0; bit < 8 * text.len; bit++) {
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (verify(&text, ENVELOPE_MANIFEST, &key.public, 1) == STATUS_OK)
            fail_msg("bit %zu does not matter", bit);
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    buf_free(&text);
}

static void there_is_room_for_eight_signatures(void **state)
{
    struct envelope e;
    (void)state;
    assert_int_equal(envelope_init(&e, ENVELOPE_MANIFEST, "{}", 2, NULL), STATUS_OK);
    for (int i = 0; i < LIMIT_SIGNATURES; i++) {
        struct sign_key key = sample_key();
        assert_int_equal(envelope_sign(&e, &key, NULL), STATUS_OK);
    }
    struct sign_key more = sample_key();
    assert_int_equal(envelope_sign(&e, &more, NULL), STATUS_TOO_LARGE);
    envelope_free(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_is_the_protocols_encoding),
        cmocka_unit_test(every_signature_must_be_good_and_by_a_key_in_force),
        cmocka_unit_test(bytes_signed_as_one_type_are_not_signed_as_another),
        cmocka_unit_test(every_flipped_bit_of_an_envelope_is_refused),
        cmocka_unit_test(there_is_room_for_eight_signatures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
