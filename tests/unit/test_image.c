/* Images: written and read back, resized, damaged at every bit. What becomes of every flavour of
 * PNG and JPEG, and which files are refused: tests/data/image (test_bad_input). Hugging Face's
 * bytes when resized: test_preprocess. */
// links: task
#include "guard.h"
#include "model/task/image.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- making files ---- */

static struct buf sample(bool png, int side)
{
    struct buf out = {.max = 1 << 20};
    uint8_t *rgb = malloc((size_t)side * (size_t)side * 3);
    assert_non_null(rgb);
    for (int i = 0; i < side * side * 3; i++)
        rgb[i] = (uint8_t)(i * 37 + i / 64);
    enum status status = png ? image_encode_png(rgb, side, side, &out, NULL)
                             : image_encode_jpeg(rgb, side, side, 85, &out, NULL);
    assert_int_equal(status, STATUS_OK);
    free(rgb);
    return out;
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

static void png_round_trip_is_exact(void **state)
{
    (void)state;
    struct buf one = sample(true, 64), two = {.max = 1 << 20};
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

/* ---- bad files ---- */

static void truncation_anywhere_is_refused(void **state)
{
    (void)state;
    for (int png = 0; png < 2; png++) {
        struct buf file = sample(png, 16);
        struct guard guard;
        assert_int_equal(guard_init(&guard, file.len), 0);
        for (size_t n = 0; n < file.len; n++) {
            struct image image;
            enum status status = image_decode(guard_put(&guard, file.data, n), n, &image, NULL);
            if (status != (n < (png ? 8u : 3u) ? STATUS_UNSUPPORTED : STATUS_MALFORMED))
                fail_msg("cut to %zu bytes: %s", n, status_name(status));
            assert_null(image.rgb);
        }
        guard_deinit(&guard);
        buf_free(&file);
    }
}

static void altered_bytes_never_crash(void **state)
{
    (void)state;
    for (int png = 0; png < 2; png++) {
        struct buf file = sample(png, 16);
        for (size_t i = 0; i < file.len * 8; i++) {
            struct image image;
            uint8_t bit = (uint8_t)(1u << i % 8);
            file.data[i / 8] ^= bit;
            if (image_decode(file.data, file.len, &image, NULL) == STATUS_OK)
                image_free(&image);
            else
                assert_null(image.rgb);
            file.data[i / 8] ^= bit;
        }
        buf_free(&file);
    }
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
        cmocka_unit_test(png_round_trip_is_exact),
        cmocka_unit_test(jpeg_round_trip_is_near),
        cmocka_unit_test(one_pixel_resizes_to_any_size),
        cmocka_unit_test(truncation_anywhere_is_refused),
        cmocka_unit_test(altered_bytes_never_crash),
        cmocka_unit_test(loading_says_which_file),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
