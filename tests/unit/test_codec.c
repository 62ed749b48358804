/* codec: round trips within each code's error, sizes as promised, and every bad stream refused
 * without a byte read past its end. */
// links: learn
#include "api/base/io.h"
#include "api/base/rng.h"
#include "api/wire/json.h"
#include "model/learn/codec.h"
#include "tests/unit/guard.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1000 }; /* 15 whole blocks and one of 40 */

static void fill_normal(float *x, size_t n, float deviation)
{
    struct rng rng;
    rng_init(&rng, 5, n);
    for (size_t i = 0; i < n; i++)
        x[i] = deviation * rng_normal(&rng);
}

struct coded {
    struct buf codes, scales;
};

static void encode(char codec, const float *x, size_t n, struct coded *c)
{
    *c = (struct coded){{.max = 1 << 20}, {.max = 1 << 20}};
    assert_int_equal(codec_encode(codec, x, n, 0.25f, &c->codes, &c->scales), STATUS_OK);
}

static enum status decode(char codec, size_t n, const struct coded *c, float *out)
{
    size_t codes_used, scales_used;
    struct err err;
    enum status s = codec_decode(codec, n, c->codes.data, c->codes.len, &codes_used, c->scales.data,
                                 c->scales.len, &scales_used, out, &err);
    if (s == STATUS_OK) {
        assert_int_equal(codes_used, c->codes.len);
        assert_int_equal(scales_used, c->scales.len);
    }
    return s;
}

static void coded_free(struct coded *c)
{
    buf_free(&c->codes);
    buf_free(&c->scales);
}

static double relative_error(const float *x, const float *y, size_t n)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        error += pow((double)x[i] - (double)y[i], 2);
        size += pow((double)x[i], 2);
    }
    return sqrt(error / size);
}

/* A normal density's distortions: 1 bit 0.603, 2 bit 0.343 (Max), NF4 0.09, 8 bit 0.008. */
static void test_error_and_size(void **state)
{
    static const struct {
        char codec;
        double error;
        size_t codes, scales;
    } cases[] = {{'0', 1.0001, 0, 0},
                 {'s', 0.62, 125, 18},
                 {'2', 0.345, 250, 18},
                 {'n', 0.10, 500, 18},
                 {'8', 0.008, 1000, 18},
                 {'f', 0, 4000, 0},
                 {'k', 0.88, 2 + 4 * 32, 2 + 4},
                 {'b', 0.65, 2 + 15 * 8, 2 + 15},
                 {'h', 0.83, 2 + 7 * 8, 2 + 7}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const float deviations[] = {1e-6f, 1, 1e6f};
        for (int d = 0; d < 3; d++) {
            float x[N], y[N];
            struct coded c;
            fill_normal(x, N, deviations[d]);
            encode(cases[i].codec, x, N, &c);
            assert_int_equal(c.codes.len, cases[i].codes);
            assert_int_equal(c.scales.len, cases[i].scales);
            assert_int_equal(decode(cases[i].codec, N, &c, y), STATUS_OK);
            if (relative_error(x, y, N) > cases[i].error)
                fail_msg("codec %c: error %g over %g", cases[i].codec, relative_error(x, y, N),
                         cases[i].error);
            coded_free(&c);
        }
    }
}

static void test_selected_takes_largest_blocks(void **state)
{
    float x[N], y[N];
    struct coded c;
    (void)state;
    fill_normal(x, N, 0.01f);
    fill_normal(x + 3 * CODEC_BLOCK, CODEC_BLOCK, 1);
    encode('k', x, N, &c);
    assert_int_equal(c.codes.data[0] & 8, 8);
    assert_int_equal(decode('k', N, &c, y), STATUS_OK);
    assert_true(relative_error(x + 3 * CODEC_BLOCK, y + 3 * CODEC_BLOCK, CODEC_BLOCK) < 0.12);
    coded_free(&c);
}

static void test_zeros_and_tiny_values(void **state)
{
    static const char codecs[] = "0hbs2n8kf";
    (void)state;
    for (const char *codec = codecs; *codec; codec++) {
        float x[N] = {0}, y[N];
        struct coded c;
        for (int i = 0; i < N; i++)
            y[i] = 7;
        x[70] = 1e-39f; /* subnormal: below what a scale may be, so it vanishes (but in 'f') */
        encode(*codec, x, N, &c);
        assert_int_equal(decode(*codec, N, &c, y), STATUS_OK);
        for (int i = 0; i < N; i++)
            assert_true(y[i] == (*codec == 'f' ? x[i] : 0));
        coded_free(&c);
    }
}

