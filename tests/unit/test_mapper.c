/* mapper: one point for each token of a round's uploads, or evenly for as many as there is room;
 * near what is alike; made once; gone with any of the uploads, whichever way that goes. */
// links: server
#include "api/base/clock.h"
#include "api/wire/json.h"
#include "server/db.h"
#include "server/mapper.h"
#include "server/store_maps.h"
#include "tests/unit/payload_sample.h"
#include "tests/unit/store_place.h"
#include <stdatomic.h>

enum { WIDTH = 16, EACH = 5 };

/* ---- uploads ---- */

struct sending {
    struct buf bytes;
    struct upload upload;
    char sha256[HASH_HEX];
};

static enum status sending_run(struct store *store, void *ctx, struct err *err)
{
    struct sending *s = ctx;
    bool repeated;
    return store_upload_add(store, &s->upload, s->bytes.data, s->bytes.len, &repeated, err);
}

/* Instances of EACH tokens around `at` in every channel; the last of each is the rest's mean. */
static int64_t send(struct place *place, const char *device, int instances, float at)
{
    struct sample sample;
    struct hash hash;
    struct sending s = {.bytes.max = 1 << 22};
    sample_make(&sample, instances, EACH, WIDTH, 8);
    for (size_t i = 0; i < sample.payload.tokens * WIDTH; i++)
        sample.tokens[i] += at;
    payload_quantize(sample.tokens, sample.payload.tokens, WIDTH, 8, sample.codes, sample.scales,
                     NULL);
    for (int i = 0; i < instances; i++)
        sample.positions[i * EACH + EACH - 1] = PAYLOAD_REST;
    sample.payload.device = device;
    assert_int_equal(payload_encode(&sample.payload, &s.bytes, NULL), STATUS_OK);
    hash_bytes(s.bytes.data, s.bytes.len, &hash);
    hash_hex(&hash, s.sha256);
    s.upload = (struct upload){.sha256 = s.sha256,
                               .device = device,
                               .received_ms = 1,
                               .instances = instances,
                               .tokens = (int64_t)sample.payload.tokens,
                               .size_bytes = (int64_t)s.bytes.len};
    assert_int_equal(place_apply(place, sending_run, &s), STATUS_OK);
    sample_free(&sample);
    buf_free(&s.bytes);
    return s.upload.id;
}

static enum status create_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_create(store, "request", "{}", ctx, err);
}

static const char *ending = "released";

static enum status finish_run(struct store *store, void *ctx, struct err *err)
{
    return store_round_finish(store, *(int64_t *)ctx, ending, "{}", NULL, 0, err);
}

static int64_t round_of(struct place *place, const char *state)
{
    int64_t round;
    ending = state;
    assert_int_equal(place_apply(place, create_run, &round), STATUS_OK);
    if (state)
        assert_int_equal(place_apply(place, finish_run, &round), STATUS_OK);
    return round;
}

static enum status delete_run(struct store *store, void *ctx, struct err *err)
{
    return store_upload_delete(store, *(int64_t *)ctx, err);
}

static enum status expire_run(struct store *store, void *ctx, struct err *err)
{
    return store_uploads_expire(store, INT64_MAX, 10, ctx, err);
}

static enum status device_run(struct store *store, void *ctx, struct err *err)
{
    struct device device = {.id = ctx, .class_id = "camera", .version = -1, .took_ms = -1};
    return store_device_put(store, &device, err);
}

/* ---- maps ---- */

static atomic_int changes;

static void on_change(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&changes, 1);
}

static struct mapper *mapper_open(struct place *place)
{
    struct mapper *mapper;
    struct mapper_config config = {.store = place->store, .on_change = on_change};
    atomic_store(&changes, 0);
    assert_int_equal(mapper_create(&config, &mapper, NULL), STATUS_OK);
    return mapper;
}

static bool map_parse(void *ctx, const char *text)
{
    return json_parse(text, strlen(text), ctx, NULL) != STATUS_OK;
}

/* NULL: there is none. The caller frees it. */
static json *map_look(struct place *place, int64_t round)
{
    json *map = NULL;
    enum status status = store_map(place->store, round, map_parse, &map, NULL);
    assert_int_equal(status, map ? STATUS_OK : STATUS_NOT_FOUND);
    return map;
}

static json *map_made(struct place *place, struct mapper *mapper, int64_t round)
{
    int before = atomic_load(&changes);
    assert_int_equal(mapper_want(mapper, round, NULL), STATUS_OK);
    while (atomic_load(&changes) == before)
        clock_sleep_ms(2);
    return map_look(place, round);
}

static const json *map_points(const json *map)
{
    const json *points;
    assert_int_equal(json_get_array(map, "points", MAPPER_POINTS, &points, NULL), STATUS_OK);
    return points;
}

struct place_xy {
    double x, y;
    const char *device;
};

static struct place_xy point_at(const json *points, size_t i)
{
    struct place_xy p;
    const json *point = json_at(points, i);
    assert_int_equal(json_get_number(point, "x", -1, 1, &p.x, NULL), STATUS_OK);
    assert_int_equal(json_get_number(point, "y", -1, 1, &p.y, NULL), STATUS_OK);
    assert_int_equal(json_get_string(point, "device", 64, &p.device, NULL), STATUS_OK);
    return p;
}

/* How many points have their nearest one in another device's cloud. */
static int strangers(const json *points)
{
    int count = 0;
    for (size_t i = 0; i < json_length(points); i++) {
        struct place_xy a = point_at(points, i), near = a;
        double least = 1e9;
        for (size_t j = 0; j < json_length(points); j++) {
            struct place_xy b = point_at(points, j);
            double d = (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y);
            if (j != i && d < least) {
                least = d;
                near = b;
            }
        }
        count += strcmp(a.device, near.device) != 0;
    }
    return count;
}

