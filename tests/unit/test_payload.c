// Token payloads: both encodings, quantization error, every truncation, and a table of bad uploads.
// links: wire m
#include "api/wire/payload.h"
#include "api/wire/zst.h"
#include "guard.h"
#include "payload_sample.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char TENSORS[] = "application/x-safetensors", JSON[] = "application/json";

static struct buf encoded(const struct payload *p, bool as_json)
{
    struct buf out = {.max = LIMIT_UPLOAD_RAW_BYTES};
    struct err err = {0};
    enum status status =
        as_json ? payload_encode_json(p, &out, &err) : payload_encode(p, &out, &err);
    if (status != STATUS_OK)
        fail_msg("%s", err.text);
    return out;
}

static void same(const struct payload *a, const struct payload *b)
{
    assert_string_equal(a->device, b->device);
    assert_string_equal(a->encoder, b->encoder);
    assert_int_equal(a->base_version, b->base_version);
    assert_int_equal(a->instances, b->instances);
    assert_int_equal(a->tokens, b->tokens);
    assert_memory_equal(a->scales, b->scales, 2 * a->tokens);
    assert_memory_equal(a->positions, b->positions, 2 * a->tokens);
    assert_memory_equal(a->codes, b->codes, a->tokens * (size_t)(a->width * a->bits) / 8);
    for (size_t i = 0; i < a->instances; i++) {
        const struct payload_instance *x = &a->instance[i], *y = &b->instance[i];
        assert_string_equal(x->id, y->id);
        assert_string_equal(x->question, y->question);
        assert_string_equal(x->answer, y->answer);
        assert_true(!x->correction == !y->correction);
        assert_true(fabs(x->entropy - y->entropy) < 1e-4);
        assert_int_equal(x->first, y->first);
        assert_int_equal(x->count, y->count);
    }
}

static void both_encodings_round_trip(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct sample s;
        struct payload back;
        struct err err = {0};
        sample_make(&s, 5, 3, 6, variant & 1 ? 8 : 4);
        s.instance[2].correction = "bl\xc3\xa4u";
        s.instance[3].answer = "";
        struct buf bytes = encoded(&s.payload, variant & 2);
        const char *type = variant & 2 ? JSON : TENSORS;
        if (payload_decode(type, bytes.data, bytes.len, &back, &err) != STATUS_OK)
            fail_msg("%s", err.text);
        same(&s.payload, &back);
        assert_string_equal(back.instance[2].correction, "bl\xc3\xa4u");
        struct buf again = encoded(&back, variant & 2);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        buf_free(&again);
        buf_free(&bytes);
        payload_free(&back);
        payload_free(&back);
        sample_free(&s);
    }
}

static void quantization_is_within_half_a_step(void **state)
{
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        struct sample s;
        enum { WIDTH = 96, COUNT = 32 };
        sample_make(&s, 2, COUNT, WIDTH, bits);
        float back[COUNT * WIDTH];
        payload_dequantize(&s.payload, 1, back);
        for (int t = 0; t < COUNT; t++) {
            const float *x = s.tokens + (COUNT + t) * WIDTH;
            float absmax = 0;
            for (int c = 0; c < WIDTH; c++)
                absmax = fmaxf(absmax, fabsf(x[c]));
            float step = absmax / (bits == 4 ? 7.0f : 127.0f);
            for (int c = 0; c < WIDTH; c++)
                assert_true(fabsf(x[c] - back[t * WIDTH + c]) <= 0.5f * step + 0.001f * absmax);
        }
        sample_free(&s);
    }
}

static void the_packing_is_the_documented_one(void **state)
{
    (void)state;
    const float tokens[] = {7, -7, 0, 1, 0, 0, 0, 0};
    uint8_t codes[4];
    uint16_t scales[2];
    assert_int_equal(payload_quantize(tokens, 2, 4, 4, codes, scales, NULL), STATUS_OK);
    assert_int_equal(scales[0], 0x3c00);
    assert_int_equal(codes[0], 15 | 1 << 4);
    assert_int_equal(codes[1], 8 | 9 << 4);
    assert_int_equal(scales[1], 0);
    assert_int_equal(codes[2], 0x88);
    const float wide[] = {127, -127};
    assert_int_equal(payload_quantize(wide, 1, 2, 8, codes, scales, NULL), STATUS_OK);
    assert_int_equal(codes[0], 127);
    assert_int_equal(codes[1], 129);
}

