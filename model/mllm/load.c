/* Weights into a model. Loading trusts nothing: every tensor of the files must be one that the
 * configuration asks for, in its shape, each once, and none may be missing. All that is decided
 * from the headers, before memory is taken; then the tensors are read one by one, to where they
 * stay. */
#include "model/mllm/load.h"

#include "model/mllm/names.h"
#include "model/mllm/params.h"
#include "model/mllm/stored.h"
#include <stdlib.h>
#include <string.h>

struct loader {
    struct mllm *model;
    const char *dir;
    struct checkpoint files;
    struct stored *stored; /* per parameter */
    bool keep_halves;
};

/* ---- which tensor is what ---- */

static enum status tensor_place(struct loader *l, const struct checkpoint_tensor *t,
                                struct err *err)
{
    char ours[NAMES_MAX], name[STORED_NAME];
    enum stored_part part = PART_WEIGHT;
    names_canonical(&l->model->config, t->entry->name, ours);
    TRY(stored_split(ours, name, &part, err));
    struct param *p = mllm_find(l->model, name);
    if (!p && names_extra(&l->model->config, name))
        return STATUS_OK;
    if (!p)
        return err_set(err, STATUS_UNSUPPORTED, "unknown tensor %s: config.json asks for none",
                       t->entry->name);
    struct stored *s = &l->stored[p - l->model->params];
    if (s->part[part])
        return err_set(err, STATUS_CONFLICT, "tensor %s is there twice, the other time as %s",
                       t->entry->name, s->part[part]->entry->name);
    s->part[part] = t;
    return STATUS_OK;
}

static enum status tensors_place(struct loader *l, struct err *err)
{
    for (size_t i = 0; i < l->files.count; i++) {
        const struct checkpoint_tensor *t = &l->files.tensor[i];
        if (tensor_place(l, t, err) != STATUS_OK)
            return err_prefix(err, "%s", t->file->path);
    }
    return STATUS_OK;
}

static const struct checkpoint_tensor *first_part(const struct stored *s)
{
    for (int i = 0; i < STORED_PARTS; i++)
        if (s->part[i])
            return s->part[i];
    return NULL;
}

static const char *file_of(const struct loader *l, int i)
{
    const struct checkpoint_tensor *t = first_part(&l->stored[i]);
    return t ? t->file->path : l->dir;
}

static enum status check_complete(const struct loader *l, struct err *err)
{
    const struct param *first = NULL;
    int missing = 0;
    for (int i = l->model->param_count; i-- > 0;) {
        const struct checkpoint_tensor *t = first_part(&l->stored[i]);
        bool whole = t && (l->stored[i].part[PART_WEIGHT] || l->stored[i].part[PART_Q_BIAS]);
        first = whole ? first : &l->model->params[i];
        missing += !whole;
    }
    if (!first)
        return STATUS_OK;
    return err_set(err, STATUS_NOT_FOUND, "%s: tensor %s is missing (and %d more)", l->dir,
                   first->name, missing - 1);
}

static enum status check_all(struct loader *l, struct err *err)
{
    TRY(check_complete(l, err));
    for (int i = 0; i < l->model->param_count; i++)
        if (stored_check(&l->stored[i], &l->model->params[i], err) != STATUS_OK)
            return err_prefix(err, "%s", file_of(l, i));
    return STATUS_OK;
}

/* ---- where it goes ---- */

static bool stays_packed(const struct loader *l, int i, enum weight_type *type)
{
    const struct stored *s = &l->stored[i];
    bool packed = stored_type(s, type) && params_packable(l->model, &l->model->params[i]);
    return packed && (s->kind != STORED_FLOAT || l->keep_halves);
}

/* What an arena takes for it. */
static size_t aligned(size_t size)
{
    return ((size ? size : 1) + 63) & ~(size_t)63;
}

static size_t packed_bytes(enum weight_type type, const struct param *p)
{
    return aligned(sizeof(struct weight)) + aligned(weight_code_bytes(type, p->dim[0], p->dim[1])) +
           aligned(weight_scale_count(type, p->dim[0], p->dim[1]) * sizeof(float));
}

static enum status store_make(struct loader *l, struct err *err)
{
    size_t bytes = 0;
    enum weight_type type;
    struct mllm *m = l->model;
    for (int i = 0; i < m->param_count; i++)
        if (stays_packed(l, i, &type))
            bytes += packed_bytes(type, &m->params[i]);
    if (bytes > 0 && !(m->store = store_create(bytes)))
        return err_set(err, STATUS_NO_MEMORY, "%s: no memory for %zu MiB of weights", l->dir,
                       bytes >> 20);
    return STATUS_OK;
}

static enum status packed_load(struct loader *l, int i, enum weight_type type, struct err *err)
{
    struct mllm *m = l->model;
    struct param *p = &m->params[i];
    int rows = p->dim[0], cols = p->dim[1];
    struct arena *a = &m->store->memory;
    struct weight *w = arena_alloc(a, sizeof *w);
    void *codes = arena_alloc(a, weight_code_bytes(type, rows, cols));
    float *scale = arena_alloc(a, weight_scale_count(type, rows, cols) * sizeof *scale);
    if (!w || !codes || !scale)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %s", p->name);
    *w = (struct weight){.type = type, .rows = rows, .cols = cols};
    TRY(stored_read_packed(&l->stored[i], p, w, codes, scale, err));
    p->packed = w;
    return STATUS_OK;
}

static enum status param_load(struct loader *l, int i, struct err *err)
{
    enum weight_type type;
    struct param *p = &l->model->params[i];
    if (stays_packed(l, i, &type))
        return packed_load(l, i, type, err);
    p->data = arena_alloc(&l->model->memory, param_count(p) * sizeof *p->data);
    if (!p->data)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %s", p->name);
    return stored_read_floats(&l->stored[i], p, p->data, err);
}

static enum status params_load(struct loader *l, struct err *err)
{
    TRY(store_make(l, err));
    for (int i = 0; i < l->model->param_count; i++)
        if (param_load(l, i, err) != STATUS_OK)
            return err_prefix(err, "%s", file_of(l, i));
    return STATUS_OK;
}

enum status load_weights(struct io *io, const char *dir, struct mllm *m, size_t f32_limit,
                         struct err *err)
{
    struct err own = {0}; /* statuses travel through err_prefix, which needs one */
    struct err *e = err ? err : &own;
    struct loader l = {.model = m, .dir = dir, .keep_halves = params_bytes(m) > f32_limit};
    TRY(checkpoint_open(io, dir, &l.files, e));
    l.stored = calloc((size_t)m->param_count, sizeof *l.stored);
    enum status status =
        l.stored ? tensors_place(&l, e) : err_set(e, STATUS_NO_MEMORY, "no memory to load %s", dir);
    if (status == STATUS_OK)
        status = check_all(&l, e);
    if (status == STATUS_OK)
        status = params_load(&l, e);
    free(l.stored);
    checkpoint_close(&l.files);
    return status;
}
