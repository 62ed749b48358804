/* See arrival.h. Forms that the agent does not have travel in a container like its own: the
 * payload's metadata, `offsets` (where each instance's part begins), `positions` where there are
 * tokens, and `parts`, one after another; zstd at its highest usual level, each array on its own.
 */
#include "model/tool/arrival.h"
#include "api/wire/safetensors.h"
#include "api/wire/zst.h"
#include <stdlib.h>
#include <string.h>

enum { ZSTD_LEVEL = 19 };
static const size_t UPLOAD_CAP = (size_t)1 << 30;

/* ---- a container ---- */

struct parcel {
    struct buf parts;
    uint32_t *offsets; /* (count + 1) */
    int count;
};

static enum status parcel_open(struct parcel *p, int n, struct err *err)
{
    *p = (struct parcel){.parts = {.max = UPLOAD_CAP}};
    p->offsets = calloc((size_t)n + 1, sizeof *p->offsets);
    return p->offsets ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for %d parts", n);
}

static void parcel_close(struct parcel *p)
{
    buf_free(&p->parts);
    free(p->offsets);
}

/* The next part is what has been appended since the last one. */
static void parcel_end_part(struct parcel *p)
{
    p->offsets[++p->count] = (uint32_t)p->parts.len;
}

/* The payload as the agent's container, before zstd. */
static enum status payload_plain(struct payload *p, const struct mllm *edge, struct buf *out,
                                 struct err *err)
{
    char encoder[HASH_HEX];
    hash_hex(&edge->encoder, encoder);
    p->encoder = encoder;
    enum status s = payload_encode(p, out, err);
    p->encoder = NULL;
    return s;
}

static enum status container_write(const struct parcel *parcel, const char *metadata,
                                   const struct payload *positions, struct buf *out,
                                   struct err *err)
{
    const char *key = "cdcca";
    size_t count = (size_t)parcel->count + 1, tokens = positions ? positions->tokens : 0;
    const struct safetensors_entry entries[] = {
        {"offsets", DTYPE_U32, 1, {count}, parcel->offsets, 4 * count, 0},
        {"positions",
         DTYPE_U16,
         1,
         {tokens},
         positions ? positions->positions : NULL,
         2 * tokens,
         0},
        {"parts", DTYPE_U8, 1, {parcel->parts.len}, parcel->parts.data, parcel->parts.len, 0},
    };
    return safetensors_write(entries, 3, &key, &metadata, 1, out, err);
}

/* What a parcel weighs with the payload's metadata around it; positions may be NULL. */
static enum status parcel_measure(const struct parcel *parcel, struct payload *payload,
                                  const struct mllm *edge, const struct payload *positions,
                                  size_t *bytes, size_t *plain, struct err *err)
{
    struct buf own = {.max = UPLOAD_CAP}, raw = {.max = UPLOAD_CAP}, wire = {.max = UPLOAD_CAP};
    struct safetensors file = {0};
    enum status s = payload_plain(payload, edge, &own, err);
    if (s == STATUS_OK)
        s = safetensors_parse(own.data, own.len, &file, err);
    if (s == STATUS_OK)
        s = container_write(parcel, safetensors_meta(&file, "cdcca"), positions, &raw, err);
    if (s == STATUS_OK) {
        const size_t cut = raw.len - parcel->parts.len;
        s = zst_compress_cut(raw.data, raw.len, &cut, 1, ZSTD_LEVEL, &wire, err);
    }
    *bytes = wire.len;
    *plain = raw.len;
    safetensors_close(&file);
    buf_free(&own);
    buf_free(&raw);
    buf_free(&wire);
    return s;
}

/* ---- tokens ---- */

static enum status tokens_arrive(const struct simulated *w, const struct mllm *edge,
                                 struct arrival *a, struct err *err)
{
    struct buf raw = {.max = UPLOAD_CAP};
    enum status s = payload_plain(&a->payload, edge, &raw, err);
    a->plain = raw.len;
    buf_free(&raw);
    return s == STATUS_OK
               ? simulated_instances(&a->payload, w->tokens, &a->instances, &a->visual, err)
               : s;
}

