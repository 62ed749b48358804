/* A model into a directory, tensor by tensor: no copy of the weights is made on the way. */
#include "model/mllm/mllm.h"
#include "model/mllm/stored.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 18 };

/* The tensors of all parameters, in order, and the names of those that are parts. */
struct listing {
    struct safetensors_entry *entry;
    struct stored_names *names; /* one a packed parameter */
    size_t count, packed;
};

static enum status listing_make(const struct mllm *m, enum dtype dtype, struct listing *out,
                                struct err *err)
{
    size_t n = (size_t)m->checkpoint_count, packed = 0;
    for (size_t i = 0; i < n; i++)
        packed += m->params[i].packed != NULL;
    out->entry = calloc(n * STORED_ENTRIES, sizeof *out->entry);
    out->names = calloc(packed + 1, sizeof *out->names);
    if (!out->entry || !out->names)
        return err_set(err, STATUS_NO_MEMORY, "no memory to list %zu tensors", n);
    for (size_t i = 0; i < n; i++) {
        const struct param *p = &m->params[i];
        const struct weight *w = p->packed;
        struct safetensors_entry *e = &out->entry[out->count];
        if (w) {
            out->count += (size_t)stored_entries(p->name, w->type, w->rows, w->cols, false,
                                                 &out->names[out->packed++], e);
            continue;
        }
        *e = (struct safetensors_entry){.name = p->name, .dtype = dtype, .ndim = p->ndim};
        for (int d = 0; d < p->ndim; d++)
            e->dim[d] = (uint64_t)p->dim[d];
        out->count++;
    }
    return STATUS_OK;
}

static enum status floats_write(struct safetensors_writer *to, const float *x, size_t n,
                                enum dtype dtype, struct err *err)
{
    uint16_t *half = malloc(CHUNK * sizeof *half);
    enum status status = half ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory to save");
    for (size_t at = 0; at < n && status == STATUS_OK; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        if (dtype == DTYPE_BF16)
            f32_to_bf16(x + at, count, half);
        else if (dtype == DTYPE_F16)
            f32_to_f16(x + at, count, half);
        const void *bytes = dtype == DTYPE_F32 ? (const void *)(x + at) : half;
        status = safetensors_writer_add(to, bytes, count * dtype_size(dtype), err);
    }
    free(half);
    return status;
}

static enum status params_write(const struct mllm *m, enum dtype dtype,
                                struct safetensors_writer *to, struct err *err)
{
    for (int i = 0; i < m->checkpoint_count; i++) {
        const struct param *p = &m->params[i];
        if (p->packed)
            TRY(stored_write(to, p->packed, false, err));
        else
            TRY(floats_write(to, p->data, param_count(p), dtype, err));
    }
    return STATUS_OK;
}

static enum status save_weights(struct io *io, const struct mllm *m, const char *path,
                                enum dtype dtype, struct err *err)
{
    struct listing list = {0};
    struct safetensors_writer to = {.fd = -1};
    enum status status = listing_make(m, dtype, &list, err);
    if (status == STATUS_OK)
        status = safetensors_writer_open(io, path, list.entry, list.count, &to, err);
    if (status == STATUS_OK)
        status = params_write(m, dtype, &to, err);
    if (status == STATUS_OK)
        status = safetensors_writer_finish(&to, err);
    safetensors_writer_abandon(&to);
    free(list.entry);
    free(list.names);
    return status;
}

/* What config.json says of the matrices: that of most bits left out. */
static int quantized_bits(const struct mllm *m)
{
    int bits = 0;
    for (int i = 0; i < m->checkpoint_count; i++) {
        const struct weight *w = m->params[i].packed;
        if (w && w->type == WEIGHT_NF4)
            bits = 4;
        else if (w && w->type == WEIGHT_Q8 && bits == 0)
            bits = 8;
    }
    return bits;
}

enum status mllm_save(struct io *io, const struct mllm *model, const char *dir, enum dtype dtype,
                      struct err *err)
{
    char path[4096];
    struct mllm_config config = model->config;
    config.quantized_bits = quantized_bits(model);
    if (dtype != DTYPE_F32 && dtype != DTYPE_BF16 && dtype != DTYPE_F16)
        return err_set(err, STATUS_UNSUPPORTED, "weights are saved as F32, F16 or BF16, not %s",
                       dtype_name(dtype));
    TRY(io_make_dirs(io, dir, err));
    TRY(io_join(path, sizeof path, dir, "model.safetensors.index.json", err));
    if (io_exists(path))
        return err_set(err, STATUS_CONFLICT,
                       "%s is there and would hide the new weights; name a new directory", path);
    TRY(mllm_config_save(io, dir, &config, err));
    if (model->config.multimodal)
        TRY(preprocess_save(io, dir, model->config.vision.image, &model->preprocess, err));
    TRY(io_join(path, sizeof path, dir, "model.safetensors", err));
    return save_weights(io, model, path, dtype, err);
}
