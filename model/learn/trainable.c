/* The trainable set (trainable.h): which parameters, in which order, and their canonical bytes.
 *
 * The factory values of what is attached must be the same bits on the edge and in the cloud,
 * whatever their C libraries: so random matrices come from integer sums (twelve uniforms,
 * Irwin-Hall) and one correctly rounded square root, not from logf and cosf. */
#include "model/learn/trainable.h"
#include "api/wire/limits.h"
#include "model/tensor/weight.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 192, FACTORY_SEED = 0x6364 };

struct trainable_options trainable_defaults(void)
{
    return (struct trainable_options){.lora_rank = 16, .lora_alpha = 32, .adapter_width = 32};
}

/* ---- attaching ---- */

/* FNV-1a, so that each matrix has its own stream, whatever else is attached. */
static uint64_t name_hash(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/* Mean 0, deviation 1/sqrt(columns). */
static void fill_random(struct param *p)
{
    struct rng rng;
    rng_init(&rng, FACTORY_SEED, name_hash(p->name));
    float scale = 1.0f / sqrtf((float)p->dim[1]);
    for (size_t i = 0; i < param_count(p); i++) {
        int64_t sum = 0;
        for (int k = 0; k < 12; k++)
            sum += (int64_t)(rng_u64(&rng) >> 44);
        p->data[i] = (float)(sum - 6 * ((1 << 20) - 1)) * 0x1p-20f * scale;
    }
}

/* rows 0: a vector of `columns` values. Zero unless random. */
static enum status attach(struct mllm *model, const char *prefix, const char *suffix, int rows,
                          int columns, bool random, struct param **out, struct err *err)
{
    char name[NAME_MAX_BYTES];
    int length = snprintf(name, sizeof name, "%s%s", prefix, suffix);
    int matrix[2] = {rows, columns};
    if (length < 0 || (size_t)length >= sizeof name)
        return err_set(err, STATUS_TOO_LARGE, "parameter name %.40s... is too long", prefix);
    if (mllm_find(model, name))
        return err_set(err, STATUS_CONFLICT, "the model already has %s", name);
    *out = rows ? mllm_attach(model, name, 2, matrix) : mllm_attach(model, name, 1, &columns);
    if (!*out)
        return err_set(err, STATUS_NO_MEMORY, "no room to attach %s", name);
    if (random)
        fill_random(*out);
    else
        memset((*out)->data, 0, param_count(*out) * sizeof(float));
    return STATUS_OK;
}

/* "x.q_proj.weight" -> "x.q_proj" */
static enum status stem_of(const struct param *weight, char out[NAME_MAX_BYTES], struct err *err)
{
    size_t length = strlen(weight->name), tail = strlen(".weight");
    if (length < tail || length - tail >= NAME_MAX_BYTES ||
        strcmp(weight->name + length - tail, ".weight") != 0)
        return err_set(err, STATUS_UNSUPPORTED, "cannot attach LoRA to %s", weight->name);
    memcpy(out, weight->name, length - tail);
    out[length - tail] = '\0';
    return STATUS_OK;
}

static enum status attach_lora(struct mllm *model, struct linear *w,
                               const struct trainable_options *o, struct err *err)
{
    char stem[NAME_MAX_BYTES];
    int out = w->weight->dim[0], in = w->weight->dim[1];
    TRY(stem_of(w->weight, stem, err));
    TRY(attach(model, stem, ".lora_A.weight", o->lora_rank, in, true, &w->lora_a, err));
    TRY(attach(model, stem, ".lora_B.weight", out, o->lora_rank, false, &w->lora_b, err));
    w->lora_scale = o->lora_alpha / (float)o->lora_rank;
    return STATUS_OK;
}

static enum status attach_adapter(struct mllm *model, struct adapter *a, int layer,
                                  const char *name, int width, struct err *err)
{
    char stem[NAME_MAX_BYTES];
    int C = model->config.qformer.hidden;
    if (width == 0)
        return STATUS_OK;
    snprintf(stem, sizeof stem, "qformer.encoder.layer.%d.%s", layer, name);
    TRY(attach(model, stem, ".down.weight", width, C, true, &a->down.weight, err));
    TRY(attach(model, stem, ".down.bias", 0, width, false, &a->down.bias, err));
    TRY(attach(model, stem, ".up.weight", C, width, false, &a->up.weight, err));
    return attach(model, stem, ".up.bias", 0, C, false, &a->up.bias, err);
}

static enum status attach_lora_all(struct mllm *model, struct linear *const *linears, size_t n,
                                   const struct trainable_options *o, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        TRY(attach_lora(model, linears[i], o, err));
    return STATUS_OK;
}

static enum status attach_llama(struct mllm *model, const struct trainable_options *o,
                                struct err *err)
{
    for (int i = 0; i < model->config.text.layers; i++) {
        struct llama_layer *l = &model->llama.layer[i];
        struct linear *linears[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        TRY(attach_lora_all(model, linears, sizeof linears / sizeof *linears, o, err));
    }
    /* Words that were no answer before need the output head; a tied one is the embedding's. */
    return model->config.text.tied ? STATUS_OK : attach_lora(model, &model->llama.head, o, err);
}

static enum status attach_qformer(struct mllm *model, const struct trainable_options *o,
                                  struct err *err)
{
    for (int i = 0; i < model->config.qformer.layers; i++) {
        struct qformer_layer *l = &model->qformer.layer[i];
        struct linear *self[] = {&l->query, &l->key,          &l->value,
                                 &l->out,   &l->ffn_query_in, &l->ffn_query_out};
        struct linear *cross[] = {&l->cross_query, &l->cross_key, &l->cross_value, &l->cross_out};
        if (l->cross)
            TRY(attach_adapter(model, &l->cross_adapter, i, "cross_adapter", o->adapter_width,
                               err));
        TRY(attach_adapter(model, &l->query_adapter, i, "query_adapter", o->adapter_width, err));
        TRY(attach_lora_all(model, self, sizeof self / sizeof *self, o, err));
        if (l->cross)
            TRY(attach_lora_all(model, cross, sizeof cross / sizeof *cross, o, err));
    }
    return STATUS_OK;
}

enum status trainable_attach(struct mllm *model, const struct trainable_options *options,
                             struct trainable *out, struct err *err)
{
    if (options->lora_rank < 1 || options->lora_rank > 256 || options->adapter_width < 0 ||
        options->adapter_width > 1024 || !(options->lora_alpha > 0 && options->lora_alpha <= 1024))
        return err_set(err, STATUS_MALFORMED,
                       "lora_rank is 1..256, lora_alpha 0..1024, adapter_width 0..1024");
    TRY(attach_llama(model, options, err));
    if (model->config.multimodal)
        TRY(attach_qformer(model, options, err));
    return trainable_list(model, out, err);
}

/* ---- listing ---- */

static bool ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), t = strlen(tail);
    return n >= t && strcmp(text + n - t, tail) == 0;
}