static void values_that_cannot_be_quantized_are_refused(void **state)
{
    (void)state;
    static const float bad[] = {NAN, HUGE_VALF, -HUGE_VALF, 1e6f, -1e30f};
    uint8_t codes[2];
    uint16_t scales[1];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const float token[] = {0, bad[i]};
        assert_int_equal(payload_quantize(token, 1, 2, 4, codes, scales, NULL), STATUS_MALFORMED);
    }
    const float token[] = {0, 1, 2};
    assert_int_equal(payload_quantize(token, 1, 3, 4, codes, scales, NULL), STATUS_SHAPE);
    assert_int_equal(payload_quantize(token, 1, 2, 5, codes, scales, NULL), STATUS_SHAPE);
    assert_int_equal(payload_quantize(token, 1, 0, 8, codes, scales, NULL), STATUS_SHAPE);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct sample s;
    struct guard guard;
    struct payload out;
    sample_make(&s, 2, 3, 4, 4);
    for (int as_json = 0; as_json < 2; as_json++) {
        struct buf bytes = encoded(&s.payload, as_json);
        const char *type = as_json ? JSON : TENSORS;
        assert_int_equal(guard_init(&guard, bytes.len), 0);
        for (size_t len = 0; len < bytes.len; len++) {
            const void *cut = guard_put(&guard, bytes.data, len);
            assert_int_not_equal(payload_decode(type, cut, len, &out, NULL), STATUS_OK);
        }
        const void *whole = guard_put(&guard, bytes.data, bytes.len);
        assert_int_equal(payload_decode(type, whole, bytes.len, &out, NULL), STATUS_OK);
        payload_free(&out);
        guard_deinit(&guard);
        buf_free(&bytes);
    }
    sample_free(&s);
}