/* Appends the tokens of payload instance i as F16 and rounds what has arrived to the same. */
static enum status instance_halve(const struct simulated *w, int row, struct arrival *a, int i,
                                  uint16_t *half, struct parcel *parcel, struct err *err)
{
    const struct payload_instance *from = &a->payload.instance[i];
    size_t width = (size_t)w->width;
    for (uint32_t t = from->first; t < from->first + from->count; t++) {
        size_t at = (size_t)row * (size_t)w->tokens + a->payload.positions[t];
        f32_to_f16(w->visual + at * width, width, half);
        TRY(dtype_to_f32(DTYPE_F16, half, width, a->visual + t * width));
        if (buf_append(&parcel->parts, half, width * sizeof *half) != STATUS_OK)
            return err_set(err, STATUS_NO_MEMORY, "no memory for an upload in F16");
    }
    parcel_end_part(parcel);
    return STATUS_OK;
}

static enum status halves_arrive(const struct simulated *w, const struct mllm *edge,
                                 const int32_t *chosen, struct arrival *a, struct err *err)
{
    struct parcel parcel;
    TRY(simulated_instances(&a->payload, w->tokens, &a->instances, &a->visual, err));
    uint16_t *half = calloc((size_t)w->width, sizeof *half);
    if (!half)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a token");
    enum status s = parcel_open(&parcel, a->count, err);
    for (int i = 0; i < a->count && s == STATUS_OK; i++)
        s = instance_halve(w, chosen[i], a, i, half, &parcel, err);
    if (s == STATUS_OK)
        s = parcel_measure(&parcel, &a->payload, edge, &a->payload, &a->bytes, &a->plain, err);
    parcel_close(&parcel);
    free(half);
    return s;
}

/* ---- pictures ---- */

static size_t picture_bytes(const struct simulated *w)
{
    return (size_t)w->side * (size_t)w->side * 3;
}

enum picture { PICTURE_RAW, PICTURE_PNG, PICTURE_JPEG };

static enum status picture_put(const struct simulated *w, int row, enum picture kind, int quality,
                               struct buf *out, struct err *err)
{
    const uint8_t *rgb = w->pixels + (size_t)row * picture_bytes(w);
    if (kind == PICTURE_PNG)
        return image_encode_png(rgb, w->side, w->side, out, err);
    if (kind == PICTURE_JPEG)
        return image_encode_jpeg(rgb, w->side, w->side, quality, out, err);
    enum status s = buf_append(out, rgb, picture_bytes(w));
    return s == STATUS_OK ? s : err_set(err, s, "no memory for a picture");
}

static enum status pictures_pack(const struct simulated *w, const int32_t *chosen, int n,
                                 enum picture kind, int quality, struct parcel *parcel,
                                 struct err *err)
{
    TRY(parcel_open(parcel, n, err));
    for (int i = 0; i < n; i++) {
        TRY(picture_put(w, chosen[i], kind, quality, &parcel->parts, err));
        parcel_end_part(parcel);
    }
    return STATUS_OK;
}

static enum status pictures_measure(const struct simulated *w, const struct mllm *edge,
                                    const int32_t *chosen, enum picture kind, struct arrival *a,
                                    size_t *bytes, size_t *plain, struct err *err)
{
    struct parcel parcel;
    enum status s = pictures_pack(w, chosen, a->count, kind, 0, &parcel, err);
    if (s == STATUS_OK)
        s = parcel_measure(&parcel, &a->payload, edge, NULL, bytes, plain, err);
    parcel_close(&parcel);
    return s;
}

/* Pictures of a parcel back to pixels, and those to tokens. */
static enum status pictures_see(const struct simulated *w, const struct mllm *edge,
                                struct pool *pool, const struct parcel *parcel, float *visual,
                                struct err *err)
{
    size_t bytes = picture_bytes(w);
    uint8_t *rgb = calloc((size_t)parcel->count + 1, bytes);
    enum status s = STATUS_OK;
    if (!rgb)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d pictures", parcel->count);
    for (int i = 0; i < parcel->count && s == STATUS_OK; i++) {
        struct image image;
        uint32_t at = parcel->offsets[i];
        s = image_decode(parcel->parts.data + at, parcel->offsets[i + 1] - at, &image, err);
        if (s != STATUS_OK)
            break;
        memcpy(rgb + (size_t)i * bytes, image.rgb, bytes);
        image_free(&image);
    }
    if (s == STATUS_OK)
        s = answer_encode(edge, pool, rgb, parcel->count, visual, err);
    free(rgb);
    return s;
}

