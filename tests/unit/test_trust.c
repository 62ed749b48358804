/* The attacks on updates that TUF names, each against what a device believes: forged, rollback,
 * freeze, fast-forward, mix-and-match, a revoked key, a wrong root, a rotation of the root; clocks
 * that are wrong; and a trust file that survives whatever call fails. (Endless data is in
 * test_cloud.c, tampering with files and sockets in integration/test_signed.sh.) */
// links: client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/trust.h"
#include "edge_tiny.h"
#include "fault_io.h"
#include "signed_sample.h"

enum { DOCUMENTS = 6 };

struct fixture {
    char dir[TINY_PATH], pub[2 * TINY_PATH], file[2 * TINY_PATH];
    struct sign_key root, release;
    struct keyring keys;            /* document 1 */
    struct buf document[DOCUMENTS]; /* what the cloud shows, from 1 on; NULL ends */
    int newest;
    struct trust *trust;
};

/* ---- a cloud ---- */

static enum status fetch(void *ctx, int64_t version, struct buf *out, struct err *err)
{
    const struct fixture *f = ctx;
    if (version > f->newest)
        return err_set(err, STATUS_NOT_FOUND, "none");
    const struct buf *text = &f->document[version ? version : f->newest];
    return buf_append(out, text->data, text->len);
}

static void show(struct fixture *f, const struct keyring *k, const struct sign_key *a,
                 const struct sign_key *b)
{
    buf_free(&f->document[k->version]);
    f->document[k->version] = sample_sealed_keys(k, a, b);
    f->newest = (int)k->version;
}

static enum status renew(struct fixture *f)
{
    return trust_renew(f->trust, fetch, f, NULL);
}

static enum status open_trust(struct fixture *f, struct io *io, bool pinned, bool first_use)
{
    struct trust_options options = {
        .data_dir = f->dir, .root_file = pinned ? f->pub : NULL, .first_use = first_use};
    return trust_open(io, &options, &f->trust, NULL);
}

static void restart(struct fixture *f)
{
    trust_close(f->trust);
    f->trust = NULL;
    assert_int_equal(open_trust(f, io_posix(), true, false), STATUS_OK);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tiny_folder(f->dir);
    snprintf(f->pub, sizeof f->pub, "%s/given.pub", f->dir);
    snprintf(f->file, sizeof f->file, "%s/trust.json", f->dir);
    f->root = sample_key();
    f->release = sample_key();
    f->keys = sample_keyring(1, &f->root, &f->release);
    show(f, &f->keys, &f->root, NULL);
    assert_int_equal(sign_public_save(io_posix(), f->pub, &f->root.public, NULL), STATUS_OK);
    assert_int_equal(open_trust(f, io_posix(), true, false), STATUS_OK);
    assert_int_equal(renew(f), STATUS_OK);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    trust_close(f->trust);
    for (int i = 0; i < DOCUMENTS; i++)
        buf_free(&f->document[i]);
    tiny_remove(f->dir);
    free(f);
    return 0;
}

/* ---- a device ---- */

static const struct manifest_base *sample_base(void)
{
    static struct manifest m;
    m = sample_manifest(1, 1);
    return &m.base;
}

static struct trust_device device_at(int64_t version)
{
    char name[32];
    struct trust_device device = {.base = sample_base(), .version = version};
    snprintf(name, sizeof name, "set %lld", (long long)version);
    sample_hash(name, &device.set);
    return device;
}

/* What a device at `version` says to the manifest signed by key, some days from sample_now. */
static enum status accept_by(struct fixture *f, const struct manifest *m,
                             const struct sign_key *key, int64_t version, int days, struct err *err)
{
    struct manifest out;
    struct trust_device device = device_at(version);
    struct buf text = sample_sealed_manifest(m, key);
    enum status status = trust_accept(f->trust, text.data, text.len, &device,
                                      sample_now_ms + (int64_t)days * SAMPLE_DAY_MS, &out, err);
    buf_free(&text);
    if (status == STATUS_OK)
        assert_int_equal(out.sequence, m->sequence);
    return status;
}

static enum status accept(struct fixture *f, int64_t sequence, int64_t version)
{
    struct manifest m = sample_manifest(sequence, version);
    return accept_by(f, &m, &f->release, version - 1, 0, NULL);
}

/* And it says a word of why. */
static void expect_refused(struct fixture *f, const struct manifest *m, int64_t at, int days,
                           enum status status, const char *word)
{
    struct err err = {0};
    int64_t floor = trust_sequence(f->trust);
    assert_int_equal(accept_by(f, m, &f->release, at, days, &err), status);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
    assert_int_equal(trust_sequence(f->trust), floor);
}

