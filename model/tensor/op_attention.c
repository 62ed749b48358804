/* Scaled dot-product attention with grouped key/value heads, causal and padding masks, dropout on
 * the probabilities. B batch, Tq and Tk times, H heads, KV key/value heads, D channels of a head.
 * The probabilities are kept for the way back; nothing is when the tape does not record. */
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/parallel.h"
#include "model/tensor/tape.h"
#include <math.h>
#include <string.h>

struct attention_node {
    struct tape_node node;
    struct attention a;
    struct tensor q, k, v, y;
    const int *key_count;    /* (B), copied */
    const int *first;        /* (B), copied */
    const int *last_weight;  /* (B), copied */
    const uint8_t *key_mask; /* (B,Tk), copied */
    float *probs;            /* (B,H,Tq,Tp) before dropout */
    float *dropped;          /* after; the same when there is none */
    const uint8_t *keep;     /* (B,H,Tq,Tp) */
};

static bool attention_check(struct tape *tape, struct tensor q, struct tensor k, struct tensor v,
                            const struct attention *a)
{
    bool ok = tensor_is(q) && tensor_is(k) && tensor_is(v) && q.ndim == 3 && k.ndim == 3 &&
              tensor_same_shape(k, v) && a->heads > 0 && a->kv_heads > 0 &&
              a->heads % a->kv_heads == 0 && q.dim[0] == k.dim[0] && q.dim[2] % a->heads == 0 &&
              k.dim[2] == q.dim[2] / a->heads * a->kv_heads && a->dropout >= 0 && a->dropout < 1;
    for (int b = 0; ok && a->key_count && b < q.dim[0]; b++)
        ok = a->key_count[b] >= 0 && a->key_count[b] <= k.dim[1];
    for (int b = 0; ok && a->first && b < q.dim[0]; b++)
        ok = a->first[b] >= 0 && a->first[b] <= k.dim[1] - q.dim[1];
    for (int b = 0; ok && a->last_weight && b < q.dim[0]; b++)
        ok = a->last_weight[b] >= 1;
    return tape_expect(tape, ok, "attention",
                       "q (B,Tq,H*D), k and v (B,Tk,KV*D), KV dividing H, counts and firsts within "
                       "Tk, weights at least 1");
}

/* The geometry that all heads share */
static struct head attention_head(const struct attention_node *n)
{
    int D = n->q.dim[2] / n->a.heads;
    return (struct head){.Tq = n->q.dim[1],
                         .Tk = n->k.dim[1],
                         .Tp = (n->k.dim[1] + 15) / 16 * 16,
                         .D = D,
                         .q_stride = n->q.dim[2],
                         .kv_stride = n->k.dim[2],
                         .scale = 1.0f / sqrtf((float)D),
                         .causal = n->a.causal,
                         .keys = n->k.dim[1]};
}

static void attention_sample(const struct attention_node *n, struct head *head, int b)
{
    head->keys = n->key_count ? n->key_count[b] : head->Tk;
    head->first = n->first ? n->first[b] : head->Tk - head->Tq;
    head->last_weight = n->last_weight ? n->last_weight[b] : 1;
    head->mask = n->key_mask ? n->key_mask + (size_t)b * (size_t)head->Tk : NULL;
}

/* Where head h of sample b begins: in q and y, in k and v, in the probabilities */
struct offsets {
    size_t q, kv, probs;
};

static struct offsets attention_offsets(const struct attention_node *n, const struct head *head,
                                        int b, int h)
{
    int group = n->a.heads / n->a.kv_heads;
    size_t Tq = (size_t)head->Tq, Tk = (size_t)head->Tk, D = (size_t)head->D;
    return (struct offsets){
        .q = (size_t)b * Tq * (size_t)head->q_stride + (size_t)h * D,
        .kv = (size_t)b * Tk * (size_t)head->kv_stride + (size_t)(h / group) * D,
        .probs = ((size_t)b * (size_t)n->a.heads + (size_t)h) * Tq * (size_t)head->Tp,
    };
}

