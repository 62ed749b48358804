/* Keys, signatures and key files: RFC 8032's own vector, every bit of a message and of a signature
 * counts, a secret stays with its owner, and a file is whole or not there. */
// links: base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/base/clock.h"
#include "api/base/sign.h"
#include "fault_io.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128], temporary[160];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/cdcca-sign-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/some.key", dir);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(temporary);
    return rmdir(dir);
}

static void text_put(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* RFC 8032, section 7.1, test 2; the seed and the public key as our files hold them. */
static void the_standards_vector(void **state)
{
    static const char secret[] =
        "cdcca-ed25519-secret/1 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=\n";
    static const char public[] =
        "cdcca-ed25519-public/1 PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
    static const uint8_t expected[8] = {0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8};
    struct sign_key key;
    struct signature made;
    char line[SIGN_LINE];
    (void)state;
    text_put(secret, 0600);
    assert_int_equal(sign_key_load(io_posix(), path, &key, NULL), STATUS_OK);
    sign_public_line(&key.public, line);
    assert_string_equal(line, public);
    assert_int_equal(sign_make(&key, "\x72", 1, &made, NULL), STATUS_OK);
    assert_memory_equal(made.bytes, expected, sizeof expected);
    assert_true(sign_verify(&key.public, "\x72", 1, &made));
}

static void every_bit_of_message_and_signature_counts(void **state)
{
    struct sign_key key, other;
    struct signature made;
    uint8_t message[24] = "what is said, is signed";
    (void)state;
    assert_int_equal(sign_generate(&key, NULL), STATUS_OK);
    assert_int_equal(sign_generate(&other, NULL), STATUS_OK);
    assert_int_equal(sign_make(&key, message, sizeof message, &made, NULL), STATUS_OK);
    assert_false(sign_verify(&other.public, message, sizeof message, &made));
    for (size_t bit = 0; bit < 8 * sizeof message; bit++) {
        message[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(sign_verify(&key.public, message, sizeof message, &made));
        message[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * SIGN_BYTES; bit++) {
        made.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(sign_verify(&key.public, message, sizeof message, &made));
        made.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(sign_verify(&key.public, message, sizeof message, &made));
}

static void a_key_comes_back_from_its_file(void **state)
{
    struct sign_key key, again;
    struct sign_public public;
    char id[SIGN_ID], other[SIGN_ID];
    (void)state;
    assert_int_equal(sign_generate(&key, NULL), STATUS_OK);
    text_put("left by a crash, readable by all", 0644);
    assert_int_equal(rename(path, temporary), 0);
    assert_int_equal(sign_key_save(io_posix(), path, &key, NULL), STATUS_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(sign_key_load(io_posix(), path, &again, NULL), STATUS_OK);
    assert_memory_equal(&key, &again, sizeof key);
    assert_int_equal(sign_public_save(io_posix(), path, &key.public, NULL), STATUS_OK);
    assert_int_equal(sign_public_load(io_posix(), path, &public, NULL), STATUS_OK);
    assert_true(sign_equal(&public, &key.public));
    sign_id(&public, id);
    sign_id(&again.public, other);
    assert_string_equal(id, other);
    assert_int_equal(strlen(id), 16);
}

static void a_secret_that_others_can_read_is_refused(void **state)
{
    struct sign_key key;
    struct err err = {0};
    (void)state;
    assert_int_equal(sign_generate(&key, NULL), STATUS_OK);
    assert_int_equal(sign_key_save(io_posix(), path, &key, NULL), STATUS_OK);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(sign_key_load(io_posix(), path, &key, &err), STATUS_REFUSED);
    assert_non_null(strstr(err.text, "chmod 600"));
}

static void what_is_no_key_file_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "cdcca-ed25519-secret/1 ",
        "cdcca-ed25519-secret/1 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs",
        "cdcca-ed25519-secret/1 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=\n\n",
        "cdcca-ed25519-secret/2 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=",
        "cdcca-ed25519-public/1 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=",
        "cdcca-ed25519-secret/1 TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=",
        "cdcca-ed25519-secret/1 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pA==",
    };
    struct sign_key key;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        text_put(bad[i], 0600);
        assert_int_equal(sign_key_load(io_posix(), path, &key, &err), STATUS_MALFORMED);
        assert_non_null(strstr(err.text, path));
    }
    unlink(path);
    assert_int_equal(sign_key_load(io_posix(), path, &key, NULL), STATUS_NOT_FOUND);
}

/* Whatever call fails: the old key or the new one. */
static void saving_is_all_or_nothing(void **state)
{
    struct sign_key before, after, found;
    (void)state;
    assert_int_equal(sign_generate(&before, NULL), STATUS_OK);
    assert_int_equal(sign_generate(&after, NULL), STATUS_OK);
    bool done = false;
    for (int n = 0; !done; n++) {
        struct fault_io fault = fault_io_make(n, ENOSPC);
        assert_int_equal(sign_key_save(io_posix(), path, &before, NULL), STATUS_OK);
        done = sign_key_save(&fault.io, path, &after, NULL) == STATUS_OK && fault.countdown >= 0;
        assert_int_equal(sign_key_load(io_posix(), path, &found, NULL), STATUS_OK);
        assert_true(sign_equal(&found.public, &before.public) ||
                    sign_equal(&found.public, &after.public));
        assert_true(n < 20);
    }
    assert_true(sign_equal(&found.public, &after.public));
}

static void times_are_read_as_they_are_written(void **state)
{
    static const int64_t good[] = {0, 1, 951827696789, 1769862896789, 253402300799999};
    static const char *const bad[] = {"",
                                      "2026-01-31",
                                      "2026-01-31T12:34:56Z",
                                      "2026-01-31T12:34:56.789",
                                      "2026-01-31T12:34:56.789Z ",
                                      "2026-01-31t12:34:56.789z",
                                      "2026-01-31T12:34:56.789+00:00",
                                      "2026-02-29T12:34:56.789Z",
                                      "2026-13-01T12:34:56.789Z",
                                      "2026-00-01T12:34:56.789Z",
                                      "2026-01-31T24:00:00.000Z",
                                      "2026-01-31T12:60:00.000Z",
                                      "1969-12-31T23:59:59.999Z"};
    char text[32];
    int64_t ms;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        clock_format(good[i], text);
        assert_true(clock_parse(text, &ms));
        assert_true(ms == good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(clock_parse(bad[i], &ms));
}

#define SIGN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIGN_TEST(the_standards_vector),
        SIGN_TEST(every_bit_of_message_and_signature_counts),
        SIGN_TEST(a_key_comes_back_from_its_file),
        SIGN_TEST(a_secret_that_others_can_read_is_refused),
        SIGN_TEST(what_is_no_key_file_is_refused),
        SIGN_TEST(saving_is_all_or_nothing),
        cmocka_unit_test(times_are_read_as_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
