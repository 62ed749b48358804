/* Which factory model a folder holds: its files' own SHA-256, read piece by piece; another file is
 * another fingerprint, and a missing one is told. */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge_tiny.h"
#include "fault_io.h"
#include "model/mllm/fingerprint.h"

static int set_up(void **state)
{
    char *dir = calloc(1, TINY_PATH);
    assert_non_null(dir);
    tiny_folder(dir);
    *state = dir;
    return 0;
}

static int tear_down(void **state)
{
    tiny_remove(*state);
    free(*state);
    return 0;
}

/* A file of the letter, longer than a piece that is read at once. */
static void put(const char *dir, const char *name, char letter, size_t len)
{
    char path[2 * TINY_PATH];
    char *bytes = malloc(len);
    assert_non_null(bytes);
    memset(bytes, letter, len);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(io_write_file(io_posix(), path, bytes, len, NULL), STATUS_OK);
    free(bytes);
}

static void expect_hash(const char *is, char letter, size_t len)
{
    struct hash hash;
    char hex[HASH_HEX];
    char *bytes = malloc(len);
    assert_non_null(bytes);
    memset(bytes, letter, len);
    hash_bytes(bytes, len, &hash);
    hash_hex(&hash, hex);
    assert_string_equal(is, hex);
    free(bytes);
}

static void files_are_named_by_their_hashes(void **state)
{
    struct manifest_base base;
    struct err err = {0};
    const size_t large = (3 << 20) + 7;
    assert_int_equal(fingerprint_read(io_posix(), *state, &base, &err), STATUS_NOT_FOUND);
    assert_non_null(strstr(err.text, "config.json"));
    put(*state, "config.json", 'c', 10);
    put(*state, "model.safetensors.index.json", 'i', 20);
    assert_int_equal(fingerprint_read(io_posix(), *state, &base, NULL), STATUS_OK);
    expect_hash(base.config, 'c', 10);
    expect_hash(base.model, 'i', 20); /* shards are named by their index */
    assert_string_equal(base.tokenizer, "");
    put(*state, "model.safetensors", 'm', large);
    put(*state, "tokenizer.json", 't', 30);
    assert_int_equal(fingerprint_read(io_posix(), *state, &base, NULL), STATUS_OK);
    expect_hash(base.model, 'm', large);
    expect_hash(base.tokenizer, 't', 30);
}

static void a_read_that_fails_is_told(void **state)
{
    struct manifest_base base;
    put(*state, "config.json", 'c', 10);
    put(*state, "model.safetensors", 'm', 10);
    bool done = false;
    for (int n = 0; !done; n++) {
        struct fault_io fault = fault_io_make(n, EIO);
        enum status status = fingerprint_read(&fault.io, *state, &base, NULL);
        done = status == STATUS_OK && fault.countdown >= 0;
        assert_true(done || fault.calls[FAULT_CLOSE] > 0 || status == STATUS_IO);
        assert_true(n < 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_named_by_their_hashes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_read_that_fails_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
