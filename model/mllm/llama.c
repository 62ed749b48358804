/* LLaMA: RMSNorm, rotary positions, grouped-query attention, SwiGLU; one definition for training
 * (whole sequences, recorded) and decoding (with a KV cache that the caller keeps). */
#include "model/mllm/forward.h"

#include <string.h>

struct kv_cache kv_cache_new(struct tape *tape, const struct mllm *m, int rows, int cap)
{
    int layers = m->config.text.layers;
    struct kv_cache cache = {.rows = rows, .cap = cap, .layers = layers};
    cache.width = m->config.text.hidden / m->config.text.heads * m->config.text.kv_heads;
    size_t bytes = (size_t)rows * (size_t)cap * (size_t)cache.width * sizeof(float);
    cache.k = tape_alloc(tape, (size_t)layers * sizeof *cache.k);
    cache.v = tape_alloc(tape, (size_t)layers * sizeof *cache.v);
    cache.length = tape_alloc(tape, (size_t)rows * sizeof *cache.length);
    if (cache.length)
        memset(cache.length, 0, (size_t)rows * sizeof *cache.length);
    for (int i = 0; cache.k && cache.v && i < layers; i++) {
        cache.k[i] = tape_alloc(tape, bytes);
        cache.v[i] = tape_alloc(tape, bytes);
        if (!cache.k[i] || !cache.v[i])
            break;
        memset(cache.k[i], 0, bytes);
        memset(cache.v[i], 0, bytes);
    }
    return cache;
}

static float *cache_at(const struct kv_cache *cache, float *layer, int row, int position)
{
    return layer + ((size_t)row * (size_t)cache->cap + (size_t)position) * (size_t)cache->width;
}

static size_t cache_bytes(const struct kv_cache *cache, int positions)
{
    return (size_t)positions * (size_t)cache->width * sizeof(float);
}

static void cache_copy(struct kv_cache *to, int row, const struct kv_cache *from, int source)
{
    size_t bytes = cache_bytes(from, from->length[source]);
    for (int i = 0; i < to->layers; i++) {
        memcpy(cache_at(to, to->k[i], row, 0), cache_at(from, from->k[i], source, 0), bytes);
        memcpy(cache_at(to, to->v[i], row, 0), cache_at(from, from->v[i], source, 0), bytes);
    }
    to->length[row] = from->length[source];
}

void kv_cache_move(struct kv_cache *cache, int to, int from)
{
    if (to != from)
        cache_copy(cache, to, cache, from);
}

void kv_cache_select(struct kv_cache *to, const struct kv_cache *from, const int *row)
{
    for (int r = 0; r < to->rows; r++)
        cache_copy(to, r, from, row[r]);
}

/* x (B,T,width) into positions length .. length+T-1 of a layer's keys or values. */
static void cache_store(const struct kv_cache *cache, float *layer, struct tensor x)
{
    int B = x.dim[0], T = x.dim[1];
    for (int b = 0; b < B; b++)
        memcpy(cache_at(cache, layer, b, cache->length[b]),
               x.data + (size_t)b * (size_t)T * (size_t)cache->width, cache_bytes(cache, T));
}

struct llama {
    struct tape *tape;
    const struct mllm *m;
    const uint8_t *key_mask;
    struct kv_cache *cache;
    bool continues;      /* the cache holds positions before x */
    int *key_count;      /* on such a cache: positions in use with x, per row */
    const int32_t *rows; /* the only rows wanted of the last layer; NULL: all */
    int row_count;
    struct rope rope; /* of x's positions, for every layer */
};

static struct tensor cached_attention(struct llama *f, int layer, struct tensor q, struct tensor k,
                                      struct tensor v, struct attention how)
{
    struct kv_cache *cache = f->cache;
    if (f->tape->status != STATUS_OK)
        return (struct tensor){0};
    cache_store(cache, cache->k[layer], k);
    cache_store(cache, cache->v[layer], v);
    if (f->continues) {
        int dim[] = {q.dim[0], cache->cap, cache->width};
        k = tensor_view(cache->k[layer], 3, dim);
        v = tensor_view(cache->v[layer], 3, dim);
        how.first = cache->length;
        how.key_count = f->key_count;
    }
    return op_attention(f->tape, q, k, v, &how);
}

