/* The signer: a release is signed as it is made or waits for a signature, all are signed anew in
 * the order of versions before they expire and when the keys change, and a signature from elsewhere
 * counts when it is by a key in force over exactly what waits. */
// links: server
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/envelopes.h"
#include "server/signer.h"
#include "signed_sample.h"
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#define HOUR_MS (INT64_C(60) * 60 * 1000)

struct fixture {
    char dir[64], keys_dir[96];
    struct store *store;
    struct keys *keys;
    struct signer *signer;
    int told; /* how often devices were */
};

static void on_signed(void *ctx)
{
    ((struct fixture *)ctx)->told++;
}

static struct signer *signer_of(struct fixture *f, int64_t life_ms)
{
    struct signer *signer = NULL;
    struct signer_config config = {
        .store = f->store, .keys = f->keys, .life_ms = life_ms, .on_signed = on_signed, .ctx = f};
    assert_int_equal(signer_create(&config, &signer, NULL), STATUS_OK);
    return signer;
}

static void folder_remove(const char *dir)
{
    char path[512];
    DIR *list = opendir(dir);
    if (!list)
        return;
    for (struct dirent *entry; (entry = readdir(list));) {
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path) != 0)
            folder_remove(path);
    }
    closedir(list);
    rmdir(dir);
}

/* A round for the releases to refer to. */
static enum status round_run(struct store *store, void *ctx, struct err *err)
{
    struct upload upload = {.sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266"
                                      "e7ae",
                            .device = "d",
                            .instances = 1};
    bool repeated;
    TRY(store_upload_add(store, &upload, "foo", 3, &repeated, err));
    return store_round_create(store, "request", "{}", ctx, err);
}

static enum status apply(struct fixture *f,
                         enum status (*run)(struct store *, void *, struct err *), void *ctx)
{
    struct store_job job = {.run = run, .ctx = ctx};
    assert_int_equal(store_apply(f->store, &job, 1, NULL), STATUS_OK);
    return job.status;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int64_t round;
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/cdcca-signer-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->keys_dir, sizeof f->keys_dir, "%s/keys", f->dir);
    assert_int_equal(store_open(io_posix(), f->dir, &f->store, NULL), STATUS_OK);
    assert_int_equal(keys_make(io_posix(), f->keys_dir, NULL), STATUS_OK);
    assert_int_equal(keys_open(io_posix(), f->keys_dir, &f->keys, NULL), STATUS_OK);
    assert_int_equal(apply(f, round_run, &round), STATUS_OK);
    f->signer = signer_of(f, HOUR_MS);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    signer_destroy(f->signer);
    store_close(f->store);
    keys_close(f->keys);
    folder_remove(f->dir);
    free(f);
    return 0;
}

struct adding {
    struct signer *signer;
    int64_t version;
};

static enum status add_run(struct store *store, void *ctx, struct err *err)
{
    struct adding *adding = ctx;
    struct manifest m = sample_manifest(0, adding->version);
    char patch[HASH_HEX], base[HASH_HEX], set[HASH_HEX];
    hash_hex(&m.patch, patch);
    hash_hex(&m.base_set, base);
    hash_hex(&m.set, set);
    struct release release = {.version = m.version,
                              .base_version = m.base_version,
                              .round = 1,
                              .size_bytes = m.size,
                              .sha256 = patch,
                              .base_set_sha256 = base,
                              .set_sha256 = set};
    return signer_add(adding->signer, store, &release, &m, "patch", 5, err);
}

static void add(struct fixture *f, int64_t version)
{
    struct adding adding = {f->signer, version};
    assert_int_equal(apply(f, add_run, &adding), STATUS_OK);
}

/* ---- what devices get ---- */

static bool count_visit(void *ctx, const struct release *release)
{
    (void)release;
    ++*(int *)ctx;
    return true;
}

static int listed(struct fixture *f)
{
    int count = 0;
    assert_int_equal(store_releases(f->store, 0, 100, count_visit, &count, NULL), STATUS_OK);
    return count;
}

static bool text_visit(void *ctx, const struct stored_envelope *stored)
{
    struct buf *out = ctx; /* [0]: signed, [1]: waiting */
    if (stored->envelope)
        buf_append(&out[0], stored->envelope, strlen(stored->envelope));
    if (stored->waiting)
        buf_append(&out[1], stored->waiting, strlen(stored->waiting));
    return true;
}

