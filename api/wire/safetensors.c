/* Parser and writer. The parser copies only the header (names, metadata); tensors stay where they
 * are. Invariant after a successful parse: entries are sorted by offset, the first begins right
 * after the header, each next one where the one before ended, the last ends with the input; every
 * size is the product of its dims and its dtype's size. So no reader of an entry has anything left
 * to check but that name, dtype and shape are what it wants. */
#include "api/wire/safetensors.h"
#include "api/base/checked.h"
#include "api/wire/json.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_MAX = 16 << 20,
    TENSORS_MAX = 8000,
    OBJECTS_MAX = TENSORS_MAX + 2, /* the header, the metadata, one a tensor */
    VALUES_MAX = 9 * TENSORS_MAX,  /* a matrix has eight */
    PREFIX = 8,
    NAME_MAX_BYTES = 1024
};

static uint64_t u64_le(const unsigned char *at)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | at[i];
    return v;
}

/* The JSON tree of a header takes up to 80 times the header's bytes. So its objects and values are
 * counted first: what passes takes at most 16 MiB besides the file. */
static enum status header_bounded(const unsigned char *text, size_t len, struct err *err)
{
    size_t objects = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string) {
            objects += c == '{';
            values += c == ',' || c == '[' || c == '{';
        }
    }
    if (objects > OBJECTS_MAX || values > VALUES_MAX)
        return err_set(err, STATUS_TOO_LARGE,
                       "safetensors header of %zu objects and %zu values; the limits are %d and %d",
                       objects, values, OBJECTS_MAX, VALUES_MAX);
    return STATUS_OK;
}

/* dims of one tensor into entry; *size: its bytes, all products checked */
static enum status shape_parse(const json *info, struct safetensors_entry *entry, size_t *size,
                               struct err *err)
{
    const json *shape;
    TRY(json_get_array(info, "shape", SAFETENSORS_DIMS_MAX, &shape, err));
    entry->ndim = (int)json_length(shape);
    *size = dtype_size(entry->dtype);
    for (int i = 0; i < entry->ndim; i++) {
        int64_t dim;
        TRY(json_int_at(shape, (size_t)i, 0, INT64_MAX, &dim, err));
        entry->dim[i] = (uint64_t)dim;
        if (!checked_mul(*size, (size_t)dim, size))
            return err_set(err, STATUS_SHAPE, "the shape's product overflows");
    }
    return STATUS_OK;
}

/* The data section: its length, and its bytes unless they are not in memory. */
struct section {
    const unsigned char *bytes;
    uint64_t len;
};

static enum status entry_parse(const json *info, const struct section *data,
                               struct safetensors_entry *entry, struct err *err)
{
    static const char *const known[] = {"dtype", "shape", "data_offsets", NULL};
    TRY(json_only(info, known, err));
    const char *dtype;
    TRY(json_get_string(info, "dtype", 16, &dtype, err));
    if (!dtype_parse(dtype, &entry->dtype))
        return err_set(err, STATUS_UNSUPPORTED,
                       "dtype \"%s\" is not one of F64 F32 F16 BF16 I8 "
                       "I16 I32 I64 U8 U16 U32 U64 BOOL",
                       dtype);
    size_t size;
    TRY(shape_parse(info, entry, &size, err));
    const json *offsets;
    TRY(json_get_array(info, "data_offsets", 2, &offsets, err));
    int64_t begin, end;
    TRY(json_int_at(offsets, 0, 0, INT64_MAX, &begin, err));
    TRY(json_int_at(offsets, 1, 0, INT64_MAX, &end, err));
    if (end < begin || (uint64_t)end > data->len)
        return err_set(err, STATUS_SHAPE,
                       "data_offsets [%" PRId64 ", %" PRId64 "] do not lie "
                       "in the %" PRIu64 " bytes of data",
                       begin, end, data->len);
    if ((uint64_t)(end - begin) != size)
        return err_set(err, STATUS_SHAPE,
                       "data_offsets span %" PRId64 " bytes, dtype and shape "
                       "need %zu",
                       end - begin, size);
    entry->at = (uint64_t)begin;
    entry->data = data->bytes ? data->bytes + begin : NULL;
    entry->size = size;
    return STATUS_OK;
}