static int64_t number(const json *object, const char *key)
{
    int64_t value = -1;
    json_opt_int(object, key, 0, INT64_MAX, &value, NULL);
    return value;
}

static void each_token_is_a_point_near_its_like(void **state)
{
    struct place *place = *state;
    struct mapper *mapper = mapper_open(place);
    char known[] = "edge-2";
    int64_t first = send(place, "edge-1", 4, 0), second = send(place, "edge-2", 4, 50);
    assert_int_equal(place_apply(place, device_run, known), STATUS_OK);
    int64_t round = round_of(place, "released");
    json *map = map_made(place, mapper, round);
    const json *points = map_points(map);
    assert_int_equal(number(map, "round"), round);
    assert_int_equal(number(map, "of"), 8 * EACH);
    assert_int_equal(json_length(points), 8 * EACH);
    assert_int_equal(strangers(points), 0);
    const json *one = json_at(points, 0), *rest = json_at(points, 8 * EACH - 1);
    assert_int_equal(number(one, "upload"), first);
    assert_int_equal(number(rest, "upload"), second);
    assert_true(json_has(one, "position") && !json_has(one, "class"));
    assert_true(!json_has(rest, "position") && json_has(rest, "class"));
    json_free(map);
    mapper_destroy(mapper);
}

static void of_many_tokens_some_are_taken_evenly(void **state)
{
    struct place *place = *state;
    struct mapper *mapper = mapper_open(place);
    int seen[2] = {0, 0};
    send(place, "edge-1", 120, 0);
    send(place, "edge-1", 120, 1);
    send(place, "edge-2", 120, 2);
    json *map = map_made(place, mapper, round_of(place, "released"));
    const json *points = map_points(map);
    assert_int_equal(number(map, "of"), 360 * EACH);
    assert_int_equal(json_length(points), MAPPER_POINTS);
    for (size_t i = 0; i < MAPPER_POINTS; i++)
        seen[strcmp(point_at(points, i).device, "edge-2") == 0]++;
    assert_in_range(seen[1], MAPPER_POINTS / 3, MAPPER_POINTS / 3 + 1);
    json_free(map);
    mapper_destroy(mapper);
}

static void a_map_goes_with_any_of_its_uploads(void **state)
{
    struct place *place = *state;
    struct mapper *mapper = mapper_open(place);
    int64_t expired, upload = send(place, "edge-1", 2, 0);
    send(place, "edge-2", 2, 1);
    int64_t round = round_of(place, "released");
    json_free(map_made(place, mapper, round));

    assert_int_equal(place_apply(place, delete_run, &upload), STATUS_OK);
    assert_null(map_look(place, round));
    json *map = map_made(place, mapper, round);
    assert_int_equal(number(map, "of"), 2 * EACH);
    assert_string_equal(point_at(map_points(map), 0).device, "edge-2");
    json_free(map);

    assert_int_equal(place_apply(place, expire_run, &expired), STATUS_OK);
    assert_int_equal(expired, 1);
    assert_null(map_look(place, round));
    map = map_made(place, mapper, round);
    assert_int_equal(json_length(map_points(map)), 0);
    json_free(map);

    /* a round that is cancelled gives its uploads back */
    send(place, "edge-3", 2, 2);
    int64_t open = round_of(place, NULL);
    json_free(map_made(place, mapper, open));
    ending = "cancelled";
    assert_int_equal(place_apply(place, finish_run, &open), STATUS_OK);
    assert_null(map_look(place, open));
    mapper_destroy(mapper);
}

struct putting {
    int64_t round, uploads;
};

static enum status put_run(struct store *store, void *ctx, struct err *err)
{
    struct putting *p = ctx;
    return store_map_put(store, p->round, p->uploads, "{}", err);
}

/* An upload that went while its points were being placed does not come back with them. */
static void a_map_of_uploads_that_went_is_not_kept(void **state)
{
    struct place *place = *state;
    int64_t upload = send(place, "edge-1", 2, 0);
    send(place, "edge-2", 2, 1);
    struct putting putting = {round_of(place, "released"), 2};
    assert_int_equal(place_apply(place, delete_run, &upload), STATUS_OK);
    assert_int_equal(place_apply(place, put_run, &putting), STATUS_CONFLICT);
    assert_null(map_look(place, putting.round));
}

static void damage(struct place *place, int64_t upload)
{
    char path[128];
    struct db *db;
    snprintf(path, sizeof path, "%s/cloud.db", place->dir);
    assert_int_equal(db_open(path, true, &db, NULL), STATUS_OK);
    assert_int_equal(
        db_change(db, NULL, "UPDATE blobs SET data=zeroblob(100) WHERE id=?", "i", upload),
        STATUS_OK);
    db_close(db);
}

static void an_upload_that_cannot_be_read_is_left_out(void **state)
{
    struct place *place = *state;
    struct mapper *mapper = mapper_open(place);
    damage(place, send(place, "edge-2", 2, 1));
    send(place, "edge-1", 2, 0);
    json *map = map_made(place, mapper, round_of(place, "released"));
    assert_int_equal(number(map, "of"), 4 * EACH);
    assert_int_equal(json_length(map_points(map)), 2 * EACH);
    assert_string_equal(point_at(map_points(map), 0).device, "edge-1");
    json_free(map);
    mapper_destroy(mapper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_token_is_a_point_near_its_like, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(of_many_tokens_some_are_taken_evenly, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(a_map_goes_with_any_of_its_uploads, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(a_map_of_uploads_that_went_is_not_kept, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(an_upload_that_cannot_be_read_is_left_out, place_open,
                                        place_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
