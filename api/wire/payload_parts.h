/* What payload.c and its two encodings share; nobody else includes it. */
#ifndef CDCCA_PAYLOAD_PARTS_H
#define CDCCA_PAYLOAD_PARTS_H

#include "api/wire/json.h"
#include "api/wire/payload.h"
#include <stdbool.h>

/* The four arrays as bytes: little-endian, perhaps unaligned. */
enum { PART_OFFSETS, PART_POSITIONS, PART_SCALES, PART_CODES, PARTS };
struct payload_part {
    const unsigned char *data;
    size_t size;
};
extern const char *const payload_part_names[PARTS];

/* False for bits, width or counts that no payload has. */
bool payload_sizes(int bits, int width, size_t tokens, size_t *codes_size);
/* Every rule of the format; the error names the instance. */
enum status payload_check(const struct payload *p, struct err *err);

#endif
