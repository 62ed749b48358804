/* Which parameters a model has: tables of (checkpoint name, pointer in a struct, shape in symbols).
 * A table is walked once to count and once to fill, so that the parameter array and the arena are
 * made in one piece and addresses never move. The order of the tables is the order of the
 * checkpoint. */
#include "model/mllm/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Shapes are written in these symbols; a part's sizes[] gives them values. */
enum symbol {
    END, /* no further dimension */
    ONE,
    RGB,
    P,  /* patch size */
    C,  /* width of the part */
    C3, /* 3 C */
    F,  /* width of the feed-forward */
    E,  /* width of what is cross-attended, or of the projection's input */
    KV, /* width of keys and values */
    V,  /* vocabulary */
    N,  /* positions, or query tokens */
    SYMBOLS,
};

enum init { NORMAL, ONES, ZEROS };

struct slot {
    const char *name;
    size_t at; /* of a struct param * in the struct the table is for */
    enum init init;
    unsigned char dim[TENSOR_DIMS];
};

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): the arguments are a type, a member and initialisers */
#define MATRIX(type, name, member, O, I) \
    {name ".weight", offsetof(type, member.weight), NORMAL, {O, I}}
#define DENSE(type, name, member, O, I) \
    MATRIX(type, name, member, O, I), {name ".bias", offsetof(type, member.bias), ZEROS, {O}}
