/* The life of a model: made from a seed, read from a directory, copied, counted, written.
 * Loading trusts nothing: every tensor of the files must be one that the configuration asks for, in
 * its shape and with finite values, each once, and none may be missing. */
#include "model/mllm/mllm.h"

#include "api/wire/json.h"
#include "model/mllm/params.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 512, INDEX_BYTES = 16 << 20 };
static const size_t CHECKPOINT_BYTES = (size_t)64 << 30;

static enum status model_new(const struct mllm_config *config, struct mllm **out, struct err *err)
{
    TRY(mllm_config_check(config, err));
    struct mllm *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a model");
    m->config = *config;
    m->preprocess = preprocess_defaults();
    m->references = 1;
    enum status status = params_build(m, err);
    if (status != STATUS_OK) {
        mllm_release(m);
        return status;
    }
    *out = m;
    return STATUS_OK;
}

enum status mllm_create(const struct mllm_config *config, uint64_t seed, struct mllm **out,
                        struct err *err)
{
    struct mllm *m = NULL;
    TRY(model_new(config, &m, err));
    params_init(m, seed);
    mllm_fingerprint(m);
    *out = m;
    return STATUS_OK;
}

void mllm_retain(struct mllm *model)
{
    __atomic_add_fetch(&model->references, 1, __ATOMIC_RELAXED);
}