/* ---- the attacks ---- */

static void forged(void **state)
{
    struct fixture *f = *state;
    struct sign_key stranger = sample_key();
    struct manifest m = sample_manifest(1, 1);
    assert_int_equal(accept_by(f, &m, &stranger, 0, 0, NULL), STATUS_REFUSED);
    assert_int_equal(accept_by(f, &m, &f->root, 0, 0, NULL), STATUS_REFUSED);
    assert_int_equal(accept_by(f, &m, NULL, 0, 0, NULL), STATUS_REFUSED);
    assert_int_equal(trust_sequence(f->trust), 0);
    assert_int_equal(accept_by(f, &m, &f->release, 0, 0, NULL), STATUS_OK);
    assert_int_equal(trust_sequence(f->trust), 1);
}

static void every_flipped_bit_is_refused_and_forgotten(void **state)
{
    struct fixture *f = *state;
    struct manifest m = sample_manifest(1, 1), out;
    struct trust_device device = device_at(0);
    struct buf text = sample_sealed_manifest(&m, &f->release);
    for (size_t bit = 0; bit < 8 * text.len; bit++) {
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (trust_accept(f->trust, text.data, text.len, &device, sample_now_ms, &out, NULL) ==
            STATUS_OK)
            fail_msg("bit %zu does not matter", bit);
        text.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_int_equal(trust_sequence(f->trust), 0);
    buf_free(&text);
}

static void rollback(void **state)
{
    struct fixture *f = *state;
    struct manifest old = sample_manifest(4, 2);
    assert_int_equal(accept(f, 3, 1), STATUS_OK);
    assert_int_equal(accept(f, 5, 2), STATUS_OK);
    expect_refused(f, &old, 1, 0, STATUS_REFUSED, "goes back");
    restart(f);
    expect_refused(f, &old, 1, 0, STATUS_REFUSED, "goes back");
    old.version = 3, old.base_version = 2;
    sample_hash("set 2", &old.base_set);
    expect_refused(f, &old, 2, 0, STATUS_REFUSED, "goes back");
}

static void an_equal_sequence_is_a_no_op_with_the_same_outcome_alone(void **state)
{
    struct fixture *f = *state;
    struct manifest other = sample_manifest(3, 1);
    assert_int_equal(accept(f, 3, 1), STATUS_OK);
    assert_int_equal(accept(f, 3, 1), STATUS_OK);
    sample_hash("another patch", &other.patch); /* to the same set: a squashed one, say */
    assert_int_equal(accept_by(f, &other, &f->release, 0, 0, NULL), STATUS_OK);
    sample_hash("another set", &other.set);
    expect_refused(f, &other, 0, 0, STATUS_REFUSED, "other content");
}

/* It lost its slots, or went back by itself; the floor stays where it was. */
static void a_device_that_went_back_climbs_again(void **state)
{
    struct fixture *f = *state;
    for (int64_t v = 1; v <= 3; v++)
        assert_int_equal(accept(f, v, v), STATUS_OK);
    for (int64_t v = 1; v <= 3; v++)
        assert_int_equal(accept(f, v, v), STATUS_OK);
    assert_int_equal(trust_sequence(f->trust), 3);
}

static void freeze(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct manifest m = sample_manifest(2, 2);
    int64_t day_29 = sample_now_ms + 29LL * SAMPLE_DAY_MS;
    int64_t day_30 = sample_now_ms + 30LL * SAMPLE_DAY_MS;
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
    expect_refused(f, &m, 1, 30, STATUS_REFUSED, "expired");
    assert_int_equal(trust_fresh(f->trust, day_29, NULL), STATUS_OK);
    assert_int_equal(trust_fresh(f->trust, day_30, &err), STATUS_REFUSED);
    assert_non_null(strstr(err.text, "held back"));
    assert_int_equal(accept_by(f, &m, &f->release, 1, 29, NULL), STATUS_OK);
}

/* The active version's manifest, signed anew: nobody holds back news. An older one says nothing. */
static void a_manifest_signed_anew_ends_a_freeze(void **state)
{
    struct fixture *f = *state;
    struct manifest m = sample_manifest(9, 1);
    struct trust_device device = device_at(1);
    int64_t day_40 = sample_now_ms + 40LL * SAMPLE_DAY_MS;
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
    assert_int_equal(trust_fresh(f->trust, day_40, NULL), STATUS_REFUSED);
    m.created_ms = day_40;
    m.expires_ms = day_40 + 30LL * SAMPLE_DAY_MS;
    struct buf text = sample_sealed_manifest(&m, &f->release);
    assert_int_equal(trust_confirm(f->trust, text.data, text.len, &device, day_40, NULL),
                     STATUS_OK);
    assert_int_equal(trust_fresh(f->trust, day_40, NULL), STATUS_OK);
    buf_free(&text);
    m = sample_manifest(1, 1);
    m.expires_ms = day_40 + SAMPLE_DAY_MS;
    text = sample_sealed_manifest(&m, &f->release);
    assert_int_equal(trust_confirm(f->trust, text.data, text.len, &device, day_40, NULL),
                     STATUS_REFUSED);
    buf_free(&text);
}

static void fast_forward(void **state)
{
    struct fixture *f = *state;
    struct manifest m = sample_manifest(INT64_MAX, 1);
    expect_refused(f, &m, 0, 0, STATUS_REFUSED, "first");
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
    m = sample_manifest(2 + TRUST_SEQUENCE_JUMP, 2);
    expect_refused(f, &m, 1, 0, STATUS_REFUSED, "ahead");
    m = sample_manifest(2, 2 + TRUST_VERSION_JUMP);
    m.base_version = 1;
    sample_hash("set 1", &m.base_set);
    expect_refused(f, &m, 1, 0, STATUS_REFUSED, "ahead");
    m.version = 1 + TRUST_VERSION_JUMP;
    assert_int_equal(accept_by(f, &m, &f->release, 1, 0, NULL), STATUS_OK);
    assert_int_equal(accept(f, 2 + TRUST_SEQUENCE_JUMP, 1), STATUS_OK);
}

static void mix_and_match(void **state)
{
    struct fixture *f = *state;
    const struct manifest good = sample_manifest(1, 1);
    const struct {
        size_t at;
        const char *word;
    } parts[] = {{offsetof(struct manifest, base.config), "config.json"},
                 {offsetof(struct manifest, base.model), "weights"},
                 {offsetof(struct manifest, base.tokenizer), "tokenizer"},
                 {offsetof(struct manifest, base.encoder), "encoder"}};
    struct manifest m;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        m = good;
        sample_hex("another", (char *)&m + parts[i].at);
        expect_refused(f, &m, 0, 0, STATUS_WRONG_BASE, parts[i].word);
    }
    m = good;
    sample_hash("another set", &m.base_set);
    expect_refused(f, &m, 0, 0, STATUS_WRONG_BASE, "goes on from");
    m = sample_manifest(1, 2);
    expect_refused(f, &m, 0, 0, STATUS_WRONG_BASE, "goes on from");
}