#define NORM(type, name, member, W) \
    {name ".weight", offsetof(type, member##_w), ONES, {W}}, \
    {name ".bias", offsetof(type, member##_b), ZEROS, {W}}
/* NOLINTEND(bugprone-macro-parentheses) */

static const struct slot vision_head[] = {
    {"embeddings.class_embedding", offsetof(struct mllm, vision.class_embedding), NORMAL,
     {ONE, ONE, C}},
    {"embeddings.position_embedding", offsetof(struct mllm, vision.positions), NORMAL,
     {ONE, N, C}},
    {"embeddings.patch_embedding.weight", offsetof(struct mllm, vision.patch.weight), NORMAL,
     {C, RGB, P, P}},
    {"embeddings.patch_embedding.bias", offsetof(struct mllm, vision.patch.bias), ZEROS, {C}},
    {0},
};
static const struct slot vision_layer[] = {
    NORM(struct vision_layer, "layer_norm1", norm1, C),
    MATRIX(struct vision_layer, "self_attn.qkv", qkv, C3, C),
    DENSE(struct vision_layer, "self_attn.projection", out, C, C),
    NORM(struct vision_layer, "layer_norm2", norm2, C),
    DENSE(struct vision_layer, "mlp.fc1", fc1, F, C),
    DENSE(struct vision_layer, "mlp.fc2", fc2, C, F),
    {0},
};
static const struct slot vision_qkv_bias[] = {
    {"self_attn.qkv.bias", offsetof(struct vision_layer, qkv.bias), ZEROS, {C3}},
    {0},
};
static const struct slot vision_tail[] = {
    NORM(struct mllm, "post_layernorm", vision.post_norm, C),
    {0},
};
static const struct slot query_tokens[] = {
    {"query_tokens", offsetof(struct mllm, query_tokens), NORMAL, {ONE, N, C}},
    {0},
};
static const struct slot qformer_text_head[] = {
    {"embeddings.word_embeddings.weight", offsetof(struct mllm, qformer.words), NORMAL,
     {V, C}},
    {"embeddings.position_embeddings.weight", offsetof(struct mllm, qformer.positions), NORMAL,
     {N, C}},
    NORM(struct mllm, "embeddings.layernorm", qformer.norm, C),
    {0},
};
static const struct slot qformer_plain_head[] = {
    NORM(struct mllm, "layernorm", qformer.norm, C),
    {0},
};
static const struct slot qformer_self[] = {
    DENSE(struct qformer_layer, "attention.attention.query", query, C, C),
    DENSE(struct qformer_layer, "attention.attention.key", key, C, C),
    DENSE(struct qformer_layer, "attention.attention.value", value, C, C),
    DENSE(struct qformer_layer, "attention.output.dense", out, C, C),
    NORM(struct qformer_layer, "attention.output.LayerNorm", out_norm, C),
    {0},
};
static const struct slot qformer_cross[] = {
    DENSE(struct qformer_layer, "crossattention.attention.query", cross_query, C, C),
    DENSE(struct qformer_layer, "crossattention.attention.key", cross_key, C, E),
    DENSE(struct qformer_layer, "crossattention.attention.value", cross_value, C, E),
    DENSE(struct qformer_layer, "crossattention.output.dense", cross_out, C, C),
    NORM(struct qformer_layer, "crossattention.output.LayerNorm", cross_norm, C),
    {0},
};
static const struct slot qformer_text_ffn[] = {
    DENSE(struct qformer_layer, "intermediate.dense", ffn_in, F, C),
    DENSE(struct qformer_layer, "output.dense", ffn_out, C, F),
    NORM(struct qformer_layer, "output.LayerNorm", ffn_norm, C),
    {0},
};
static const struct slot qformer_query_ffn[] = {
    DENSE(struct qformer_layer, "intermediate_query.dense", ffn_query_in, F, C),
    DENSE(struct qformer_layer, "output_query.dense", ffn_query_out, C, F),
    NORM(struct qformer_layer, "output_query.LayerNorm", ffn_query_norm, C),
    {0},
};
static const struct slot projection[] = {
    DENSE(struct mllm, "language_projection", projection, C, E),
    {0},
};
static const struct slot llama_head[] = {
    {"model.embed_tokens.weight", offsetof(struct mllm, llama.embed), NORMAL, {V, C}},
    {0},
};
static const struct slot llama_layer[] = {
    {"input_layernorm.weight", offsetof(struct llama_layer, attn_norm), ONES, {C}},
    MATRIX(struct llama_layer, "self_attn.q_proj", q, C, C),
    MATRIX(struct llama_layer, "self_attn.k_proj", k, KV, C),
    MATRIX(struct llama_layer, "self_attn.v_proj", v, KV, C),
    MATRIX(struct llama_layer, "self_attn.o_proj", o, C, C),
    {"post_attention_layernorm.weight", offsetof(struct llama_layer, ffn_norm), ONES, {C}},
    MATRIX(struct llama_layer, "mlp.gate_proj", gate, F, C),
    MATRIX(struct llama_layer, "mlp.up_proj", up, F, C),
    MATRIX(struct llama_layer, "mlp.down_proj", down, C, F),
    {0},
};
static const struct slot llama_tail[] = {
    {"model.norm.weight", offsetof(struct mllm, llama.norm), ONES, {C}},
    {0},
};
static const struct slot llama_untied[] = {
    MATRIX(struct mllm, "lm_head", llama.head, V, C),
    {0},
};
/* clang-format on */

/* ---- walking the tables ---- */

enum pass { COUNT_THEM, FILL, INITIALISE };

struct builder {
    struct mllm *model;
    enum pass pass;
    int count;
    size_t bytes;  /* arena bytes for names and data */
    uint64_t seed; /* of INITIALISE */
    bool failed;
};

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static void param_fill(struct builder *b, struct param *p, const char *name)
{
    p->name = arena_strdup(&b->model->memory, name);
    p->grad_at = -1;
    b->failed |= !p->name;
}

static void param_init(struct param *p, enum init init, uint64_t seed, int index)
{
    struct rng rng;
    size_t n = param_count(p);
    rng_init(&rng, seed, (uint64_t)index);
    for (size_t i = 0; i < n; i++)
        p->data[i] = init == NORMAL ? 0.02F * rng_normal(&rng) : init == ONES ? 1.0F : 0.0F;
}

static void slot_visit(struct builder *b, void *base, const struct slot *slot, const char *prefix,
                       const int *sizes)
{
    char name[256];
    struct param p = {0};
    snprintf(name, sizeof name, "%s%s", prefix, slot->name);
    for (; p.ndim < TENSOR_DIMS && slot->dim[p.ndim] != END; p.ndim++)
        p.dim[p.ndim] = sizes[slot->dim[p.ndim]];
    if (b->pass == INITIALISE)
        param_init(&b->model->params[b->count], slot->init, b->seed, b->count);
    if (b->pass == FILL) {
        struct param *stored = &b->model->params[b->count];
        param_fill(b, &p, name);
        *stored = p;
        memcpy((char *)base + slot->at, &stored, sizeof stored);
    }
    b->bytes += aligned(param_count(&p) * sizeof *p.data) + aligned(strlen(name) + 1);
    b->count++;
}

static void table_visit(struct builder *b, void *base, const struct slot *table, const char *prefix,
                        const int *sizes)
{
    for (; table->name; table++)
        slot_visit(b, base, table, prefix, sizes);
}

static void visit_vision(struct builder *b)
{
    struct mllm *m = b->model;
    const struct mllm_config *c = &m->config;
    int side = c->vision.image / c->vision.patch;
    int sizes[SYMBOLS] = {[ONE] = 1,
                          [RGB] = 3,
                          [P] = c->vision.patch,
                          [C] = c->vision.hidden,
                          [C3] = 3 * c->vision.hidden,
                          [F] = c->vision.ffn,
                          [N] = 1 + side * side};
    table_visit(b, m, vision_head, "vision_model.", sizes);
    for (int i = 0; i < c->vision.layers; i++) {
        char prefix[64];
        struct vision_layer *layer = b->pass == FILL ? &m->vision.layer[i] : NULL;
        snprintf(prefix, sizeof prefix, "vision_model.encoder.layers.%d.", i);
        table_visit(b, layer, vision_layer, prefix, sizes);
        if (c->vision.qkv_bias)
            table_visit(b, layer, vision_qkv_bias, prefix, sizes);
    }
    table_visit(b, m, vision_tail, "vision_model.", sizes);
}

static void visit_qformer_layer(struct builder *b, int i, const int *sizes)
{
    char prefix[64];
    const struct mllm_config *c = &b->model->config;
    struct qformer_layer *layer = b->pass == FILL ? &b->model->qformer.layer[i] : NULL;
    bool cross = i % c->qformer.cross_every == 0;
    snprintf(prefix, sizeof prefix, "qformer.encoder.layer.%d.", i);
    table_visit(b, layer, qformer_self, prefix, sizes);
    if (cross)
        table_visit(b, layer, qformer_cross, prefix, sizes);
    if (c->qformer.text)
        table_visit(b, layer, qformer_text_ffn, prefix, sizes);
    table_visit(b, layer, qformer_query_ffn, prefix, sizes);
    if (layer)
        layer->cross = cross;
}

static void visit_qformer(struct builder *b)
{
    struct mllm *m = b->model;
    const struct mllm_config *c = &m->config;
    int sizes[SYMBOLS] = {[ONE] = 1,
                          [C] = c->qformer.hidden,
                          [F] = c->qformer.ffn,
                          [E] = c->qformer.encoder_hidden,
                          [V] = c->qformer.vocab,
                          [N] = c->queries};
    table_visit(b, m, query_tokens, "", sizes);
    sizes[N] = c->qformer.positions;
    table_visit(b, m, c->qformer.text ? qformer_text_head : qformer_plain_head, "qformer.", sizes);
    for (int i = 0; i < c->qformer.layers; i++)
        visit_qformer_layer(b, i, sizes);
    sizes[E] = c->qformer.hidden;
    sizes[C] = c->text.hidden;
    table_visit(b, m, projection, "", sizes);
}

static void visit_llama(struct builder *b)
{
    struct mllm *m = b->model;
    const struct mllm_config *c = &m->config;
    const char *root = c->multimodal ? "language_model." : "";
    int sizes[SYMBOLS] = {[C] = c->text.hidden,
                          [F] = c->text.ffn,
                          [V] = c->text.vocab,
                          [KV] = c->text.hidden / c->text.heads * c->text.kv_heads};
    table_visit(b, m, llama_head, root, sizes);
    for (int i = 0; i < c->text.layers; i++) {
        char prefix[64];
        snprintf(prefix, sizeof prefix, "%smodel.layers.%d.", root, i);
        table_visit(b, b->pass == FILL ? &m->llama.layer[i] : NULL, llama_layer, prefix, sizes);
    }
    table_visit(b, m, llama_tail, root, sizes);
    if (!c->text.tied)
        table_visit(b, m, llama_untied, root, sizes);
    else if (b->pass == FILL)
        m->llama.head.weight = m->llama.embed;
}

static void visit_all(struct builder *b)
{
    if (b->model->config.multimodal) {
        visit_vision(b);
        visit_qformer(b);
    }
    visit_llama(b);
}

/* ---- building ---- */

static bool layers_alloc(struct mllm *m)
{
    const struct mllm_config *c = &m->config;
    struct arena *a = &m->memory;
    m->llama.layer = arena_zalloc(a, (size_t)c->text.layers, sizeof *m->llama.layer);
    if (!c->multimodal)
        return m->llama.layer != NULL;
    m->vision.layer = arena_zalloc(a, (size_t)c->vision.layers, sizeof *m->vision.layer);
    m->qformer.layer = arena_zalloc(a, (size_t)c->qformer.layers, sizeof *m->qformer.layer);
    return m->llama.layer && m->vision.layer && m->qformer.layer;
}

/* Room for as much again in attached parameters; address space that is not touched costs nothing.
 */
static bool memory_reserve(struct mllm *m, const struct builder *counted)
{
    size_t structs = (size_t)m->config.text.layers * sizeof *m->llama.layer;
    if (m->config.multimodal)
        structs += (size_t)m->config.vision.layers * sizeof *m->vision.layer +
                   (size_t)m->config.qformer.layers * sizeof *m->qformer.layer;
    m->param_cap = 3 * counted->count + 64;
    size_t table = (size_t)m->param_cap * sizeof *m->params;
    if (!arena_init(&m->memory, 2 * counted->bytes + structs + table + ((size_t)64 << 20)))
        return false;
    m->params = arena_zalloc(&m->memory, (size_t)m->param_cap, sizeof *m->params);
    return m->params && layers_alloc(m);
}

enum status params_build(struct mllm *model, struct err *err)
{
    struct builder count = {.model = model};
    visit_all(&count);
    struct builder fill = {.model = model, .pass = FILL};
    if (memory_reserve(model, &count)) {
        visit_all(&fill);
        model->param_count = model->checkpoint_count = fill.count;
        if (!fill.failed)
            return STATUS_OK;
    }
    return err_set(err, STATUS_NO_MEMORY, "no memory for a model of %zu MiB", count.bytes >> 20);
}

enum status params_allocate(struct mllm *model, struct err *err)
{
    for (int i = 0; i < model->checkpoint_count; i++) {
        struct param *p = &model->params[i];
        size_t bytes = param_count(p) * sizeof *p->data;
        if (!p->packed && !(p->data = arena_alloc(&model->memory, bytes)))
            return err_set(err, STATUS_NO_MEMORY, "no memory for %s", p->name);
    }
    return STATUS_OK;
}

void params_init(struct mllm *model, uint64_t seed)
{
    struct builder b = {.model = model, .pass = INITIALISE, .seed = seed};
    visit_all(&b);
}

/* ---- which may be packed, and where they lie then ---- */

bool params_packable(const struct mllm *model, const struct param *p)
{
    return p->ndim == 2 && p != model->qformer.positions;
}

bool params_quantizable(const struct mllm *model, const struct param *p)
{
    bool layer =
        strstr(p->name, "model.layers.") || strncmp(p->name, "vision_model.encoder.", 21) == 0;
    bool attached = p >= model->params + model->checkpoint_count;
    return p->ndim == 2 && !attached && (layer || p == model->projection.weight);
}

size_t params_bytes(const struct mllm *model)
{
    size_t bytes = 0;
    for (int i = 0; i < model->checkpoint_count; i++)
        bytes += param_count(&model->params[i]) * sizeof(float);
    return bytes;
}

struct mllm_store *store_create(size_t size)
{
    struct mllm_store *store = calloc(1, sizeof *store);
    if (!store || !arena_init(&store->memory, size)) {
        free(store);
        return NULL;
    }
    (void)madvise(store->memory.base, store->memory.cap, MADV_HUGEPAGE);
    store->references = 1;
    return store;
}

struct mllm_store *mllm_store_retain(struct mllm_store *store)
{
    if (store)
        __atomic_add_fetch(&store->references, 1, __ATOMIC_RELAXED);
    return store;
}

void mllm_store_release(struct mllm_store *store)
{
    if (!store || __atomic_sub_fetch(&store->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    arena_deinit(&store->memory);
    free(store);
}

/* ---- attached parameters ---- */

struct remap {
    const struct mllm *from;
    struct mllm *to;
};

static struct param *remapped(const struct remap *map, const struct param *p)
{
    return p ? &map->to->params[p - map->from->params] : NULL;
}

static void linear_remap(const struct remap *map, struct linear *to, const struct linear *from)
{
    to->weight = remapped(map, from->weight);
    to->bias = remapped(map, from->bias);
    to->lora_a = remapped(map, from->lora_a);
    to->lora_b = remapped(map, from->lora_b);
    to->lora_scale = from->lora_scale;
}

static const size_t vision_linears[] = {
    offsetof(struct vision_layer, qkv),
    offsetof(struct vision_layer, out),
    offsetof(struct vision_layer, fc1),
    offsetof(struct vision_layer, fc2),
};
static const size_t qformer_linears[] = {
    offsetof(struct qformer_layer, query),
    offsetof(struct qformer_layer, key),
    offsetof(struct qformer_layer, value),
    offsetof(struct qformer_layer, out),
    offsetof(struct qformer_layer, cross_query),
    offsetof(struct qformer_layer, cross_key),
    offsetof(struct qformer_layer, cross_value),
    offsetof(struct qformer_layer, cross_out),
    offsetof(struct qformer_layer, ffn_in),
    offsetof(struct qformer_layer, ffn_out),
    offsetof(struct qformer_layer, ffn_query_in),
    offsetof(struct qformer_layer, ffn_query_out),
    offsetof(struct qformer_layer, query_adapter.down),
    offsetof(struct qformer_layer, query_adapter.up),
    offsetof(struct qformer_layer, cross_adapter.down),
    offsetof(struct qformer_layer, cross_adapter.up),
};
static const size_t llama_linears[] = {
    offsetof(struct llama_layer, q),    offsetof(struct llama_layer, k),
    offsetof(struct llama_layer, v),    offsetof(struct llama_layer, o),
    offsetof(struct llama_layer, gate), offsetof(struct llama_layer, up),
    offsetof(struct llama_layer, down),
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void layers_remap(const struct remap *map, void *to, const void *from, int layers,
                         size_t size, const size_t *linears, size_t count)
{
    for (size_t at = 0; at < (size_t)layers * size; at += size)
        for (size_t i = 0; i < count; i++)
            linear_remap(map, (struct linear *)((char *)to + at + linears[i]),
                         (const struct linear *)((const char *)from + at + linears[i]));
}

static void model_remap(const struct remap *map)
{
    struct mllm *to = map->to;
    const struct mllm *from = map->from;
    const struct mllm_config *c = &from->config;
    layers_remap(map, to->llama.layer, from->llama.layer, c->text.layers, sizeof *to->llama.layer,
                 llama_linears, COUNT(llama_linears));
    linear_remap(map, &to->llama.head, &from->llama.head);
    if (!c->multimodal)
        return;
    layers_remap(map, to->vision.layer, from->vision.layer, c->vision.layers,
                 sizeof *to->vision.layer, vision_linears, COUNT(vision_linears));
    layers_remap(map, to->qformer.layer, from->qformer.layer, c->qformer.layers,
                 sizeof *to->qformer.layer, qformer_linears, COUNT(qformer_linears));
    linear_remap(map, &to->vision.patch, &from->vision.patch);
    linear_remap(map, &to->projection, &from->projection);
}

enum status params_copy_attached(struct mllm *to, const struct mllm *from, struct err *err)
{
    for (int i = to->param_count; i < from->param_count; i++) {
        const struct param *p = &from->params[i];
        if (!mllm_attach(to, p->name, p->ndim, p->dim))
            return err_set(err, STATUS_NO_MEMORY, "no memory for a copy of %s", p->name);
    }
    const struct remap map = {from, to};
    model_remap(&map);
    return STATUS_OK;
}