static void test_empty_tensor(void **state)
{
    struct coded c;
    float none = 3;
    (void)state;
    encode('2', &none, 0, &c);
    assert_int_equal(c.codes.len + c.scales.len, 0);
    assert_int_equal(decode('2', 0, &c, &none), STATUS_OK);
    assert_true(none == 3);
    coded_free(&c);
}

static void test_encode_is_deterministic(void **state)
{
    float x[N];
    struct coded a, b;
    (void)state;
    fill_normal(x, N, 0.3f);
    encode('2', x, N, &a);
    encode('2', x, N, &b);
    assert_memory_equal(a.codes.data, b.codes.data, a.codes.len);
    assert_memory_equal(a.scales.data, b.scales.data, a.scales.len);
    coded_free(&a);
    coded_free(&b);
}

static void test_encode_refuses_values(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    (void)state;
    for (int i = 0; i < 4; i++) {
        float x[N] = {0};
        struct buf codes = {.max = 1 << 20}, scales = {.max = 1 << 20};
        x[500] = bad[i];
        assert_int_equal(codec_encode('2', x, N, 0, &codes, &scales), STATUS_MALFORMED);
        buf_free(&codes);
        buf_free(&scales);
    }
}

static void test_unknown_codec(void **state)
{
    float x[64] = {1};
    struct buf codes = {.max = 1 << 20}, scales = {.max = 1 << 20};
    struct coded c = {{.max = 1}, {.max = 1}};
    (void)state;
    assert_int_equal(codec_encode('z', x, 64, 0, &codes, &scales), STATUS_UNSUPPORTED);
    assert_int_equal(decode('z', 64, &c, x), STATUS_UNSUPPORTED);
    buf_free(&codes);
    buf_free(&scales);
}

/* ---- hostile streams ---- */

struct hostile {
    struct guard codes, scales;
    float out[N];
};

static enum status decode_guarded(struct hostile *h, char codec, const uint8_t *codes,
                                  size_t codes_size, const uint8_t *scales, size_t scales_size)
{
    size_t used[2];
    return codec_decode(codec, N, guard_put(&h->codes, codes, codes_size), codes_size, &used[0],
                        guard_put(&h->scales, scales, scales_size), scales_size, &used[1], h->out,
                        NULL);
}

static void hostile_init(struct hostile *h)
{
    assert_int_equal(guard_init(&h->codes, 8192), 0);
    assert_int_equal(guard_init(&h->scales, 8192), 0);
}

static void hostile_deinit(struct hostile *h)
{
    guard_deinit(&h->codes);
    guard_deinit(&h->scales);
}

static void test_truncations(void **state)
{
    static const char codecs[] = "s2n8kf";
    struct hostile h;
    (void)state;
    hostile_init(&h);
    for (const char *codec = codecs; *codec; codec++) {
        float x[N];
        struct coded c;
        fill_normal(x, N, 1);
        encode(*codec, x, N, &c);
        for (size_t n = 0; n < c.codes.len; n++)
            assert_int_equal(
                decode_guarded(&h, *codec, c.codes.data, n, c.scales.data, c.scales.len),
                STATUS_SHAPE);
        for (size_t n = 0; n < c.scales.len; n++)
            assert_int_equal(
                decode_guarded(&h, *codec, c.codes.data, c.codes.len, c.scales.data, n),
                STATUS_SHAPE);
        coded_free(&c);
    }
    hostile_deinit(&h);
}

/* A flipped bit may only change values: whatever is accepted is finite. */
static void test_bit_flips(void **state)
{
    static const char codecs[] = "s2n8k";
    struct hostile h;
    (void)state;
    hostile_init(&h);
    for (const char *codec = codecs; *codec; codec++) {
        float x[N];
        struct coded c;
        fill_normal(x, N, 1);
        encode(*codec, x, N, &c);
        for (size_t bit = 0; bit < 8 * (c.codes.len + c.scales.len); bit++) {
            size_t at = bit / 8;
            uint8_t *byte = at < c.codes.len ? &c.codes.data[at] : &c.scales.data[at - c.codes.len];
            *byte ^= (uint8_t)(1u << bit % 8);
            if (decode_guarded(&h, *codec, c.codes.data, c.codes.len, c.scales.data,
                               c.scales.len) == STATUS_OK)
                for (int i = 0; i < N; i++)
                    assert_true(isfinite(h.out[i]));
            *byte ^= (uint8_t)(1u << bit % 8);
        }
        coded_free(&c);
    }
    hostile_deinit(&h);
}

