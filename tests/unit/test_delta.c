// Deltas: round trip, truncations, other containers, bad metadata.
// links: wire
#include "api/wire/delta.h"
#include "api/wire/json.h"
#include "api/wire/safetensors.h"
#include "api/wire/zst.h"
#include "guard.h"
#include "payload_sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct buf encoded(void)
{
    uint8_t codes[40], scales[8];
    struct delta d = sample_delta(codes, scales);
    struct buf out = {.max = 1 << 16};
    assert_int_equal(delta_encode(&d, &out, NULL), STATUS_OK);
    return out;
}

static void a_delta_round_trips(void **state)
{
    (void)state;
    uint8_t codes[40], scales[8];
    struct delta d = sample_delta(codes, scales), back;
    struct buf frame = encoded();
    assert_int_equal(delta_decode(frame.data, frame.len, &back, NULL), STATUS_OK);
    assert_int_equal(back.base_version, 4);
    assert_int_equal(back.version, 5);
    assert_int_equal(back.parameters, 160);
    assert_int_equal(back.tensors, 5);
    assert_string_equal(back.codecs, "2n0s8");
    assert_true(hash_equal(&back.base_hash, &d.base_hash) && hash_equal(&back.hash, &d.hash));
    assert_int_equal(back.codes_size, 40);
    assert_memory_equal(back.codes, codes, 40);
    assert_int_equal(back.scales_size, 8);
    assert_memory_equal(back.scales, scales, 8);
    struct buf again = {.max = 1 << 16};
    assert_int_equal(delta_encode(&back, &again, NULL), STATUS_OK);
    assert_int_equal(again.len, frame.len);
    assert_memory_equal(again.data, frame.data, frame.len);
    delta_free(&back);
    delta_free(&back);
    buf_free(&again);
    buf_free(&frame);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct buf frame = encoded(), raw = {.max = 1 << 16};
    struct guard guard;
    struct delta out;
    assert_int_equal(guard_init(&guard, frame.len), 0);
    for (size_t len = 0; len < frame.len; len++) {
        const void *cut = guard_put(&guard, frame.data, len);
        assert_int_equal(delta_decode(cut, len, &out, NULL), STATUS_MALFORMED);
    }
    guard_deinit(&guard);
    /* the container cut, the frame around it whole */
    assert_int_equal(zst_decompress(frame.data, frame.len, &raw, NULL), STATUS_OK);
    for (size_t len = 0; len < raw.len; len++) {
        struct buf cut = {.max = 1 << 16};
        assert_int_equal(zst_compress(raw.data, len, 1, &cut, NULL), STATUS_OK);
        assert_int_not_equal(delta_decode(cut.data, cut.len, &out, NULL), STATUS_OK);
        assert_null(out.memory);
        buf_free(&cut);
    }
    buf_free(&raw);
    buf_free(&frame);
}

