/* The sampling window and UTS over it; see window.h. */
#include "client/window.h"
#include "api/base/checked.h"
#include "api/base/hash.h"
#include "api/wire/payload.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct window {
    struct window_options options;
    int tokens, width, count;
    struct window_record *record; /* (capacity) */
    float *visual;                /* (capacity, tokens, width) */
};

enum status window_create(const struct window_options *options, int tokens, int width,
                          struct window **out, struct err *err)
{
    size_t floats, bytes;
    if (!checked_mul((size_t)tokens, (size_t)width, &floats) ||
        !checked_mul(floats, (size_t)options->capacity, &floats) ||
        !checked_mul(floats, sizeof(float), &bytes))
        return err_set(err, STATUS_TOO_LARGE, "a window of %d instances does not fit memory",
                       options->capacity);
    struct window *window = calloc(1, sizeof *window);
    if (window) {
        *window = (struct window){.options = *options, .tokens = tokens, .width = width};
        window->record = calloc((size_t)options->capacity, sizeof *window->record);
        window->visual = malloc(bytes);
    }
    if (!window || !window->record || !window->visual) {
        window_destroy(window);
        return err_set(
            err, STATUS_NO_MEMORY,
            "no memory for a window of %d instances (%zu bytes); a smaller --window is right",
            options->capacity, bytes);
    }
    *out = window;
    return STATUS_OK;
}

void window_destroy(struct window *window)
{
    if (!window)
        return;
    free(window->record);
    free(window->visual);
    free(window);
}

int window_count(const struct window *window)
{
    return window->count;
}

bool window_full(const struct window *window)
{
    return window->count == window->options.capacity;
}

const struct window_record *window_record(const struct window *window, int i)
{
    return &window->record[i];
}

const float *window_visual(const struct window *window, int at)
{
    return window->visual + (size_t)at * (size_t)window->tokens * (size_t)window->width;
}

float *window_room(struct window *window, int n)
{
    size_t at = (size_t)window->count * (size_t)window->tokens * (size_t)window->width;
    return window->options.capacity - window->count < n ? NULL : window->visual + at;
}

void window_add(struct window *window, const struct window_record *record)
{
    window->record[window->count] = *record;
    window->record[window->count].at = window->count;
    window->count++;
}

void window_clear(struct window *window)
{
    window->count = 0;
}

bool window_drop(struct window *window, const char *id)
{
    size_t floats = (size_t)window->tokens * (size_t)window->width;
    int i = 0;
    while (i < window->count && strcmp(window->record[i].id, id) != 0)
        i++;
    if (i == window->count)
        return false;
    int after = --window->count - i;
    memmove(window->visual + (size_t)i * floats, window->visual + ((size_t)i + 1) * floats,
            (size_t)after * floats * sizeof(float));
    memmove(&window->record[i], &window->record[i + 1], (size_t)after * sizeof window->record[0]);
    for (; i < window->count; i++)
        window->record[i].at = i;
    return true;
}

/* ---- packing chosen instances into one upload ---- */

struct pack { /* arrays of one payload under construction */
    struct payload payload;
    struct payload_instance instance[WINDOW_UPLOAD];
    float *gathered; /* (keep + 1, width): what is taken of one instance's tokens */
    char encoder[HASH_HEX];
    uint64_t jpeg_bytes;
    double entropy;
};

static void pack_deinit(struct pack *pack)
{
    free(pack->payload.codes);
    free(pack->payload.scales);
    free(pack->payload.positions);
    free(pack->gathered);
}

static enum status pack_init(struct pack *pack, const struct window_options *options,
                             const struct mllm *m, int instances, struct err *err)
{
    size_t width = (size_t)m->config.vision.hidden;
    size_t each = (size_t)options->uts.keep + 1, tokens = (size_t)instances * each;
    *pack = (struct pack){0};
    hash_hex(&m->encoder, pack->encoder);
    pack->payload = (struct payload){.device = options->device,
                                     .encoder = pack->encoder,
                                     .bits = options->bits,
                                     .width = (int)width,
                                     .instance = pack->instance};
    pack->payload.codes = malloc(tokens * width * (size_t)options->bits / 8 + 1);
    pack->payload.scales = malloc(tokens * sizeof(uint16_t) + 1);
    pack->payload.positions = malloc(tokens * sizeof(uint16_t) + 1);
    pack->gathered = malloc(each * width * sizeof(float));
    if (pack->payload.codes && pack->payload.scales && pack->payload.positions && pack->gathered)
        return STATUS_OK;
    pack_deinit(pack);
    return err_set(err, STATUS_NO_MEMORY, "no memory for an upload of %d instances", instances);
}

