/* Encoding and decoding of deltas. The codes themselves are opaque here: model/learn/codec checks
 * them when they are applied; what can be checked without the model is checked on both ways. */
#include "api/wire/delta.h"
#include "api/wire/json.h"
#include "api/wire/limits.h"
#include "api/wire/safetensors.h"
#include "api/wire/zst.h"
#include <stdlib.h>
#include <string.h>

#define SCHEMA "cdcca.delta/1"

/* Block is model/learn/codec's, pinned by the schema. */
enum { BLOCK = 64, TENSORS_MAX = 100000 };

/* Which is smaller depends on the update: level 3 on dense 2-bit codes, level 19 where blocks
 * repeat. A delta is compressed once and fetched by every device, so both are tried. */
static const int levels[] = {3, 19};

static const int64_t VERSION_MAX = INT64_C(1) << 53; /* exact in every JSON implementation */
static const int64_t PARAMETERS_MAX = INT64_C(1) << 40;

struct memory {
    unsigned char *bytes; /* the container; codes and scales lie in it */
    char codecs[];
};

static enum status delta_check(const struct delta *d, struct err *err)
{
    if (d->base_version < 0 || d->version <= d->base_version || d->version > VERSION_MAX)
        return err_set(err, STATUS_MALFORMED,
                       "a delta from version %lld to %lld: versions must "
                       "rise, from 0 on",
                       (long long)d->base_version, (long long)d->version);
    if (d->parameters < 1 || d->parameters > PARAMETERS_MAX)
        return err_set(err, STATUS_MALFORMED,
                       "a delta of %lld parameters: there must be at least 1",
                       (long long)d->parameters);
    if (d->tensors < 1 || d->tensors > TENSORS_MAX || strlen(d->codecs) != d->tensors)
        return err_set(err, STATUS_SHAPE, "codecs must be one letter for each of 1 to %d tensors",
                       TENSORS_MAX);
    for (const char *c = d->codecs; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')))
            return err_set(err, STATUS_MALFORMED,
                           "codecs holds the byte 0x%02x; its letters are "
                           "a-z and 0-9",
                           (unsigned)(unsigned char)*c);
    if (d->codes_size > LIMIT_DELTA_RAW_BYTES || d->scales_size > LIMIT_DELTA_RAW_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "a delta of %zu bytes of codes; the limit is %d",
                       d->codes_size, LIMIT_DELTA_RAW_BYTES);
    return STATUS_OK;
}

static enum status metadata_write(const struct delta *d, struct buf *out)
{
    char base_hex[HASH_HEX], hex[HASH_HEX];
    hash_hex(&d->base_hash, base_hex);
    hash_hex(&d->hash, hex);
    json *meta = json_object_new();
    bool fine = json_set_string(meta, "schema", SCHEMA) &&
                json_set_int(meta, "base_version", d->base_version) &&
                json_set_int(meta, "version", d->version) &&
                json_set_string(meta, "base_sha256", base_hex) &&
                json_set_string(meta, "sha256", hex) &&
                json_set_int(meta, "parameters", d->parameters) &&
                json_set_int(meta, "block", BLOCK) && json_set_string(meta, "codecs", d->codecs);
    enum status status = fine ? json_print(meta, false, out) : STATUS_NO_MEMORY;
    json_free(meta);
    return status;
}

static enum status container_write(const struct delta *d, struct buf *out, struct err *err)
{
    struct buf meta = {.max = TENSORS_MAX + 1024};
    const struct safetensors_entry entries[] = {
        {"codes", DTYPE_U8, 1, {d->codes_size}, d->codes, d->codes_size, 0},
        {"scales", DTYPE_U8, 1, {d->scales_size}, d->scales, d->scales_size, 0},
    };
    enum status status = metadata_write(d, &meta);
    const char *key = "cdcca", *value = (const char *)meta.data;
    if (status == STATUS_OK)
        status = safetensors_write(entries, 2, &key, &value, 1, out, err);
    else
        err_set(err, status, "no memory for the delta's metadata");
    buf_free(&meta);
    return status;
}

/* Metadata, codes and scales are cut apart: each gets entropy tables of its own, 2.5% in all. */
static enum status frame_append(const struct delta *d, const struct buf *raw, struct buf *out,
                                struct err *err)
{
    size_t scales = raw->len - d->scales_size;
    const size_t cuts[] = {scales - d->codes_size, scales};
    struct buf best = {.max = LIMIT_DELTA_RAW_BYTES};
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof levels / sizeof *levels; i++) {
        struct buf frame = {.max = LIMIT_DELTA_RAW_BYTES};
        status = zst_compress_cut(raw->data, raw->len, cuts, 2, levels[i], &frame, err);
        if (status == STATUS_OK && (i == 0 || frame.len < best.len)) {
            struct buf worse = best;
            best = frame;
            frame = worse;
        }
        buf_free(&frame);
    }
    if (status == STATUS_OK) {
        status =
            best.len > LIMIT_DELTA_BYTES ? STATUS_TOO_LARGE : buf_append(out, best.data, best.len);
        if (status != STATUS_OK)
            err_set(err, status, "a delta of %zu bytes does not fit", best.len);
    }
    buf_free(&best);
    return status;
}

enum status delta_encode(const struct delta *d, struct buf *out, struct err *err)
{
    struct buf raw = {.max = LIMIT_DELTA_RAW_BYTES};
    enum status status = delta_check(d, err);
    if (status == STATUS_OK)
        status = container_write(d, &raw, err);
    if (status == STATUS_OK)
        status = frame_append(d, &raw, out, err);
    buf_free(&raw);
    return status;
}