/* The signed manifest of a version, verified by the keys in force; sequence 0: there is none. */
static struct manifest signed_manifest(struct fixture *f, int64_t version)
{
    struct buf text[2] = {{.max = LIMIT_ENVELOPE_BYTES}, {.max = LIMIT_ENVELOPE_BYTES}};
    struct manifest m = {0};
    struct envelope e;
    assert_int_equal(envelopes_get(f->store, version, text_visit, text, NULL), STATUS_OK);
    if (text[0].len) {
        assert_int_equal(envelope_parse(text[0].data, text[0].len, ENVELOPE_MANIFEST, &e, NULL),
                         STATUS_OK);
        assert_int_equal(keys_verify(f->keys, &e, NULL), STATUS_OK);
        assert_int_equal(manifest_parse(e.payload.data, e.payload.len, &m, NULL), STATUS_OK);
        envelope_free(&e);
    }
    buf_free(&text[0]);
    buf_free(&text[1]);
    return m;
}

static void a_release_is_signed_as_it_is_made(void **state)
{
    struct fixture *f = *state;
    add(f, 1);
    add(f, 2);
    assert_int_equal(listed(f), 2);
    struct manifest first = signed_manifest(f, 1), second = signed_manifest(f, 2);
    assert_int_equal(first.sequence, 1);
    assert_int_equal(second.sequence, 2);
    assert_true(second.expires_ms - second.created_ms == HOUR_MS);
    assert_int_equal(second.base_version, 1);
    assert_int_equal(signer_check(f->signer, NULL), STATUS_OK);
    assert_int_equal(signed_manifest(f, 2).sequence, 2); /* nothing was due */
    assert_int_equal(f->told, 0);
}

/* Where half of the life is over: a signer whose manifests live longer sees the same. */
static void all_are_signed_anew_in_order_before_they_expire(void **state)
{
    struct fixture *f = *state;
    for (int64_t v = 1; v <= 3; v++)
        add(f, v);
    struct manifest before = signed_manifest(f, 2);
    struct signer *longer = signer_of(f, 100 * HOUR_MS);
    assert_int_equal(signer_check(longer, NULL), STATUS_OK);
    assert_int_equal(f->told, 1);
    for (int64_t v = 1; v <= 3; v++)
        assert_int_equal(signed_manifest(f, v).sequence, 3 + v);
    struct manifest after = signed_manifest(f, 2);
    assert_true(after.expires_ms > before.expires_ms);
    after.sequence = before.sequence;
    after.created_ms = before.created_ms;
    after.expires_ms = before.expires_ms;
    assert_memory_equal(&after, &before, sizeof after); /* the same content */
    assert_int_equal(signer_check(longer, NULL), STATUS_OK);
    assert_int_equal(f->told, 1);
    signer_destroy(longer);
}

static void a_new_release_key_signs_what_the_old_one_did(void **state)
{
    struct fixture *f = *state;
    add(f, 1);
    assert_int_equal(keys_rotate(io_posix(), f->keys_dir, KEYS_RELEASE, NULL), STATUS_OK);
    assert_int_equal(signer_check(f->signer, NULL), STATUS_OK);
    assert_int_equal(signed_manifest(f, 1).sequence, 2);
}

static void another_way_to_a_version_has_its_sequence(void **state)
{
    struct fixture *f = *state;
    struct buf text = {.max = LIMIT_ENVELOPE_BYTES};
    struct manifest squash = sample_manifest(0, 2), out;
    struct envelope e;
    squash.base_version = 0;
    assert_int_equal(signer_seal(f->signer, &squash, &text, NULL), STATUS_NOT_FOUND);
    add(f, 1);
    add(f, 2);
    assert_int_equal(signer_seal(f->signer, &squash, &text, NULL), STATUS_OK);
    assert_int_equal(envelope_parse(text.data, text.len, ENVELOPE_MANIFEST, &e, NULL), STATUS_OK);
    assert_int_equal(keys_verify(f->keys, &e, NULL), STATUS_OK);
    assert_int_equal(manifest_parse(e.payload.data, e.payload.len, &out, NULL), STATUS_OK);
    assert_int_equal(out.sequence, 2);
    assert_int_equal(out.base_version, 0);
    assert_true(out.expires_ms == signed_manifest(f, 2).expires_ms);
    envelope_free(&e);
    buf_free(&text);
}

/* ---- the release key kept apart ---- */

static void key_away(struct fixture *f, struct sign_key *out)
{
    char path[128];
    snprintf(path, sizeof path, "%s/release.key", f->keys_dir);
    assert_int_equal(sign_key_load(io_posix(), path, out, NULL), STATUS_OK);
    unlink(path);
    assert_int_equal(keys_reload(f->keys, NULL), STATUS_OK);
}

