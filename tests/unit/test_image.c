// Images: Pillow's bytes when resized, every flavour of PNG and JPEG as RGB, bad files refused.
// links: task wire
#include "api/wire/json.h"
#include "model/task/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jpeglib.h>
#include <png.h>

/* ---- making files ---- */

static void take(png_structp png, png_bytep data, size_t n)
{
    assert_int_equal(buf_append(png_get_io_ptr(png), data, n), STATUS_OK);
}

static void flush(png_structp png)
{
    (void)png;
}

/* A 2x1 PNG of any colour type; row: its packed bytes. */
static struct buf png_of(int type, int depth, const uint8_t *row)
{
    static png_color palette[2] = {{10, 20, 30}, {200, 100, 50}};
    static png_byte alpha[2] = {255, 0};
    struct buf out = {.max = 1 << 16};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    assert_int_equal(setjmp(png_jmpbuf(png)), 0);
    png_set_write_fn(png, &out, take, flush);
    png_set_IHDR(png, info, 2, 1, depth, type, 0, 0, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 2);
        png_set_tRNS(png, info, alpha, 2, NULL);
    }
    png_write_info(png, info);
    png_write_row(png, row);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return out;
}

static struct buf jpeg_of(J_COLOR_SPACE space, int components, const uint8_t pixel[4])
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr manager;
    unsigned char *data = NULL, row[16 * 4];
    unsigned long len = 0;
    struct buf out = {.max = 1 << 16};
    JSAMPROW rows[1] = {row};
    for (int i = 0; i < 16 * components; i++)
        row[i] = pixel[i % components];
    jpeg.err = jpeg_std_error(&manager);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &len);
    jpeg.image_width = jpeg.image_height = 16;
    jpeg.input_components = components;
    jpeg.in_color_space = space;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < 16; y++)
        jpeg_write_scanlines(&jpeg, rows, 1);
    jpeg_finish_compress(&jpeg);
    assert_int_equal(buf_append(&out, data, len), STATUS_OK);
    jpeg_destroy_compress(&jpeg);
    free(data);
    return out;
}

static struct buf world_png(int side)
{
    struct buf out = {.max = 1 << 20};
    uint8_t *rgb = malloc((size_t)side * (size_t)side * 3);
    for (int i = 0; i < side * side * 3; i++)
        rgb[i] = (uint8_t)(i * 37 + i / 64);
    assert_int_equal(image_encode_png(rgb, side, side, &out, NULL), STATUS_OK);
    free(rgb);
    return out;
}