void mllm_release(struct mllm *model)
{
    if (!model || __atomic_sub_fetch(&model->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    tokenizer_destroy(model->qformer_tokenizer);
    tokenizer_destroy(model->tokenizer);
    arena_deinit(&model->memory);
    free(model);
}

enum status mllm_clone(const struct mllm *model, struct mllm **out, struct err *err)
{
    struct mllm *m = NULL;
    TRY(model_new(&model->config, &m, err));
    enum status status = params_copy_attached(m, model, err);
    if (status != STATUS_OK) {
        mllm_release(m);
        return status;
    }
    for (int i = 0; i < m->param_count; i++)
        memcpy(m->params[i].data, model->params[i].data,
               param_count(&m->params[i]) * sizeof *m->params[i].data);
    m->encoder = model->encoder;
    m->preprocess = model->preprocess;
    m->tokenizer = tokenizer_retain(model->tokenizer);
    m->qformer_tokenizer = tokenizer_retain(model->qformer_tokenizer);
    *out = m;
    return STATUS_OK;
}

struct param *mllm_find(const struct mllm *model, const char *name)
{
    for (int i = 0; i < model->param_count; i++)
        if (strcmp(model->params[i].name, name) == 0)
            return &model->params[i];
    return NULL;
}

struct param *mllm_attach(struct mllm *model, const char *name, int ndim, const int *dim)
{
    if (model->param_count == model->param_cap || ndim < 1 || ndim > TENSOR_DIMS)
        return NULL;
    struct param *p = &model->params[model->param_count];
    *p = (struct param){.ndim = ndim, .grad_at = -1};
    memcpy(p->dim, dim, (size_t)ndim * sizeof *dim);
    p->name = arena_strdup(&model->memory, name);
    p->data = arena_alloc(&model->memory, param_count(p) * sizeof *p->data);
    if (!p->name || !p->data)
        return NULL;
    model->param_count++;
    return p;
}

/* ---- fingerprint ---- */

static int compare_names(const void *a, const void *b)
{
    const struct param *const *p = a, *const *q = b;
    return strcmp((*p)->name, (*q)->name);
}

void mllm_fingerprint(struct mllm *model)
{
    struct hash_state state;
    int n = 0;
    const struct param **vision = calloc((size_t)model->param_count + 1, sizeof(struct param *));
    memset(&model->encoder, 0, sizeof model->encoder);
    if (!vision || !model->config.multimodal) {
        free(vision);
        return;
    }
    for (int i = 0; i < model->param_count; i++)
        if (strncmp(model->params[i].name, "vision_model.", 13) == 0)
            vision[n++] = &model->params[i];
    qsort(vision, (size_t)n, sizeof *vision, compare_names);
    hash_start(&state);
    for (int i = 0; i < n; i++)
        hash_update(&state, vision[i]->data, param_count(vision[i]) * sizeof(float));
    hash_finish(&state, &model->encoder);
    free(vision);
}

/* ---- loading ---- */

struct loader {
    struct io *io;
    const char *dir;
    struct mllm *model;
    bool *loaded; /* per parameter */
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Buffers that HF's checkpoints carry beside the weights; they follow from the configuration. */
static bool is_buffer(const struct mllm *m, const char *name)
{
    return ends_with(name, "rotary_emb.inv_freq") || ends_with(name, "embeddings.position_ids") ||
           (m->config.text.tied && ends_with(name, "lm_head.weight"));
}

static void shape_text(char *out, size_t size, const uint64_t *dim, int ndim)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < ndim && at + 1 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%llu", i ? ", " : "",
                               (unsigned long long)dim[i]);
}

static enum status check_shape(const struct param *p, const struct safetensors_entry *entry,
                               struct err *err)
{
    char is[192], want[96];
    uint64_t dim[TENSOR_DIMS] = {0};
    bool same = entry->ndim == p->ndim;
    for (int i = 0; i < p->ndim; i++) {
        dim[i] = (uint64_t)p->dim[i];
        same = same && entry->dim[i] == dim[i];
    }
    if (same)
        return STATUS_OK;
    shape_text(is, sizeof is, entry->dim, entry->ndim);
    shape_text(want, sizeof want, dim, p->ndim);
    return err_set(err, STATUS_SHAPE, "tensor %s is [%s]; config.json asks for [%s]", p->name, is,
                   want);
}

static enum status load_entry(const struct loader *l, const struct safetensors_entry *entry,
                              struct err *err)
{
    struct param *p = mllm_find(l->model, entry->name);
    if (!p && is_buffer(l->model, entry->name))
        return STATUS_OK;
    if (!p)
        return err_set(err, STATUS_UNSUPPORTED, "unknown tensor %s: config.json asks for none",
                       entry->name);
    bool *loaded = &l->loaded[p - l->model->params];
    if (*loaded)
        return err_set(err, STATUS_CONFLICT, "tensor %s is there twice", entry->name);
    TRY(check_shape(p, entry, err));
    size_t n = param_count(p);
    if (dtype_to_f32(entry->dtype, entry->data, n, p->data) != STATUS_OK)
        return err_set(err, STATUS_UNSUPPORTED, "tensor %s is %s; F32, F16 and BF16 are supported",
                       entry->name, dtype_name(entry->dtype));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(p->data[i]))
            return err_set(err, STATUS_MALFORMED, "tensor %s: value %zu is not finite", entry->name,
                           i);
    *loaded = true;
    return STATUS_OK;
}

