/* The parts behind image_decode: the two decoders, each in the one file that knows its library, and
 * what they share. */
#ifndef CDCCA_IMAGE_CODEC_H
#define CDCCA_IMAGE_CODEC_H

#include "model/task/image.h"

/* Room for an image of a size that a header of a file of `len` bytes claims; the pixels are
 * uninitialised. The size is checked against the limits, and against the bits that this many pixels
 * take at the least (pixels_per_byte: the most that one byte of such a file can stand for), before
 * memory is taken. TOO_LARGE; MALFORMED; NO_MEMORY. */
enum status image_alloc(int64_t width, int64_t height, size_t len, int pixels_per_byte,
                        struct image *out, struct err *err);

/* The first image of the file, as stored; *orientation: 1..8, what its EXIF says. On failure *out
 * may hold pixels: the caller frees them. */
enum status image_decode_png(const uint8_t *data, size_t len, struct image *out, int *orientation,
                             struct err *err);
enum status image_decode_jpeg(const uint8_t *data, size_t len, struct image *out, int *orientation,
                              struct err *err);

/* EXIF's orientation (tag 0x0112) in a TIFF block, 1 (upright) where there is no valid one. */
int image_exif_orientation(const uint8_t *tiff, size_t len);
/* Turns and mirrors an image stored in that orientation until it is upright. */
enum status image_turn(struct image *image, int orientation, struct err *err);

#endif
