/* safetensors: the one container for models, token payloads and deltas, and the one hardened parser
 * for it. Format: u64 little-endian header length, JSON header {name: {dtype, shape,
 * data_offsets}, "__metadata__": {str: str}}, then the tensors' bytes. As strict as the reference
 * parser (huggingface/safetensors): offsets must cover the data exactly, in order, without gap or
 * overlap; sizes are checked before anything is allocated. */
#ifndef CDCCA_SAFETENSORS_H
#define CDCCA_SAFETENSORS_H

#include "api/base/io.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U8,
    DTYPE_U16,
    DTYPE_U32,
    DTYPE_BOOL,
    DTYPE_F64,
    DTYPE_U64
};
size_t dtype_size(enum dtype dtype);
const char *dtype_name(enum dtype dtype); /* "F32" as in the format */
bool dtype_parse(const char *name, enum dtype *out);

enum { SAFETENSORS_DIMS_MAX = 8 };

struct safetensors_entry {
    const char *name; /* owned by the container */
    enum dtype dtype;
    int ndim;
    uint64_t dim[SAFETENSORS_DIMS_MAX];
    const void *data; /* within the container's bytes, may be unaligned; NULL: not in memory */
    size_t size;      /* bytes */
    uint64_t at;      /* of its first byte, from the first tensor's on */
};

struct safetensors {
    struct safetensors_entry *entries; /* in offset order */
    size_t count;
    char **meta_keys, **meta_values;
    size_t meta_count;
    void *owned; /* the file's bytes when opened from a file, else NULL */
};

/* Parses bytes that stay valid while *out is used. Release with safetensors_close. */
enum status safetensors_parse(const void *data, size_t len, struct safetensors *out,
                              struct err *err);
/* The same from the first header_bytes bytes of a file of file_bytes (safetensors_header_bytes
 * tells how many from the first 8); entries have no data. */
enum { SAFETENSORS_PREFIX = 8 };
enum status safetensors_header_bytes(const void *prefix, uint64_t file_bytes, size_t *header_bytes,
                                     struct err *err);
enum status safetensors_parse_header(const void *header, size_t header_bytes, uint64_t file_bytes,
                                     struct safetensors *out, struct err *err);
/* Reads (not maps) the whole file; refused above max_bytes. */
enum status safetensors_open(struct io *io, const char *path, size_t max_bytes,
                             struct safetensors *out, struct err *err);
void safetensors_close(struct safetensors *file);
const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name);
const char *safetensors_meta(const struct safetensors *file, const char *key); /* or NULL */

/* Writing: entries (name, dtype, dims, data) are laid out in the order given, header padded with
 * spaces to 8 bytes, as HF does. Appends the file to *out. */
enum status safetensors_write(const struct safetensors_entry *entries, size_t count,
                              const char *const *meta_keys, const char *const *meta_values,
                              size_t meta_count, struct buf *out, struct err *err);

/* The part before the tensors' bytes; data and size of the entries are not looked at. */
enum status safetensors_write_header(const struct safetensors_entry *entries, size_t count,
                                     const char *const *meta_keys, const char *const *meta_values,
                                     size_t meta_count, struct buf *out, struct err *err);

/* n values of any float dtype as F32, and F32 into F16 / BF16 (round to nearest even). */
enum status dtype_to_f32(enum dtype dtype, const void *data, size_t n, float *out);
void f32_to_bf16(const float *in, size_t n, uint16_t *out);
void f32_to_f16(const float *in, size_t n, uint16_t *out);

#endif
