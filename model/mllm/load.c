/* Weights into a model. Loading trusts nothing: every tensor of the files must be one that the
 * configuration asks for, in its shape, each once, and none may be missing. All that is decided
 * from the headers, before memory is taken; then the tensors are read one by one, to where they
 * stay. */
#include "model/mllm/load.h"

#include "model/mllm/names.h"
#include "model/mllm/params.h"
#include <stdlib.h>
#include <string.h>

struct loader {
    struct mllm *model;
    struct load_map map;
    bool keep_halves;
};

/* ---- which tensor is what ---- */

static enum status tensor_place(struct load_map *map, const struct mllm *m,
                                const struct checkpoint_tensor *t, struct err *err)
{
    char ours[NAMES_MAX], name[STORED_NAME];
    enum stored_part part = PART_WEIGHT;
    names_canonical(&m->config, t->entry->name, ours);
    TRY(stored_split(ours, name, &part, err));
    struct param *p = mllm_find(m, name);
    if (!p && names_extra(&m->config, name))
        return STATUS_OK;
    if (!p)
        return err_set(err, STATUS_UNSUPPORTED, "unknown tensor %s: config.json asks for none",
                       t->entry->name);
    struct stored *s = &map->stored[p - m->params];
    if (s->part[part])
        return err_set(err, STATUS_CONFLICT, "tensor %s is there twice, the other time as %s",
                       t->entry->name, s->part[part]->entry->name);
    s->part[part] = t;
    return STATUS_OK;
}

static enum status tensors_place(struct load_map *map, const struct mllm *m, struct err *err)
{
    for (size_t i = 0; i < map->files.count; i++) {
        const struct checkpoint_tensor *t = &map->files.tensor[i];
        if (tensor_place(map, m, t, err) != STATUS_OK)
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

static const char *file_of(const struct load_map *map, int i)
{
    const struct checkpoint_tensor *t = first_part(&map->stored[i]);
    return t ? t->file->path : "";
}

static enum status check_complete(const struct load_map *map, const char *dir, const struct mllm *m,
                                  struct err *err)
{
    const struct param *first = NULL;
    int missing = 0;
    for (int i = m->param_count; i-- > 0;) {
        const struct checkpoint_tensor *t = first_part(&map->stored[i]);
        bool whole = t && (map->stored[i].part[PART_WEIGHT] || map->stored[i].part[PART_Q_BIAS]);
        first = whole ? first : &m->params[i];
        missing += !whole;
    }
    if (!first)
        return STATUS_OK;
    return err_set(err, STATUS_NOT_FOUND, "%s: tensor %s is missing (and %d more)", dir,
                   first->name, missing - 1);
}

static enum status check_all(struct load_map *map, const char *dir, const struct mllm *m,
                             struct err *err)
{
    TRY(check_complete(map, dir, m, err));
    for (int i = 0; i < m->param_count; i++) {
        enum status status = stored_check(&map->stored[i], &m->params[i], err);
        if (status == STATUS_OK && map->stored[i].kind != STORED_FLOAT &&
            !params_packable(m, &m->params[i]))
            status = err_set(err, STATUS_UNSUPPORTED,
                             "tensor %s is quantized; F32, F16 and BF16 are supported",
                             m->params[i].name);
        if (status != STATUS_OK)
            return err_prefix(err, "%s", file_of(map, i));
    }
    return STATUS_OK;
}

enum status load_map_open(struct io *io, const char *dir, const struct mllm *m,
                          struct load_map *out, struct err *err)
{
    struct err own = {0}; /* statuses travel through err_prefix, which needs one */
    struct err *e = err ? err : &own;
    *out = (struct load_map){0};
    TRY(checkpoint_open(io, dir, &out->files, e));
    out->stored = calloc((size_t)m->param_count, sizeof *out->stored);
    enum status status = out->stored ? tensors_place(out, m, e)
                                     : err_set(e, STATUS_NO_MEMORY, "no memory to load %s", dir);
    if (status == STATUS_OK)
        status = check_all(out, dir, m, e);
    if (status != STATUS_OK)
        load_map_close(out);
    return status;
}

void load_map_close(struct load_map *map)
{
    free(map->stored);
    checkpoint_close(&map->files);
    *map = (struct load_map){0};
}

/* ---- where it goes ---- */

static bool stays_packed(const struct loader *l, int i, enum weight_type *type)
{
    const struct stored *s = &l->map.stored[i];
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
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu MiB of weights", bytes >> 20);
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
    TRY(stored_read_packed(&l->map.stored[i], p, w, codes, scale, err));
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
    return stored_read_floats(&l->map.stored[i], p, p->data, err);
}

static enum status params_load(struct loader *l, struct err *err)
{
    TRY(store_make(l, err));
    for (int i = 0; i < l->model->param_count; i++)
        if (param_load(l, i, err) != STATUS_OK)
            return err_prefix(err, "%s", file_of(&l->map, i));
    return STATUS_OK;
}

enum status load_weights(struct io *io, const char *dir, struct mllm *m, size_t f32_limit,
                         struct err *err)
{
    struct err own = {0}; /* statuses travel through err_prefix, which needs one */
    struct err *e = err ? err : &own;
    struct loader l = {.model = m, .keep_halves = params_bytes(m) > f32_limit};
    TRY(load_map_open(io, dir, m, &l.map, e));
    enum status status = params_load(&l, e);
    load_map_close(&l.map);
    return status;
}
