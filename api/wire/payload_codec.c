/* The two encodings of a payload, safetensors and JSON: both are the same metadata object and the
 * same four arrays, so everything but finding those is shared. Decoding copies the arrays into one
 * block and keeps the parsed metadata, which the strings are borrowed from. Little-endian hosts. */
#include "api/base/base64.h"
#include "api/wire/payload_parts.h"
#include "api/wire/safetensors.h"
#include "api/wire/zst.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCHEMA "cdcca.tokens/1"

enum { META_MAX = LIMIT_UPLOAD_BYTES };

const char *const payload_part_names[PARTS] = {"offsets", "positions", "scales", "codes"};

static const struct {
    enum dtype dtype;
    size_t width;
} part_types[PARTS] = {{DTYPE_U32, 4}, {DTYPE_U16, 2}, {DTYPE_F16, 2}, {DTYPE_U8, 1}};

struct memory {
    json *meta;                         /* owns every string */
    struct payload_instance instance[]; /* then positions, scales, codes */
};

/* --- reading --- */

static enum status schema_check(const json *meta, struct err *err)
{
    const char *schema;
    TRY(json_get_string(meta, "schema", 64, &schema, err));
    if (strcmp(schema, SCHEMA) == 0)
        return STATUS_OK;
    return err_set(err, STATUS_UNSUPPORTED, "schema is \"%s\"; this program reads \"%s\"", schema,
                   SCHEMA);
}

static enum status header_read(const json *meta, struct payload *out, const json **instances,
                               struct err *err)
{
    static const char *const known[] = {"schema",    "device", "base_version", "encoder",
                                        "bits",      "width",  "instances",    "offsets",
                                        "positions", "scales", "codes",        NULL};
    int64_t bits, width;
    TRY(schema_check(meta, err));
    TRY(json_only(meta, known, err));
    TRY(json_get_string(meta, "device", LIMIT_ID, &out->device, err));
    TRY(json_get_int(meta, "base_version", 0, INT64_C(1) << 53, &out->base_version, err));
    TRY(json_get_string(meta, "encoder", 64, &out->encoder, err));
    TRY(json_get_int(meta, "bits", 4, 8, &bits, err));
    TRY(json_get_int(meta, "width", 1, LIMIT_TOKEN_WIDTH, &width, err));
    TRY(json_get_array(meta, "instances", LIMIT_INSTANCES, instances, err));
    out->bits = (int)bits;
    out->width = (int)width;
    out->instances = json_length(*instances);
    return STATUS_OK;
}

static enum status instance_read(const json *object, struct payload_instance *out, struct err *err)
{
    static const char *const known[] = {"id", "question", "answer", "entropy", "correction", NULL};
    TRY(json_only(object, known, err));
    TRY(json_get_string(object, "id", LIMIT_ID, &out->id, err));
    TRY(json_get_string(object, "question", LIMIT_QUESTION, &out->question, err));
    TRY(json_get_string(object, "answer", LIMIT_ANSWER, &out->answer, err));
    TRY(json_get_number(object, "entropy", 0, HUGE_VAL, &out->entropy, err));
    return json_opt_string(object, "correction", LIMIT_ANSWER, &out->correction, err);
}

/* Lengths of the four arrays against each other; sets out->tokens. */
static enum status parts_check(const struct payload_part parts[PARTS], struct payload *out,
                               struct err *err)
{
    size_t expected[PARTS];
    out->tokens = parts[PART_POSITIONS].size / 2;
    expected[PART_OFFSETS] = 4 * (out->instances + 1);
    expected[PART_POSITIONS] = expected[PART_SCALES] = 2 * out->tokens;
    if (!payload_sizes(out->bits, out->width, out->tokens, &expected[PART_CODES]))
        return err_set(err, STATUS_SHAPE,
                       "bits must be 4 or 8 and width 1 to %d, even for 4 bit; "
                       "they are %d and %d, with %zu tokens",
                       LIMIT_TOKEN_WIDTH, out->bits, out->width, out->tokens);
    for (int i = 0; i < PARTS; i++)
        if (parts[i].size != expected[i])
            return err_set(err, STATUS_SHAPE,
                           "%s has %zu bytes; %zu instances with %zu tokens of "
                           "width %d at %d bit need %zu",
                           payload_part_names[i], parts[i].size, out->instances, out->tokens,
                           out->width, out->bits, expected[i]);
    return STATUS_OK;
}

