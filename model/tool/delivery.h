/* How a round's update comes down to a simulated edge: as the service sends it (compress.h), or as
 * one would without that, for comparison. The other ways travel in the envelope of a delta
 * (metadata, hashes, zstd at the level that makes less) with codes of their own; no device reads
 * them. */
#ifndef CDCCA_DELIVERY_H
#define CDCCA_DELIVERY_H

#include "model/learn/compress.h"

enum delivery_way {
    DELIVERY_DELTA,    /* a codec of compress.h, applied through the wire format */
    DELIVERY_EXACT,    /* the set's new values in F32; also measured as differences */
    DELIVERY_F16,      /* the set's new values, rounded */
    DELIVERY_BF16,     /* every parameter of the model; those of the set rounded */
    DELIVERY_BITDELTA, /* sign and one scale a tensor (arXiv 2402.10193), scales not distilled */
};

struct delivery_options {
    enum delivery_way way;
    char codec;           /* of DELIVERY_DELTA, as compress.h has it; 0: picked by budget */
    size_t budget_bytes;  /* for codec 0 */
    float selected_share; /* for codec 'k' */
};

struct delivered {
    size_t bytes;            /* on the wire */
    size_t difference_bytes; /* DELIVERY_EXACT: delivery_difference, on the wire */
    size_t bsdiff_bytes;     /* DELIVERY_EXACT: a bsdiff patch; 0: the program is not there */
};

/* Brings the edge's set from `before`, its present values, towards `after`. model: the edge's, for
 * what it weighs as a whole. round: from 0 on. */
enum status delivery_run(const struct mllm *model, const struct trainable *edge,
                         const float *before, const float *after, int round,
                         const struct delivery_options *options, struct delivered *out,
                         struct err *err);

/* What DELIVERY_DELTA codes with. */
struct compress_options delivery_code(const struct delivery_options *options);

/* The scale of least squared error for signs alone, the mean of |x|; signs: (n + 7) / 8 bytes,
 * lowest bit first, 1 where x >= 0. */
float delivery_bitdelta(const float *x, size_t n, uint8_t *signs);
/* A lossless difference of n floats, made for zstd: of their bit patterns as integers, zigzag
 * (small ones of either sign are small), the lowest bytes of all first. out: 4 n bytes. */
void delivery_difference(const float *before, const float *after, size_t n, uint8_t *out);

#endif
