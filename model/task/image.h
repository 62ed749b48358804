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

enum { IMAGE_SIDE_MAX = 8192, IMAGE_PIXELS_MAX = 1 << 25, IMAGE_BYTES_MAX = 32 << 20 };

/* Grey, palette, alpha (on white), 16 bit, CMYK become RGB. Errors say what the bytes are instead.
 */
enum status image_decode(const void *data, size_t len, struct image *out, struct err *err);
enum status image_load(struct io *io, const char *path, struct image *out, struct err *err);
enum status image_resize(const struct image *in, int width, int height, struct image *out,
                         struct err *err);
void image_free(struct image *image);
enum status image_encode_png(const uint8_t *rgb, int width, int height, struct buf *out,
                             struct err *err);
enum status image_encode_jpeg(const uint8_t *rgb, int width, int height, int quality,
                              struct buf *out, struct err *err);

#endif
