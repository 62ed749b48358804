/* The keys folder: what is made, exchanged and found again, and that a change which is cut off at
 * any call leaves the keys before or the keys after, never a document without its keys. */
// links: server
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault_io.h"
#include "server/keys.h"
#include "signed_sample.h"
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];

static void forget(void)
{
    char path[512];
    DIR *list = opendir(dir);
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list));) {
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    closedir(list);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/cdcca-keys-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    forget();
    return rmdir(dir);
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static struct keys *open_keys(void)
{
    struct keys *keys = NULL;
    struct err err = {0};
    if (keys_open(io_posix(), dir, &keys, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return keys;
}

static enum status sign_one(struct keys *keys, struct envelope *out)
{
    assert_int_equal(envelope_init(out, ENVELOPE_MANIFEST, "{}", 2, NULL), STATUS_OK);
    return keys_sign(keys, out, NULL);
}

static void a_new_folder_signs_and_verifies(void **state)
{
    struct envelope e;
    struct sign_public root, file;
    struct stat info;
    (void)state;
    struct keys *none = NULL;
    assert_int_equal(keys_open(io_posix(), dir, &none, NULL), STATUS_NOT_FOUND);
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_OK);
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_CONFLICT);
    assert_int_equal(stat(in_dir("root.key"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(stat(in_dir("release.key"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    struct keys *keys = open_keys();
    assert_true(keys_can_sign(keys));
    assert_int_equal(sign_one(keys, &e), STATUS_OK);
    assert_int_equal(keys_verify(keys, &e, NULL), STATUS_OK);
    envelope_free(&e);
    keys_root(keys, &root);
    assert_int_equal(sign_public_load(io_posix(), in_dir("root.pub"), &file, NULL), STATUS_OK);
    assert_true(sign_equal(&root, &file));
    keys_close(keys);
}

/* The documents as a device follows them, from document 1's roots. */
static void expect_chain(struct keys *keys, int64_t newest)
{
    struct keyring before, next;
    for (int64_t v = 1; v <= newest; v++) {
        struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
        assert_int_equal(keys_document(keys, v, &text, NULL), STATUS_OK);
        if (v == 1)
            assert_int_equal(keyring_open_own(text.data, text.len, &next, NULL), STATUS_OK);
        else
            assert_int_equal(keyring_open(text.data, text.len, &before.root, v, &next, NULL),
                             STATUS_OK);
        before = next;
        buf_free(&text);
    }
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    assert_int_equal(keys_document(keys, newest + 1, &text, NULL), STATUS_NOT_FOUND);
    assert_int_equal(keys_document(keys, 0, &text, NULL), STATUS_OK);
    buf_free(&text);
}

static void a_running_service_follows_rotations(void **state)
{
    struct envelope old, new;
    struct sign_public root, other;
    (void)state;
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_OK);
    struct keys *keys = open_keys();
    keys_root(keys, &root);
    assert_int_equal(sign_one(keys, &old), STATUS_OK);
    assert_int_equal(keys_rotate(io_posix(), dir, KEYS_RELEASE, NULL), STATUS_OK);
    assert_int_equal(keys_reload(keys, NULL), STATUS_OK);
    assert_int_equal(keys_verify(keys, &old, NULL), STATUS_REFUSED); /* revoked */
    assert_int_equal(sign_one(keys, &new), STATUS_OK);
    assert_int_equal(keys_verify(keys, &new, NULL), STATUS_OK);
    assert_int_equal(keys_rotate(io_posix(), dir, KEYS_ROOT, NULL), STATUS_OK);
    assert_int_equal(keys_reload(keys, NULL), STATUS_OK);
    keys_root(keys, &other);
    assert_false(sign_equal(&root, &other));
    assert_int_equal(keys_verify(keys, &new, NULL), STATUS_OK);
    assert_int_equal(keys_rotate(io_posix(), dir, KEYS_ROOT, NULL), STATUS_OK);
    assert_int_equal(keys_reload(keys, NULL), STATUS_OK);
    expect_chain(keys, 4);
    keys_close(keys);
    keys = open_keys();
    expect_chain(keys, 4);
    keys_close(keys);
    envelope_free(&old);
    envelope_free(&new);
}

static void keys_that_are_kept_apart_are_not_made_again(void **state)
{
    struct envelope e;
    (void)state;
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_OK);
    unlink(in_dir("release.key"));
    struct keys *keys = open_keys();
    assert_false(keys_can_sign(keys));
    assert_int_equal(sign_one(keys, &e), STATUS_REFUSED);
    envelope_free(&e);
    keys_close(keys);
    unlink(in_dir("root.key"));
    assert_int_equal(keys_rotate(io_posix(), dir, KEYS_RELEASE, NULL), STATUS_NOT_FOUND);
    keys = open_keys();
    expect_chain(keys, 1);
    keys_close(keys);
}

static void a_release_key_of_another_document_does_not_sign(void **state)
{
    struct sign_key stranger = sample_key();
    (void)state;
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_OK);
    assert_int_equal(sign_key_save(io_posix(), in_dir("release.key"), &stranger, NULL), STATUS_OK);
    struct keys *keys = open_keys();
    assert_false(keys_can_sign(keys));
    keys_close(keys);
}

static void a_damaged_document_is_told_and_not_replaced(void **state)
{
    struct keys *keys = NULL;
    (void)state;
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_OK);
    assert_int_equal(truncate(in_dir("keys-1.json"), 100), 0);
    assert_int_equal(keys_open(io_posix(), dir, &keys, NULL), STATUS_CORRUPT);
    assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_CONFLICT);
}

/* As if killed at each call of a rotation: the folder opens, signs, and its document names its
 * keys.
 */
static void expect_whole(void)
{
    struct envelope e;
    struct keyring now;
    struct sign_public file;
    struct keys *keys = open_keys();
    keys_current(keys, &now);
    assert_true(keys_can_sign(keys));
    assert_int_equal(sign_one(keys, &e), STATUS_OK);
    assert_int_equal(keys_verify(keys, &e, NULL), STATUS_OK);
    envelope_free(&e);
    assert_int_equal(sign_public_load(io_posix(), in_dir("root.pub"), &file, NULL), STATUS_OK);
    assert_true(keyring_role_has(&now.root, &file));
    assert_false(io_exists(in_dir("release.next.key")));
    assert_false(io_exists(in_dir("root.next.key")));
    expect_chain(keys, now.version);
    keys_close(keys);
}

static void a_rotation_that_is_cut_off_is_finished_or_forgotten(void **state)
{
    (void)state;
    for (int role = KEYS_ROOT; role <= KEYS_RELEASE; role++) {
        bool done = false;
        forget();
        assert_int_equal(keys_make(io_posix(), dir, NULL), STATUS_OK);
        for (int n = 0; !done; n++) {
            struct fault_io fault = fault_io_make(n, EIO);
            done = keys_rotate(&fault.io, dir, (enum keys_role)role, NULL) == STATUS_OK &&
                   fault.countdown >= 0;
            expect_whole();
            assert_true(n < 100);
        }
        assert_int_equal(keys_rotate(io_posix(), dir, (enum keys_role)role, NULL), STATUS_OK);
    }
}

static void a_making_that_is_cut_off_is_begun_again(void **state)
{
    (void)state;
    bool done = false;
    for (int n = 0; !done; n++) {
        struct fault_io fault = fault_io_make(n, ENOSPC);
        forget();
        done = keys_make(&fault.io, dir, NULL) == STATUS_OK && fault.countdown >= 0;
        enum status again = keys_make(io_posix(), dir, NULL);
        assert_true(again == STATUS_OK || again == STATUS_CONFLICT);
        expect_whole();
        assert_true(n < 100);
    }
}

#define KEYS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEYS_TEST(a_new_folder_signs_and_verifies),
        KEYS_TEST(a_running_service_follows_rotations),
        KEYS_TEST(keys_that_are_kept_apart_are_not_made_again),
        KEYS_TEST(a_release_key_of_another_document_does_not_sign),
        KEYS_TEST(a_damaged_document_is_told_and_not_replaced),
        KEYS_TEST(a_rotation_that_is_cut_off_is_finished_or_forgotten),
        KEYS_TEST(a_making_that_is_cut_off_is_begun_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