static enum status jpegs_arrive(const struct simulated *w, const struct mllm *edge,
                                struct pool *pool, const int32_t *chosen, int quality,
                                struct arrival *a, struct err *err)
{
    struct parcel parcel;
    enum status s = pictures_pack(w, chosen, a->count, PICTURE_JPEG, quality, &parcel, err);
    if (s == STATUS_OK)
        s = pictures_see(w, edge, pool, &parcel, a->visual, err);
    if (s == STATUS_OK)
        s = parcel_measure(&parcel, &a->payload, edge, NULL, &a->bytes, &a->plain, err);
    parcel_close(&parcel);
    return s;
}

static enum status pixels_arrive(const struct simulated *w, const struct mllm *edge,
                                 const int32_t *chosen, struct arrival *a, struct err *err)
{
    size_t row = (size_t)w->tokens * (size_t)w->width;
    for (int i = 0; i < a->count; i++)
        memcpy(a->visual + (size_t)i * row, w->visual + (size_t)chosen[i] * row,
               row * sizeof *a->visual);
    TRY(pictures_measure(w, edge, chosen, PICTURE_RAW, a, &a->bytes, &a->plain, err));
    return pictures_measure(w, edge, chosen, PICTURE_PNG, a, &a->png_bytes, &a->png_plain, err);
}

/* Of a picture the cloud has every token. */
static enum status pictures_arrive(const struct simulated *w, const struct mllm *edge,
                                   struct pool *pool, const int32_t *chosen,
                                   const struct simulated_options *o, struct arrival *a,
                                   struct err *err)
{
    size_t row = (size_t)w->tokens * (size_t)w->width;
    a->instances = calloc((size_t)a->count + 1, sizeof *a->instances);
    a->visual = calloc((size_t)a->count * row + 1, sizeof *a->visual);
    if (!a->instances || !a->visual)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d pictures", a->count);
    for (int i = 0; i < a->count; i++)
        a->instances[i] = (struct distill_instance){.question = w->question[chosen[i]],
                                                    .visual = a->visual + (size_t)i * row,
                                                    .count = w->tokens};
    return o->form == FORM_JPEG ? jpegs_arrive(w, edge, pool, chosen, o->quality, a, err)
                                : pixels_arrive(w, edge, chosen, a, err);
}

/* ---- all forms ---- */

/* The payload says who is sent and what is said about them; of pictures its tokens do not matter,
 * and one is enough. */
static enum status payload_make(const struct simulated *w, const struct mllm *edge, int n,
                                const struct simulated_options *options, struct arrival *a,
                                struct err *err)
{
    struct simulated_options o = *options;
    o.uts.rest = o.uts.rest && o.form == FORM_TOKENS;
    if (o.form == FORM_PIXELS || o.form == FORM_JPEG) {
        o.uts.score = UTS_NORM;
        o.uts.keep = 1;
    }
    TRY(simulated_upload(w, edge, n, &o, &a->payload, &a->bytes, err));
    a->count = (int)a->payload.instances;
    return STATUS_OK;
}

enum status arrival_make(const struct simulated *window, const struct mllm *edge, struct pool *pool,
                         int n, const struct simulated_options *options, struct arrival *out,
                         struct err *err)
{
    memset(out, 0, sizeof *out);
    int32_t *chosen = calloc((size_t)window->count + 1, sizeof *chosen);
    if (!chosen)
        return err_set(err, STATUS_NO_MEMORY, "no memory to pick %d samples", n);
    enum status s = payload_make(window, edge, n, options, out, err);
    if (s == STATUS_OK && simulated_pick(window, n, options, chosen) != out->count)
        s = err_set(err, STATUS_NO_MEMORY, "no memory to pick %d samples", n);
    if (s == STATUS_OK && options->form == FORM_TOKENS)
        s = tokens_arrive(window, edge, out, err);
    else if (s == STATUS_OK && options->form == FORM_F16)
        s = halves_arrive(window, edge, chosen, out, err);
    else if (s == STATUS_OK)
        s = pictures_arrive(window, edge, pool, chosen, options, out, err);
    free(chosen);
    if (s != STATUS_OK)
        arrival_free(out);
    return s;
}

void arrival_free(struct arrival *arrival)
{
    free(arrival->instances);
    free(arrival->visual);
    free(arrival->payload.instance);
    memset(arrival, 0, sizeof *arrival);
}
