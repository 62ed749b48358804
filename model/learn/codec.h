/* Block codes for updates, block 64: one letter each, as it stands in a delta's metadata.
 *   '0' nothing travels          's' sign x block mean        '2' four levels x block mean
 *   'n' NF4 x absmax             '8' int8 x absmax            'f' F32 as it is
 *   'k' selected: NF4 of the blocks of largest norm, a bitmap says which
 * Scales are 8 bit: a logarithmic code against the tensor's largest scale (kept as F32). */
#ifndef CDCCA_CODEC_H
#define CDCCA_CODEC_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stddef.h>
#include <stdint.h>

enum { CODEC_BLOCK = 64 };
extern const float CODEC_NF4[16];

/* Sizes a tensor of n values takes in the two streams; 'k' depends on its bitmap and is bounded. */
enum status codec_encode(char codec, const float *update, size_t n, float selected_share,
                         struct buf *codes, struct buf *scales);
/* Reads from the streams' fronts; *codes_used and *scales_used say how much. Everything checked. */
enum status codec_decode(char codec, size_t n, const uint8_t *codes, size_t codes_size,
                         size_t *codes_used, const uint8_t *scales, size_t scales_size,
                         size_t *scales_used, float *update, struct err *err);

#endif