static void altered_bytes_do_no_harm(void **state)
{
    (void)state;
    struct buf frame = encoded();
    for (size_t bit = 0; bit < 8 * frame.len; bit++) {
        struct delta out;
        struct err err = {0};
        frame.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (delta_decode(frame.data, frame.len, &out, &err) == STATUS_OK)
            delta_free(&out);
        else
            assert_true(strlen(err.text) > 10);
        frame.data[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    buf_free(&frame);
}

static const char good_meta[] =
    "{\"schema\":\"cdcca.delta/1\",\"base_version\":4,\"version\":5,\"base_sha256\":"
    "\"" SAMPLE_ENCODER "\",\"sha256\":\"" SAMPLE_ENCODER "\",\"parameters\":160,\"block\":64,"
    "\"codecs\":\"2n0s8\"}";

static enum status decode_with(const char *meta, const struct safetensors_entry *entries,
                               size_t count, struct err *err)
{
    const char *keys[] = {"cdcca"}, *values[] = {meta};
    struct buf raw = {.max = 1 << 16}, frame = {.max = 1 << 16};
    struct delta out;
    assert_int_equal(safetensors_write(entries, count, keys, values, meta ? 1 : 0, &raw, NULL),
                     STATUS_OK);
    assert_int_equal(zst_compress(raw.data, raw.len, 1, &frame, NULL), STATUS_OK);
    enum status status = delta_decode(frame.data, frame.len, &out, err);
    delta_free(&out);
    buf_free(&raw);
    buf_free(&frame);
    return status;
}

static const struct safetensors_entry good_entries[] = {
    {"codes", DTYPE_U8, 1, {3}, "abc", 3, 0},
    {"scales", DTYPE_U8, 1, {2}, "de", 2, 0},
    {"more", DTYPE_U8, 1, {1}, "f", 1, 0},
};

static const struct {
    const char *find, *replace;
    enum status status;
    const char *says;
} edits[] = {
    {"cdcca.delta/1", "cdcca.delta/9", STATUS_UNSUPPORTED, "this program reads"},
    {"\"block\":64", "\"block\":32", STATUS_MALFORMED, "from 64 to 64"},
    {"\"block\":64", "\"block\":64,\"signed\":true", STATUS_UNSUPPORTED,
     "unknown field \"signed\""},
    {"\"block\":64,", "", STATUS_MALFORMED, "\"block\" is missing"},
    {"\"base_version\":4", "\"base_version\":-1", STATUS_MALFORMED, "base_version"},
    {"\"base_version\":4", "\"base_version\":5", STATUS_MALFORMED, "versions must rise"},
    {"\"base_version\":4", "\"base_version\":4.0", STATUS_MALFORMED, "not an integer"},
    {"\"version\":5", "\"version\":9223372036854775807", STATUS_MALFORMED, "version"},
    {"\"version\":5", "\"version\":9223372036854775808", STATUS_MALFORMED, "JSON"},
    {"\"base_sha256\":\"b", "\"base_sha256\":\"B", STATUS_MALFORMED, "base_sha256"},
    {"\"sha256\":\"ba", "\"sha256\":\"a", STATUS_MALFORMED, "SHA-256"},
    {"\"parameters\":160", "\"parameters\":0", STATUS_MALFORMED, "parameters"},
    {"\"parameters\":160", "\"parameters\":1e3", STATUS_MALFORMED, "integer"},
    {"\"codecs\":\"2n0s8\"", "\"codecs\":\"\"", STATUS_SHAPE, "codecs"},
    {"\"codecs\":\"2n0s8\"", "\"codecs\":\"2N\"", STATUS_MALFORMED, "codecs holds"},
    {"\"codecs\":\"2n0s8\"", "\"codecs\":\"2\\n\"", STATUS_MALFORMED, "codecs holds"},
    {"\"codecs\":\"2n0s8\"", "\"codecs\":[\"2\"]", STATUS_MALFORMED, "must be a string"},
    {"{\"schema\"", "[{\"schema\"", STATUS_MALFORMED, "JSON"},
};

static void bad_metadata_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct err err = {0};
    if (decode_with(good_meta, good_entries, 2, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        char meta[1024];
        const char *at = strstr(good_meta, edits[i].find);
        assert_non_null(at);
        snprintf(meta, sizeof meta, "%.*s%s%s", (int)(at - good_meta), good_meta, edits[i].replace,
                 at + strlen(edits[i].find));
        enum status status = decode_with(meta, good_entries, 2, &err);
        if (status != edits[i].status || !strstr(err.text, edits[i].says))
            fail_msg("%s: %s (%s)", edits[i].replace, status_name(status), err.text);
    }
}

static void other_containers_are_refused(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(decode_with(NULL, good_entries, 2, &err), STATUS_SHAPE);
    assert_int_equal(decode_with(good_meta, good_entries, 1, &err), STATUS_SHAPE);
    assert_int_equal(decode_with(good_meta, good_entries, 3, &err), STATUS_SHAPE);
    assert_int_equal(decode_with(good_meta, good_entries + 1, 2, &err), STATUS_SHAPE);
    struct safetensors_entry odd[] = {good_entries[0], good_entries[1]};
    odd[0].dtype = DTYPE_I8;
    assert_int_equal(decode_with(good_meta, odd, 2, &err), STATUS_SHAPE);
    odd[0] = good_entries[0];
    odd[1].ndim = 2;
    odd[1].dim[1] = 1;
    assert_int_equal(decode_with(good_meta, odd, 2, &err), STATUS_SHAPE);
}

static void what_is_invalid_is_never_written(void **state)
{
    (void)state;
    uint8_t codes[40], scales[8];
    struct err err;
    struct buf out = {.max = 1 << 16}, small = {.max = 16};
    struct delta good = sample_delta(codes, scales), d = good;
    d.version = d.base_version;
    assert_int_equal(delta_encode(&d, &out, &err), STATUS_MALFORMED);
    d = good;
    d.tensors = 4;
    assert_int_equal(delta_encode(&d, &out, &err), STATUS_SHAPE);
    d = good;
    d.parameters = 0;
    assert_int_equal(delta_encode(&d, &out, &err), STATUS_MALFORMED);
    assert_int_equal(delta_encode(&good, &small, &err), STATUS_TOO_LARGE);
    buf_free(&out);
    buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delta_round_trips),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(altered_bytes_do_no_harm),
        cmocka_unit_test(bad_metadata_is_refused_with_a_reason),
        cmocka_unit_test(other_containers_are_refused),
        cmocka_unit_test(what_is_invalid_is_never_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
