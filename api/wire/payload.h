/* cdcca.tokens/1: what a device uploads. A safetensors container, usually zstd-compressed:
 *   metadata "cdcca": JSON {schema, device, base_version, encoder, bits, width, instances:[{id,
 *                     question, answer, entropy, correction?}]}
 *   codes     U8  : quantized visual tokens, all instances one after another; 8 bit: one byte a
 *                   channel (int8 as two's complement), 4 bit: two channels a byte, the even
 *                   channel in the low nibble, value + 8
 *   scales    F16 : (tokens) absmax / 7 or / 127 of each token (per token: per channel clips under
 *                   drift, see recipe.md)
 *   positions U16 : (tokens) index of each token in the encoder's output; 65535, for an instance's
 *                   last: the mean of the tokens that are not among the others
 *   offsets   U32 : (instances + 1) where each instance's tokens begin
 * The same as application/json: the metadata object plus the four arrays as base64 strings. */
#ifndef CDCCA_PAYLOAD_H
#define CDCCA_PAYLOAD_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include "api/wire/limits.h"
#include <stdint.h>

enum { PAYLOAD_REST = 0xffff };

struct payload_instance {
    const char *id, *question, *answer;
    const char *correction; /* what a user said is right, or NULL */
    double entropy;         /* nats, averaged over the answer's tokens */
    uint32_t first, count;  /* its visual tokens in the arrays below */
};

struct payload {
    const char *device;   /* LIMIT_ID */
    int64_t base_version; /* of the trainable set that answered */
    const char *encoder;  /* fingerprint: hex SHA-256 of the vision encoder's weights */
    int bits;             /* 8 or 4 */
    int width;            /* channels of a token; even for 4 bit */
    size_t tokens, instances;
    struct payload_instance *instance;
    uint8_t *codes;   /* tokens * width * bits / 8 */
    uint16_t *scales; /* F16 */
    uint16_t *positions;
    void *memory; /* what payload_free releases */
};

/* Quantizes count tokens (count, width) f32 into codes and scales; NaN and Inf are refused. */
enum status payload_quantize(const float *tokens, size_t count, int width, int bits, uint8_t *codes,
                             uint16_t *scales, struct err *err);
/* Tokens of instance i back as f32 (count, width). */
void payload_dequantize(const struct payload *p, size_t i, float *out);

/* Raw safetensors (not compressed) from a payload whose arrays are borrowed. */
enum status payload_encode(const struct payload *p, struct buf *out, struct err *err);
/* The same as one zstd frame, about 3% smaller than zst_compress of it: the frame's blocks end
 * where the statistics change. Batches pay: 1 instance alone carries some 470 bytes of headers, 16
 * share them. */
enum status payload_encode_zstd(const struct payload *p, struct buf *out, struct err *err);
/* content_type "application/x-safetensors" or "application/json"; bytes already decompressed.
 * Everything is checked: ids, ranges, lengths, offsets, finite scales, entropy >= 0. */
enum status payload_decode(const char *content_type, const void *data, size_t len,
                           struct payload *out, struct err *err);
enum status payload_encode_json(const struct payload *p, struct buf *out, struct err *err);
void payload_free(struct payload *p);

#endif