static enum status metadata_parse(const json *object, struct safetensors *out, struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, STATUS_MALFORMED, "__metadata__ must be an object of strings");
    size_t count = 0, bytes = 0;
    const char *key, *text;
    const json *value;
    for (void *cursor = NULL; (key = json_next(object, &cursor, &value)) != NULL; count++) {
        TRY(json_get_string(object, key, HEADER_MAX, &text, err));
        bytes += strlen(key) + strlen(text) + 2;
    }
    if (!count)
        return STATUS_OK;
    out->meta_keys = malloc(2 * count * sizeof(char *) + bytes);
    if (!out->meta_keys)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the metadata");
    out->meta_values = out->meta_keys + count;
    char *at = (char *)(out->meta_keys + 2 * count);
    for (void *cursor = NULL; (key = json_next(object, &cursor, &value)) != NULL;) {
        json_get_string(object, key, HEADER_MAX, &text, NULL);
        out->meta_keys[out->meta_count] = at;
        at = stpcpy(at, key) + 1;
        out->meta_values[out->meta_count++] = at;
        at = stpcpy(at, text) + 1;
    }
    return STATUS_OK;
}

/* Entries and their names in one block. */
static enum status entries_allocate(const json *header, struct safetensors *out, char **names,
                                    struct err *err)
{
    size_t count = 0, bytes = 0;
    const char *key;
    const json *value;
    for (void *cursor = NULL; (key = json_next(header, &cursor, &value)) != NULL; count++) {
        size_t len = strlen(key);
        if (len > NAME_MAX_BYTES)
            return err_set(err, STATUS_TOO_LARGE, "a tensor's name has %zu bytes; the limit is %d",
                           len, NAME_MAX_BYTES);
        bytes += len + 1;
    }
    if (count > TENSORS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "%zu tensors; the limit is %d", count, TENSORS_MAX);
    out->entries = calloc(1, count * sizeof *out->entries + bytes + 1);
    if (!out->entries)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu tensors", count);
    *names = (char *)(out->entries + count);
    return STATUS_OK;
}

static int entry_compare(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);
}

/* Sorts, and refuses gaps, overlaps and bytes that belong to no tensor. */
static enum status entries_order(struct safetensors *out, uint64_t data_len, struct err *err)
{
    qsort(out->entries, out->count, sizeof *out->entries, entry_compare);
    uint64_t expected = 0;
    for (size_t i = 0; i < out->count; i++) {
        const struct safetensors_entry *entry = &out->entries[i];
        if (entry->at != expected)
            return err_set(err, STATUS_SHAPE,
                           "tensor \"%.64s\" begins at byte %" PRIu64 " of the data, "
                           "the one before it ends at %" PRIu64
                           ": gaps and overlaps are not allowed",
                           entry->name, entry->at, expected);
        expected = entry->at + entry->size;
    }
    if (expected != data_len)
        return err_set(err, STATUS_SHAPE,
                       "%" PRIu64 " bytes of data, but the tensors cover only %" PRIu64, data_len,
                       expected);
    return STATUS_OK;
}

static enum status header_read(const json *header, const struct section *data,
                               struct safetensors *out, struct err *err)
{
    if (!json_is_object(header))
        return err_set(err, STATUS_MALFORMED, "the header must be a JSON object");
    char *names = NULL;
    TRY(entries_allocate(header, out, &names, err));
    const char *key;
    const json *value;
    for (void *cursor = NULL; (key = json_next(header, &cursor, &value)) != NULL;) {
        if (strcmp(key, "__metadata__") == 0) {
            TRY(metadata_parse(value, out, err));
            continue;
        }
        struct safetensors_entry *entry = &out->entries[out->count];
        if (entry_parse(value, data, entry, err) != STATUS_OK)
            return err_prefix(err, "tensor \"%.64s\"", key);
        entry->name = names;
        names = stpcpy(names, key) + 1;
        out->count++;
    }
    return entries_order(out, data->len, err);
}

enum status safetensors_header_bytes(const void *prefix, uint64_t file_bytes, size_t *header_bytes,
                                     struct err *err)
{
    if (file_bytes < PREFIX)
        return err_set(err, STATUS_MALFORMED,
                       "%" PRIu64 " bytes are no safetensors file: its first 8 hold "
                       "the header's length",
                       file_bytes);
    uint64_t header_len = u64_le(prefix);
    if (header_len > HEADER_MAX)
        return err_set(err, STATUS_TOO_LARGE,
                       "safetensors header of %" PRIu64 " bytes; the limit "
                       "is %d",
                       header_len, HEADER_MAX);
    if (header_len > file_bytes - PREFIX)
        return err_set(err, STATUS_MALFORMED,
                       "safetensors header of %" PRIu64 " bytes in a file "
                       "of %" PRIu64 ": it was cut short",
                       header_len, file_bytes);
    *header_bytes = PREFIX + (size_t)header_len;
    return STATUS_OK;
}

