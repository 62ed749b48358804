/* cdcca.delta/1: what a device downloads. A safetensors container under zstd:
 *   metadata "cdcca": JSON {schema, base_version, version, base_sha256, sha256, parameters, block,
 *                     codecs: "one letter a tensor, in the trainable set's order"}
 *   codes  U8 : every tensor's codes, packed by model/learn/codec, one after another
 *   scales U8 : every tensor's block scales, likewise
 * Names and shapes do not travel: base_sha256 pins the trainable set, which fixes them. */
#ifndef CDCCA_DELTA_H
#define CDCCA_DELTA_H

#include "api/base/buf.h"
#include "api/base/hash.h"
#include "api/base/status.h"
#include <stdint.h>

struct delta {
    int64_t base_version, version;
    struct hash base_hash, hash; /* of the trainable set before and after */
    int64_t parameters;          /* how many values the set has */
    char *codecs;                /* one letter per tensor of the set (model/learn/codec.h) */
    size_t tensors;
    uint8_t *codes, *scales;
    size_t codes_size, scales_size;
    void *memory;
};

/* zstd frame out. */
enum status delta_encode(const struct delta *d, struct buf *out, struct err *err);
enum status delta_decode(const void *data, size_t len, struct delta *out, struct err *err);
/* Room for a delta in the making: tensors, codes_size and scales_size are set, codecs, codes and
 * scales point at zeroed memory. Release with delta_free. */
enum status delta_reserve(struct delta *d, size_t tensors, size_t codes_size, size_t scales_size,
                          struct err *err);
void delta_free(struct delta *d);

#endif
