/* Images: PNG and JPEG in (libpng, libjpeg-turbo; header checked against limits before pixels are
 * decoded), resized as HF's processor does (bicubic with antialiasing, as Pillow), PNG and JPEG
 * out. */
#ifndef CDCCA_IMAGE_H
#define CDCCA_IMAGE_H

#include "api/base/buf.h"
#include "api/base/io.h"
#include <stdint.h>

struct image {
    int width, height;
    uint8_t *rgb; /* (height,width,3), malloc'd; image_free */
};

/* To RGB, byte for byte as Pillow 9.4's convert("RGB"), which is what HF's BlipImageProcessor
 * calls:
 * - alpha and tRNS are dropped, not composited; palettes are looked up;
 * - of 16 bits the high byte counts, but grey without alpha is clipped at 255 (Pillow's mode I);
 * - CMYK and YCCK JPEGs are taken as inverted (Adobe's convention), with or without the marker;
 * - gamma and colour profiles are left alone.
 * Unlike HF's processor, which ignores it, the EXIF orientation is applied: a photograph is seen
 * the way it was taken. Bounds: limits.h (bytes, pixels a side, pixels in all), checked before
 * memory is taken. UNSUPPORTED: not PNG or JPEG (the error says what else); TOO_LARGE; MALFORMED:
 * damaged or cut short; NO_MEMORY. On failure out->rgb is NULL. */
enum status image_decode(const void *data, size_t len, struct image *out, struct err *err);
/* The same for a file; the error names it. NOT_FOUND and IO besides. */
enum status image_load(struct io *io, const char *path, struct image *out, struct err *err);
/* Squashed to width x height with Pillow's bicubic filter: the same bytes. */
enum status image_resize(const struct image *in, int width, int height, struct image *out,
                         struct err *err);
void image_free(struct image *image);
enum status image_encode_png(const uint8_t *rgb, int width, int height, struct buf *out,
                             struct err *err);
enum status image_encode_jpeg(const uint8_t *rgb, int width, int height, int quality,
                              struct buf *out, struct err *err);

#endif
