/* See lessons.h. Names are collected first, so that nothing slow is done while the store's reader
 * is held. Strings are copied out of each payload, which is then freed. */
#include "server/lessons.h"
#include "api/base/checked.h"
#include "api/base/hash.h"
#include "api/base/log.h"
#include "model/learn/uncertainty.h"
#include <stdlib.h>
#include <string.h>

/* An upload to be read: its content's name, and what its instances are marked with. */
struct name {
    char sha256[HASH_HEX];
    uint64_t device;
    int64_t round;
};

struct names {
    struct name *item;
    size_t count, cap;
    bool failed;
};

/* A device's number (distill_instance): the same in every round and after every restart. */
static uint64_t device_number(const char *device)
{
    struct hash hash;
    uint64_t number;
    hash_bytes(device, strlen(device), &hash);
    memcpy(&number, hash.bytes, sizeof number);
    return number;
}

static bool name_take(void *ctx, const struct upload *upload)
{
    struct names *names = ctx;
    if (names->count == names->cap) {
        size_t cap = names->cap ? names->cap * 2 : 64;
        void *grown = realloc(names->item, cap * sizeof *names->item);
        names->failed = !grown;
        if (!grown)
            return false;
        names->item = grown;
        names->cap = cap;
    }
    struct name *name = &names->item[names->count++];
    *name = (struct name){.device = device_number(upload->device), .round = upload->round};
    memcpy(name->sha256, upload->sha256, HASH_HEX - 1);
    return true;
}

/* Memory that lives as long as the lessons; NULL past the bound or without memory. */
static void *lessons_alloc(struct lessons *lessons, size_t size)
{
    if (size > lessons->max_bytes - lessons->bytes)
        return NULL;
    if (lessons->owned_count == lessons->owned_cap) {
        int cap = lessons->owned_cap ? lessons->owned_cap * 2 : 256;
        void **grown = realloc(lessons->owned, (size_t)cap * sizeof *grown);
        if (!grown)
            return NULL;
        lessons->owned = grown;
        lessons->owned_cap = cap;
    }
    void *memory = malloc(size ? size : 1);
    if (!memory)
        return NULL;
    lessons->owned[lessons->owned_count++] = memory;
    lessons->bytes += size;
    return memory;
}

static const char *text_copy(struct lessons *lessons, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = lessons_alloc(lessons, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static bool items_reserve(struct lessons *lessons)
{
    if (lessons->count < lessons->cap)
        return true;
    int cap = lessons->cap ? lessons->cap * 2 : 256;
    struct distill_instance *grown = realloc(lessons->items, (size_t)cap * sizeof *grown);
    if (!grown)
        return false;
    lessons->items = grown;
    lessons->cap = cap;
    return true;
}

static bool instance_add(struct lessons *lessons, const struct payload *payload, size_t i,
                         const struct name *name)
{
    const struct payload_instance *from = &payload->instance[i];
    size_t bytes;
    if (!checked_mul((size_t)from->count * sizeof(float), (size_t)payload->width, &bytes) ||
        !items_reserve(lessons))
        return false;
    float *visual = lessons_alloc(lessons, bytes);
    const char *question = text_copy(lessons, from->question);
    const char *correction = from->correction ? text_copy(lessons, from->correction) : NULL;
    if (!visual || !question || (from->correction && !correction))
        return false;
    payload_dequantize(payload, i, visual);
    lessons->items[lessons->count++] =
        (struct distill_instance){.question = question,
                                  .correction = correction,
                                  .visual = visual,
                                  .count = (int)from->count,
                                  .rest = uts_rest_weight(payload->positions + from->first,
                                                          (int)from->count, lessons->tokens),
                                  .device = name->device,
                                  .round = name->round};
    return true;
}

enum status lessons_read_upload(struct store *store, const char *sha256, struct payload *out,
                                struct err *err)
{
    struct buf bytes = {.max = LIMIT_UPLOAD_RAW_BYTES};
    enum status status = store_upload_bytes(store, sha256, &bytes, err);
    if (status == STATUS_OK)
        status = payload_decode("application/x-safetensors", bytes.data, bytes.len, out, err);
    buf_free(&bytes);
    return status;
}

static enum status upload_add(struct store *store, const struct name *name, struct lessons *lessons,
                              struct err *err)
{
    struct payload payload;
    TRY(lessons_read_upload(store, name->sha256, &payload, err));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < payload.instances && status == STATUS_OK; i++)
        if (!instance_add(lessons, &payload, i, name))
            status = err_set(err, STATUS_NO_MEMORY, "the round's uploads need more than %zu MiB",
                             lessons->max_bytes >> 20);
    payload_free(&payload);
    return status;
}

static enum status names_load(struct store *store, const struct names *names, bool backwards,
                              struct lessons *out)
{
    for (size_t i = 0; i < names->count; i++) {
        struct err err;
        const struct name *name = &names->item[backwards ? names->count - 1 - i : i];
        if (upload_add(store, name, out, &err) != STATUS_OK)
            log_line(LOG_WARN, "lessons", "upload left out: %s", err.text);
    }
    return STATUS_OK;
}

enum status lessons_load_round(struct store *store, int64_t round, int tokens, size_t max_bytes,
                               struct lessons *out, struct err *err)
{
    struct names names = {0};
    *out = (struct lessons){.tokens = tokens, .max_bytes = max_bytes};
    enum status status = store_round_uploads(store, round, name_take, &names, err);
    if (status == STATUS_OK && names.failed)
        status = err_set(err, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK)
        status = names_load(store, &names, false, out);
    free(names.item);
    return status;
}

enum status lessons_load_learned(struct store *store, int limit, int tokens, size_t max_bytes,
                                 struct lessons *out, struct err *err)
{
    struct names names = {0};
    *out = (struct lessons){.tokens = tokens, .max_bytes = max_bytes};
    enum status status = store_learned_uploads(store, limit, name_take, &names, err);
    if (status == STATUS_OK && names.failed)
        status = err_set(err, STATUS_NO_MEMORY, "out of memory");
    if (status == STATUS_OK)
        status = names_load(store, &names, true, out);
    free(names.item);
    return status;
}

void lessons_free(struct lessons *lessons)
{
    for (int i = 0; i < lessons->owned_count; i++)
        free(lessons->owned[i]);
    free(lessons->owned);
    free(lessons->items);
    *lessons = (struct lessons){0};
}
