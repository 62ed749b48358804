/* The Q-Former: BERT layers (post-LN) over [query tokens; instruction], in which the query rows
 * attend to the visual tokens every few layers and have a feed-forward of their own. Only the query
 * rows leave it, so the last layer computes nothing else. */
#include "model/mllm/forward.h"

enum { TAPS = 16 };

struct qformer {
    struct tape *tape;
    const struct mllm *m;
    const struct mllm_batch *batch;
    struct mllm_taps *taps;
    struct tensor visual;
    const int *key_count; /* rows of [queries; instruction] that exist, per item */
    int crossed;          /* cross-attention layers so far */
};

/* LayerNorm(residual + x), BERT's "output" block */
static struct tensor add_norm(struct qformer *f, struct tensor residual, struct tensor x,
                              const struct param *weight, const struct param *bias)
{
    struct tensor sum = op_add(f->tape, residual, x);
    return op_layernorm(f->tape, sum, weight, bias, f->m->config.qformer.eps);
}

/* rows: how many of x's leading rows are wanted out (all, but for the last layer) */
static struct tensor self_attention(struct qformer *f, const struct qformer_layer *l,
                                    struct tensor x, int rows)
{
    int heads = f->m->config.qformer.heads;
    struct attention how = {.heads = heads, .kv_heads = heads, .key_count = f->key_count};
    struct tensor from = rows < x.dim[1] ? op_slice(f->tape, x, 0, rows) : x;
    struct tensor q = op_linear(f->tape, from, &l->query);
    struct tensor k = op_linear(f->tape, x, &l->key);
    struct tensor v = op_linear(f->tape, x, &l->value);
    struct tensor out = op_linear(f->tape, op_attention(f->tape, q, k, v, &how), &l->out);
    return add_norm(f, from, out, l->out_norm_w, l->out_norm_b);
}

static struct tensor cross_attention(struct qformer *f, const struct qformer_layer *l,
                                     struct tensor x)
{
    int heads = f->m->config.qformer.heads, i = f->crossed++;
    bool tapped = f->taps && i < TAPS;
    struct attention how = {.heads = heads,
                            .kv_heads = heads,
                            .key_count = f->batch->visual_count,
                            .last_weight = f->batch->visual_rest,
                            .probs_out = tapped ? f->taps->cross_probs[i] : NULL};
    struct tensor q = op_linear(f->tape, x, &l->cross_query);
    struct tensor k = op_linear(f->tape, f->visual, &l->cross_key);
    struct tensor v = op_linear(f->tape, f->visual, &l->cross_value);
    struct tensor out = op_linear(f->tape, op_attention(f->tape, q, k, v, &how), &l->cross_out);
    out = adapter_apply(f->tape, out, &l->cross_adapter);
    if (tapped) {
        f->taps->cross[i] = out;
        f->taps->cross_value[i] = v;
        f->taps->cross_count = f->crossed;
    }
    return add_norm(f, x, out, l->cross_norm_w, l->cross_norm_b);
}

static struct tensor query_ffn(struct qformer *f, const struct qformer_layer *l, struct tensor x)
{
    struct tensor h = op_gelu(f->tape, op_linear(f->tape, x, &l->ffn_query_in));
    h = op_linear(f->tape, h, &l->ffn_query_out);
    x = add_norm(f, x, h, l->ffn_query_norm_w, l->ffn_query_norm_b);
    return adapter_apply(f->tape, x, &l->query_adapter);
}

static struct tensor text_ffn(struct qformer *f, const struct qformer_layer *l, struct tensor x)
{
    struct tensor h = op_gelu(f->tape, op_linear(f->tape, x, &l->ffn_in));
    h = op_linear(f->tape, h, &l->ffn_out);
    return add_norm(f, x, h, l->ffn_norm_w, l->ffn_norm_b);
}

static struct tensor qformer_block(struct qformer *f, int i, struct tensor x)
{
    const struct qformer_layer *l = &f->m->qformer.layer[i];
    int Q = f->m->config.queries;
    bool last = i == f->m->config.qformer.layers - 1;
    struct tensor h = self_attention(f, l, x, last ? Q : x.dim[1]);
    bool text = h.ndim == 3 && h.dim[1] > Q;
    struct tensor queries = text ? op_slice(f->tape, h, 0, Q) : h;
    if (l->cross)
        queries = cross_attention(f, l, queries);
    queries = query_ffn(f, l, queries);
    if (!text)
        return queries;
    struct tensor rest = text_ffn(f, l, op_slice(f->tape, h, Q, h.dim[1] - Q));
    return op_concat(f->tape, queries, rest);
}

static struct tensor qformer_embed(struct qformer *f)
{
    const struct mllm *m = f->m;
    const struct mllm_batch *b = f->batch;
    struct tensor x = op_broadcast(f->tape, m->query_tokens, b->B);
    if (m->config.qformer.text && b->question_T > 0) {
        struct tensor t = op_embedding(f->tape, m->qformer.words, b->question, b->B, b->question_T);
        x = op_concat(f->tape, x, op_add_positions(f->tape, t, m->qformer.positions));
    }
    return op_layernorm(f->tape, x, m->qformer.norm_w, m->qformer.norm_b, m->config.qformer.eps);
}

/* How many of [queries; instruction] exist per item; NULL when all do. */
static const int *count_keys(struct tape *tape, const struct mllm *m, const struct mllm_batch *b)
{
    if (!b->question_count || b->question_T == 0 || !m->config.qformer.text)
        return NULL;
    int *count = tape_alloc(tape, (size_t)b->B * sizeof *count);
    for (int i = 0; count && i < b->B; i++)
        count[i] = m->config.queries + b->question_count[i];
    return count;
}

struct tensor qformer_forward(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                              struct mllm_taps *taps)
{
    struct qformer f = {.tape = tape, .m = m, .batch = b, .taps = taps, .visual = b->visual};
    if (b->question_T > m->config.qformer.positions) {
        tape_fail(tape, STATUS_TOO_LARGE, "the question has %d tokens; the Q-Former takes %d",
                  b->question_T, m->config.qformer.positions);
        return (struct tensor){0};
    }
    f.key_count = count_keys(tape, m, b);
    if (taps && taps->visual_dropout > 0)
        f.visual = op_dropout(tape, b->visual, taps->visual_dropout);
    size_t mark = tape->arena->used;
    struct tensor x = qformer_embed(&f);
    for (int i = 0; i < m->config.qformer.layers; i++) {
        x = qformer_block(&f, i, x);
        if (!taps)
            x = layer_keep(tape, mark, x);
    }
    if (taps)
        taps->query_output = x;
    return x;
}
