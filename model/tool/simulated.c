/* See simulated.h. */
#include "model/tool/simulated.h"
#include "api/base/utf8.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODE_CHUNK = 64, ANSWER_NEW = 24, NAME_BYTES = 24 };

/* ---- a window ---- */

static enum status room_make(struct simulated *s, const struct mllm *edge, int count,
                             struct err *err)
{
    int side = edge->config.vision.image / edge->config.vision.patch;
    size_t n = (size_t)count;
    memset(s, 0, sizeof *s);
    s->count = count;
    s->side = edge->config.vision.image;
    s->tokens = 1 + side * side;
    s->width = edge->config.vision.hidden;
    s->pixels = calloc(n, (size_t)s->side * (size_t)s->side * 3);
    s->visual = calloc(n * (size_t)s->tokens * (size_t)s->width, sizeof *s->visual);
    s->question = calloc(n, sizeof *s->question);
    s->answers = calloc(n, sizeof *s->answers);
    if (s->pixels && s->visual && s->question && s->answers)
        return STATUS_OK;
    return err_set(err, STATUS_NO_MEMORY, "no memory for a window of %d samples", count);
}

/* Reads the next n samples (n <= ENCODE_CHUNK) into rows [at, at + n). */
static enum status chunk_encode(struct simulated *s, const struct mllm *edge, struct pool *pool,
                                struct stream *stream, int at, int n, struct err *err)
{
    size_t bytes = (size_t)s->side * (size_t)s->side * 3;
    size_t row = (size_t)s->tokens * (size_t)s->width;
    uint8_t *rgb = s->pixels + (size_t)at * bytes;
    for (int i = 0; i < n; i++) {
        struct sample sample;
        TRY(stream_next(stream, &sample, err));
        memcpy(rgb + (size_t)i * bytes, sample.pixels, bytes);
        memcpy(s->question[at + i], sample.question.text, sizeof *s->question);
    }
    return answer_encode(edge, pool, rgb, n, s->visual + (size_t)at * row, err);
}

static enum status window_encode(struct simulated *s, const struct mllm *edge, struct pool *pool,
                                 struct stream *stream, struct err *err)
{
    for (int at = 0; at < s->count; at += ENCODE_CHUNK) {
        int n = s->count - at < ENCODE_CHUNK ? s->count - at : ENCODE_CHUNK;
        TRY(chunk_encode(s, edge, pool, stream, at, n, err));
    }
    return STATUS_OK;
}

static enum status window_answer(struct simulated *s, const struct mllm *edge, struct pool *pool,
                                 struct err *err)
{
    struct ask *asks = calloc((size_t)(unsigned)s->count, sizeof *asks);
    if (!asks)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d questions", s->count);
    for (int i = 0; i < s->count; i++)
        asks[i] =
            (struct ask){.visual = s->visual + (size_t)i * (size_t)s->tokens * (size_t)s->width,
                         .visual_count = s->tokens,
                         .question = s->question[i]};
    enum status status = answer_batch(edge, pool, asks, s->count, ANSWER_NEW, s->answers, err);
    for (int i = 0; i < s->count; i++)
        utf8_clean(s->answers[i].text); /* a byte-level tokenizer may stop within a character */
    free(asks);
    return status;
}

enum status simulated_answer(struct simulated *s, const struct mllm *edge, struct pool *pool,
                             const char *spec, uint64_t seed, uint64_t first, int count,
                             struct err *err)
{
    struct stream *stream = NULL;
    enum status status = room_make(s, edge, count, err);
    if (status == STATUS_OK)
        status = stream_open(io_posix(), spec, edge->config.vision.image, seed, &stream, err);
    if (status == STATUS_OK)
        status = stream_seek(stream, first, err);
    if (status == STATUS_OK)
        status = window_encode(s, edge, pool, stream, err);
    if (status == STATUS_OK)
        status = window_answer(s, edge, pool, err);
    if (stream)
        stream_close(stream);
    if (status != STATUS_OK)
        simulated_free(s);
    return status;
}

void simulated_free(struct simulated *s)
{
    free(s->pixels);
    free(s->visual);
    free(s->question);
    free(s->answers);
    memset(s, 0, sizeof *s);
}

/* ---- an upload ---- */

int simulated_pick(const struct simulated *s, int n, const struct simulated_options *options,
                   int32_t *chosen)
{
    struct rng rng;
    rng_init(&rng, options->seed, 1);
    float *entropy = calloc((size_t)s->count, sizeof *entropy);
    if (!entropy)
        return 0;
    for (int i = 0; i < s->count; i++)
        entropy[i] = options->pick == PICK_CONFIDENCE ? -s->answers[i].log_probability
                                                      : s->answers[i].entropy;
    float pool = options->pick == PICK_ENT2     ? 3
                 : options->pick == PICK_RANDOM ? (float)s->count
                                                : 1;
    n = uts_select_instances(entropy, s->count, n, pool, &rng, chosen);
    free(entropy);
    return n;
}