/* UTS stage 2 for one instance, then its kept tokens quantized behind those already packed. */
static enum status pack_add(struct pack *pack, const struct window_options *options,
                            const struct mllm *m, const float *visual, int visual_count,
                            const struct window_record *record, uint64_t seed, struct err *err)
{
    struct payload *p = &pack->payload;
    size_t width = (size_t)p->width;
    int kept = 0;
    TRY(uts_take_tokens(m, visual, visual_count, record->question, &options->uts, seed,
                        p->positions + p->tokens, pack->gathered, &kept, err));
    TRY(payload_quantize(pack->gathered, (size_t)kept, p->width, p->bits,
                         p->codes + p->tokens * width * (size_t)p->bits / 8, p->scales + p->tokens,
                         err));
    p->instance[p->instances++] =
        (struct payload_instance){.id = record->id,
                                  .question = record->question,
                                  .answer = record->answer,
                                  .correction = record->correction,
                                  .entropy = record->entropy > 0 ? (double)record->entropy : 0,
                                  .first = (uint32_t)p->tokens,
                                  .count = (uint32_t)kept};
    p->tokens += (size_t)kept;
    pack->jpeg_bytes += record->jpeg_bytes;
    pack->entropy += p->instance[p->instances - 1].entropy;
    return STATUS_OK;
}

/* ---- closing ---- */

struct closing { /* what the steps of one close share */
    struct window *window;
    const struct mllm *m;
    uint64_t index;
    enum status (*emit)(void *ctx, const struct window_upload *upload, struct err *err);
    void *ctx;
    struct window_result *result;
};

static enum status window_emit(const struct closing *c, struct pack *pack, struct err *err)
{
    struct buf body = {.max = LIMIT_UPLOAD_BYTES};
    enum status status = payload_encode_zstd(&pack->payload, &body, err);
    struct window_upload upload = {.body = body.data,
                                   .size = body.len,
                                   .instances = (uint32_t)pack->payload.instances,
                                   .jpeg_bytes = pack->jpeg_bytes,
                                   .entropy = pack->entropy};
    for (size_t i = 0; i < pack->payload.instances; i++)
        upload.corrections += pack->payload.instance[i].correction != NULL;
    if (status == STATUS_OK)
        status = c->emit(c->ctx, &upload, err);
    if (status == STATUS_OK) {
        c->result->sampled += (int)pack->payload.instances;
        c->result->jpeg_bytes += pack->jpeg_bytes;
        c->result->uploads++;
    }
    buf_free(&body);
    return status;
}

/* One upload of instances chosen[0..n-1]; they were answered by one version. */
static enum status window_pack(const struct closing *c, const int32_t *chosen, int n,
                               struct err *err)
{
    struct pack pack;
    struct window *window = c->window;
    const struct window_options *options = &window->options;
    TRY(pack_init(&pack, options, c->m, n, err));
    pack.payload.base_version = window->record[chosen[0]].version;
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < n; i++) {
        const struct window_record *record = &window->record[chosen[i]];
        uint64_t seed = options->seed ^ (c->index << 20) ^ (uint64_t)chosen[i];
        status = pack_add(&pack, options, c->m, window_visual(window, record->at), window->tokens,
                          record, seed, err);
    }
    if (status == STATUS_OK)
        status = window_emit(c, &pack, err);
    pack_deinit(&pack);
    return status;
}

/* How many instances one upload may hold: WINDOW_UPLOAD, fewer when tokens are large. */
static int window_upload_limit(const struct window_options *options, int width)
{
    size_t bytes =
        ((size_t)options->uts.keep + 1) * ((size_t)width * (size_t)options->bits / 8 + 4) +
        LIMIT_QUESTION + LIMIT_ANSWER + 256;
    size_t most = options->upload_bytes ? options->upload_bytes : LIMIT_UPLOAD_BYTES;
    size_t limit = most / bytes;
    return limit < 1 ? 1 : limit > WINDOW_UPLOAD ? WINDOW_UPLOAD : (int)limit;
}