static void test_bad_scales(void **state)
{
    static const uint16_t largest[] = {0x7f80 /* Inf */, 0x7fc0 /* NaN */,
                                       0xbf80 /* -1 */,  0x0001 /* subnormal */,
                                       0x8000 /* -0 */,  0x7f00 /* 2^127 */};
    float x[N];
    struct coded c;
    (void)state;
    fill_normal(x, N, 1);
    encode('2', x, N, &c);
    for (size_t i = 0; i < sizeof largest / sizeof *largest; i++) {
        c.scales.data[0] = (uint8_t)(largest[i] & 0xff);
        c.scales.data[1] = (uint8_t)(largest[i] >> 8);
        assert_int_equal(decode('2', N, &c, x), STATUS_MALFORMED);
    }
    coded_free(&c);
}

static void test_codes_no_encoder_writes(void **state)
{
    float x[N], y[N];
    struct coded c;
    (void)state;
    fill_normal(x, N, 1);
    encode('8', x, N, &c);
    c.codes.data[3] = 255;
    assert_int_equal(decode('8', N, &c, y), STATUS_MALFORMED);
    coded_free(&c);
    encode('f', x, N, &c);
    memcpy(c.codes.data + 8, &(float){NAN}, sizeof(float));
    assert_int_equal(decode('f', N, &c, y), STATUS_MALFORMED);
    coded_free(&c);
    encode('s', x, 61, &c);
    c.codes.data[7] |= 0x80;
    assert_int_equal(decode('s', 61, &c, y), STATUS_MALFORMED);
    coded_free(&c);
    encode('k', x, 65, &c);
    c.codes.data[0] |= 4;
    assert_int_equal(decode('k', 65, &c, y), STATUS_MALFORMED);
    coded_free(&c);
}

/* ---- NF4 against the reference vectors ---- */

static void check_vector(const json *vector)
{
    const json *values, *codes, *absmax;
    struct err err;
    assert_int_equal(json_get_array(vector, "x", 1 << 16, &values, &err), STATUS_OK);
    assert_int_equal(json_get_array(vector, "codes", 1 << 16, &codes, &err), STATUS_OK);
    assert_int_equal(json_get_array(vector, "absmax", 1 << 16, &absmax, &err), STATUS_OK);
    for (size_t i = 0; i < json_length(values); i++) {
        double x, code, most;
        assert_int_equal(json_number_at(values, i, &x, &err), STATUS_OK);
        assert_int_equal(json_number_at(codes, i, &code, &err), STATUS_OK);
        assert_int_equal(json_number_at(absmax, i / 64, &most, &err), STATUS_OK);
        assert_int_equal(codec_nf4_index(most > 0 ? (float)x / (float)most : 0), (int)code);
    }
}

static void test_nf4_reference(void **state)
{
    struct buf file = {.max = 1 << 22};
    struct err err;
    json *root = NULL;
    static const char *const names[] = {"gaussian", "laplace", "all_zero", "outlier"};
    const json *table, *vectors, *vector;
    (void)state;
    if (io_read_file(io_posix(), SHARED_DATA "/reference/nf4.json", &file, &err) != STATUS_OK) {
        printf("no reference data: %s\n", err.text);
        skip();
    }
    assert_int_equal(json_parse(file.data, file.len, &root, &err), STATUS_OK);
    assert_int_equal(json_get_array(root, "code_values", 16, &table, &err), STATUS_OK);
    for (size_t i = 0; i < 16; i++) {
        double value;
        assert_int_equal(json_number_at(table, i, &value, &err), STATUS_OK);
        assert_true((float)value == CODEC_NF4[i]);
    }
    assert_int_equal(json_get_object(root, "vectors", &vectors, &err), STATUS_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(json_get_object(vectors, names[i], &vector, &err), STATUS_OK);
        check_vector(vector);
    }
    json_free(root);
    buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_and_size),
        cmocka_unit_test(test_selected_takes_largest_blocks),
        cmocka_unit_test(test_zeros_and_tiny_values),
        cmocka_unit_test(test_empty_tensor),
        cmocka_unit_test(test_encode_is_deterministic),
        cmocka_unit_test(test_encode_refuses_values),
        cmocka_unit_test(test_unknown_codec),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_bad_scales),
        cmocka_unit_test(test_codes_no_encoder_writes),
        cmocka_unit_test(test_nf4_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
