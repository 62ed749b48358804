/* zstd in one place, bounded by policy and never by what a frame claims. */
#ifndef CDCCA_ZST_H
#define CDCCA_ZST_H

#include "api/base/buf.h"
#include "api/base/status.h"

enum status zst_compress(const void *data, size_t len, int level, struct buf *out, struct err *err);
/* The same, with a new block at each of `count` rising offsets into data: where the statistics
 * change, literals get an entropy table of their own. */
enum status zst_compress_cut(const void *data, size_t len, const size_t *cuts, size_t count,
                             int level, struct buf *out, struct err *err);
/* out->max bounds the result; trailing bytes and concatenated frames are refused. */
enum status zst_decompress(const void *data, size_t len, struct buf *out, struct err *err);

#endif
