// safetensors: round trips, every truncation, the writer, and the float conversions. Bad files:
// tests/data/safetensors (test_bad_input).
// links: wire
#include "api/wire/safetensors.h"
#include "guard.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static size_t file_make(unsigned char *out, uint64_t claimed, const char *header, size_t data)
{
    size_t len = strlen(header);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(claimed >> (8 * i));
    memcpy(out + 8, header, len);
    memset(out + 8 + len, 7, data);
    return 8 + len + data;
}

static struct buf sample(void)
{
    static const float values[] = {1, 2, 3, 4, 5, 6};
    static const uint8_t bytes[] = {9, 8, 7};
    const struct safetensors_entry entries[] = {
        {"odd", DTYPE_U8, 1, {3}, bytes, 3, 0},
        {"m\xc3\xa4trix", DTYPE_F32, 2, {2, 3}, values, sizeof values, 0},
        {"empty", DTYPE_F16, 3, {4, 0, 2}, NULL, 0, 0},
        {"scalar", DTYPE_F32, 0, {0}, values, 4, 0},
    };
    const char *keys[] = {"format", "note"}, *texts[] = {"pt", "a \"quoted\" text"};
    struct buf file = {.max = 4096};
    assert_int_equal(safetensors_write(entries, 4, keys, texts, 2, &file, NULL), STATUS_OK);
    return file;
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct buf file = sample();
    struct safetensors out;
    assert_int_equal(safetensors_parse(file.data, file.len, &out, NULL), STATUS_OK);
    assert_int_equal(out.count, 4);
    const struct safetensors_entry *matrix = safetensors_find(&out, "m\xc3\xa4trix");
    assert_non_null(matrix);
    assert_int_equal(matrix->ndim, 2);
    assert_int_equal(matrix->dim[1], 3);
    float values[6];
    assert_int_equal(dtype_to_f32(matrix->dtype, matrix->data, 6, values), STATUS_OK);
    assert_true(values[5] == 6);
    assert_int_equal(safetensors_find(&out, "empty")->size, 0);
    assert_int_equal(safetensors_find(&out, "scalar")->size, 4);
    assert_memory_equal(safetensors_find(&out, "odd")->data, "\x9\x8\x7", 3);
    assert_string_equal(safetensors_meta(&out, "note"), "a \"quoted\" text");
    assert_null(safetensors_meta(&out, "absent"));
    assert_null(safetensors_find(&out, "absent"));
    assert_int_equal((file.data[0] + (file.data[1] << 8)) % 8, 0);
    safetensors_close(&out);
    safetensors_close(&out);
    buf_free(&file);
}

static void every_truncation_and_extension_is_refused(void **state)
{
    (void)state;
    struct buf file = sample();
    struct guard guard;
    struct safetensors out;
    assert_int_equal(guard_init(&guard, file.len), 0);
    for (size_t len = 0; len < file.len; len++)
        assert_int_not_equal(safetensors_parse(guard_put(&guard, file.data, len), len, &out, NULL),
                             STATUS_OK);
    const void *whole = guard_put(&guard, file.data, file.len);
    assert_int_equal(safetensors_parse(whole, file.len, &out, NULL), STATUS_OK);
    safetensors_close(&out);
    assert_int_equal(buf_append(&file, "", 1), STATUS_OK);
    assert_int_equal(safetensors_parse(file.data, file.len, &out, NULL), STATUS_SHAPE);
    guard_deinit(&guard);
    buf_free(&file);
}

static void header_order_is_free_and_entries_come_by_offset(void **state)
{
    (void)state;
    static const char header[] = "{\"b\":" T("U8", "[2]", "[1,3]") ",\"z\":" T(
        "U8", "[0]", "[1,1]") ",\"a\":" T("U8", "[1]", "[0,1]") "}   ";
    unsigned char file[256];
    struct safetensors out;
    size_t len = file_make(file, strlen(header), header, 3);
    assert_int_equal(safetensors_parse(file, len, &out, NULL), STATUS_OK);
    assert_string_equal(out.entries[0].name, "a");
    assert_string_equal(out.entries[1].name, "z");
    assert_string_equal(out.entries[2].name, "b");
    safetensors_close(&out);
}

static void the_writer_refuses_what_the_parser_would(void **state)
{
    (void)state;
    struct err err;
    struct buf file = {.max = 4096};
    struct safetensors_entry two[] = {{"a", DTYPE_U8, 1, {1}, "x", 1, 0},
                                      {"a", DTYPE_U8, 1, {1}, "y", 1, 0}};
    assert_int_equal(safetensors_write(two, 2, NULL, NULL, 0, &file, &err), STATUS_CONFLICT);
    two[0].ndim = 9;
    assert_int_equal(safetensors_write(two, 1, NULL, NULL, 0, &file, &err), STATUS_SHAPE);
    two[0].ndim = 2;
    two[0].dim[0] = two[0].dim[1] = UINT64_C(1) << 33;
    assert_int_equal(safetensors_write(two, 1, NULL, NULL, 0, &file, &err), STATUS_SHAPE);
    two[0].ndim = 1;
    two[0].dim[0] = 5000;
    assert_int_equal(safetensors_write(two, 1, NULL, NULL, 0, &file, &err), STATUS_TOO_LARGE);
    assert_int_equal(file.len, 0);
    buf_free(&file);
}