#define ID65 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* One valid upload of two instances with (1,2) tokens of width 4; one piece of it replaced. */
static const struct edit {
    const char *find, *replace;
    enum status status;
    const char *says;
} edits[] = {
    {"cdcca.tokens/1", "cdcca.tokens/2", STATUS_UNSUPPORTED, "this program reads"},
    {"\"schema\":\"cdcca.tokens/1\",", "", STATUS_MALFORMED, "\"schema\" is missing"},
    {"\"device\":\"edge-1\"", "\"device\":\"\"", STATUS_MALFORMED, "device must be"},
    {"\"device\":\"edge-1\"", "\"device\":\"a/../b\"", STATUS_MALFORMED, "device must be"},
    {"\"device\":\"edge-1\"", "\"device\":\"" ID65 "\"", STATUS_TOO_LARGE, "64"},
    {"\"device\":\"edge-1\"", "\"device\":7", STATUS_MALFORMED, "must be a string"},
    {"\"device\":\"edge-1\"", "\"extra\":1", STATUS_UNSUPPORTED, "unknown field \"extra\""},
    {"\"base_version\":3", "\"base_version\":-1", STATUS_MALFORMED, "base_version"},
    {"\"base_version\":3", "\"base_version\":3.0", STATUS_MALFORMED, "not an integer"},
    {"\"base_version\":3", "\"base_version\":9007199254740993", STATUS_MALFORMED, "base_version"},
    {"\"base_version\":3", "\"base_version\":\"3\"", STATUS_MALFORMED, "integer"},
    {"\"base_version\":3", "\"base_version\":null", STATUS_MALFORMED, "null"},
    {"ba7816bf", "BA7816BF", STATUS_MALFORMED, "encoder must be"},
    {"ba7816bf", "ba7816b", STATUS_MALFORMED, "encoder must be"},
    {"ba7816bf", "ba7816bff", STATUS_TOO_LARGE, "encoder"},
    {"\"bits\":4", "\"bits\":5", STATUS_SHAPE, "bits must be 4 or 8"},
    {"\"bits\":4", "\"bits\":16", STATUS_MALFORMED, "from 4 to 8"},
    {"\"bits\":4", "\"bits\":8", STATUS_SHAPE, "codes has 6 bytes"},
    {"\"width\":4", "\"width\":3", STATUS_SHAPE, "even"},
    {"\"width\":4", "\"width\":6", STATUS_SHAPE, "need 9"},
    {"\"width\":4", "\"width\":0", STATUS_MALFORMED, "from 1 to 4096"},
    {"\"width\":4", "\"width\":4098", STATUS_MALFORMED, "from 1 to 4096"},
    {"\"instances\":[", "\"instances\":[1,", STATUS_SHAPE, "offsets has 12 bytes"},
    {"\"instances\":[{", "\"instances\":{\"a\":[{", STATUS_MALFORMED, "JSON"},
    {"\"id\":\"r1-001\"", "\"id\":\"r1-000\"", STATUS_MALFORMED, "comes twice"},
    {"\"id\":\"r1-001\"", "\"id\":\"r1 001\"", STATUS_MALFORMED, "instance 1: id must be"},
    {"\"id\":\"r1-001\"", "\"id\":\"\\u00e4\"", STATUS_MALFORMED, "instance 1: id must be"},
    {"\"id\":\"r1-001\",", "", STATUS_MALFORMED, "\"id\" is missing"},
    {"\"answer\":\"red\"", "\"answer\":null", STATUS_MALFORMED, "instance 0"},
    {"\"answer\":\"red\"", "\"Answer\":\"red\"", STATUS_UNSUPPORTED, "unknown field \"Answer\""},
    {"\"question\":\"what color is the circle?\"", "\"question\":\"\"", STATUS_MALFORMED, "empty"},
    {"\"question\":\"what", "\"question\":\"\xff", STATUS_MALFORMED, "JSON"},
    {"\"entropy\":0.25", "\"entropy\":-0.25", STATUS_MALFORMED, "instance 1"},
    {"\"entropy\":0.25", "\"entropy\":NaN", STATUS_MALFORMED, "JSON"},
    {"\"entropy\":0.25", "\"entropy\":1e999", STATUS_MALFORMED, "JSON"},
    {"\"entropy\":0.25", "\"entropy\":101", STATUS_MALFORMED, "from 0 to 100"},
    {"\"entropy\":0.25", "\"entropy\":\"0.25\"", STATUS_MALFORMED, "must be a number"},
    {"\"entropy\":0.25", "\"entropy\":0.25,\"correction\":\"\"", STATUS_MALFORMED, "correction"},
    {"\"entropy\":0.25", "\"entropy\":0.25,\"correction\":1", STATUS_MALFORMED, "correction"},
    /* offsets 0,1,3 */
    {"AAAAAAEAAAADAAAA", "AQAAAAEAAAADAAAA", STATUS_SHAPE, "offsets must rise"},
    {"AAAAAAEAAAADAAAA", "AAAAAAAAAAADAAAA", STATUS_SHAPE, "offsets must rise"},
    {"AAAAAAEAAAADAAAA", "AAAAAAQAAAADAAAA", STATUS_SHAPE, "offsets must rise"},
    {"AAAAAAEAAAADAAAA", "AAAAAAEAAAACAAAA", STATUS_SHAPE, "offsets end at 2"},
    {"AAAAAAEAAAADAAAA", "AAAAAAEAAAAEAAAA", STATUS_SHAPE, "offsets must rise"},
    {"AAAAAAEAAAADAAAA", "AAAAAAEAAAD/////", STATUS_SHAPE, "offsets must rise"},
    {"AAAAAAEAAAADAAAA", "AAAAAAEAAAADAAA", STATUS_MALFORMED, "must be base64"},
    {"AAAAAAEAAAADAAAA", "AAAAAAEAAAADAAAAAAAA", STATUS_SHAPE, "offsets has 15 bytes"},
    {"AAAAAAEAAAADAAAA", "", STATUS_SHAPE, "offsets has 0 bytes"},
    /* positions 5 | 1,2 */
    {"BQABAAIA", "BQACAAIA", STATUS_MALFORMED, "positions must rise"},
    {"BQABAAIA", "BQACAAEA", STATUS_MALFORMED, "positions must rise"},
    {"BQABAAIA", "ABABAAIA", STATUS_MALFORMED, "the limit is 4095"},
    {"BQABAAIA", "BQD//wIA", STATUS_MALFORMED, "65535 for an instance's last"},
    {"BQABAAIA", "//8BAAIA", STATUS_MALFORMED, "but not its first"},
    {"BQABAAIA", "BQABAA==", STATUS_SHAPE, "scales has 6 bytes"},
    {"BQABAAIA", "BQABAAI=", STATUS_SHAPE, "positions has 5 bytes"},
    /* scales 1,1,1 */
    {"ADwAPAA8", "ADwAPAB8", STATUS_MALFORMED, "scale 0x7c00"},
    {"ADwAPAA8", "ADwAPAF8", STATUS_MALFORMED, "scale 0x7c01"},
    {"ADwAPAA8", "ADwAPAC8", STATUS_MALFORMED, "scale 0xbc00"},
    {"ADwAPAA8", "ADwAPA==", STATUS_SHAPE, "scales has 4 bytes"},
    {"\"codes\":\"", "\"codes\":\" ", STATUS_MALFORMED, "\"codes\" must be base64"},
    {"\"codes\":", "\"Codes\":", STATUS_MALFORMED, "\"codes\" is missing"},
    {"\"codes\":\"", "\"codes\":[],\"x\":\"", STATUS_MALFORMED, "must be a string"},
};

