/* The life of a model: made from a seed, read from a directory (load.h), copied, counted. */
#include "model/mllm/mllm.h"

#include "model/mllm/load.h"
#include "model/mllm/params.h"
#include "model/tensor/weight.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t F32_LIMIT = (size_t)2 << 30;

enum status mllm_skeleton(const struct mllm_config *config, struct mllm **out, struct err *err)
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
    TRY(mllm_skeleton(config, &m, err));
    enum status status = params_allocate(m, err);
    if (status != STATUS_OK) {
        mllm_release(m);
        return status;
    }
    params_init(m, seed);
    mllm_fingerprint(m);
    *out = m;
    return STATUS_OK;
}

bool mllm_is_large(const struct mllm *model)
{
    return params_bytes(model) > F32_LIMIT;
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
    mllm_store_release(model->store);
    free(model);
}

/* The values of a model built from the same configuration; packed ones are shared. */
static enum status params_copy(struct mllm *to, const struct mllm *from, struct err *err)
{
    to->store = mllm_store_retain(from->store);
    for (int i = 0; i < to->checkpoint_count; i++)
        to->params[i].packed = from->params[i].packed;
    TRY(params_allocate(to, err));
    TRY(params_copy_attached(to, from, err));
    for (int i = 0; i < to->param_count; i++)
        if (to->params[i].data)
            memcpy(to->params[i].data, from->params[i].data,
                   param_count(&to->params[i]) * sizeof *to->params[i].data);
    return STATUS_OK;
}

enum status mllm_clone(const struct mllm *model, struct mllm **out, struct err *err)
{
    struct mllm *m = NULL;
    TRY(mllm_skeleton(&model->config, &m, err));
    enum status status = params_copy(m, model, err);
    if (status != STATUS_OK) {
        mllm_release(m);
        return status;
    }
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

/* F16 and BF16 as F32, so that an encoder is the same however it is kept. */
static void param_hash(struct hash_state *state, const struct param *p)
{
    enum { CHUNK = 4096 };
    float values[CHUNK];
    const struct weight *w = p->packed;
    size_t n = param_count(p), scales = w ? weight_scale_count(w->type, w->rows, w->cols) : 0;
    if (!w)
        hash_update(state, p->data, n * sizeof *p->data);
    for (size_t at = 0; w && scales == 0 && at < n; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        weight_unpack(w, at, count, values);
        hash_update(state, values, count * sizeof *values);
    }
    if (scales > 0) {
        hash_update(state, w->codes, weight_code_bytes(w->type, w->rows, w->cols));
        hash_update(state, w->scale, scales * sizeof *w->scale);
    }
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
        param_hash(&state, vision[i]);
    hash_finish(&state, &model->encoder);
    free(vision);
}

/* ---- loading ---- */

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
    return mllm_load_within(io, dir, F32_LIMIT, out, err);
}

enum status mllm_load_within(struct io *io, const char *dir, size_t f32_limit, struct mllm **out,
                             struct err *err)
{
    struct mllm_config config;
    struct mllm *m = NULL;
    TRY(mllm_config_load(io, dir, &config, err));
    TRY(mllm_skeleton(&config, &m, err));
    enum status status = STATUS_OK;
    if (config.multimodal)
        status = preprocess_load(io, dir, config.vision.image, &m->preprocess, err);
    if (status == STATUS_OK)
        status = load_weights(io, dir, m, f32_limit, err);
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
