/* DWC (compress.h): an update over the trainable set becomes a delta, and back.
 *
 * With a byte budget each tensor starts at '0' and is upgraded again and again: always the upgrade,
 * over all tensors and codecs, that takes away most weighted squared error per byte and still fits
 * (greedy on the convex hulls of rate and distortion). Sizes are those before zstd; the patch is
 * then measured as it will travel, and the budget tightened if it came out larger.
 *
 * Both sides compute base + update with the one function update_add, so they cannot differ. */
#include "model/learn/compress.h"
#include "api/base/rng.h"
#include "api/wire/limits.h"
#include "model/learn/codec.h"
#include "model/learn/exact.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MENU = 8, HEADER_BYTES = 512, FIT_ATTEMPTS = 6 };
static const char MENU_CODECS[MENU] = {'0', 'h', 'b', 's', '2', 'n', '8', 'k'};

struct offer {
    size_t bytes;
    double error;
};

/* What an encode needs while it runs. */
struct work {
    const struct trainable *set;
    float *update, *decoded;      /* values each */
    struct offer (*offers)[MENU]; /* per tensor; only under a budget */
    int *taken;                   /* per tensor: index into its offers */
    char *codecs;                 /* per tensor, NUL-terminated */
    struct buf codes, scales;
};

bool compress_is_budgeted(const struct compress_options *options)
{
    return options->budget_bytes && !options->codec;
}

struct compress_options compress_defaults(void)
{
    return (struct compress_options){.selected_share = 0.25f};
}

static void work_close(struct work *w)
{
    free(w->update);
    free(w->decoded);
    free(w->offers);
    free(w->taken);
    free(w->codecs);
    buf_free(&w->codes);
    buf_free(&w->scales);
}

static enum status work_open(struct work *w, const struct trainable *set, struct err *err)
{
    size_t tensors = (size_t)set->count;
    memset(w, 0, sizeof *w);
    w->set = set;
    w->update = calloc(set->values + 1, sizeof *w->update);
    w->decoded = calloc(set->values + 1, sizeof *w->decoded);
    w->offers = calloc(tensors + 1, sizeof *w->offers);
    w->taken = calloc(tensors + 1, sizeof *w->taken);
    w->codecs = calloc(tensors + 1, 1);
    w->codes.max = w->scales.max = set->values * 4 + tensors * 64;
    if (w->update && w->decoded && w->offers && w->taken && w->codecs)
        return STATUS_OK;
    work_close(w);
    return err_set(err, STATUS_NO_MEMORY, "no memory to compress %zu values", set->values);
}

static enum status update_take(struct work *w, const float *base, const float *target,
                               struct err *err)
{
    for (size_t i = 0; i < w->set->values; i++) {
        w->update[i] = target[i] - base[i];
        if (!isfinite(w->update[i]))
            return err_set(err, STATUS_MALFORMED, "value %zu of the update is not finite", i);
    }
    return STATUS_OK;
}

/* The edge's new value: one rounding of the sum, nothing else. */
static void update_add(const float *base, const float *update, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = base[i] + update[i];
}

/* ---- choosing codecs ---- */