static enum status memory_allocate(const struct payload_part parts[PARTS], struct payload *out,
                                   struct err *err)
{
    size_t arrays = 4 * out->tokens + parts[PART_CODES].size;
    size_t instances = out->instances * sizeof *out->instance;
    struct memory *memory = calloc(1, sizeof *memory + instances + arrays + 1);
    if (!memory)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu tokens", out->tokens);
    out->memory = memory;
    out->instance = memory->instance;
    out->positions = (uint16_t *)(void *)(memory->instance + out->instances);
    out->scales = out->positions + out->tokens;
    out->codes = (uint8_t *)(out->scales + out->tokens);
    if (out->tokens) {
        memcpy(out->positions, parts[PART_POSITIONS].data, 2 * out->tokens);
        memcpy(out->scales, parts[PART_SCALES].data, 2 * out->tokens);
        memcpy(out->codes, parts[PART_CODES].data, parts[PART_CODES].size);
    }
    return STATUS_OK;
}

static enum status instances_read(const json *instances, const unsigned char *offsets,
                                  struct payload *out, struct err *err)
{
    for (size_t i = 0; i < out->instances; i++) {
        struct payload_instance *instance = &out->instance[i];
        enum status status = instance_read(json_at(instances, i), instance, err);
        if (status != STATUS_OK) {
            err_prefix(err, "instance %zu", i);
            return status;
        }
        uint32_t bounds[2];
        memcpy(bounds, offsets + 4 * i, sizeof bounds);
        instance->first = bounds[0];
        instance->count = bounds[1] - bounds[0]; /* may wrap; payload_check bounds it */
    }
    return STATUS_OK;
}

static enum status payload_build(const json *meta, const struct payload_part parts[PARTS],
                                 struct payload *out, struct err *err)
{
    const json *instances = NULL;
    TRY(header_read(meta, out, &instances, err));
    TRY(parts_check(parts, out, err));
    TRY(memory_allocate(parts, out, err));
    TRY(instances_read(instances, parts[PART_OFFSETS].data, out, err));
    return payload_check(out, err);
}

static enum status parts_find(const struct safetensors *file, struct payload_part parts[PARTS],
                              struct err *err)
{
    for (int i = 0; i < PARTS; i++) {
        const struct safetensors_entry *entry = safetensors_find(file, payload_part_names[i]);
        if (!entry || entry->dtype != part_types[i].dtype || entry->ndim != 1)
            return err_set(err, STATUS_SHAPE, "tensor \"%s\" must be there as %s of one dimension",
                           payload_part_names[i], dtype_name(part_types[i].dtype));
        parts[i] = (struct payload_part){entry->data, entry->size};
    }
    if (file->count == PARTS)
        return STATUS_OK;
    return err_set(err, STATUS_SHAPE,
                   "%zu tensors; a payload holds offsets, positions, scales and "
                   "codes, and nothing else",
                   file->count);
}

/* On success *meta is owned by the caller. */
static enum status decode_safetensors(const void *data, size_t len, json **meta,
                                      struct payload *out, struct err *err)
{
    struct safetensors file;
    struct payload_part parts[PARTS];
    TRY(safetensors_parse(data, len, &file, err));
    const char *text = safetensors_meta(&file, "cdcca");
    enum status status = STATUS_OK;
    if (!text || file.meta_count != 1)
        status = err_set(err, STATUS_SHAPE, "the metadata must be one entry, \"cdcca\"");
    if (status == STATUS_OK)
        status = parts_find(&file, parts, err);
    if (status == STATUS_OK)
        status = json_parse(text, strlen(text), meta, err);
    for (int i = 0; status == STATUS_OK && i < PARTS; i++)
        if (json_has(*meta, payload_part_names[i]))
            status = err_set(err, STATUS_UNSUPPORTED,
                             "unknown field \"%s\" in the metadata: here it "
                             "is a tensor",
                             payload_part_names[i]);
    if (status == STATUS_OK)
        status = payload_build(*meta, parts, out, err);
    safetensors_close(&file);
    return status;
}