static void attention_probs_out(const struct attention_node *n, const struct head *head)
{
    size_t rows = (size_t)n->q.dim[0] * (size_t)n->a.heads * (size_t)head->Tq;
    for (size_t i = 0; n->a.probs_out && i < rows; i++)
        memcpy(n->a.probs_out + i * (size_t)head->Tk, n->probs + i * (size_t)head->Tp,
               (size_t)head->Tk * sizeof(float));
}

static void attention_forward(const struct attention_node *n, float *work)
{
    struct head head = attention_head(n);
    const struct kernels *K = kernels();
    size_t size = (size_t)head.Tq * (size_t)head.Tp;
    for (int b = 0; b < n->q.dim[0]; b++) {
        attention_sample(n, &head, b);
        for (int h = 0; h < n->a.heads; h++) {
            struct offsets at = attention_offsets(n, &head, b, h);
            float *P = n->probs + at.probs, *dropped = n->dropped + at.probs;
            K->attention_probs(&head, P, n->q.data + at.q, n->k.data + at.kv, work);
            if (n->keep)
                K->select(dropped, P, n->keep + at.probs, 1 / (1 - n->a.dropout), size);
            K->attention_mix(&head, n->y.data + at.q, dropped, n->v.data + at.kv);
        }
    }
    attention_probs_out(n, &head);
}

/* ---- without a way back: blocks of queries, shared by the threads ---- */

/* Queries of a block: bounds the room for probabilities, and spares keys that no query of it sees.
 * Work below SHARED_PRODUCTS multiplications is done before another thread wakes up. */
enum { QUERY_BLOCK = 128, SHARED_PRODUCTS = 1 << 15 };

struct inference {
    const struct attention_node *n;
    int blocks;  /* of queries, of a head */
    float *room; /* per worker: probabilities (Tq,Tp), then (D,Tp) of work */
    size_t each; /* floats of it */
};

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* The part of a head that queries from..from+Tq-1 see. */
static struct head inference_head(const struct attention_node *n, int b, int from)
{
    struct head head = attention_head(n);
    attention_sample(n, &head, b);
    head.Tq = least(QUERY_BLOCK, head.Tq - from);
    head.first += from;
    if (head.causal)
        head.keys = least(head.keys, head.first + head.Tq < 0 ? 0 : head.first + head.Tq);
    head.Tk = head.keys;
    head.Tp = (head.keys + 15) / 16 * 16;
    return head;
}

static void inference_run(void *ctx, int item, int worker)
{
    const struct inference *f = ctx;
    const struct attention_node *n = f->n;
    int from = item % f->blocks * QUERY_BLOCK, h = item / f->blocks % n->a.heads;
    int b = item / f->blocks / n->a.heads;
    struct head whole = attention_head(n), head = inference_head(n, b, from);
    struct offsets at = attention_offsets(n, &whole, b, h);
    float *P = f->room + (size_t)worker * f->each;
    at.q += (size_t)from * (size_t)head.q_stride;
    kernels()->attention_probs(&head, P, n->q.data + at.q, n->k.data + at.kv,
                               P + (size_t)head.Tq * (size_t)head.Tp);
    kernels()->attention_mix(&head, n->y.data + at.q, P, n->v.data + at.kv);
}

static struct tensor attention_infer(struct tape *tape, const struct attention_node *n)
{
    struct head head = attention_head(n);
    int B = n->q.dim[0], threads = pool_threads(tape->pool), keys = n->key_count ? 0 : head.Tk;
    for (int b = 0; n->key_count && b < B; b++)
        keys = keys > n->key_count[b] ? keys : n->key_count[b];
    struct inference f = {.n = n, .blocks = (head.Tq + QUERY_BLOCK - 1) / QUERY_BLOCK};
    int heads = B * n->a.heads;
    f.each = (size_t)(least(head.Tq, QUERY_BLOCK) + head.D) * (size_t)((keys + 15) / 16 * 16);
    f.room = tape_floats(tape, (size_t)threads * f.each);
    if (!f.room)
        return (struct tensor){0};
    double products = 2.0 * heads * head.Tq * head.D * keys;
    pool_run(products < SHARED_PRODUCTS ? NULL : tape->pool, heads * f.blocks, inference_run, &f);
    return n->y;
}