/* bytes: the header and, when in_memory, the data behind it */
static enum status parse(const unsigned char *bytes, uint64_t file_len, bool in_memory,
                         struct safetensors *out, struct err *err)
{
    size_t header_bytes = 0;
    TRY(safetensors_header_bytes(bytes, file_len, &header_bytes, err));
    if (header_bytes == PREFIX || bytes[PREFIX] != '{')
        return err_set(err, STATUS_MALFORMED, "the safetensors header must begin with '{'");
    TRY(header_bounded(bytes + PREFIX, header_bytes - PREFIX, err));
    json *header;
    TRY(json_parse(bytes + PREFIX, header_bytes - PREFIX, &header, err));
    const struct section data = {in_memory ? bytes + header_bytes : NULL, file_len - header_bytes};
    enum status status = header_read(header, &data, out, err);
    json_free(header);
    return status;
}

static enum status parse_or_close(const void *bytes, uint64_t file_len, bool in_memory,
                                  struct safetensors *out, struct err *err)
{
    struct err own; /* statuses travel through err_prefix, which needs one */
    memset(out, 0, sizeof *out);
    enum status status = parse(bytes, file_len, in_memory, out, err ? err : &own);
    if (status != STATUS_OK)
        safetensors_close(out);
    return status;
}

enum status safetensors_parse(const void *data, size_t len, struct safetensors *out,
                              struct err *err)
{
    return parse_or_close(data, len, true, out, err);
}

enum status safetensors_parse_header(const void *header, size_t header_bytes, uint64_t file_bytes,
                                     struct safetensors *out, struct err *err)
{
    size_t needed = 0;
    memset(out, 0, sizeof *out);
    if (header_bytes < PREFIX)
        return err_set(err, STATUS_MALFORMED, "a safetensors header of %zu bytes", header_bytes);
    TRY(safetensors_header_bytes(header, file_bytes, &needed, err));
    if (header_bytes != needed)
        return err_set(err, STATUS_MALFORMED, "a safetensors header of %zu bytes, not %zu", needed,
                       header_bytes);
    return parse_or_close(header, file_bytes, false, out, err);
}

enum status safetensors_open(struct io *io, const char *path, size_t max_bytes,
                             struct safetensors *out, struct err *err)
{
    struct buf bytes = {.max = max_bytes};
    memset(out, 0, sizeof *out);
    enum status status = io_read_file(io, path, &bytes, err);
    if (status == STATUS_OK) {
        status = safetensors_parse(bytes.data, bytes.len, out, err);
        if (status != STATUS_OK)
            err_prefix(err, "%.200s", path);
    }
    if (status == STATUS_OK)
        out->owned = bytes.data;
    else
        buf_free(&bytes);
    return status;
}

void safetensors_close(struct safetensors *file)
{
    free(file->entries);
    free(file->meta_keys);
    free(file->owned);
    memset(file, 0, sizeof *file);
}

const struct safetensors_entry *safetensors_find(const struct safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i];
    return NULL;
}

const char *safetensors_meta(const struct safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->meta_count; i++)
        if (strcmp(file->meta_keys[i], key) == 0)
            return file->meta_values[i];
    return NULL;
}

static enum status entry_bytes(const struct safetensors_entry *entry, size_t *size, struct err *err)
{
    if (entry->ndim < 0 || entry->ndim > SAFETENSORS_DIMS_MAX)
        return err_set(err, STATUS_SHAPE,
                       "tensor \"%.64s\" has %d dimensions; 0 to %d are possible", entry->name,
                       entry->ndim, SAFETENSORS_DIMS_MAX);
    *size = dtype_size(entry->dtype);
    for (int i = 0; i < entry->ndim; i++)
        if (entry->dim[i] > SIZE_MAX || !checked_mul(*size, (size_t)entry->dim[i], size))
            return err_set(err, STATUS_SHAPE, "tensor \"%.64s\": the shape's product overflows",
                           entry->name);
    return STATUS_OK;
}