static enum status decode_json(const void *data, size_t len, json **meta, struct payload *out,
                               struct err *err)
{
    struct buf bytes[PARTS];
    struct payload_part parts[PARTS];
    for (int i = 0; i < PARTS; i++)
        bytes[i] = (struct buf){.max = LIMIT_UPLOAD_RAW_BYTES};
    enum status status = json_parse(data, len, meta, err);
    for (int i = 0; status == STATUS_OK && i < PARTS; i++) {
        const char *text;
        status = json_get_string(*meta, payload_part_names[i], LIMIT_UPLOAD_RAW_BYTES, &text, err);
        if (status != STATUS_OK)
            break;
        status = base64_decode(text, strlen(text), &bytes[i]);
        if (status != STATUS_OK)
            err_set(err, status, "field \"%s\" must be base64", payload_part_names[i]);
        parts[i] = (struct payload_part){bytes[i].data, bytes[i].len};
    }
    if (status == STATUS_OK)
        status = payload_build(*meta, parts, out, err);
    for (int i = 0; i < PARTS; i++)
        buf_free(&bytes[i]);
    return status;
}

/* "application/json; charset=utf-8" is application/json. */
static bool type_matches(const char *content_type, const char *wanted)
{
    size_t len = strlen(wanted);
    if (strncasecmp(content_type, wanted, len) != 0)
        return false;
    return content_type[len] == '\0' || content_type[len] == ';' || content_type[len] == ' ';
}

enum status payload_decode(const char *content_type, const void *data, size_t len,
                           struct payload *out, struct err *err)
{
    json *meta = NULL;
    enum status status;
    memset(out, 0, sizeof *out);
    if (len > LIMIT_UPLOAD_RAW_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "an upload of %zu bytes; the limit is %d", len,
                       LIMIT_UPLOAD_RAW_BYTES);
    if (content_type && type_matches(content_type, "application/x-safetensors"))
        status = decode_safetensors(data, len, &meta, out, err);
    else if (content_type && type_matches(content_type, "application/json"))
        status = decode_json(data, len, &meta, out, err);
    else
        return err_set(err, STATUS_UNSUPPORTED,
                       "content type is %.64s; uploads are "
                       "application/x-safetensors or application/json",
                       content_type ? content_type : "missing");
    if (status == STATUS_OK) {
        ((struct memory *)out->memory)->meta = meta;
        return STATUS_OK;
    }
    json_free(meta);
    payload_free(out);
    err_prefix(err, "upload");
    return status;
}

void payload_free(struct payload *p)
{
    struct memory *memory = p->memory;
    if (memory)
        json_free(memory->meta);
    free(memory);
    memset(p, 0, sizeof *p);
}

/* --- writing --- */

/* Four decimals of a nat: more would only cost bytes. */
static bool instance_write(const struct payload_instance *instance, json *array)
{
    json *object = json_object_new();
    bool fine = json_set_string(object, "id", instance->id) &&
                json_set_string(object, "question", instance->question) &&
                json_set_string(object, "answer", instance->answer) &&
                json_set_number(object, "entropy", round(instance->entropy * 1e4) / 1e4);
    if (fine && instance->correction)
        fine = json_set_string(object, "correction", instance->correction);
    return json_append_take(array, object) && fine;
}

static json *metadata_build(const struct payload *p)
{
    json *meta = json_object_new(), *array = json_array_new();
    bool fine = json_set_string(meta, "schema", SCHEMA) &&
                json_set_string(meta, "device", p->device) &&
                json_set_int(meta, "base_version", p->base_version) &&
                json_set_string(meta, "encoder", p->encoder) &&
                json_set_int(meta, "bits", p->bits) && json_set_int(meta, "width", p->width);
    for (size_t i = 0; fine && i < p->instances; i++)
        fine = instance_write(&p->instance[i], array);
    fine = json_set_take(meta, "instances", array) && fine;
    if (fine)
        return meta;
    json_free(meta);
    return NULL;
}

