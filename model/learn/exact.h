/* The exact code, letter 'x' in a delta: where an update must lead to given parameters to the bit
 * (a rollback, several updates squashed into one), a sum of floats cannot always get there. What
 * travels is how many floats lie between the old and the new value, zigzag, as four planes of
 * bytes: the high planes are almost all zero and zstd takes them away. */
#ifndef CDCCA_EXACT_H
#define CDCCA_EXACT_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stddef.h>
#include <stdint.h>

/* Appends 4 n bytes to codes. */
enum status exact_encode(const float *base, const float *target, size_t n, struct buf *codes);
/* out: the target, n floats; may not overlap base. STATUS_SHAPE: the codes end early. */
enum status exact_decode(size_t n, const uint8_t *codes, size_t codes_size, size_t *codes_used,
                         const float *base, float *out, struct err *err);

#endif
