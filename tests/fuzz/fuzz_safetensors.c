/* safetensors: whatever parses covers its data exactly and survives being written and read again.
 */
#include "api/wire/safetensors.h"
#include "fuzz.h"

static void entries_hold(const struct safetensors *file, const uint8_t *data, size_t len)
{
    size_t covered = 0;
    float value;
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensors_entry *entry = &file->entries[i];
        const uint8_t *at = entry->data;
        FUZZ_HOLDS(at >= data + 8 && at <= data + len && entry->size <= (size_t)(data + len - at));
        FUZZ_HOLDS(safetensors_find(file, entry->name) == entry);
        covered += entry->size;
        if (entry->size)
            dtype_to_f32(entry->dtype, at, 1, &value);
    }
    FUZZ_HOLDS(covered <= len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct safetensors file, again;
    struct buf bytes = {.max = 64 << 20};
    struct err err;
    if (safetensors_parse(data, len, &file, &err) != STATUS_OK)
        return 0;
    entries_hold(&file, data, len);
    const char **keys = malloc(2 * file.meta_count * sizeof *keys + 1);
    const char **values = keys + file.meta_count;
    for (size_t i = 0; i < file.meta_count; i++) {
        keys[i] = file.meta_keys[i];
        values[i] = file.meta_values[i];
    }
    FUZZ_HOLDS(safetensors_write(file.entries, file.count, keys, values, file.meta_count, &bytes,
                                 &err) == STATUS_OK);
    FUZZ_HOLDS(safetensors_parse(bytes.data, bytes.len, &again, &err) == STATUS_OK);
    FUZZ_HOLDS(again.count == file.count && again.meta_count == file.meta_count);
    safetensors_close(&file);
    safetensors_close(&again);
    buf_free(&bytes);
    free(keys);
    return 0;
}