/* Fills parts; *offsets is owned by the caller. */
static bool parts_build(const struct payload *p, uint32_t **offsets,
                        struct payload_part parts[PARTS])
{
    size_t codes_size = 0;
    payload_sizes(p->bits, p->width, p->tokens, &codes_size);
    uint32_t *o = calloc(p->instances + 1, sizeof *o);
    if (!o)
        return false;
    for (size_t i = 0; i < p->instances; i++)
        o[i + 1] = p->instance[i].first + p->instance[i].count;
    parts[PART_OFFSETS] = (struct payload_part){(unsigned char *)o, 4 * (p->instances + 1)};
    parts[PART_POSITIONS] =
        (struct payload_part){(const unsigned char *)p->positions, 2 * p->tokens};
    parts[PART_SCALES] = (struct payload_part){(const unsigned char *)p->scales, 2 * p->tokens};
    parts[PART_CODES] = (struct payload_part){p->codes, codes_size};
    *offsets = o;
    return true;
}

static enum status container_write(const json *meta, const struct payload_part parts[PARTS],
                                   struct buf *out, struct err *err)
{
    struct safetensors_entry entries[PARTS] = {{0}};
    struct buf text = {.max = META_MAX};
    const char *key = "cdcca";
    for (int i = 0; i < PARTS; i++) {
        entries[i].name = payload_part_names[i];
        entries[i].dtype = part_types[i].dtype;
        entries[i].ndim = 1;
        entries[i].dim[0] = parts[i].size / part_types[i].width;
        entries[i].data = parts[i].data;
        entries[i].size = parts[i].size;
    }
    enum status status = json_print(meta, false, &text);
    const char *value = (const char *)text.data;
    if (status == STATUS_OK)
        status = safetensors_write(entries, PARTS, &key, &value, 1, out, err);
    else
        err_set(err, status, "the upload's metadata do not fit into %zu bytes", text.max);
    buf_free(&text);
    return status;
}

static enum status json_write(json *meta, const struct payload_part parts[PARTS], struct buf *out,
                              struct err *err)
{
    struct buf text = {.max = LIMIT_UPLOAD_RAW_BYTES};
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < PARTS; i++) {
        buf_clear(&text);
        status = base64_encode(parts[i].data, parts[i].size, &text);
        if (status == STATUS_OK &&
            !json_set_string(meta, payload_part_names[i], (const char *)text.data))
            status = STATUS_NO_MEMORY;
    }
    buf_free(&text);
    if (status == STATUS_OK)
        status = json_print(meta, false, out);
    return status == STATUS_OK ? status
                               : err_set(err, status, "an upload of this size does not fit");
}

static enum status payload_write(const struct payload *p, bool as_json, struct buf *out,
                                 struct err *err)
{
    struct payload_part parts[PARTS];
    uint32_t *offsets = NULL;
    TRY(payload_check(p, err));
    json *meta = metadata_build(p);
    enum status status;
    if (!meta || !parts_build(p, &offsets, parts))
        status = err_set(err, STATUS_NO_MEMORY, "no memory to encode an upload");
    else if (as_json)
        status = json_write(meta, parts, out, err);
    else
        status = container_write(meta, parts, out, err);
    json_free(meta);
    free(offsets);
    return status;
}

enum status payload_encode(const struct payload *p, struct buf *out, struct err *err)
{
    return payload_write(p, false, out, err);
}

enum status payload_encode_json(const struct payload *p, struct buf *out, struct err *err)
{
    return payload_write(p, true, out, err);
}

/* Measured on uploads of 1 to 91 instances: quantized features hold no matches worth a search, so a
 * higher level gains nothing over this one. */
enum status payload_encode_zstd(const struct payload *p, struct buf *out, struct err *err)
{
    enum { LEVEL = 3 };
    struct buf raw = {.max = LIMIT_UPLOAD_RAW_BYTES};
    enum status status = payload_encode(p, &raw, err);
    if (status == STATUS_OK) {
        size_t codes_size = 0;
        payload_sizes(p->bits, p->width, p->tokens, &codes_size);
        size_t codes = raw.len - codes_size, scales = codes - 2 * p->tokens;
        const size_t cuts[] = {scales - 2 * p->tokens, scales, codes};
        status = zst_compress_cut(raw.data, raw.len, cuts, 3, LEVEL, out, err);
    }
    buf_free(&raw);
    return status;
}
