/* From a picture's bytes to the encoder's input: Hugging Face's values, and
 * preprocessor_config.json as it ships. What is refused of it: tests/data/preprocess
 * (test_bad_input). */
// links: task mllm
#include "api/wire/json.h"
#include "model/mllm/preprocess.h"
#include "model/task/image.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER SHARED_DATA "/reference/blip-preprocess"

enum { SMALL = 32, LARGE = 224 };

static const char *const names[] = {"easyvqa-0.png", "nlvr.png", "vizwiz.png", "vizwiz2.png"};

static json *reference(void)
{
    struct buf text = {.max = 16 << 20};
    json *expected = NULL;
    if (io_read_file(io_posix(), FOLDER "/expected.json", &text, NULL) != STATUS_OK) {
        print_message("no reference data at %s\n", FOLDER);
        buf_free(&text);
        skip();
    }
    assert_int_equal(json_parse(text.data, text.len, &expected, NULL), STATUS_OK);
    buf_free(&text);
    return expected;
}

static const json *part(const json *object, const char *key)
{
    const json *value = NULL;
    assert_int_equal(json_get_object(object, key, &value, NULL), STATUS_OK);
    return value;
}

static const json *list(const json *object, const char *key)
{
    const json *value = NULL;
    assert_int_equal(json_get_array(object, key, SIZE_MAX, &value, NULL), STATUS_OK);
    return value;
}

static double number(const json *object, const char *key)
{
    double value = 0;
    assert_int_equal(json_get_number(object, key, -1e12, 1e12, &value, NULL), STATUS_OK);
    return value;
}

static double number_at(const json *array, size_t i)
{
    double value = 0;
    assert_int_equal(json_number_at(array, i, &value, NULL), STATUS_OK);
    return value;
}

static struct image resized(const char *name, int side)
{
    struct image image, out = {0};
    struct err err = {0};
    char path[4096];
    snprintf(path, sizeof path, FOLDER "/images/%s", name);
    if (image_load(io_posix(), path, &image, &err) != STATUS_OK ||
        image_resize(&image, side, side, &out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    image_free(&image);
    return out;
}

static void expect_bytes(const uint8_t *is, const json *want)
{
    for (size_t i = 0; i < json_length(want); i++)
        assert_int_equal(is[i], (int)number_at(want, i));
}

/* want: shape, norm, sum, first8, last4 of the values */
static void expect_values(const struct image *image, const json *want)
{
    struct preprocess p = preprocess_defaults();
    size_t n = 3 * (size_t)image->width * (size_t)image->width;
    float *x = malloc(n * sizeof *x);
    double sum = 0, squares = 0;
    assert_non_null(x);
    preprocess_pixels(&p, image->rgb, image->width, x);
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
        squares += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(sqrt(squares) - number(want, "norm")) < 1e-4);
    assert_true(fabs(sum - number(want, "sum")) < 1e-2);
    for (size_t i = 0; i < 8; i++)
        assert_true(fabs((double)x[i] - number_at(list(want, "first8"), i)) < 1e-6);
    for (size_t i = 0; i < 4; i++)
        assert_true(fabs((double)x[n - 4 + i] - number_at(list(want, "last4"), i)) < 1e-6);
    free(x);
}

static void every_resized_byte_is_hugging_faces(void **state)
{
    (void)state;
    json *expected = reference();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json *entry = part(part(expected, "images"), names[i]);
        struct image small = resized(names[i], SMALL);
        assert_int_equal(json_length(list(entry, "resized_32x32_rgb_u8")), 3 * SMALL * SMALL);
        expect_bytes(small.rgb, list(entry, "resized_32x32_rgb_u8"));
        image_free(&small);
        struct image large = resized(names[i], LARGE);
        double sum = 0;
        for (size_t k = 0; k < (size_t)3 * LARGE * LARGE; k++)
            sum += large.rgb[k];
        assert_true(sum == number(entry, "resized_224x224_rgb_sum"));
        expect_bytes(large.rgb, list(entry, "resized_224x224_rgb_u8_row0_first24"));
        expect_bytes(large.rgb + (size_t)111 * LARGE * 3,
                     list(entry, "resized_224x224_row111_first24"));
        image_free(&large);
    }
    json_free(expected);
}

