/* The two decoders behind image_decode, each in the one file that knows its library. */
#ifndef CDCCA_IMAGE_CODEC_H
#define CDCCA_IMAGE_CODEC_H

#include "model/task/image.h"

/* Checks the size against the limits and allocates; the pixels are uninitialised. */
enum status image_alloc(int64_t width, int64_t height, struct image *out, struct err *err);
/* On failure *out may hold pixels: the caller frees them. */
enum status image_decode_png(const uint8_t *data, size_t len, struct image *out, struct err *err);
enum status image_decode_jpeg(const uint8_t *data, size_t len, struct image *out, struct err *err);

#endif