static void edited_sample(struct buf *out)
{
    static uint16_t scales[] = {0x3c00, 0x3c00, 0x3c00}, positions[] = {5, 1, 2};
    static uint8_t codes[] = {1, 2, 3, 4, 5, 6};
    struct sample s;
    sample_make(&s, 2, 1, 4, 4);
    s.instance[1].count = 2;
    s.payload.tokens = 3;
    s.payload.scales = scales;
    s.payload.positions = positions;
    s.payload.codes = codes;
    *out = encoded(&s.payload, true);
    sample_free(&s);
}

static void bad_uploads_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct buf good;
    struct guard guard;
    edited_sample(&good);
    assert_int_equal(guard_init(&guard, 4096), 0);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        const struct edit *edit = &edits[i];
        const char *text = (const char *)good.data, *at = strstr(text, edit->find);
        struct buf bad = {.max = 4096};
        struct payload out;
        struct err err = {0};
        if (!at)
            fail_msg("\"%s\" is not in %s", edit->find, text);
        assert_int_equal(buf_printf(&bad, "%.*s%s%s", (int)(at - text), text, edit->replace,
                                    at + strlen(edit->find)),
                         STATUS_OK);
        const void *input = guard_put(&guard, bad.data, bad.len);
        enum status status = payload_decode(JSON, input, bad.len, &out, &err);
        if (status != edit->status || !strstr(err.text, edit->says))
            fail_msg("%s -> %s: %s (%s)", edit->find, edit->replace, status_name(status), err.text);
        assert_null(out.memory);
        assert_int_equal(payload_decode(JSON, input, bad.len, &out, NULL), status);
        buf_free(&bad);
    }
    guard_deinit(&guard);
    buf_free(&good);
}