static void files_open_from_disk_below_a_limit(void **state)
{
    (void)state;
    char path[] = "/tmp/cdcca-safetensors-XXXXXX";
    struct buf file = sample();
    struct safetensors out;
    struct err err;
    close(mkstemp(path));
    assert_int_equal(io_write_file(io_posix(), path, file.data, file.len, NULL), STATUS_OK);
    assert_int_equal(safetensors_open(io_posix(), path, file.len, &out, &err), STATUS_OK);
    assert_non_null(safetensors_find(&out, "odd"));
    safetensors_close(&out);
    assert_int_equal(safetensors_open(io_posix(), path, file.len - 1, &out, &err),
                     STATUS_TOO_LARGE);
    assert_int_equal(io_write_file(io_posix(), path, file.data, file.len - 1, NULL), STATUS_OK);
    assert_int_equal(safetensors_open(io_posix(), path, 4096, &out, &err), STATUS_SHAPE);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    assert_int_equal(safetensors_open(io_posix(), path, 4096, &out, &err), STATUS_NOT_FOUND);
    buf_free(&file);
}

static void a_file_of_the_reference_library_opens(void **state)
{
    (void)state;
    static const char path[] = SHARED_DATA "/reference/instructblip-tiny/model.safetensors";
    struct safetensors out;
    struct err err = {0};
    if (!io_exists(path)) {
        print_message("no reference data at %s\n", path);
        skip();
    }
    if (safetensors_open(io_posix(), path, 1 << 28, &out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_true(out.count > 50);
    assert_string_equal(safetensors_meta(&out, "format"), "pt");
    safetensors_close(&out);
}

/* The value of an F16 by its definition. */
static double f16_value(unsigned h)
{
    int exponent = (int)(h >> 10 & 31), mantissa = (int)(h & 1023);
    double v = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h & 0x8000 ? -v : v;
}

static void every_f16_converts_exactly_and_back(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        uint16_t half = (uint16_t)h, back;
        float f;
        assert_int_equal(dtype_to_f32(DTYPE_F16, &half, 1, &f), STATUS_OK);
        f32_to_f16(&f, 1, &back);
        if ((h & 0x7c00) != 0x7c00)
            assert_true((double)f == f16_value(h) && back == half);
        else if (h & 0x3ff)
            assert_true(isnan(f) && (back & 0x7c00) == 0x7c00 && (back & 0x3ff));
        else
            assert_true(isinf(f) && back == half);
    }
}

static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7bff; h++) {
        float middle = (float)((f16_value(h) + f16_value(h + 1)) / 2), near[3];
        uint16_t out[3];
        near[0] = nextafterf(middle, 0);
        near[1] = middle;
        near[2] = nextafterf(middle, HUGE_VALF);
        f32_to_f16(near, 3, out);
        assert_int_equal(out[0], h);
        assert_int_equal(out[1], h + (h & 1));
        assert_int_equal(out[2], h + 1);
    }
    const float edge[] = {65519.996f, 65520, 1e30f, HUGE_VALF, -1e-30f, FLT_TRUE_MIN};
    const uint16_t expected[] = {0x7bff, 0x7c00, 0x7c00, 0x7c00, 0x8000, 0};
    uint16_t out[6];
    f32_to_f16(edge, 6, out);
    assert_memory_equal(out, expected, sizeof out);
}

static void bf16_rounds_to_nearest_even_and_keeps_nan(void **state)
{
    (void)state;
    const float in[] = {1, 1.00390625f, 1.01171875f, -1.0f, HUGE_VALF, NAN, FLT_MAX, 0};
    const uint16_t expected[] = {0x3f80, 0x3f80, 0x3f82, 0xbf80, 0x7f80, 0x7fc0, 0x7f80, 0};
    uint16_t out[8];
    float back[8];
    f32_to_bf16(in, 8, out);
    assert_memory_equal(out, expected, sizeof out);
    assert_int_equal(dtype_to_f32(DTYPE_BF16, out, 8, back), STATUS_OK);
    assert_true(back[0] == 1 && back[3] == -1 && isinf(back[4]) && isnan(back[5]));
}

static void conversions_read_unaligned_data(void **state)
{
    (void)state;
    const double wide[] = {1.5, -2.25, 1e-300};
    unsigned char bytes[sizeof wide + 1];
    float out[3];
    memcpy(bytes + 1, wide, sizeof wide);
    assert_int_equal(dtype_to_f32(DTYPE_F64, bytes + 1, 3, out), STATUS_OK);
    assert_true(out[0] == 1.5f && out[1] == -2.25f && out[2] == 0);
    assert_int_equal(dtype_to_f32(DTYPE_I32, bytes, 1, out), STATUS_UNSUPPORTED);
    assert_int_equal(dtype_to_f32(DTYPE_F32, NULL, 0, out), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(every_truncation_and_extension_is_refused),
        cmocka_unit_test(header_order_is_free_and_entries_come_by_offset),
        cmocka_unit_test(the_writer_refuses_what_the_parser_would),
        cmocka_unit_test(files_open_from_disk_below_a_limit),
        cmocka_unit_test(a_file_of_the_reference_library_opens),
        cmocka_unit_test(every_f16_converts_exactly_and_back),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
        cmocka_unit_test(conversions_read_unaligned_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