/* By name, as the checkpoints name them: norms and biases outside the vision encoder, the query
 * tokens, and what was attached. */
static bool is_trainable(const char *name)
{
    if (strncmp(name, "vision_model.", 13) == 0)
        return false;
    if (strstr(name, ".lora_") || strstr(name, "_adapter.") || strcmp(name, "query_tokens") == 0)
        return true;
    bool norm = strstr(name, "norm.") || strstr(name, "Norm.");
    return ends_with(name, ".bias") || (norm && ends_with(name, ".weight"));
}

static bool is_attached(const struct mllm *model)
{
    return model->config.text.layers > 0 && model->llama.layer[0].q.lora_a != NULL;
}

enum status trainable_list(const struct mllm *model, struct trainable *out, struct err *err)
{
    memset(out, 0, sizeof *out);
    if (!is_attached(model))
        return err_set(err, STATUS_CONFLICT, "the model has no adapters attached");
    out->params = calloc((size_t)model->param_count + 1, sizeof(struct param *));
    if (!out->params)
        return err_set(err, STATUS_NO_MEMORY, "no memory to list the trainable set");
    for (int i = 0; i < model->param_count; i++) {
        struct param *p = &model->params[i];
        if (!is_trainable(p->name))
            continue;
        if (!p->data) {
            trainable_free(out);
            return err_set(err, STATUS_UNSUPPORTED,
                           "%s is packed (%s) and cannot be trained; F32 can", p->name,
                           weight_type_name(p->packed->type));
        }
        out->params[out->count++] = p;
        out->values += param_count(p);
    }
    return STATUS_OK;
}

void trainable_free(struct trainable *set)
{
    free(set->params);
    memset(set, 0, sizeof *set);
}

/* ---- values ---- */

void trainable_read(const struct trainable *set, float *out)
{
    for (int t = 0; t < set->count; t++) {
        size_t n = param_count(set->params[t]);
        memcpy(out, set->params[t]->data, n * sizeof *out);
        out += n;
    }
}

void trainable_write(const struct trainable *set, const float *in)
{
    for (int t = 0; t < set->count; t++) {
        size_t n = param_count(set->params[t]);
        memcpy(set->params[t]->data, in, n * sizeof *in);
        in += n;
    }
}

static void hash_word(struct hash_state *state, uint32_t word)
{
    uint8_t bytes[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16),
                        (uint8_t)(word >> 24)};
    hash_update(state, bytes, sizeof bytes);
}