/* What waits for a version, with the signature of key. */
static struct buf waiting_signed(struct fixture *f, int64_t version, const struct sign_key *key)
{
    struct buf text[2] = {{.max = LIMIT_ENVELOPE_BYTES}, {.max = LIMIT_ENVELOPE_BYTES}};
    struct buf out = {.max = LIMIT_ENVELOPE_BYTES};
    struct envelope e;
    assert_int_equal(envelopes_get(f->store, version, text_visit, text, NULL), STATUS_OK);
    assert_int_equal(envelope_parse(text[1].data, text[1].len, ENVELOPE_MANIFEST, &e, NULL),
                     STATUS_OK);
    assert_int_equal(e.signatures, 0);
    if (key)
        assert_int_equal(envelope_sign(&e, key, NULL), STATUS_OK);
    assert_int_equal(envelope_encode(&e, &out, NULL), STATUS_OK);
    envelope_free(&e);
    buf_free(&text[0]);
    buf_free(&text[1]);
    return out;
}

static enum status take(struct fixture *f, int64_t version, const struct buf *text)
{
    struct signer_taking taking = {0};
    enum status status = signer_take(f->signer, version, text->data, text->len, &taking, NULL);
    if (status == STATUS_OK)
        status = apply(f, signer_taking_run, &taking);
    signer_taking_free(&taking);
    return status;
}

static void without_its_key_a_release_waits(void **state)
{
    struct fixture *f = *state;
    struct sign_key key, stranger = sample_key();
    key_away(f, &key);
    add(f, 1);
    assert_int_equal(listed(f), 0);
    assert_int_equal(signed_manifest(f, 1).sequence, 0);
    struct buf none = waiting_signed(f, 1, NULL), wrong = waiting_signed(f, 1, &stranger);
    struct buf good = waiting_signed(f, 1, &key);
    struct manifest other = sample_manifest(1, 1);
    struct buf forged = sample_sealed_manifest(&other, &key);
    assert_int_equal(take(f, 1, &none), STATUS_REFUSED);
    assert_int_equal(take(f, 1, &wrong), STATUS_REFUSED);
    assert_int_equal(take(f, 1, &forged), STATUS_CONFLICT);
    assert_int_equal(take(f, 2, &good), STATUS_NOT_FOUND);
    assert_int_equal(listed(f), 0);
    assert_int_equal(take(f, 1, &good), STATUS_OK);
    assert_int_equal(listed(f), 1);
    assert_int_equal(signed_manifest(f, 1).sequence, 1);
    assert_int_equal(take(f, 1, &good), STATUS_CONFLICT); /* nothing waits any more */
    buf_free(&none);
    buf_free(&wrong);
    buf_free(&good);
    buf_free(&forged);
}

static bool version_visit(void *ctx, const struct stored_envelope *stored)
{
    int64_t *next = ctx;
    assert_int_equal(stored->version, *next);
    --*next;
    return true;
}

static void what_is_due_waits_while_devices_keep_what_they_have(void **state)
{
    struct fixture *f = *state;
    struct sign_key key;
    for (int64_t v = 1; v <= 3; v++)
        add(f, v);
    key_away(f, &key);
    struct signer *longer = signer_of(f, 100 * HOUR_MS);
    assert_int_equal(signer_check(longer, NULL), STATUS_OK);
    int64_t newest_first = 3;
    assert_int_equal(envelopes_waiting(f->store, 100, version_visit, &newest_first, NULL),
                     STATUS_OK);
    assert_int_equal(newest_first, 0);
    assert_int_equal(listed(f), 3);
    assert_int_equal(signed_manifest(f, 3).sequence, 3);
    struct buf good = waiting_signed(f, 3, &key);
    assert_int_equal(take(f, 3, &good), STATUS_OK);
    assert_int_equal(signed_manifest(f, 3).sequence, 6);
    assert_int_equal(signed_manifest(f, 2).sequence, 2);
    buf_free(&good);
    signer_destroy(longer);
}

/* The key comes back: what waits is signed here. */
static void a_key_that_comes_back_signs_what_waits(void **state)
{
    struct fixture *f = *state;
    struct sign_key key;
    char path[128];
    key_away(f, &key);
    add(f, 1);
    snprintf(path, sizeof path, "%s/release.key", f->keys_dir);
    assert_int_equal(sign_key_save(io_posix(), path, &key, NULL), STATUS_OK);
    assert_int_equal(signer_check(f->signer, NULL), STATUS_OK);
    assert_int_equal(listed(f), 1);
}

#define SIGNER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIGNER_TEST(a_release_is_signed_as_it_is_made),
        SIGNER_TEST(all_are_signed_anew_in_order_before_they_expire),
        SIGNER_TEST(a_new_release_key_signs_what_the_old_one_did),
        SIGNER_TEST(another_way_to_a_version_has_its_sequence),
        SIGNER_TEST(without_its_key_a_release_waits),
        SIGNER_TEST(what_is_due_waits_while_devices_keep_what_they_have),
        SIGNER_TEST(a_key_that_comes_back_signs_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