/* The arrays of a payload under construction, in one allocation that starts at its instances. */
static enum status payload_room(struct payload *p, const struct simulated *s, int n, int keep,
                                int bits, struct err *err)
{
    size_t tokens = (size_t)n * (size_t)(keep + 1), code = (size_t)s->width * (size_t)bits / 8;
    size_t heads = (size_t)n * (sizeof *p->instance + NAME_BYTES);
    char *block = calloc(1, heads + tokens * (code + 2 * sizeof(uint16_t)) + 1);
    if (!block)
        return err_set(err, STATUS_NO_MEMORY, "no memory for an upload");
    p->instance = (struct payload_instance *)(void *)block;
    p->scales = (uint16_t *)(void *)(block + heads);
    p->positions = p->scales + tokens;
    p->codes = (uint8_t *)(p->positions + tokens);
    p->bits = bits;
    p->width = s->width;
    p->device = "simulated";
    return STATUS_OK;
}

/* Instance i of the window as the payload's next one. */
static enum status instance_pack(const struct simulated *s, const struct mllm *edge, int i,
                                 const struct simulated_options *o, float *gathered, char *name,
                                 struct payload *p, struct err *err)
{
    const float *visual = s->visual + (size_t)i * (size_t)s->tokens * (size_t)s->width;
    size_t code = (size_t)s->width * (size_t)o->bits / 8;
    int kept;
    TRY(uts_take_tokens(edge, visual, s->tokens, s->question[i], &o->uts, o->seed + (uint64_t)i,
                        p->positions + p->tokens, gathered, &kept, err));
    TRY(payload_quantize(gathered, (size_t)kept, s->width, o->bits, p->codes + p->tokens * code,
                         p->scales + p->tokens, err));
    snprintf(name, NAME_BYTES, "s%d", i);
    p->instance[p->instances++] =
        (struct payload_instance){.id = name,
                                  .question = s->question[i],
                                  .answer = s->answers[i].text,
                                  .entropy = (double)s->answers[i].entropy,
                                  .first = (uint32_t)p->tokens,
                                  .count = (uint32_t)kept};
    p->tokens += (size_t)kept;
    return STATUS_OK;
}

static enum status wire_measure(struct payload *p, const struct mllm *edge, size_t *bytes,
                                struct err *err)
{
    char encoder[HASH_HEX];
    struct buf packed = {.max = LIMIT_UPLOAD_BYTES};
    hash_hex(&edge->encoder, encoder);
    p->encoder = encoder;
    enum status status = payload_encode_zstd(p, &packed, err);
    *bytes = packed.len;
    p->encoder = NULL;
    buf_free(&packed);
    return status;
}

static enum status upload_pack(const struct simulated *s, const struct mllm *edge,
                               const int32_t *chosen, int n, const struct simulated_options *o,
                               struct payload *p, struct err *err)
{
    int keep = o->uts.keep < s->tokens ? o->uts.keep : s->tokens;
    float *gathered = calloc((size_t)(keep + 1) * (size_t)s->width, sizeof *gathered);
    if (!gathered)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d tokens", keep);
    enum status status = payload_room(p, s, n, keep, o->bits, err);
    char *names = status == STATUS_OK ? (char *)(p->instance + n) : NULL;
    for (int i = 0; i < n && status == STATUS_OK; i++)
        status = instance_pack(s, edge, chosen[i], o, gathered, names + i * NAME_BYTES, p, err);
    free(gathered);
    return status;
}

enum status simulated_upload(const struct simulated *s, const struct mllm *edge, int n,
                             const struct simulated_options *options, struct payload *out,
                             size_t *wire_bytes, struct err *err)
{
    memset(out, 0, sizeof *out);
    int32_t *chosen = calloc((size_t)s->count + 1, sizeof *chosen);
    if (!chosen)
        return err_set(err, STATUS_NO_MEMORY, "no memory to pick %d samples", n);
    n = simulated_pick(s, n, options, chosen);
    enum status status = upload_pack(s, edge, chosen, n, options, out, err);
    if (status == STATUS_OK)
        status = wire_measure(out, edge, wire_bytes, err);
    free(chosen);
    if (status != STATUS_OK) {
        free(out->instance);
        out->instance = NULL;
    }
    return status;
}

enum status simulated_instances(const struct payload *p, int tokens,
                                struct distill_instance **instances, float **visual,
                                struct err *err)
{
    *instances = calloc(p->instances + 1, sizeof **instances);
    *visual = calloc(p->tokens * (size_t)p->width + 1, sizeof **visual);
    if (!*instances || !*visual) {
        free(*instances);
        free(*visual);
        *instances = NULL;
        *visual = NULL;
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu uploads", p->instances);
    }
    for (size_t i = 0; i < p->instances; i++) {
        const struct payload_instance *from = &p->instance[i];
        float *at = *visual + (size_t)from->first * (size_t)p->width;
        payload_dequantize(p, i, at);
        (*instances)[i] = (struct distill_instance){
            .question = from->question,
            .correction = from->correction,
            .visual = at,
            .count = (int)from->count,
            .rest = uts_rest_weight(p->positions + from->first, (int)from->count, tokens)};
    }
    return STATUS_OK;
}
