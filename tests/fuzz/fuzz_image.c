/* Images: what is accepted is within the limits, comes out the same each time, and survives being
 * resized and being written as PNG. A PNG is also tried with its checksums made right, so that the
 * fuzzer reaches what is behind them. */
#include "api/wire/limits.h"
#include "fuzz.h"
#include "model/task/image.h"
#include <zlib.h>

enum { PIXELS_WRITTEN = 1 << 16 }; /* larger ones only cost time */

static void pixels_hold(const struct image *image)
{
    struct image small, again;
    struct buf png = {.max = 1 << 24};
    size_t bytes = (size_t)image->width * (size_t)image->height * 3;
    FUZZ_HOLDS(image_resize(image, 8, 8, &small, NULL) == STATUS_OK);
    image_free(&small);
    FUZZ_HOLDS(image_encode_png(image->rgb, image->width, image->height, &png, NULL) == STATUS_OK);
    FUZZ_HOLDS(image_decode(png.data, png.len, &again, NULL) == STATUS_OK);
    FUZZ_HOLDS(again.width == image->width && again.height == image->height);
    FUZZ_HOLDS(memcmp(again.rgb, image->rgb, bytes) == 0);
    image_free(&again);
    buf_free(&png);
}

static void decode(const uint8_t *data, size_t len)
{
    struct image image, again;
    struct err err = {0};
    enum status status = image_decode(data, len, &image, &err);
    FUZZ_HOLDS(image_decode(data, len, &again, NULL) == status);
    if (status != STATUS_OK) {
        FUZZ_HOLDS(!image.rgb && err.code == status && err.text[0] != 0);
        return;
    }
    size_t pixels = (size_t)image.width * (size_t)image.height;
    FUZZ_HOLDS(image.width > 0 && image.width <= LIMIT_IMAGE_SIDE && image.height > 0 &&
               image.height <= LIMIT_IMAGE_SIDE && pixels <= LIMIT_IMAGE_PIXELS);
    FUZZ_HOLDS(again.width == image.width && again.height == image.height);
    FUZZ_HOLDS(memcmp(again.rgb, image.rgb, pixels * 3) == 0);
    if (pixels <= PIXELS_WRITTEN)
        pixels_hold(&image);
    image_free(&image);
    image_free(&again);
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Length, name, content, checksum of name and content; and again. */
static void checksums_mend(uint8_t *data, size_t len)
{
    for (size_t at = 8; len - at >= 12;) {
        uint32_t size = big_endian(data + at);
        if (size > len - at - 12)
            return;
        uint32_t crc = (uint32_t)crc32(0, data + at + 4, size + 4);
        at += 8 + size;
        for (int i = 0; i < 4; i++)
            data[at++] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    decode(data, len);
    if (len < 8 || memcmp(data, "\x89PNG", 4) != 0)
        return 0;
    uint8_t *mended = malloc(len);
    FUZZ_HOLDS(mended != NULL);
    memcpy(mended, data, len);
    checksums_mend(mended, len);
    decode(mended, len);
    free(mended);
    return 0;
}