static void key_revoked(void **state)
{
    struct fixture *f = *state;
    struct sign_key fresh = sample_key();
    struct keyring second = sample_keyring(2, &f->root, &fresh);
    struct manifest m = sample_manifest(2, 2);
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
    show(f, &second, &f->root, NULL);
    assert_int_equal(renew(f), STATUS_OK);
    expect_refused(f, &m, 1, 0, STATUS_REFUSED, "not in force");
    restart(f);
    expect_refused(f, &m, 1, 0, STATUS_REFUSED, "not in force");
    assert_int_equal(accept_by(f, &m, &fresh, 1, 0, NULL), STATUS_OK);
}

/* Whoever stole the key signed far ahead; with the key, what it said is gone. */
static void revoking_a_key_undoes_its_fast_forward(void **state)
{
    struct fixture *f = *state;
    struct sign_key fresh = sample_key();
    struct keyring second = sample_keyring(2, &f->root, &fresh);
    struct manifest stolen = sample_manifest(1000000, 1), honest = sample_manifest(7, 1);
    stolen.created_ms += 3650LL * SAMPLE_DAY_MS;
    stolen.expires_ms += 7300LL * SAMPLE_DAY_MS;
    assert_int_equal(accept_by(f, &stolen, &f->release, 0, 0, NULL), STATUS_OK);
    assert_int_equal(accept_by(f, &honest, &f->release, 0, 0, NULL), STATUS_REFUSED);
    show(f, &second, &f->root, NULL);
    assert_int_equal(renew(f), STATUS_OK);
    assert_int_equal(accept_by(f, &honest, &fresh, 0, 0, NULL), STATUS_OK);
    assert_int_equal(trust_sequence(f->trust), 7);
}