/* ---- backward ---- */

static void attention_backward_head(const struct attention_node *n, const struct head *head,
                                    struct offsets at, float *work)
{
    const struct kernels *K = kernels();
    const float *dy = n->y.grad + at.q, *P = n->probs + at.probs;
    float *dP = work + (size_t)head->D * (size_t)head->Tp;
    size_t size = (size_t)head->Tq * (size_t)head->Tp;
    if (n->v.grad)
        K->attention_dv(head, n->v.grad + at.kv, n->dropped + at.probs, dy);
    if (!n->q.grad && !n->k.grad)
        return;
    K->attention_dP(head, dP, dy, n->v.data + at.kv, work);
    if (n->keep)
        K->select(dP, dP, n->keep + at.probs, 1 / (1 - n->a.dropout), size);
    K->attention_back(head, n->q.grad ? n->q.grad + at.q : NULL,
                      n->k.grad ? n->k.grad + at.kv : NULL, dP, P, n->q.data + at.q,
                      n->k.data + at.kv);
}

static void attention_backward(struct tape_node *node, struct tape *tape)
{
    const struct attention_node *n = (const struct attention_node *)node;
    struct head head = attention_head(n);
    float *work = tape_floats(tape, (size_t)(head.D + head.Tq) * (size_t)head.Tp);
    if (!work)
        return;
    for (int b = 0; b < n->q.dim[0]; b++) {
        attention_sample(n, &head, b);
        for (int h = 0; h < n->a.heads; h++)
            attention_backward_head(n, &head, attention_offsets(n, &head, b, h), work);
    }
}

/* Copies of the masks (the caller's may be gone in the backward pass) and room for probabilities */
static bool attention_prepare(struct tape *tape, struct attention_node *n)
{
    struct head head = attention_head(n);
    int B = n->q.dim[0];
    size_t mask_size = (size_t)B * (size_t)head.Tk;
    size_t count = (size_t)B * (size_t)n->a.heads * (size_t)head.Tq * (size_t)head.Tp;
    if (n->a.key_count)
        n->key_count = tape_copy_ints(tape, n->a.key_count, (size_t)B);
    if (n->a.first)
        n->first = tape_copy_ints(tape, n->a.first, (size_t)B);
    if (n->a.last_weight)
        n->last_weight = tape_copy_ints(tape, n->a.last_weight, (size_t)B);
    uint8_t *mask = n->a.key_mask ? tape_alloc(tape, mask_size) : NULL;
    if (mask)
        n->key_mask = memcpy(mask, n->a.key_mask, mask_size);
    n->dropped = n->probs = tape_floats(tape, count);
    if (n->a.dropout > 0) {
        n->keep = tape_keep(tape, count, n->a.dropout);
        n->dropped = tape_floats(tape, count);
    }
    return tape->status == STATUS_OK;
}

struct tensor op_attention(struct tape *tape, struct tensor q, struct tensor k, struct tensor v,
                           const struct attention *a)
{
    if (!attention_check(tape, q, k, v, a))
        return (struct tensor){0};
    struct attention_node local = {.a = *a, .q = q, .k = k, .v = v};
    local.y = tape_like(tape, q.grad || k.grad || v.grad, q);
    if (!tensor_is(local.y))
        return local.y;
    local.key_count = a->key_count, local.first = a->first, local.key_mask = a->key_mask;
    local.last_weight = a->last_weight;
    if (!tape->recording && a->dropout == 0 && !a->probs_out)
        return attention_infer(tape, &local);
    struct head head = attention_head(&local);
    float *work = tape_floats(tape, (size_t)head.D * (size_t)head.Tp);
    if (!work || !attention_prepare(tape, &local))
        return (struct tensor){0};
    attention_forward(&local, work);
    struct attention_node *n = tape_record(tape, local.y, sizeof *n, attention_backward);
    if (n) {
        struct tape_node link = n->node;
        *n = local;
        n->node = link;
    }
    return local.y;
}