static uint32_t crc_of(const uint8_t *data, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void big_endian_put(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* ---- good files ---- */

static void expect_pixels(struct buf *file, const uint8_t *rgb, int n, int tolerance)
{
    struct image image;
    struct err err = {0};
    enum status status = image_decode(file->data, file->len, &image, &err);
    if (status != STATUS_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < n; i++)
        if (abs(image.rgb[i] - rgb[i]) > tolerance)
            fail_msg("byte %d is %d, not %d", i, image.rgb[i], rgb[i]);
    image_free(&image);
    buf_free(file);
}

static void png_flavours_become_rgb(void **state)
{
    (void)state;
    struct buf file = png_of(PNG_COLOR_TYPE_GRAY, 8, (const uint8_t[]){7, 250});
    expect_pixels(&file, (const uint8_t[]){7, 7, 7, 250, 250, 250}, 6, 0);
    file = png_of(PNG_COLOR_TYPE_GRAY, 1, (const uint8_t[]){0x40});
    expect_pixels(&file, (const uint8_t[]){0, 0, 0, 255, 255, 255}, 6, 0);
    file =
        png_of(PNG_COLOR_TYPE_RGB, 16, (const uint8_t[]){1, 0, 2, 0, 3, 0, 255, 255, 4, 0, 5, 0});
    expect_pixels(&file, (const uint8_t[]){1, 2, 3, 255, 4, 5}, 6, 0);
    file = png_of(PNG_COLOR_TYPE_RGB_ALPHA, 8, (const uint8_t[]){9, 8, 7, 255, 9, 8, 7, 0});
    expect_pixels(&file, (const uint8_t[]){9, 8, 7, 9, 8, 7}, 6, 0);
    file = png_of(PNG_COLOR_TYPE_GRAY_ALPHA, 8, (const uint8_t[]){100, 255, 100, 0});
    expect_pixels(&file, (const uint8_t[]){100, 100, 100, 100, 100, 100}, 6, 0);
    file = png_of(PNG_COLOR_TYPE_PALETTE, 1, (const uint8_t[]){0x40});
    expect_pixels(&file, (const uint8_t[]){10, 20, 30, 200, 100, 50}, 6, 0);
}

static void jpeg_flavours_become_rgb(void **state)
{
    (void)state;
    struct buf file = jpeg_of(JCS_GRAYSCALE, 1, (const uint8_t[]){90, 0, 0, 0});
    expect_pixels(&file, (const uint8_t[]){90, 90, 90}, 3, 2);
    file = jpeg_of(JCS_RGB, 3, (const uint8_t[]){200, 40, 90, 0});
    expect_pixels(&file, (const uint8_t[]){200, 40, 90}, 3, 4);
    /* inks inverted, as Adobe stores them: 255 is none */
    file = jpeg_of(JCS_CMYK, 4, (const uint8_t[]){255, 100, 50, 255});
    expect_pixels(&file, (const uint8_t[]){255, 100, 50}, 3, 4);
    file = jpeg_of(JCS_CMYK, 4, (const uint8_t[]){255, 255, 255, 0});
    expect_pixels(&file, (const uint8_t[]){0, 0, 0}, 3, 4);
}

static void png_round_trip_is_exact(void **state)
{
    (void)state;
    struct buf one = world_png(64), two = {.max = 1 << 20};
    struct image image;
    assert_int_equal(image_decode(one.data, one.len, &image, NULL), STATUS_OK);
    assert_int_equal(image.width, 64);
    assert_int_equal(image_encode_png(image.rgb, 64, 64, &two, NULL), STATUS_OK);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    image_free(&image);
    buf_free(&one);
    buf_free(&two);
}

static void jpeg_round_trip_is_near(void **state)
{
    (void)state;
    uint8_t rgb[64 * 64 * 3];
    struct buf file = {.max = 1 << 16};
    for (int i = 0; i < 64 * 64; i++)
        for (int c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(i % 64 + 2 * (i / 64) + 10 * c);
    assert_int_equal(image_encode_jpeg(rgb, 64, 64, 85, &file, NULL), STATUS_OK);
    assert_true(file.len < 2000);
    expect_pixels(&file, rgb, (int)sizeof rgb, 12);
}

static void one_pixel_resizes_to_any_size(void **state)
{
    (void)state;
    struct image one = {1, 1, (uint8_t[]){12, 34, 56}}, big, back;
    assert_int_equal(image_resize(&one, 64, 48, &big, NULL), STATUS_OK);
    for (int i = 0; i < 64 * 48; i++)
        assert_memory_equal(big.rgb + 3 * i, one.rgb, 3);
    assert_int_equal(image_resize(&big, 1, 1, &back, NULL), STATUS_OK);
    assert_memory_equal(back.rgb, one.rgb, 3);
    image_free(&big);
    image_free(&back);
}

static void resizing_gives_pillows_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"easyvqa-0.png", "nlvr.png", "vizwiz.png", "vizwiz2.png"};
    const char *folder = SHARED_DATA "/reference/blip-preprocess";
    struct buf text = {.max = 16 << 20};
    const json *images, *entry, *bytes;
    json *expected;
    char path[4096];
    snprintf(path, sizeof path, "%s/expected.json", folder);
    if (io_read_file(io_posix(), path, &text, NULL) != STATUS_OK) {
        print_message("no reference data at %s\n", folder);
        buf_free(&text);
        skip();
    }
    assert_int_equal(json_parse(text.data, text.len, &expected, NULL), STATUS_OK);
    assert_int_equal(json_get_object(expected, "images", &images, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct image image, small;
        struct err err = {0};
        assert_int_equal(json_get_object(images, names[i], &entry, &err), STATUS_OK);
        assert_int_equal(json_get_array(entry, "resized_32x32_rgb_u8", 3072, &bytes, &err),
                         STATUS_OK);
        snprintf(path, sizeof path, "%s/images/%s", folder, names[i]);
        assert_int_equal(image_load(io_posix(), path, &image, &err), STATUS_OK);
        assert_int_equal(image_resize(&image, 32, 32, &small, &err), STATUS_OK);
        for (size_t k = 0; k < 3072; k++) {
            double want;
            assert_int_equal(json_number_at(bytes, k, &want, &err), STATUS_OK);
            assert_true(abs(small.rgb[k] - (int)want) <= 1);
        }
        image_free(&image);
        image_free(&small);
    }
    json_free(expected);
    buf_free(&text);
}

/* ---- bad files ---- */

static void expect_refused(const void *data, size_t len, enum status status, const char *word)
{
    struct image image;
    struct err err = {0};
    /* flush against the end of a heap block: one byte over-read is seen by AddressSanitizer */
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    assert_int_equal(image_decode(copy, len, &image, &err), status);
    assert_null(image.rgb);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
    free(copy);
}

static void what_is_no_image_is_named(void **state)
{
    (void)state;
    expect_refused("", 0, STATUS_UNSUPPORTED, "empty");
    expect_refused("hello there", 11, STATUS_UNSUPPORTED, "text");
    expect_refused("GIF89a....", 10, STATUS_UNSUPPORTED, "GIF");
    expect_refused("RIFF....WEBPVP8 ", 16, STATUS_UNSUPPORTED, "WebP");
    expect_refused("\1\2\3\0\0", 5, STATUS_UNSUPPORTED, "binary");
    expect_refused("\x89PNG\r\n\x1a\n", 8, STATUS_MALFORMED, "PNG");
    expect_refused("\xff\xd8\xff", 3, STATUS_MALFORMED, "JPEG");
}

static void truncation_anywhere_is_refused(void **state)
{
    (void)state;
    struct buf png = world_png(8), jpeg = jpeg_of(JCS_RGB, 3, (const uint8_t[]){200, 40, 90, 0});
    for (size_t n = 8; n < png.len; n++)
        expect_refused(png.data, n, STATUS_MALFORMED, "PNG");
    for (size_t n = 3; n < jpeg.len - 2; n++)
        expect_refused(jpeg.data, n, STATUS_MALFORMED, "JPEG");
    buf_free(&png);
    buf_free(&jpeg);
}

static void altered_bytes_never_crash(void **state)
{
    (void)state;
    struct buf file[2] = {world_png(8), jpeg_of(JCS_RGB, 3, (const uint8_t[]){200, 40, 90, 0})};
    for (int f = 0; f < 2; f++) {
        for (size_t i = 0; i < file[f].len; i++) {
            struct image image;
            uint8_t was = file[f].data[i];
            file[f].data[i] = (uint8_t)(was ^ 0x55);
            if (image_decode(file[f].data, file[f].len, &image, NULL) == STATUS_OK)
                image_free(&image);
            file[f].data[i] = was;
        }
        buf_free(&file[f]);
    }
}

static void a_huge_header_is_refused_before_pixels(void **state)
{
    (void)state;
    struct buf png = world_png(8);
    big_endian_put(png.data + 16, 30000);
    big_endian_put(png.data + 20, 30000);
    big_endian_put(png.data + 29, crc_of(png.data + 12, 17));
    expect_refused(png.data, png.len, STATUS_TOO_LARGE, "30000 x 30000");
    big_endian_put(png.data + 16, 8192); /* both sides allowed, their product not */
    big_endian_put(png.data + 20, 8192);
    big_endian_put(png.data + 29, crc_of(png.data + 12, 17));
    expect_refused(png.data, png.len, STATUS_TOO_LARGE, "in all");
    buf_free(&png);
    struct buf jpeg = jpeg_of(JCS_RGB, 3, (const uint8_t[]){1, 2, 3, 0});
    for (size_t i = 0; i + 9 < jpeg.len; i++)
        if (jpeg.data[i] == 0xff && jpeg.data[i + 1] == 0xc0) /* SOF0: height, width */
            memcpy(jpeg.data + i + 5, "\xff\xdc\xff\xdc", 4);
    expect_refused(jpeg.data, jpeg.len, STATUS_TOO_LARGE, "65500 x 65500");
    buf_free(&jpeg);
}

static void loading_says_which_file(void **state)
{
    (void)state;
    struct image image;
    struct err err = {0};
    char path[] = "/tmp/test-image-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "words", 5), 5);
    close(fd);
    assert_int_equal(image_load(io_posix(), path, &image, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    assert_int_equal(image_load(io_posix(), path, &image, &err), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_flavours_become_rgb),
        cmocka_unit_test(jpeg_flavours_become_rgb),
        cmocka_unit_test(png_round_trip_is_exact),
        cmocka_unit_test(jpeg_round_trip_is_near),
        cmocka_unit_test(one_pixel_resizes_to_any_size),
        cmocka_unit_test(resizing_gives_pillows_bytes),
        cmocka_unit_test(what_is_no_image_is_named),
        cmocka_unit_test(truncation_anywhere_is_refused),
        cmocka_unit_test(altered_bytes_never_crash),
        cmocka_unit_test(a_huge_header_is_refused_before_pixels),
        cmocka_unit_test(loading_says_which_file),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