static void the_content_type_decides(void **state)
{
    (void)state;
    struct buf good;
    struct payload out;
    edited_sample(&good);
    static const char *const fine[] = {"application/json", "Application/JSON",
                                       "application/json; charset=utf-8"};
    static const char *const bad[] = {NULL, "", "text/plain", "application/jsonx",
                                      "application/octet-stream"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_int_equal(payload_decode(fine[i], good.data, good.len, &out, NULL), STATUS_OK);
        payload_free(&out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(payload_decode(bad[i], good.data, good.len, &out, NULL),
                         STATUS_UNSUPPORTED);
    assert_int_not_equal(payload_decode(TENSORS, good.data, good.len, &out, NULL), STATUS_OK);
    buf_free(&good);
}

/* The encoder refuses what no decoder would take. */
static void what_is_invalid_is_never_written(void **state)
{
    (void)state;
    struct sample s;
    struct buf out = {.max = 1 << 16};
    struct err err;
    sample_make(&s, 2, 3, 4, 4);
    struct payload p = s.payload;
    p.device = "no spaces";
    assert_int_equal(payload_encode(&p, &out, &err), STATUS_MALFORMED);
    p = s.payload;
    p.encoder = "unknown";
    assert_int_equal(payload_encode(&p, &out, &err), STATUS_MALFORMED);
    p = s.payload;
    p.instances = 0;
    assert_int_equal(payload_encode(&p, &out, &err), STATUS_TOO_LARGE);
    s.instance[0].question = "\xff";
    assert_int_equal(payload_encode(&s.payload, &out, &err), STATUS_MALFORMED);
    s.instance[0].question = "q";
    s.instance[0].entropy = (double)NAN;
    assert_int_equal(payload_encode(&s.payload, &out, &err), STATUS_MALFORMED);
    s.instance[0].entropy = 0;
    s.positions[1] = s.positions[0];
    assert_int_equal(payload_encode_json(&s.payload, &out, &err), STATUS_MALFORMED);
    assert_int_equal(out.len, 0);
    s.positions[1] = 1 + s.positions[0];
    struct buf small = {.max = 100};
    s.positions[2] = 1 + s.positions[1];
    assert_int_equal(payload_encode(&s.payload, &small, &err), STATUS_TOO_LARGE);
    buf_free(&small);
    buf_free(&out);
    sample_free(&s);
}

static size_t compressed_size(const void *data, size_t len)
{
    struct buf out = {.max = 1 << 22};
    assert_int_equal(zst_compress(data, len, 19, &out, NULL), STATUS_OK);
    size_t size = out.len;
    buf_free(&out);
    return size;
}

/* What travels beside the codes, whose own cost depends on the features (recipe.md). Cutting the
 * frame where the statistics change must beat leaving it to the compressor. */
static void what_is_not_codes_costs_little(void **state)
{
    (void)state;
    static const struct {
        int instances;
        double limit;
    } cases[] = {{1, 480}, {16, 120}, {91, 80}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int n = cases[i].instances;
        struct sample s;
        struct buf packed = {.max = 1 << 20}, back = {.max = 1 << 20};
        sample_make(&s, n, 32, 96, 4);
        struct buf raw = encoded(&s.payload, false);
        size_t codes = compressed_size(s.codes, (size_t)n * 32 * 48);
        assert_int_equal(payload_encode_zstd(&s.payload, &packed, NULL), STATUS_OK);
        print_message("%d instances: %zu bytes each, of which codes %zu\n", n,
                      packed.len / (size_t)n, codes / (size_t)n);
        assert_true((double)packed.len - (double)codes < n * cases[i].limit);
        assert_true(packed.len < compressed_size(raw.data, raw.len));
        assert_int_equal(zst_decompress(packed.data, packed.len, &back, NULL), STATUS_OK);
        assert_int_equal(back.len, raw.len);
        assert_memory_equal(back.data, raw.data, raw.len);
        buf_free(&packed);
        buf_free(&back);
        buf_free(&raw);
        sample_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_encodings_round_trip),
        cmocka_unit_test(quantization_is_within_half_a_step),
        cmocka_unit_test(the_packing_is_the_documented_one),
        cmocka_unit_test(values_that_cannot_be_quantized_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(bad_uploads_are_refused_with_a_reason),
        cmocka_unit_test(the_content_type_decides),
        cmocka_unit_test(what_is_invalid_is_never_written),
        cmocka_unit_test(what_is_not_codes_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
