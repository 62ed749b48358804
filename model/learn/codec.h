/* Block codes for updates, block 64: one letter each, as it stands in a delta's metadata.
 *   '0' nothing travels          's' sign x block mean        '2' four levels x block deviation
 *   'b' as 's', but of the nine in ten blocks of largest norm: one bit a value, scales and all
 *   'h' as 'b', but of 42% of the blocks: half a bit a value
 *   'n' NF4 x absmax             '8' int8 x absmax            'f' F32 as it is
 *   'k' selected: NF4 of the blocks of largest norm, a bitmap says which
 *
 * Two streams. codes: the packed codes of each block, lowest bits first (NF4: first element in the
 * high nibble, as bitsandbytes packs), for 'k', 'b' and 'h' behind a bitmap. scales: the tensor's
 * largest scale as BF16, then one byte a block, a logarithmic code against it: scale = largest *
 * 2^-((255-c)/16), c = 0: zero. A block's scale is the one of least squared error near the
 * name-giving statistic. */
#ifndef CDCCA_CODEC_H
#define CDCCA_CODEC_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stddef.h>
#include <stdint.h>

enum { CODEC_BLOCK = 64 };
extern const char CODEC_LETTERS[]; /* of those that carry something */
extern const float CODEC_NF4[16];

/* Index of the value of CODEC_NF4 nearest to x (in units of the block's scale). */
int codec_nf4_index(float x);

/* Appends a tensor of n values to the two streams. STATUS_MALFORMED: a value that is not finite;
 * STATUS_UNSUPPORTED: no such codec. selected_share: of the blocks, for 'k' alone. */
enum status codec_encode(char codec, const float *update, size_t n, float selected_share,
                         struct buf *codes, struct buf *scales);
/* Reads from the streams' fronts; *codes_used and *scales_used say how much. Everything is checked:
 * lengths, scales (finite, in range), codes that no encoder writes, padding bits. Only exact or
 * correctly rounded float operations in a fixed order: the same bits on every machine. */
enum status codec_decode(char codec, size_t n, const uint8_t *codes, size_t codes_size,
                         size_t *codes_used, const uint8_t *scales, size_t scales_size,
                         size_t *scales_used, float *update, struct err *err);

#endif
