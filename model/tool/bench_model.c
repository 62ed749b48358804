/* Random weights: an F32 model as mllm_create makes it, its matrices then packed one by one. */
#include "model/tool/bench_model.h"

#include "model/tool/shape.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
static bool is_matrix(const struct bench_model *b, const struct param *p)
{
    const char *root = b->m->config.multimodal ? "language_model." : "";
    bool looked_up = p == b->m->llama.embed && b->m->llama.head.weight != p;
    return p->ndim == 2 && !looked_up && strncmp(p->name, root, strlen(root)) == 0 &&
           !strstr(p->name, "lora");
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static size_t packed_size(enum weight_type type, const struct param *p)
{
    return aligned(sizeof(struct weight)) + aligned(weight_code_bytes(type, p->dim[0], p->dim[1])) +
           aligned(weight_scale_count(type, p->dim[0], p->dim[1]) * sizeof(float));
}

/* Codes and scales of p at `at`; gives back the pages that the F32 values lie in. */
static void param_pack(enum weight_type type, struct param *p, unsigned char *at)
{
    int rows = p->dim[0], cols = p->dim[1];
    struct weight *w = (struct weight *)(void *)at;
    unsigned char *codes = at + aligned(sizeof *w);
    float *scale = (float *)(void *)(codes + aligned(weight_code_bytes(type, rows, cols)));
    weight_pack(type, p->data, rows, cols, codes, scale);
    *w = (struct weight){type, rows, cols, codes, scale};
    size_t page = 4096, from = ((size_t)p->data + page - 1) / page * page;
    size_t end = ((size_t)p->data + param_count(p) * sizeof *p->data) / page * page;
    if (end > from)
        (void)madvise((char *)p->data + (from - (size_t)p->data), end - from, MADV_DONTNEED);
    p->data = NULL;
    p->packed = w;
}

enum status bench_model_pack(struct bench_model *b, enum weight_type type, struct err *err)
{
    for (int i = 0; i < b->m->param_count; i++)
        if (is_matrix(b, &b->m->params[i]))
            b->packed_bytes += packed_size(type, &b->m->params[i]);
    void *room =
        mmap(NULL, b->packed_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return err_set(err, STATUS_NO_MEMORY, "no memory for packed weights");
    (void)madvise(room, b->packed_bytes, MADV_HUGEPAGE);
    b->packed = room;
    unsigned char *at = room;
    for (int i = 0; i < b->m->param_count; i++) {
        struct param *p = &b->m->params[i];
        if (!is_matrix(b, p))
            continue;
        size_t size = packed_size(type, p);
        param_pack(type, p, at);
        at += size;
    }
    return STATUS_OK;
}

static void model_count(struct bench_model *b)
{
    for (int i = 0; i < b->m->param_count; i++) {
        const struct param *p = &b->m->params[i];
        const struct weight *w = p->packed;
        if (!is_matrix(b, p))
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
    TRY(mllm_create(&config, 1, &out->m, err));
    enum status status = f32 ? STATUS_OK : bench_model_pack(out, type, err);
    if (status != STATUS_OK)
        bench_model_destroy(out);
    else
        model_count(out);
    return status;
}

void bench_model_destroy(struct bench_model *model)
{
    mllm_release(model->m);
    if (model->packed)
        (void)munmap(model->packed, model->packed_bytes);
    *model = (struct bench_model){0};
}
