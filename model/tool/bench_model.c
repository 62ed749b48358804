/* Random weights are normal numbers from a short list, over and over: a model of a billion
 * parameters is there in a second or two, and never lies in memory as F32. */
#include "model/tool/bench_model.h"

#include "model/mllm/params.h"
#include "model/tool/shape.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LIST = 1 << 20, ALIGN = 64 };

static const struct {
    const char *name;
    enum weight_type type;
} PACKED[] = {{"bf16", WEIGHT_BF16}, {"f16", WEIGHT_F16}, {"q8", WEIGHT_Q8}, {"nf4", WEIGHT_NF4}};

bool bench_weight_type(const char *name, enum weight_type *out)
{
    for (size_t i = 0; i < sizeof PACKED / sizeof *PACKED; i++)
        if (strcmp(name, PACKED[i].name) == 0)
            return *out = PACKED[i].type, true;
    return false;
}

/* A matrix of the LLaMA that is multiplied by, not looked up in */
static bool is_matrix(const struct mllm *m, const struct param *p)
{
    const char *root = m->config.multimodal ? "language_model." : "";
    bool looked_up = p == m->llama.embed && m->llama.head.weight != p;
    return p->ndim == 2 && !looked_up && strncmp(p->name, root, strlen(root)) == 0 &&
           !strstr(p->name, "lora");
}

/* ---- random values ---- */

static float *list_create(void)
{
    struct rng rng;
    float *list = malloc(LIST * sizeof *list);
    rng_init(&rng, 1, 0);
    for (int i = 0; list && i < LIST; i++)
        list[i] = 0.02F * rng_normal(&rng);
    return list;
}

static void values_repeat(float *out, size_t count, const float *list)
{
    for (size_t at = 0; at < count; at += LIST)
        memcpy(out + at, list, (count - at < LIST ? count - at : LIST) * sizeof *out);
}

static void model_fill(struct mllm *m, const float *list)
{
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = &m->params[i];
        if (p->data && p->ndim > 1)
            values_repeat(p->data, param_count(p), list);
        for (size_t j = 0; p->data && p->ndim == 1 && j < param_count(p); j++)
            p->data[j] = 1;
    }
}

/* ---- packing ---- */

static size_t packed_size(enum weight_type type, const struct param *p)
{
    return weight_code_bytes(type, p->dim[0], p->dim[1]) +
           weight_scale_count(type, p->dim[0], p->dim[1]) * sizeof(float) + sizeof(struct weight) +
           (size_t)3 * ALIGN;
}

/* Codes and scales of the rows, from p's values or, without any, from the list: as many rows at a
 * time as the list is long. Rows that start a block start a byte, too. */
static void rows_pack(const struct weight *w, const float *values, const float *list, char *codes,
                      float *scale)
{
    int step = values ? w->rows : LIST / w->cols / ALIGN * ALIGN;
    for (int row = 0; row < w->rows; row += step) {
        int rows = w->rows - row < step ? w->rows - row : step;
        weight_pack(w->type, values ? values : list, rows, w->cols,
                    codes + weight_code_bytes(w->type, row, w->cols),
                    scale + weight_scale_count(w->type, row, w->cols));
    }
}

static bool param_pack(struct mllm *m, struct param *p, enum weight_type type, const float *list)
{
    struct arena *a = &m->store->memory;
    int rows = p->dim[0], cols = p->dim[1];
    struct weight *w = arena_alloc(a, sizeof *w);
    char *codes = arena_alloc(a, weight_code_bytes(type, rows, cols));
    float *scale = arena_alloc(a, weight_scale_count(type, rows, cols) * sizeof *scale);
    if (!w || !codes || !scale)
        return false;
    *w = (struct weight){type, rows, cols, codes, scale};
    rows_pack(w, p->data, list, codes, scale);
    p->data = NULL;
    p->packed = w;
    return true;
}

enum status bench_model_pack(struct mllm *m, enum weight_type type, struct err *err)
{
    size_t size = 0;
    for (int i = 0; i < m->param_count; i++)
        size += is_matrix(m, &m->params[i]) ? packed_size(type, &m->params[i]) : 0;
    float *list = list_create();
    m->store = store_create(size);
    bool whole = list && m->store;
    for (int i = 0; whole && i < m->param_count; i++)
        if (is_matrix(m, &m->params[i]))
            whole = param_pack(m, &m->params[i], type, list);
    free(list);
    return whole ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for packed weights");
}

/* ---- a model ---- */

static void model_count(struct bench_model *b)
{
    for (int i = 0; i < b->m->param_count; i++) {
        const struct param *p = &b->m->params[i];
        const struct weight *w = p->packed;
        if (!is_matrix(b->m, p))
            continue;
        if (p == b->m->llama.head.weight)
            b->head_products = (double)param_count(p);
        else
            b->products += (double)param_count(p);
        size_t scales = w ? weight_scale_count(w->type, w->rows, w->cols) : 0;
        b->bytes +=
            w ? (double)(weight_code_bytes(w->type, w->rows, w->cols) + scales * sizeof(float))
              : (double)(param_count(p) * sizeof(float));
    }
}

/* Packed when type is not NULL */
static enum status model_make(struct mllm *m, const enum weight_type *type, struct err *err)
{
    TRY(params_build(m, err));
    if (type)
        TRY(bench_model_pack(m, *type, err));
    TRY(params_allocate(m, err));
    float *list = list_create();
    if (!list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for random weights");
    model_fill(m, list);
    free(list);
    return STATUS_OK;
}

enum status bench_model_create(const char *shape, const char *weights, struct bench_model *out,
                               struct err *err)
{
    struct mllm_config config;
    enum weight_type type = WEIGHT_NF4;
    bool f32 = strcmp(weights, "f32") == 0;
    *out = (struct bench_model){0};
    TRY(shape_config(shape, &config, err));
    if (config.multimodal || (!f32 && !bench_weight_type(weights, &type)))
        return err_set(err, STATUS_USAGE,
                       "%s %s: a llama shape, and weights of f32, bf16, f16, q8 or nf4", shape,
                       weights);
    out->m = calloc(1, sizeof *out->m);
    if (!out->m)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a model");
    out->m->config = config;
    out->m->references = 1;
    enum status status = model_make(out->m, f32 ? NULL : &type, err);
    if (status != STATUS_OK)
        bench_model_destroy(out);
    else
        model_count(out);
    return status;
}

void bench_model_destroy(struct bench_model *model)
{
    mllm_release(model->m);
    *model = (struct bench_model){0};
}