static void hash_floats(struct hash_state *state, const float *x, size_t n)
{
    const uint16_t probe = 1;
    uint8_t little;
    memcpy(&little, &probe, 1);
    if (little) {
        hash_update(state, x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        hash_word(state, word);
    }
}

static void hash_header(struct hash_state *state, const struct param *p)
{
    hash_update(state, p->name, strlen(p->name) + 1);
    hash_word(state, (uint32_t)p->ndim);
    for (int d = 0; d < p->ndim; d++)
        hash_word(state, (uint32_t)p->dim[d]);
}

void trainable_hash_values(const struct trainable *set, const float *values, struct hash *out)
{
    struct hash_state state;
    hash_start(&state);
    for (int t = 0; t < set->count; t++) {
        const struct param *p = set->params[t];
        size_t n = param_count(p);
        hash_header(&state, p);
        hash_floats(&state, values ? values : p->data, n);
        values = values ? values + n : NULL;
    }
    hash_finish(&state, out);
}

void trainable_hash(const struct trainable *set, struct hash *out)
{
    trainable_hash_values(set, NULL, out);
}

/* ---- files ---- */

static void entry_of(const struct param *p, struct safetensors_entry *e)
{
    *e = (struct safetensors_entry){.name = p->name, .dtype = DTYPE_F32, .ndim = p->ndim};
    for (int d = 0; d < p->ndim; d++)
        e->dim[d] = (uint64_t)p->dim[d];
    e->data = p->data;
    e->size = param_count(p) * sizeof(float);
}

enum status trainable_save(struct io *io, const struct trainable *set, int64_t version,
                           const char *path, struct err *err)
{
    struct hash hash;
    char hex[HASH_HEX], number[32];
    trainable_hash(set, &hash);
    hash_hex(&hash, hex);
    snprintf(number, sizeof number, "%lld", (long long)version);
    const char *keys[] = {"version", "sha256"}, *values[] = {number, hex};
    struct safetensors_entry *entries = calloc((size_t)set->count + 1, sizeof *entries);
    if (!entries)
        return err_set(err, STATUS_NO_MEMORY, "no memory to save %s", path);
    for (int t = 0; t < set->count; t++)
        entry_of(set->params[t], &entries[t]);
    struct buf file = {.max = set->values * 4 + (size_t)set->count * 512 + 4096};
    enum status s = safetensors_write(entries, (size_t)set->count, keys, values, 2, &file, err);
    if (s == STATUS_OK)
        s = io_write_file(io, path, file.data, file.len, err);
    buf_free(&file);
    free(entries);
    return s;
}

static bool shape_equal(const struct safetensors_entry *e, const struct param *p)
{
    if (e->dtype != DTYPE_F32 || e->ndim != p->ndim)
        return false;
    for (int d = 0; d < p->ndim; d++)
        if (e->dim[d] != (uint64_t)p->dim[d])
            return false;
    return true;
}

/* The file's tensors into `values`, in the set's order. */
static enum status values_collect(const struct trainable *set, const struct safetensors *file,
                                  float *values, struct err *err)
{
    if (file->count != (size_t)set->count)
        return err_set(err, STATUS_SHAPE, "%zu tensors, expected the trainable set's %d",
                       file->count, set->count);
    for (int t = 0; t < set->count; t++) {
        const struct param *p = set->params[t];
        const struct safetensors_entry *e = safetensors_find(file, p->name);
        if (!e)
            return err_set(err, STATUS_SHAPE, "tensor %s is missing", p->name);
        if (!shape_equal(e, p))
            return err_set(err, STATUS_SHAPE, "tensor %s is not the model's shape in F32", p->name);
        TRY(dtype_to_f32(DTYPE_F32, e->data, param_count(p), values));
        values += param_count(p);
    }
    return STATUS_OK;
}

static enum status values_check(const struct trainable *set, const struct safetensors *file,
                                const float *values, struct err *err)
{
    struct hash expected, found;
    const char *hex = safetensors_meta(file, "sha256");
    for (size_t i = 0; i < set->values; i++)
        if (!isfinite(values[i]))
            return err_set(err, STATUS_MALFORMED, "value %zu is not finite", i);
    if (!hex || !hash_parse(hex, &expected))
        return err_set(err, STATUS_MALFORMED, "metadata has no sha256");
    trainable_hash_values(set, values, &found);
    if (!hash_equal(&expected, &found))
        return err_set(err, STATUS_CORRUPT, "the values' SHA-256 is not the one in the metadata");
    return STATUS_OK;
}

static enum status version_parse(const struct safetensors *file, int64_t *version, struct err *err)
{
    const char *text = safetensors_meta(file, "version");
    char *end = NULL;
    long long v = text ? strtoll(text, &end, 10) : -1;
    if (!text || end == text || *end || v < 0)
        return err_set(err, STATUS_MALFORMED, "metadata has no version");
    *version = v;
    return STATUS_OK;
}

static enum status file_apply(const struct trainable *set, const struct safetensors *file,
                              float *values, int64_t *version, struct err *err)
{
    TRY(version_parse(file, version, err));
    TRY(values_collect(set, file, values, err));
    TRY(values_check(set, file, values, err));
    trainable_write(set, values);
    return STATUS_OK;
}

enum status trainable_load(struct io *io, const struct trainable *set, const char *path,
                           int64_t *version, struct err *err)
{
    struct safetensors file;
    TRY(safetensors_open(io, path, (size_t)LIMIT_DELTA_RAW_BYTES, &file, err));
    float *values = calloc(set->values + 1, sizeof *values);
    enum status s = values ? file_apply(set, &file, values, version, err)
                           : err_set(err, STATUS_NO_MEMORY, "no memory to load");
    if (s != STATUS_OK)
        err_prefix(err, "%s", path);
    free(values);
    safetensors_close(&file);
    return s;
}
