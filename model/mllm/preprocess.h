/* How a picture becomes the vision encoder's input, as Hugging Face's image processor does it:
 * squashed to a square by a bicubic filter, values / 255, less a mean, over a deviation. What is
 * read of preprocessor_config.json are mean and deviation; whatever else would change the numbers
 * (another filter, another size, cropping, padding, no normalisation) is refused by name. */
#ifndef CDCCA_PREPROCESS_H
#define CDCCA_PREPROCESS_H

#include "api/base/io.h"
#include <stdint.h>

struct preprocess {
    float mean[3], deviation[3]; /* of red, green, blue in 0..1 */
};

/* CLIP's, which BLIP-2 and InstructBLIP use. */
struct preprocess preprocess_defaults(void);

/* side: the model's image_size; the file must ask for the same. What the file leaves out takes
 * BlipImageProcessor's defaults. MALFORMED: no such JSON; SHAPE: another size; UNSUPPORTED: a
 * processing that is not done here. On failure *out is as it was. */
enum status preprocess_parse(const void *data, size_t len, int side, struct preprocess *out,
                             struct err *err);
/* The same from DIR/preprocessor_config.json; without that file, the defaults. */
enum status preprocess_load(struct io *io, const char *dir, int side, struct preprocess *out,
                            struct err *err);
enum status preprocess_save(struct io *io, const char *dir, int side, const struct preprocess *p,
                            struct err *err);

/* A picture of the right size: uint8 RGB (size,size,3) to f32 (3,size,size). */
void preprocess_pixels(const struct preprocess *p, const uint8_t *rgb, int size, float *out);

#endif