static void root_rotation(void **state)
{
    struct fixture *f = *state;
    struct sign_key new = sample_key();
    struct keyring second = sample_keyring(2, &new, &f->release);
    struct keyring third = sample_keyring(3, &new, &f->release);
    show(f, &second, &new, NULL);
    assert_int_equal(renew(f), STATUS_REFUSED); /* the old root did not agree */
    show(f, &second, &f->root, &new);
    assert_int_equal(renew(f), STATUS_OK);
    restart(f);
    show(f, &third, &f->root, NULL);
    assert_int_equal(renew(f), STATUS_REFUSED); /* the old root no longer counts */
    show(f, &third, &new, NULL);
    assert_int_equal(renew(f), STATUS_OK);
    restart(f); /* with the root it was begun with */
    assert_int_equal(renew(f), STATUS_OK);
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
}

/* A device that was given the first root meets the chain only now, one with the second, too. */
static void a_new_device_finds_its_root_in_the_chain(void **state)
{
    struct fixture *f = *state;
    struct sign_key second_root = sample_key(), third_root = sample_key();
    struct keyring second = sample_keyring(2, &second_root, &f->release);
    struct keyring third = sample_keyring(3, &third_root, &f->release);
    const struct sign_key *given[] = {&f->root, &second_root, &third_root};
    show(f, &second, &f->root, &second_root);
    show(f, &third, &second_root, &third_root);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sign_public_save(io_posix(), f->pub, &given[i]->public, NULL), STATUS_OK);
        unlink(f->file);
        restart(f);
        assert_int_equal(renew(f), STATUS_OK);
        assert_int_equal(accept(f, 1, 1), STATUS_OK);
    }
}

static void wrong_root(void **state)
{
    struct fixture *f = *state;
    struct sign_key other = sample_key();
    struct keyring foreign = sample_keyring(1, &other, &f->release);
    trust_close(f->trust);
    f->trust = NULL;
    unlink(f->file);
    show(f, &foreign, &other, NULL);
    assert_int_equal(open_trust(f, io_posix(), true, false), STATUS_OK);
    assert_int_equal(renew(f), STATUS_REFUSED);
    assert_int_equal(accept(f, 1, 1), STATUS_REFUSED);
    assert_false(io_exists(f->file));
}

static void without_a_root_only_a_first_use_is_believed(void **state)
{
    struct fixture *f = *state;
    struct sign_key other = sample_key();
    struct keyring foreign = sample_keyring(1, &other, &other);
    trust_close(f->trust);
    f->trust = NULL;
    unlink(f->file);
    assert_int_equal(open_trust(f, io_posix(), false, false), STATUS_USAGE);
    assert_int_equal(open_trust(f, io_posix(), false, true), STATUS_OK);
    assert_int_equal(renew(f), STATUS_OK);
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
    trust_close(f->trust); /* from then on it is pinned */
    show(f, &foreign, &other, NULL);
    foreign.version = 2;
    show(f, &foreign, &other, NULL);
    assert_int_equal(open_trust(f, io_posix(), false, true), STATUS_OK);
    assert_int_equal(renew(f), STATUS_REFUSED);
    trust_close(f->trust);
    f->trust = NULL;
    assert_int_equal(sign_public_save(io_posix(), f->pub, &other.public, NULL), STATUS_OK);
    assert_int_equal(open_trust(f, io_posix(), true, false), STATUS_USAGE);
}

static void an_expired_key_document_allows_nothing(void **state)
{
    struct fixture *f = *state;
    struct manifest m = sample_manifest(1, 1);
    m.created_ms += 200LL * SAMPLE_DAY_MS;
    m.expires_ms += 200LL * SAMPLE_DAY_MS;
    expect_refused(f, &m, 0, 201, STATUS_REFUSED, "key document expired");
    struct keyring second = sample_keyring(2, &f->root, &f->release);
    second.created_ms += 200LL * SAMPLE_DAY_MS;
    second.expires_ms += 200LL * SAMPLE_DAY_MS;
    show(f, &second, &f->root, NULL);
    assert_int_equal(renew(f), STATUS_OK);
    assert_int_equal(accept_by(f, &m, &f->release, 0, 201, NULL), STATUS_OK);
}

/* ---- clocks ---- */

static enum status accept_when(struct fixture *f, const struct manifest *m, int64_t wall_ms)
{
    return accept_by(f, m, &f->release, m->version - 1,
                     (int)((wall_ms - sample_now_ms) / SAMPLE_DAY_MS), NULL);
}