/* Uploads within the limit, each answered by one version. */
static enum status window_pack_all(const struct closing *c, const int32_t *chosen, int n,
                                   struct err *err)
{
    const struct window_record *record = c->window->record;
    int limit = window_upload_limit(&c->window->options, c->window->width);
    for (int from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && to - from < limit &&
                            record[chosen[to]].version == record[chosen[from]].version;)
            to++;
        TRY(window_pack(c, chosen + from, to - from, err));
    }
    return STATUS_OK;
}

static int window_descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The entropy of the last candidate: sorts a scratch copy in place. */
static double window_cut(float *entropy, int count, int n, float pool_factor)
{
    int candidates = (int)lroundf((float)n * pool_factor);
    if (n < 1)
        return -1;
    qsort(entropy, (size_t)count, sizeof *entropy, window_descending);
    return (double)entropy[(candidates < count ? candidates : count) - 1];
}

static enum status window_choose(const struct closing *c, int wanted, float *entropy,
                                 int32_t *chosen, struct err *err)
{
    const struct window *window = c->window;
    struct rng rng;
    for (int i = 0; i < window->count; i++)
        entropy[i] = window->record[i].entropy;
    rng_init(&rng, window->options.seed, 0x77696e64u + c->index);
    int n = uts_select_instances(entropy, window->count, wanted, window->options.pool_factor, &rng,
                                 chosen);
    TRY(window_pack_all(c, chosen, n, err));
    c->result->entropy_cut = window_cut(entropy, window->count, n, window->options.pool_factor);
    return STATUS_OK;
}

enum status window_close(struct window *window, const struct mllm *m, uint64_t index,
                         int64_t seen_total, int64_t sampled_total,
                         enum status (*emit)(void *ctx, const struct window_upload *upload,
                                             struct err *err),
                         void *ctx, struct window_result *result, struct err *err)
{
    *result = (struct window_result){.entropy_cut = -1};
    struct closing closing = {window, m, index, emit, ctx, result};
    int64_t wanted = llround(window->options.budget * (double)seen_total) - sampled_total;
    if (wanted > window->count)
        wanted = window->count;
    if (wanted <= 0) {
        window->count = 0;
        return STATUS_OK;
    }
    float *entropy = malloc((size_t)window->count * sizeof *entropy);
    int32_t *chosen = malloc((size_t)window->count * sizeof *chosen);
    enum status status = entropy && chosen
                             ? window_choose(&closing, (int)wanted, entropy, chosen, err)
                             : err_set(err, STATUS_NO_MEMORY, "no memory to close a window");
    free(entropy);
    free(chosen);
    if (status == STATUS_OK)
        window->count = 0;
    return status;
}

enum status window_pack_one(const struct window *window, const struct mllm *m, const float *visual,
                            const struct window_record *record,
                            enum status (*emit)(void *ctx, const struct window_upload *upload,
                                                struct err *err),
                            void *ctx, struct err *err)
{
    struct pack pack;
    struct window_result result = {0};
    struct closing closing = {.m = m, .emit = emit, .ctx = ctx, .result = &result};
    TRY(pack_init(&pack, &window->options, m, 1, err));
    pack.payload.base_version = record->version;
    enum status status = pack_add(&pack, &window->options, m, visual, window->tokens, record,
                                  window->options.seed, err);
    if (status == STATUS_OK)
        status = window_emit(&closing, &pack, err);
    pack_deinit(&pack);
    return status;
}

enum status window_preview(const struct window_options *options, const struct mllm *m,
                           const float *visual, const struct window_record *record,
                           uint16_t *positions, int *kept, size_t *bytes, struct err *err)
{
    struct pack pack;
    struct buf body = {.max = LIMIT_UPLOAD_BYTES};
    int side = m->config.vision.image / m->config.vision.patch;
    TRY(pack_init(&pack, options, m, 1, err));
    pack.payload.base_version = record->version;
    enum status status =
        pack_add(&pack, options, m, visual, 1 + side * side, record, options->seed, err);
    if (status == STATUS_OK)
        status = payload_encode_zstd(&pack.payload, &body, err);
    if (status == STATUS_OK) {
        size_t n = pack.payload.tokens;
        n -= pack.payload.positions[n - 1] == UTS_REST;
        memcpy(positions, pack.payload.positions, n * sizeof *positions);
        *kept = (int)n;
        *bytes = body.len;
    }
    buf_free(&body);
    pack_deinit(&pack);
    return status;
}