/* The heads' outputs, before they are mixed by o */
static struct tensor llama_attention(struct llama *f, int i, struct tensor x)
{
    const struct mllm_config *c = &f->m->config;
    const struct llama_layer *l = &f->m->llama.layer[i];
    struct attention how = {.heads = c->text.heads,
                            .kv_heads = c->text.kv_heads,
                            .causal = true,
                            .key_mask = f->key_mask};
    const struct linear *qkv[] = {&l->q, &l->k, &l->v};
    struct tensor y[3];
    op_linear_many(f->tape, x, qkv, 3, y);
    struct tensor q = op_rope_by(f->tape, y[0], c->text.heads, &f->rope);
    struct tensor k = op_rope_by(f->tape, y[1], c->text.kv_heads, &f->rope);
    return f->cache ? cached_attention(f, i, q, k, y[2], how)
                    : op_attention(f->tape, q, k, y[2], &how);
}

static struct tensor llama_ffn(struct llama *f, const struct llama_layer *l, struct tensor x)
{
    const struct linear *gate_up[] = {&l->gate, &l->up};
    struct tensor y[2];
    op_linear_many(f->tape, x, gate_up, 2, y);
    return op_linear(f->tape, op_swiglu(f->tape, y[0], y[1]), &l->down);
}

static struct tensor llama_block(struct llama *f, int i, struct tensor x)
{
    const struct llama_layer *l = &f->m->llama.layer[i];
    float eps = f->m->config.text.eps;
    struct tensor h = llama_attention(f, i, op_rmsnorm(f->tape, x, l->attn_norm, eps));
    if (f->rows && i == f->m->config.text.layers - 1) {
        h = op_rows(f->tape, h, f->rows, f->row_count);
        x = op_rows(f->tape, x, f->rows, f->row_count);
    }
    x = op_add(f->tape, x, op_linear(f->tape, h, &l->o));
    return op_add(f->tape, x, llama_ffn(f, l, op_rmsnorm(f->tape, x, l->ffn_norm, eps)));
}

/* False (and a sticky error) when x does not fit the cache. */
static bool cache_accepts(struct llama *f, struct tensor x)
{
    struct kv_cache *cache = f->cache;
    int B = x.dim[0], T = x.dim[1];
    bool fits = B <= cache->rows;
    f->key_count = tape_alloc(f->tape, (size_t)B * sizeof *f->key_count);
    for (int b = 0; fits && f->key_count && b < B; b++) {
        f->key_count[b] = cache->length[b] + T;
        f->continues = f->continues || cache->length[b] > 0;
        fits = f->key_count[b] <= cache->cap;
    }
    if (!fits)
        tape_fail(f->tape, STATUS_SHAPE, "%d rows of %d tokens do not fit a cache of (%d, %d)", B,
                  T, cache->rows, cache->cap);
    return fits && f->key_count;
}

static struct rope llama_rope(const struct llama *f, struct tensor x)
{
    const struct mllm_config *c = &f->m->config;
    int D = c->text.hidden / c->text.heads, start = 0;
    const int *first = f->continues ? f->cache->length : &start;
    return op_rope_tables(f->tape, x.dim[1], D, c->text.theta, first, f->continues ? x.dim[0] : 1);
}

struct tensor llama_forward(struct tape *tape, const struct mllm *m, struct tensor x,
                            const uint8_t *key_mask, struct kv_cache *cache, const int32_t *rows,
                            int n)
{
    struct llama f = {.tape = tape, .m = m, .key_mask = key_mask, .cache = cache, .rows = rows};
    f.row_count = n;
    if (tape->status != STATUS_OK || (cache && !cache_accepts(&f, x)))
        return (struct tensor){0};
    f.rope = llama_rope(&f, x);
    size_t mark = tape->arena->used;
    int B = x.dim[0], T = x.dim[1];
    for (int i = 0; i < m->config.text.layers; i++)
        x = layer_keep(tape, mark, llama_block(&f, i, x));
    for (int b = 0; cache && tape->status == STATUS_OK && b < B; b++)
        cache->length[b] += T;
    return op_rmsnorm(tape, x, m->llama.norm, m->config.text.eps);
}