static enum status hash_read(const json *meta, const char *key, struct hash *out, struct err *err)
{
    const char *hex;
    TRY(json_get_string(meta, key, HASH_HEX - 1, &hex, err));
    if (!hash_parse(hex, out))
        return err_set(err, STATUS_MALFORMED,
                       "field \"%s\" must be a SHA-256: 64 lower-case "
                       "hexadecimal digits",
                       key);
    return STATUS_OK;
}

/* All of the metadata; codecs are copied into a fresh struct memory. */
static enum status metadata_read(const json *meta, struct delta *out, struct err *err)
{
    static const char *const known[] = {"schema",      "base_version", "version",
                                        "base_sha256", "sha256",       "parameters",
                                        "block",       "codecs",       NULL};
    const char *schema, *codecs;
    int64_t block;
    TRY(json_get_string(meta, "schema", 64, &schema, err));
    if (strcmp(schema, SCHEMA) != 0)
        return err_set(err, STATUS_UNSUPPORTED, "schema is \"%s\"; this program reads \"%s\"",
                       schema, SCHEMA);
    TRY(json_only(meta, known, err));
    TRY(json_get_int(meta, "base_version", 0, VERSION_MAX, &out->base_version, err));
    TRY(json_get_int(meta, "version", 1, VERSION_MAX, &out->version, err));
    TRY(hash_read(meta, "base_sha256", &out->base_hash, err));
    TRY(hash_read(meta, "sha256", &out->hash, err));
    TRY(json_get_int(meta, "parameters", 1, PARAMETERS_MAX, &out->parameters, err));
    TRY(json_get_int(meta, "block", BLOCK, BLOCK, &block, err));
    TRY(json_get_string(meta, "codecs", TENSORS_MAX, &codecs, err));
    out->tensors = strlen(codecs);
    struct memory *memory = malloc(sizeof *memory + out->tensors + 1);
    if (!memory)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu codecs", out->tensors);
    memory->bytes = NULL;
    out->memory = memory;
    out->codecs = memcpy(memory->codecs, codecs, out->tensors + 1);
    return STATUS_OK;
}

static enum status stream_find(const struct safetensors *file, const char *name, size_t *size,
                               const unsigned char **data, struct err *err)
{
    const struct safetensors_entry *entry = safetensors_find(file, name);
    if (!entry || entry->dtype != DTYPE_U8 || entry->ndim != 1)
        return err_set(err, STATUS_SHAPE, "tensor \"%s\" must be there as U8 of one dimension",
                       name);
    *data = entry->data;
    *size = entry->size;
    return STATUS_OK;
}

static enum status container_read(const struct safetensors *file, unsigned char *bytes,
                                  struct delta *out, struct err *err)
{
    const char *text = safetensors_meta(file, "cdcca");
    if (!text || file->meta_count != 1 || file->count != 2)
        return err_set(err, STATUS_SHAPE,
                       "a delta holds the metadata \"cdcca\" and the tensors "
                       "codes and scales, and nothing else");
    const unsigned char *codes = bytes, *scales = bytes;
    TRY(stream_find(file, "codes", &out->codes_size, &codes, err));
    TRY(stream_find(file, "scales", &out->scales_size, &scales, err));
    out->codes = bytes + (codes - bytes);
    out->scales = bytes + (scales - bytes);
    json *meta;
    TRY(json_parse(text, strlen(text), &meta, err));
    enum status status = metadata_read(meta, out, err);
    json_free(meta);
    return status == STATUS_OK ? delta_check(out, err) : status;
}

enum status delta_decode(const void *data, size_t len, struct delta *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    if (len > LIMIT_DELTA_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "a delta of %zu bytes; the limit is %d", len,
                       LIMIT_DELTA_BYTES);
    struct buf raw = {.max = LIMIT_DELTA_RAW_BYTES};
    struct safetensors file = {0};
    enum status status = zst_decompress(data, len, &raw, err);
    if (status == STATUS_OK)
        status = safetensors_parse(raw.data, raw.len, &file, err);
    if (status == STATUS_OK)
        status = container_read(&file, raw.data, out, err);
    safetensors_close(&file);
    if (status == STATUS_OK) {
        ((struct memory *)out->memory)->bytes = raw.data;
        return STATUS_OK;
    }
    buf_free(&raw);
    delta_free(out);
    err_prefix(err, "delta");
    return status;
}

enum status delta_reserve(struct delta *d, size_t tensors, size_t codes_size, size_t scales_size,
                          struct err *err)
{
    struct memory *memory = calloc(1, sizeof *memory + tensors + 1);
    unsigned char *bytes = calloc(1, codes_size + scales_size + 1);
    if (!memory || !bytes) {
        free(memory);
        free(bytes);
        return err_set(err, STATUS_NO_MEMORY, "no memory for a delta of %zu tensors", tensors);
    }
    memory->bytes = bytes;
    d->memory = memory;
    d->codecs = memory->codecs;
    d->tensors = tensors;
    d->codes = bytes;
    d->codes_size = codes_size;
    d->scales = bytes + codes_size;
    d->scales_size = scales_size;
    return STATUS_OK;
}

void delta_free(struct delta *d)
{
    struct memory *memory = d->memory;
    if (memory)
        free(memory->bytes);
    free(memory);
    memset(d, 0, sizeof *d);
}