static void pixel_values_are_hugging_faces(void **state)
{
    (void)state;
    json *expected = reference();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json *entry = part(part(expected, "images"), names[i]);
        struct image small = resized(names[i], SMALL), large = resized(names[i], LARGE);
        expect_values(&small, part(entry, "pixel_values_32"));
        expect_values(&large, part(entry, "pixel_values_224"));
        image_free(&small);
        image_free(&large);
    }
    json_free(expected);
}

/* The file beside Salesforce's InstructBLIP weights, with another mean. */
static const char shipped[] =
    "{\"do_convert_rgb\": true, \"do_normalize\": true, \"do_rescale\": true, \"do_resize\": true,"
    " \"image_mean\": [0.5, 0.25, 0.125],"
    " \"image_processor_type\": \"BlipImageProcessor\","
    " \"image_std\": [0.26862954, 0.26130258, 0.27577711],"
    " \"processor_class\": \"InstructBlipProcessor\", \"resample\": 3,"
    " \"rescale_factor\": 0.00392156862745098, \"size\": {\"height\": 224, \"width\": 224}}";

static void the_shipped_file_is_read(void **state)
{
    (void)state;
    struct preprocess p;
    struct err err = {0};
    if (preprocess_parse(shipped, strlen(shipped), 224, &p, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_true(p.mean[0] == 0.5F && p.mean[2] == 0.125F && p.deviation[1] == 0.26130258F);
    float x[3];
    preprocess_pixels(&p, (const uint8_t[]){255, 0, 51}, 1, x);
    assert_true(fabsf(x[0] - 0.5F / 0.26862954F) < 1e-6F);
    assert_true(fabsf(x[1] + 0.25F / 0.26130258F) < 1e-6F);
    assert_true(fabsf(x[2] - (0.2F - 0.125F) / 0.27577711F) < 1e-6F);
    assert_int_equal(preprocess_parse(shipped, strlen(shipped), 32, &p, &err), STATUS_SHAPE);
    assert_int_equal(preprocess_parse("{\"size\": 16}", 12, 16, &p, &err), STATUS_OK);
    assert_int_equal(preprocess_parse("{}", 2, 384, &p, &err), STATUS_OK);
    assert_int_equal(preprocess_parse("{}", 2, 224, &p, NULL), STATUS_SHAPE);
}

static void what_is_saved_comes_back_and_no_file_means_clip(void **state)
{
    (void)state;
    char dir[] = "/tmp/cdcca-preprocess-XXXXXX", path[128];
    struct preprocess p = {{0.1F, -0.2F, 0.3F}, {0.7F, 0.8F, 0.9F}}, back, clip;
    assert_non_null(mkdtemp(dir));
    clip = preprocess_defaults();
    assert_int_equal(preprocess_load(io_posix(), dir, 64, &back, NULL), STATUS_OK);
    assert_memory_equal(&back, &clip, sizeof back);
    assert_int_equal(preprocess_save(io_posix(), dir, 64, &p, NULL), STATUS_OK);
    assert_int_equal(preprocess_load(io_posix(), dir, 64, &back, NULL), STATUS_OK);
    assert_memory_equal(&back, &p, sizeof back);
    struct err err = {0};
    assert_int_equal(preprocess_load(io_posix(), dir, 63, &back, &err), STATUS_SHAPE);
    assert_non_null(strstr(err.text, "preprocessor_config.json"));
    snprintf(path, sizeof path, "%s/preprocessor_config.json", dir);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_resized_byte_is_hugging_faces),
        cmocka_unit_test(pixel_values_are_hugging_faces),
        cmocka_unit_test(the_shipped_file_is_read),
        cmocka_unit_test(what_is_saved_comes_back_and_no_file_means_clip),
    };
    return cmocka_run_group_tests_name("preprocess", tests, NULL, NULL);
}