static void a_clock_in_1970_neither_locks_out_nor_lets_expired_things_in(void **state)
{
    struct fixture *f = *state;
    struct manifest fresh = sample_manifest(1, 1), later = sample_manifest(2, 2);
    struct manifest expired = sample_manifest(3, 3);
    later.created_ms += 20LL * SAMPLE_DAY_MS;
    later.expires_ms += 20LL * SAMPLE_DAY_MS;
    expired.expires_ms = sample_now_ms + 10LL * SAMPLE_DAY_MS;
    assert_true(trust_clock_behind(f->trust, 0));
    assert_int_equal(accept_when(f, &fresh, 0), STATUS_OK);
    assert_int_equal(accept_when(f, &later, 0), STATUS_OK);
    assert_int_equal(accept_when(f, &expired, 0), STATUS_REFUSED);
    restart(f);
    assert_int_equal(accept_when(f, &expired, 0), STATUS_REFUSED);
}

static void a_clock_ten_years_ahead_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct manifest m = sample_manifest(1, 1);
    assert_int_equal(accept_when(f, &m, sample_now_ms + 3650LL * SAMPLE_DAY_MS), STATUS_REFUSED);
    assert_int_equal(accept_when(f, &m, sample_now_ms), STATUS_OK);
}

/* ---- the file ---- */

static void a_damaged_trust_file_is_not_replaced(void **state)
{
    struct fixture *f = *state;
    struct buf whole = {.max = 1 << 20};
    assert_int_equal(accept(f, 5, 1), STATUS_OK);
    assert_int_equal(io_read_file(io_posix(), f->file, &whole, NULL), STATUS_OK);
    for (size_t len = 0; len < whole.len - 1; len += 37) {
        FILE *file = fopen(f->file, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(whole.data, 1, len, file), len);
        assert_int_equal(fclose(file), 0);
        restart(f);
        assert_int_equal(renew(f), STATUS_REFUSED);
        assert_int_equal(accept(f, 6, 1), STATUS_REFUSED);
    }
    buf_free(&whole);
    unlink(f->file);
    restart(f);
    assert_int_equal(renew(f), STATUS_OK);
}

/* Whatever call fails, and as if killed there: the floor before or the one after. */
static void the_floor_is_raised_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(accept(f, 1, 1), STATUS_OK);
    bool done = false;
    for (int n = 0; !done; n++) {
        struct fault_io fault = fault_io_make(-1, ENOSPC);
        trust_close(f->trust);
        f->trust = NULL;
        assert_int_equal(open_trust(f, &fault.io, true, false), STATUS_OK);
        fault.countdown = n;
        enum status status = accept(f, 2, 2);
        done = status == STATUS_OK && fault.countdown >= 0;
        int64_t floor = trust_sequence(f->trust);
        assert_true(status == STATUS_OK ? floor == 2 : floor <= 2);
        restart(f);
        assert_true(trust_sequence(f->trust) == 1 || trust_sequence(f->trust) == 2);
        assert_true(status != STATUS_OK || trust_sequence(f->trust) == 2);
        assert_int_equal(renew(f), STATUS_OK);
        assert_true(n < 20);
    }
}

#define TRUST_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRUST_TEST(forged),
        TRUST_TEST(every_flipped_bit_is_refused_and_forgotten),
        TRUST_TEST(rollback),
        TRUST_TEST(an_equal_sequence_is_a_no_op_with_the_same_outcome_alone),
        TRUST_TEST(a_device_that_went_back_climbs_again),
        TRUST_TEST(freeze),
        TRUST_TEST(a_manifest_signed_anew_ends_a_freeze),
        TRUST_TEST(fast_forward),
        TRUST_TEST(mix_and_match),
        TRUST_TEST(key_revoked),
        TRUST_TEST(revoking_a_key_undoes_its_fast_forward),
        TRUST_TEST(root_rotation),
        TRUST_TEST(a_new_device_finds_its_root_in_the_chain),
        TRUST_TEST(wrong_root),
        TRUST_TEST(without_a_root_only_a_first_use_is_believed),
        TRUST_TEST(an_expired_key_document_allows_nothing),
        TRUST_TEST(a_clock_in_1970_neither_locks_out_nor_lets_expired_things_in),
        TRUST_TEST(a_clock_ten_years_ahead_leaves_no_trace),
        TRUST_TEST(a_damaged_trust_file_is_not_replaced),
        TRUST_TEST(the_floor_is_raised_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