static bool all_zero(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

static double squared_error(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

static enum status offer_measure(struct work *w, char codec, float share, const float *x, size_t n,
                                 float *scratch, struct offer *out, struct err *err)
{
    size_t codes_used, scales_used;
    buf_clear(&w->codes);
    buf_clear(&w->scales);
    TRY(codec_encode(codec, x, n, share, &w->codes, &w->scales));
    TRY(codec_decode(codec, n, w->codes.data, w->codes.len, &codes_used, w->scales.data,
                     w->scales.len, &scales_used, scratch, err));
    out->bytes = codes_used + scales_used;
    out->error = squared_error(x, scratch, n);
    return STATUS_OK;
}

static enum status offers_measure(struct work *w, const struct compress_options *o, struct err *err)
{
    size_t at = 0;
    for (int t = 0; t < w->set->count; t++) {
        size_t n = param_count(w->set->params[t]);
        double weight = o->sensitivity ? (double)o->sensitivity[t] : 1;
        for (int c = 0; c < MENU; c++) {
            struct offer *offer = &w->offers[t][c];
            TRY(offer_measure(w, MENU_CODECS[c], o->selected_share, w->update + at, n,
                              w->decoded + at, offer, err));
            offer->error *= weight;
        }
        at += n;
    }
    return STATUS_OK;
}

/* The best upgrade that fits in `left` bytes; false when none takes error away. */
static bool upgrade_find(const struct work *w, size_t left, int *tensor, int *choice)
{
    double best = 0;
    for (int t = 0; t < w->set->count; t++) {
        const struct offer *now = &w->offers[t][w->taken[t]];
        for (int c = 0; c < MENU; c++) {
            const struct offer *offer = &w->offers[t][c];
            if (offer->bytes <= now->bytes || offer->bytes - now->bytes > left)
                continue;
            double gain = (now->error - offer->error) / (double)(offer->bytes - now->bytes);
            if (gain > best)
                best = gain, *tensor = t, *choice = c;
        }
    }
    return best > 0;
}

static void choose_under(struct work *w, size_t budget)
{
    int t = 0, c = 0;
    memset(w->taken, 0, (size_t)w->set->count * sizeof *w->taken);
    while (upgrade_find(w, budget, &t, &c)) {
        budget -= w->offers[t][c].bytes - w->offers[t][w->taken[t]].bytes;
        w->taken[t] = c;
    }
    for (t = 0; t < w->set->count; t++)
        w->codecs[t] = MENU_CODECS[w->taken[t]];
}

static void choose_fixed(struct work *w, char codec)
{
    size_t at = 0;
    for (int t = 0; t < w->set->count; t++) {
        size_t n = param_count(w->set->params[t]);
        w->codecs[t] = all_zero(w->update + at, n) ? '0' : codec;
        at += n;
    }
}

/* Once, without a look at what zstd makes of it. */
static enum status codecs_choose(struct work *w, const struct compress_options *o, struct err *err)
{
    if (!compress_is_budgeted(o)) {
        choose_fixed(w, o->codec ? o->codec : 'b');
        return STATUS_OK;
    }
    TRY(offers_measure(w, o, err));
    choose_under(w, o->budget_bytes > HEADER_BYTES ? o->budget_bytes - HEADER_BYTES : 0);
    return STATUS_OK;
}

/* ---- encoding ---- */

static enum status streams_encode(struct work *w, float share, struct err *err)
{
    size_t at = 0;
    buf_clear(&w->codes);
    buf_clear(&w->scales);
    for (int t = 0; t < w->set->count; t++) {
        size_t n = param_count(w->set->params[t]);
        enum status s = codec_encode(w->codecs[t], w->update + at, n, share, &w->codes, &w->scales);
        if (s != STATUS_OK)
            return err_set(err, s, "cannot encode the update of %s with codec '%c'",
                           w->set->params[t]->name, w->codecs[t]);
        at += n;
    }
    return STATUS_OK;
}

/* What is left of a delta's two streams. */
struct streams {
    const uint8_t *codes, *scales;
    size_t codes_left, scales_left;
};

/* One tensor's new values from the streams' fronts; *bytes: what it took of them. */
static enum status tensor_decode(char codec, size_t n, struct streams *in, const float *base,
                                 float *out, size_t *bytes, struct err *err)
{
    size_t codes_used = 0, scales_used = 0;
    if (codec == 'x') {
        TRY(exact_decode(n, in->codes, in->codes_left, &codes_used, base, out, err));
    } else {
        TRY(codec_decode(codec, n, in->codes, in->codes_left, &codes_used, in->scales,
                         in->scales_left, &scales_used, out, err));
        update_add(base, out, n, out);
    }
    *in = (struct streams){in->codes + codes_used, in->scales + scales_used,
                           in->codes_left - codes_used, in->scales_left - scales_used};
    *bytes = codes_used + scales_used;
    return STATUS_OK;
}

/* values: what base becomes. bytes: per tensor, or NULL. */
static enum status streams_decode(const struct trainable *set, const struct delta *d,
                                  const float *base, float *values, size_t *bytes, struct err *err)
{
    struct streams in = {d->codes, d->scales, d->codes_size, d->scales_size};
    size_t at = 0;
    for (int t = 0; t < set->count; t++) {
        size_t n = param_count(set->params[t]), took;
        enum status s = tensor_decode(d->codecs[t], n, &in, base + at, values + at, &took, err);
        if (s != STATUS_OK) {
            err_prefix(err, "delta, tensor %d (%s)", t, set->params[t]->name);
            return s;
        }
        if (bytes)
            bytes[t] = took;
        at += n;
    }
    if (in.codes_left || in.scales_left)
        return err_set(err, STATUS_SHAPE, "delta has %zu codes and %zu scales too many",
                       in.codes_left, in.scales_left);
    return STATUS_OK;
}

/* Codecs, codes and scales of the work, copied into the delta. */
static enum status delta_fill(const struct work *w, struct delta *d, struct err *err)
{
    TRY(delta_reserve(d, (size_t)w->set->count, w->codes.len, w->scales.len, err));
    d->parameters = (int64_t)w->set->values;
    if (w->codes.len)
        memcpy(d->codes, w->codes.data, w->codes.len);
    if (w->scales.len)
        memcpy(d->scales, w->scales.data, w->scales.len);
    memcpy(d->codecs, w->codecs, d->tensors);
    return STATUS_OK;
}

/* The streams as a delta; fills the hashes, and w->decoded with the edge's new values. */
static enum status delta_finish(struct work *w, const float *base, struct delta *d, struct err *err)
{
    TRY(delta_fill(w, d, err));
    TRY(streams_decode(w->set, d, base, w->decoded, NULL, err));
    trainable_hash_values(w->set, base, &d->base_hash);
    trainable_hash_values(w->set, w->decoded, &d->hash);
    return STATUS_OK;
}

/* Encodes with the codecs chosen. */
static enum status delta_make(struct work *w, const float *base, float share, struct delta *d,
                              struct err *err)
{
    TRY(streams_encode(w, share, err));
    return delta_finish(w, base, d, err);
}

/* As between the versions that take most digits: which codecs fit does not depend on a number. */
static enum status delta_measure(const struct delta *d, size_t *bytes, struct err *err)
{
    struct buf wire = {.max = (size_t)LIMIT_DELTA_BYTES};
    struct delta longest = *d;
    longest.version = INT64_C(1) << 53;
    longest.base_version = longest.version - 1;
    enum status s = delta_encode(&longest, &wire, err);
    *bytes = wire.len;
    buf_free(&wire);
    return s;
}

/* Frees the streams, keeps the versions. */
static void delta_forget(struct delta *d)
{
    int64_t base_version = d->base_version, version = d->version;
    delta_free(d);
    d->base_version = base_version;
    d->version = version;
}

/* Chooses, encodes, measures; asks for less until the patch fits. */
static enum status delta_fit(struct work *w, const float *base, const struct compress_options *o,
                             struct delta *d, struct err *err)
{
    size_t bytes = 0, slack = HEADER_BYTES;
    TRY(offers_measure(w, o, err));
    for (int i = 0; i < FIT_ATTEMPTS; i++) {
        choose_under(w, o->budget_bytes > slack ? o->budget_bytes - slack : 0);
        TRY(delta_make(w, base, o->selected_share, d, err));
        TRY(delta_measure(d, &bytes, err));
        if (bytes <= o->budget_bytes)
            return STATUS_OK;
        delta_forget(d);
        slack += bytes - o->budget_bytes;
    }
    return err_set(err, STATUS_TOO_LARGE, "a delta takes at least %zu bytes, the budget is %zu",
                   bytes, o->budget_bytes);
}

enum status compress_encode(const struct trainable *set, const float *base, const float *target,
                            int64_t base_version, int64_t version,
                            const struct compress_options *options, struct delta *delta,
                            float *decoded, struct err *err)
{
    struct work w;
    memset(delta, 0, sizeof *delta);
    delta->base_version = base_version;
    delta->version = version;
    TRY(work_open(&w, set, err));
    enum status s = update_take(&w, base, target, err);
    if (s == STATUS_OK && compress_is_budgeted(options)) {
        s = delta_fit(&w, base, options, delta, err);
    } else if (s == STATUS_OK) {
        s = codecs_choose(&w, options, err);
        if (s == STATUS_OK)
            s = delta_make(&w, base, options->selected_share, delta, err);
    }
    if (s == STATUS_OK && decoded)
        memcpy(decoded, w.decoded, set->values * sizeof *decoded);
    work_close(&w);
    if (s != STATUS_OK)
        delta_free(delta);
    return s;
}

enum status compress_expect(const struct trainable *set, const struct compress_options *options,
                            size_t *bytes, struct err *err)
{
    float *values = calloc(2 * set->values + 1, sizeof *values);
    struct delta delta;
    struct rng rng;
    if (!values)
        return err_set(err, STATUS_NO_MEMORY, "no memory to compress %zu values", set->values);
    rng_init(&rng, 0, 0);
    for (size_t i = 0; i < set->values; i++)
        values[set->values + i] = rng_normal(&rng);
    enum status s =
        compress_encode(set, values, values + set->values, 0, 1, options, &delta, NULL, err);
    if (s == STATUS_OK) {
        s = delta_measure(&delta, bytes, err);
        delta_free(&delta);
    }
    free(values);
    return s;
}

enum status compress_preview(const struct trainable *set, const float *base, const float *target,
                             const struct compress_options *options, char *codecs, float *decoded,
                             struct err *err)
{
    struct work w;
    struct delta delta = {0};
    TRY(work_open(&w, set, err));
    enum status s = update_take(&w, base, target, err);
    if (s == STATUS_OK && codecs[0])
        memcpy(w.codecs, codecs, (size_t)set->count);
    else if (s == STATUS_OK)
        s = codecs_choose(&w, options, err);
    if (s == STATUS_OK)
        s = streams_encode(&w, options->selected_share, err);
    if (s == STATUS_OK)
        s = delta_fill(&w, &delta, err);
    if (s == STATUS_OK)
        s = streams_decode(set, &delta, base, decoded, NULL, err);
    if (s == STATUS_OK)
        memcpy(codecs, w.codecs, (size_t)set->count);
    delta_free(&delta);
    work_close(&w);
    return s;
}

/* ---- exact ---- */

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Does '0' lead there? It adds 0, which makes -0 a 0. */
static bool zero_leads(const float *base, const float *target, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float sum = base[i] + 0.0f;
        if (float_bits(sum) != float_bits(target[i]))
            return false;
    }
    return true;
}

static enum status exact_streams(struct work *w, const float *base, const float *target,
                                 struct err *err)
{
    size_t at = 0;
    for (int t = 0; t < w->set->count; t++) {
        size_t n = param_count(w->set->params[t]);
        w->codecs[t] = zero_leads(base + at, target + at, n) ? '0' : 'x';
        if (w->codecs[t] == 'x' && exact_encode(base + at, target + at, n, &w->codes) != STATUS_OK)
            return err_set(err, STATUS_NO_MEMORY, "no memory for %zu exact values", n);
        at += n;
    }
    return STATUS_OK;
}

enum status compress_exact(const struct trainable *set, const float *base, const float *target,
                           int64_t base_version, int64_t version, struct delta *delta,
                           struct err *err)
{
    struct work w;
    struct hash wanted;
    memset(delta, 0, sizeof *delta);
    delta->base_version = base_version;
    delta->version = version;
    TRY(work_open(&w, set, err));
    enum status s = exact_streams(&w, base, target, err);
    if (s == STATUS_OK)
        s = delta_finish(&w, base, delta, err);
    trainable_hash_values(set, target, &wanted);
    if (s == STATUS_OK && !hash_equal(&wanted, &delta->hash))
        s = err_set(err, STATUS_CORRUPT, "the exact code of version %lld does not lead there",
                    (long long)version);
    work_close(&w);
    if (s != STATUS_OK)
        delta_free(delta);
    return s;
}

/* ---- applying ---- */

static enum status apply_check(const struct trainable *set, const struct delta *d,
                               const float *values, struct err *err)
{
    struct hash now;
    char have[HASH_HEX], want[HASH_HEX];
    if (d->parameters != (int64_t)set->values || d->tensors != (size_t)set->count)
        return err_set(err, STATUS_SHAPE,
                       "delta is for %lld parameters in %zu tensors, the model has %zu in %d",
                       (long long)d->parameters, d->tensors, set->values, set->count);
    trainable_hash_values(set, values, &now);
    if (hash_equal(&now, &d->base_hash))
        return STATUS_OK;
    hash_hex(&now, have);
    hash_hex(&d->base_hash, want);
    return err_set(err, STATUS_WRONG_BASE,
                   "delta %lld applies to parameters %.12s, the model has %.12s",
                   (long long)d->version, want, have);
}

static enum status result_check(const struct trainable *set, const struct delta *d,
                                const float *values, struct err *err)
{
    struct hash result;
    for (size_t i = 0; i < set->values; i++)
        if (!isfinite(values[i]))
            return err_set(err, STATUS_MALFORMED, "delta makes value %zu infinite", i);
    trainable_hash_values(set, values, &result);
    if (!hash_equal(&result, &d->hash))
        return err_set(err, STATUS_CORRUPT, "delta %lld: the result's SHA-256 differs",
                       (long long)d->version);
    return STATUS_OK;
}

enum status compress_apply_values(const struct trainable *set, const struct delta *delta,
                                  float *values, struct err *err)
{
    TRY(apply_check(set, delta, values, err));
    float *next = calloc(set->values + 1, sizeof *next);
    if (!next)
        return err_set(err, STATUS_NO_MEMORY, "no memory to apply a delta");
    enum status s = streams_decode(set, delta, values, next, NULL, err);
    if (s == STATUS_OK)
        s = result_check(set, delta, next, err);
    if (s == STATUS_OK)
        memcpy(values, next, set->values * sizeof *next);
    free(next);
    return s;
}

enum status compress_apply(const struct trainable *set, const struct delta *delta, struct err *err)
{
    float *values = calloc(set->values + 1, sizeof *values);
    if (!values)
        return err_set(err, STATUS_NO_MEMORY, "no memory to apply a delta");
    trainable_read(set, values);
    enum status s = compress_apply_values(set, delta, values, err);
    if (s == STATUS_OK)
        trainable_write(set, values);
    free(values);
    return s;
}

enum status compress_sizes(const struct trainable *set, const struct delta *delta, size_t *bytes,
                           struct err *err)
{
    float *values = calloc(2 * set->values + 1, sizeof *values);
    if (!values)
        return err_set(err, STATUS_NO_MEMORY, "no memory to measure a delta");
    enum status s = streams_decode(set, delta, values, values + set->values, bytes, err);
    free(values);
    return s;
}
