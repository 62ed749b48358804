/* planner: the way of fewer bytes, a way round what was halted, budgets; and a squashed patch leads
 * to the same parameters as the chain, to the bit. */
// links: server
#include "api/base/clock.h"
#include "api/wire/manifest.h"
#include "model/learn/compress.h"
#include "server/planner.h"
#include "server/versions.h"
#include "tests/unit/store_place.h"
#include "tests/unit/tiny_pair.h"
#include <stdatomic.h>

static void the_way_of_fewer_bytes_is_taken(void **state)
{
    static const struct {
        struct planner_chain chain;
        bool squashes, would;
    } cases[] = {
        {{.length = 0}, false, false},
        {{.length = 1, .bytes = 100, .parameters = 10}, false, false},
        {{.length = 1, .bytes = 100, .parameters = 10, .squash_bytes = 5}, false, false},
        {{.length = 2, .bytes = 9, .parameters = 10}, false, false},
        {{.length = 2, .bytes = 11, .parameters = 10}, false, true},
        {{.length = 2, .bytes = 11, .parameters = 10, .squash_bytes = 12}, false, false},
        {{.length = 2, .bytes = 11, .parameters = 10, .squash_bytes = 10}, true, false},
        {{.length = 2, .bytes = 1, .parameters = 10, .detour = true}, false, true},
        {{.length = 2, .bytes = 1, .parameters = 10, .squash_bytes = 99, .detour = true},
         true,
         false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (planner_squashes(&cases[i].chain) != cases[i].squashes ||
            planner_would_squash(&cases[i].chain) != cases[i].would)
            fail_msg("case %zu", i);
}

static void the_smallest_budget_counts(void **state)
{
    static const char *const bad[] = {"camera",    "camera=",   "camera=x",
                                      "camera=1",  "=30000",    "camera=30000x",
                                      "camera=-1", "a=30000,b", "camera=999999999999"};
    int64_t smallest;
    (void)state;
    assert_int_equal(planner_budget_parse(NULL, &smallest, NULL), STATUS_OK);
    assert_int_equal(smallest, 0);
    assert_int_equal(planner_budget_parse("camera=30000", &smallest, NULL), STATUS_OK);
    assert_int_equal(smallest, 30000);
    assert_int_equal(planner_budget_parse("robot=200000,camera=30000,a=50000", &smallest, NULL),
                     STATUS_OK);
    assert_int_equal(smallest, 30000);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (planner_budget_parse(bad[i], &smallest, NULL) != STATUS_USAGE)
            fail_msg("\"%s\" is taken", bad[i]);
}

/* ---- a chain of real patches ---- */

struct chain {
    struct mllm *student;
    struct trainable set;
    float *values, *target;
    struct buf patch;
    struct release release;
    char sha256[HASH_HEX];
};

static enum status chain_release(struct store *store, void *ctx, struct err *err)
{
    struct chain *c = ctx;
    struct buf manifest = {.max = LIMIT_ENVELOPE_BYTES};
    struct manifest m = {.sequence = 1,
                         .version = c->release.version,
                         .base_version = c->release.base_version,
                         .created_ms = 1,
                         .expires_ms = 2,
                         .size = c->release.size_bytes,
                         .parameters = c->release.parameters};
    memset(m.base.config, 'a', HASH_HEX - 1);
    memset(m.base.model, 'a', HASH_HEX - 1);
    memset(m.base.encoder, 'a', HASH_HEX - 1);
    TRY(manifest_encode(&m, &manifest, err));
    c->release.manifest = (const char *)manifest.data;
    TRY(store_round_create_rollback(store, 0, &c->release.round, err));
    enum status status = store_release_add(store, &c->release, c->patch.data, c->patch.len, err);
    buf_free(&manifest);
    return status;
}

/* One more version, of a random update. */
static void chain_grow(struct place *place, struct chain *c, int64_t version)
{
    struct compress_options options = compress_defaults();
    struct delta delta;
    struct hash hash;
    struct rng rng;
    rng_init(&rng, (uint64_t)version, 3);
    for (size_t i = 0; i < c->set.values; i++)
        c->target[i] = c->values[i] + 0.01f * rng_normal(&rng);
    assert_int_equal(compress_encode(&c->set, c->values, c->target, version - 1, version, &options,
                                     &delta, c->values, NULL),
                     STATUS_OK);
    buf_free(&c->patch);
    c->patch = (struct buf){.max = 1 << 24};
    assert_int_equal(delta_encode(&delta, &c->patch, NULL), STATUS_OK);
    delta_free(&delta);
    hash_bytes(c->patch.data, c->patch.len, &hash);
    hash_hex(&hash, c->sha256);
    c->release = (struct release){.version = version,
                                  .base_version = version - 1,
                                  .size_bytes = (int64_t)c->patch.len,
                                  .parameters = (int64_t)c->set.values,
                                  .created_ms = 1,
                                  .sha256 = c->sha256,
                                  .base_set_sha256 = "b",
                                  .set_sha256 = "s"};
    assert_int_equal(place_apply(place, chain_release, c), STATUS_OK);
    place_sign(place, version);
}

static void chain_open(struct chain *c)
{
    struct mllm_config config = tiny_config(4);
    struct trainable_options options = trainable_defaults();
    *c = (struct chain){.patch.max = 1 << 24};
    assert_int_equal(mllm_create(&config, 4, &c->student, NULL), STATUS_OK);
    assert_int_equal(trainable_attach(c->student, &options, &c->set, NULL), STATUS_OK);
    c->values = calloc(2 * c->set.values, sizeof *c->values);
    c->target = c->values + c->set.values;
    trainable_read(&c->set, c->values);
}

static void chain_close(struct chain *c)
{
    trainable_free(&c->set);
    mllm_release(c->student);
    free(c->values);
    buf_free(&c->patch);
}

struct made {
    struct squash squash;
    char sha256[HASH_HEX], manifest[2048];
};

static bool made_take(void *ctx, const struct squash *squash)
{
    struct made *made = ctx;
    made->squash = *squash;
    snprintf(made->sha256, sizeof made->sha256, "%s", squash->sha256);
    snprintf(made->manifest, sizeof made->manifest, "%s", squash->manifest);
    return false;
}

static atomic_int changes;

static void on_change(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&changes, 1);
}

static void planner_wait(int count)
{
    while (atomic_load(&changes) < count)
        clock_sleep_ms(5);
}

static void a_squashed_patch_leads_to_the_same_bits(void **state)
{
    struct place *place = *state;
    struct chain c;
    struct planner *planner;
    struct made made;
    struct planner_chain way;
    struct delta delta;
    struct buf patch = {.max = 1 << 24};
    char path[256];
    chain_open(&c);
    for (int64_t version = 1; version <= 3; version++)
        chain_grow(place, &c, version);
    float *values = calloc(c.set.values, sizeof *values);
    assert_int_equal(versions_read(io_posix(), place->store, c.student, 3, values, NULL),
                     STATUS_OK);
    assert_memory_equal(values, c.values, c.set.values * sizeof *values);

    struct planner_config config = {.io = io_posix(),
                                    .store = place->store,
                                    .student = c.student,
                                    .cache_bytes = 1 << 24,
                                    .on_change = on_change};
    atomic_store(&changes, 0);
    assert_int_equal(planner_create(&config, &planner, NULL), STATUS_OK);
    assert_int_equal(planner_want(planner, 1, 3, NULL), STATUS_OK);
    planner_wait(1);
    assert_int_equal(store_squash(place->store, 1, 3, made_take, &made, NULL), STATUS_OK);
    assert_true(made.squash.stored);
    assert_non_null(strstr(made.manifest, "\"base_version\":1"));
    assert_non_null(strstr(made.manifest, made.sha256));
    assert_int_equal(planner_chain_read(place->store, 1, 3, &way, NULL), STATUS_OK);
    assert_int_equal(way.length, 2);
    assert_int_equal(way.squash_bytes, made.squash.size_bytes);
    assert_false(planner_squashes(&way)); /* two of two bits are less */

    store_squash_path(place->store, made.sha256, path, sizeof path, NULL);
    assert_int_equal(io_read_file(io_posix(), path, &patch, NULL), STATUS_OK);
    assert_int_equal(delta_decode(patch.data, patch.len, &delta, NULL), STATUS_OK);
    assert_int_equal(versions_read(io_posix(), place->store, c.student, 1, values, NULL),
                     STATUS_OK);
    assert_int_equal(compress_apply_values(&c.set, &delta, values, NULL), STATUS_OK);
    assert_memory_equal(values, c.values, c.set.values * sizeof *values);
    delta_free(&delta);
    buf_free(&patch);

    /* what cannot be made says why, once */
    struct err err;
    store_patch_path(place->store, c.sha256, path, sizeof path, NULL);
    unlink(path);
    assert_int_equal(planner_want(planner, 0, 3, &err), STATUS_OK);
    planner_wait(2);
    assert_int_equal(planner_want(planner, 0, 3, &err), STATUS_NOT_FOUND);
    planner_destroy(planner);
    free(values);
    chain_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_of_fewer_bytes_is_taken),
        cmocka_unit_test(the_smallest_budget_counts),
        cmocka_unit_test_setup_teardown(a_squashed_patch_leads_to_the_same_bits, place_open,
                                        place_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