static enum status load_file(const struct loader *l, const char *name, struct err *err)
{
    char path[4096];
    struct safetensors file = {0};
    TRY(io_join(path, sizeof path, l->dir, name, err));
    TRY(safetensors_open(l->io, path, CHECKPOINT_BYTES, &file, err));
    enum status status = STATUS_OK;
    for (size_t i = 0; i < file.count && status == STATUS_OK; i++)
        status = load_entry(l, &file.entries[i], err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", path);
    safetensors_close(&file);
    return status;
}

/* Adds a shard's file name once; a name must stay within the directory. */
static enum status shard_add(const char **shards, int *count, const char *name, struct err *err)
{
    if (name[0] == 0 || name[0] == '.' || strchr(name, '/'))
        return err_set(err, STATUS_MALFORMED, "weight_map names \"%s\", which is no file name",
                       name);
    for (int i = 0; i < *count; i++)
        if (strcmp(shards[i], name) == 0)
            return STATUS_OK;
    if (*count == SHARDS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "more than %d shards", SHARDS_MAX);
    shards[(*count)++] = name;
    return STATUS_OK;
}

/* The different files that the index names. */
static enum status index_names(const json *index, const char **shards, int *count, struct err *err)
{
    const json *map = NULL;
    const json *value = NULL;
    void *cursor = NULL;
    TRY(json_get_object(index, "weight_map", &map, err));
    for (const char *key; (key = json_next(map, &cursor, &value)) != NULL;) {
        const char *name = "";
        TRY(json_get_string(map, key, 255, &name, err));
        TRY(shard_add(shards, count, name, err));
    }
    return STATUS_OK;
}

static enum status load_index(const struct loader *l, const char *path, const json *index,
                              struct err *err)
{
    const char *shards[SHARDS_MAX];
    int count = 0;
    enum status status = index_names(index, shards, &count, err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", path);
    for (int i = 0; status == STATUS_OK && i < count; i++)
        status = load_file(l, shards[i], err);
    return status;
}

static enum status load_sharded(const struct loader *l, const char *path, struct err *err)
{
    struct buf file = {.max = INDEX_BYTES};
    json *index = NULL;
    enum status status = io_read_file(l->io, path, &file, err);
    if (status == STATUS_OK && (status = json_parse(file.data, file.len, &index, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    if (status == STATUS_OK)
        status = load_index(l, path, index, err);
    json_free(index);
    buf_free(&file);
    return status;
}

static enum status check_complete(const struct loader *l, struct err *err)
{
    const struct param *first = NULL;
    int missing = 0;
    for (int i = l->model->param_count; i-- > 0;) {
        if (l->loaded[i])
            continue;
        first = &l->model->params[i];
        missing++;
    }
    if (!first)
        return STATUS_OK;
    return err_set(err, STATUS_NOT_FOUND, "%s: tensor %s is missing (and %d more)", l->dir,
                   first->name, missing - 1);
}

static enum status load_weights(struct io *io, const char *dir, struct mllm *m, struct err *err)
{
    char index[4096];
    TRY(io_join(index, sizeof index, dir, "model.safetensors.index.json", err));
    bool *loaded = calloc((size_t)m->param_count, sizeof *loaded);
    if (!loaded)
        return err_set(err, STATUS_NO_MEMORY, "no memory to load %s", dir);
    struct loader l = {io, dir, m, loaded};
    enum status status =
        io_exists(index) ? load_sharded(&l, index, err) : load_file(&l, "model.safetensors", err);
    if (status == STATUS_OK)
        status = check_complete(&l, err);
    free(loaded);
    return status;
}

static enum status load_tokenizer(struct io *io, const char *dir, int vocab, struct tokenizer **out,
                                  struct err *err)
{
    char path[4096];
    if (!tokenizer_find(dir, path, sizeof path))
        return STATUS_OK;
    TRY(tokenizer_load(io, dir, out, err));
    if (tokenizer_vocab(*out) > vocab)
        return err_set(err, STATUS_SHAPE, "%s has %d tokens; config.json's vocab_size is %d", path,
                       tokenizer_vocab(*out), vocab);
    return STATUS_OK;
}

static enum status load_tokenizers(struct io *io, const char *dir, struct mllm *m, struct err *err)
{
    char second[4096];
    const struct mllm_config *c = &m->config;
    TRY(load_tokenizer(io, dir, c->text.vocab, &m->tokenizer, err));
    if (!c->multimodal)
        return STATUS_OK;
    TRY(io_join(second, sizeof second, dir, "qformer_tokenizer", err));
    TRY(load_tokenizer(io, second, c->qformer.vocab, &m->qformer_tokenizer, err));
    if (m->qformer_tokenizer)
        return STATUS_OK;
    m->qformer_tokenizer = tokenizer_retain(m->tokenizer);
    if (m->tokenizer && c->qformer.text && tokenizer_vocab(m->tokenizer) > c->qformer.vocab)
        return err_set(err, STATUS_SHAPE, "%s: the tokenizer has %d tokens; the Q-Former has %d",
                       dir, tokenizer_vocab(m->tokenizer), c->qformer.vocab);
    return STATUS_OK;
}

enum status mllm_load(struct io *io, const char *dir, struct mllm **out, struct err *err)
{
    struct mllm_config config;
    struct mllm *m = NULL;
    TRY(mllm_config_load(io, dir, &config, err));
    TRY(model_new(&config, &m, err));
    enum status status = STATUS_OK;
    if (config.multimodal)
        status = preprocess_load(io, dir, config.vision.image, &m->preprocess, err);
    if (status == STATUS_OK)
        status = load_weights(io, dir, m, err);
    if (status == STATUS_OK)
        status = load_tokenizers(io, dir, m, err);
    if (status != STATUS_OK) {
        mllm_release(m);
        return status;
    }
    mllm_fingerprint(m);
    *out = m;
    return STATUS_OK;
}

/* ---- saving ---- */

/* One entry per parameter, the values in dtype laid out one after the other in *bytes. */
static void fill_entries(const struct mllm *m, int n, enum dtype dtype,
                         struct safetensors_entry *entries, unsigned char *bytes)
{
    for (int i = 0; i < n; i++) {
        const struct param *p = &m->params[i];
        size_t count = param_count(p);
        entries[i] = (struct safetensors_entry){.name = p->name,
                                                .dtype = dtype,
                                                .ndim = p->ndim,
                                                .data = bytes,
                                                .size = count * dtype_size(dtype)};
        for (int d = 0; d < p->ndim; d++)
            entries[i].dim[d] = (uint64_t)p->dim[d];
        if (dtype == DTYPE_F32)
            memcpy(bytes, p->data, entries[i].size);
        else if (dtype == DTYPE_BF16)
            f32_to_bf16(p->data, count, (uint16_t *)(void *)bytes);
        else
            f32_to_f16(p->data, count, (uint16_t *)(void *)bytes);
        bytes += entries[i].size;
    }
}

static enum status save_weights(struct io *io, const struct mllm *m, const char *path,
                                enum dtype dtype, struct err *err)
{
    static const char *const key[] = {"format"}, *const value[] = {"pt"};
    int n = m->checkpoint_count;
    size_t values = 0;
    for (int i = 0; i < n; i++)
        values += param_count(&m->params[i]);
    struct buf file = {.max = CHECKPOINT_BYTES};
    struct safetensors_entry *entries = calloc((size_t)n, sizeof *entries);
    unsigned char *bytes = malloc(values * dtype_size(dtype));
    enum status status = STATUS_OK;
    if (entries && bytes)
        fill_entries(m, n, dtype, entries, bytes);
    else
        status = err_set(err, STATUS_NO_MEMORY, "no memory to write %s", path);
    if (status == STATUS_OK)
        status = safetensors_write(entries, (size_t)n, key, value, 1, &file, err);
    if (status == STATUS_OK)
        status = io_write_file(io, path, file.data, file.len, err);
    free(entries);
    free(bytes);
    buf_free(&file);
    return status;
}

enum status mllm_save(struct io *io, const struct mllm *model, const char *dir, enum dtype dtype,
                      struct err *err)
{
    char path[4096];
    if (dtype != DTYPE_F32 && dtype != DTYPE_BF16 && dtype != DTYPE_F16)
        return err_set(err, STATUS_UNSUPPORTED, "weights are saved as F32, F16 or BF16, not %s",
                       dtype_name(dtype));
    TRY(io_make_dirs(io, dir, err));
    TRY(mllm_config_save(io, dir, &model->config, err));
    if (model->config.multimodal)
        TRY(preprocess_save(io, dir, model->config.vision.image, &model->preprocess, err));
    TRY(io_join(path, sizeof path, dir, "model.safetensors", err));
    return save_weights(io, model, path, dtype, err);
}