static json *entry_json(const struct safetensors_entry *entry, size_t begin, size_t end)
{
    json *info = json_object_new(), *shape = json_array_new(), *offsets = json_array_new();
    bool fine =
        info && shape && offsets && json_set_string(info, "dtype", dtype_name(entry->dtype));
    for (int i = 0; fine && i < entry->ndim; i++)
        fine = json_append_int(shape, (int64_t)entry->dim[i]);
    fine =
        fine && json_append_int(offsets, (int64_t)begin) && json_append_int(offsets, (int64_t)end);
    fine = json_set_take(info, "shape", shape) && fine;
    fine = json_set_take(info, "data_offsets", offsets) && fine;
    if (fine)
        return info;
    json_free(info);
    return NULL;
}

static enum status header_build(json *header, const struct safetensors_entry *entries, size_t count,
                                struct err *err)
{
    size_t end = 0;
    if (count > TENSORS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "%zu tensors; the limit is %d", count, TENSORS_MAX);
    for (size_t i = 0; i < count; i++) {
        size_t begin = end, size = 0;
        TRY(entry_bytes(&entries[i], &size, err));
        if (json_has(header, entries[i].name))
            return err_set(err, STATUS_CONFLICT, "tensor \"%.64s\" comes twice", entries[i].name);
        if (!checked_add(begin, size, &end) || end > INT64_MAX)
            return err_set(err, STATUS_TOO_LARGE, "the tensors' sizes overflow");
        if (!json_set_take(header, entries[i].name, entry_json(&entries[i], begin, end)))
            return err_set(err, STATUS_NO_MEMORY, "no memory for the safetensors header");
    }
    return STATUS_OK;
}

static bool metadata_build(json *header, const char *const *keys, const char *const *values,
                           size_t count)
{
    if (!count)
        return true;
    json *object = json_object_new();
    bool fine = object != NULL;
    for (size_t i = 0; fine && i < count; i++)
        fine = json_set_string(object, keys[i], values[i]);
    return json_set_take(header, "__metadata__", object) && fine;
}

/* The length, then the header padded with spaces to 8 bytes. */
static enum status header_append(const json *header, struct buf *out)
{
    static const unsigned char prefix[PREFIX];
    size_t start = out->len;
    TRY(buf_append(out, prefix, PREFIX));
    TRY(json_print(header, false, out));
    while ((out->len - start) % PREFIX)
        TRY(buf_append(out, " ", 1));
    uint64_t header_len = out->len - start - PREFIX;
    for (int i = 0; i < PREFIX; i++)
        out->data[start + (size_t)i] = (unsigned char)(header_len >> (8 * i));
    return STATUS_OK;
}

enum status safetensors_write_header(const struct safetensors_entry *entries, size_t count,
                                     const char *const *meta_keys, const char *const *meta_values,
                                     size_t meta_count, struct buf *out, struct err *err)
{
    json *header = json_object_new();
    if (!header || !metadata_build(header, meta_keys, meta_values, meta_count)) {
        json_free(header);
        return err_set(err, STATUS_NO_MEMORY, "no memory for the safetensors header");
    }
    size_t start = out->len;
    enum status status = header_build(header, entries, count, err);
    if (status == STATUS_OK && (status = header_append(header, out)) != STATUS_OK)
        err_set(err, status, "a safetensors header of %zu tensors does not fit into %zu bytes",
                count, out->max);
    json_free(header);
    if (status != STATUS_OK)
        out->len = start;
    return status;
}

enum status safetensors_write(const struct safetensors_entry *entries, size_t count,
                              const char *const *meta_keys, const char *const *meta_values,
                              size_t meta_count, struct buf *out, struct err *err)
{
    size_t start = out->len, size = 0;
    TRY(safetensors_write_header(entries, count, meta_keys, meta_values, meta_count, out, err));
    for (size_t i = 0; i < count; i++) {
        enum status status = entry_bytes(&entries[i], &size, err);
        if (status == STATUS_OK && (status = buf_append(out, entries[i].data, size)) != STATUS_OK)
            err_set(err, status, "a safetensors file of these tensors does not fit into %zu bytes",
                    out->max);
        if (status != STATUS_OK) {
            out->len = start;
            return status;
        }
    }
    return STATUS_OK;
}
