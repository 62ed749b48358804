/* Differentiable ops: B batch, T time, C channels, H heads, V vocabulary. All activations are
 * row-major float32. Each op checks its shapes (sticky error on the tape). Inputs without grad get
 * none; frozen parameters cost nothing in the backward pass. Ids, labels, rows, masks and row
 * weights are copied; targets of op_mse and op_kl are borrowed until the backward pass is over. */
#ifndef CDCCA_OPS_H
#define CDCCA_OPS_H

#include "model/tensor/tensor.h"

/* y = x W^T + bias + lora_scale * (x A^T) B^T; W (O,I), A (r,I), B (O,r). bias, A, B may be NULL.
 */
struct linear {
    struct param *weight, *bias, *lora_a, *lora_b;
    float lora_scale;
};

struct tensor op_linear(struct tape *tape, struct tensor x /* (...,I) */, const struct linear *w);
/* y[i] = op_linear(x, w[i]) of n layers with one input, such as q, k and v: cheaper together when
 * they are packed and nothing is recorded. */
void op_linear_many(struct tape *tape, struct tensor x, const struct linear *const *w, int n,
                    struct tensor *y);
/* x @ W^T for a plain matrix parameter, for tied heads */
struct tensor op_embedding(struct tape *tape, const struct param *table /* (V,C) */,
                           const int32_t *ids, int B, int T); /* -> (B,T,C) */
struct tensor op_layernorm(struct tape *tape, struct tensor x, const struct param *weight,
                           const struct param *bias, float eps);
struct tensor op_rmsnorm(struct tape *tape, struct tensor x, const struct param *weight, float eps);
struct tensor op_gelu(struct tape *tape, struct tensor x);                        /* exact, erf */
struct tensor op_swiglu(struct tape *tape, struct tensor gate, struct tensor up); /* silu(g) * u */
struct tensor op_add(struct tape *tape, struct tensor a, struct tensor b);        /* same shape */
/* x (B,T,C) + table[0..T-1] (rows of a parameter (>=T,C), broadcast over B) */
struct tensor op_add_positions(struct tape *tape, struct tensor x, const struct param *table);
struct tensor op_scale(struct tape *tape, struct tensor x, float factor);
struct tensor op_dropout(struct tape *tape, struct tensor x, float p); /* inverted; p 0: x itself */
/* Broadcasts a parameter (T,C) or (1,T,C) to (B,T,C) */
struct tensor op_broadcast(struct tape *tape, const struct param *p, int B);
/* (B,T1,C) ++ (B,T2,C) along T; and the slice [from, from+count) of T */
struct tensor op_concat(struct tape *tape, struct tensor a, struct tensor b);
struct tensor op_slice(struct tape *tape, struct tensor x, int from, int count);
/* Columns [from, from+count) of the last dimension */
struct tensor op_columns(struct tape *tape, struct tensor x, int from, int count);
/* Rows of x seen as (R,C): out (n,C) = x[row[i]]; rows may repeat (gradients add up). */
struct tensor op_rows(struct tape *tape, struct tensor x, const int32_t *row, int n);
struct tensor op_mean_time(struct tape *tape, struct tensor x); /* (B,T,C) -> (B,C) */

/* Rotary position embedding, half-split order as in HF (x[i], x[i + D/2]), in a new tensor.
 * x (B,T,H*D); position of row t is first + t. */
struct tensor op_rope(struct tape *tape, struct tensor x, int heads, float theta, int first);
/* The same with first[b] of every sample b. */
struct tensor op_rope_rows(struct tape *tape, struct tensor x, int heads, float theta,
                           const int *first);
/* The same in two steps, where many layers turn by the same angles: cosines and sines of T
 * positions from first[b] on for each of `tables` samples (1: for all), in the tape's arena; then
 * the turn. */
struct rope {
    const float *cosine, *sine; /* (tables,T,D/2) */
    int T, D, tables;
};
struct rope op_rope_tables(struct tape *tape, int T, int D, float theta, const int *first,
                           int tables);
struct tensor op_rope_by(struct tape *tape, struct tensor x, int heads, const struct rope *by);

struct attention {
    int heads, kv_heads;     /* kv_heads divides heads */
    bool causal;             /* query t sees keys 0 .. first + t */
    const int *first;        /* (B) the position of query 0; NULL: Tk - Tq */
    const int *key_count;    /* (B) keys that exist, from the front; NULL: all */
    const uint8_t *key_mask; /* (B,Tk) 1: exists; NULL: all. Combined with the above */
    const int *last_weight;  /* (B) how many equal keys the last that exists stands for, at least 1;
                                NULL: one */
    float dropout;           /* on the probabilities */
    float *probs_out;        /* (B,H,Tq,Tk), copied out when not NULL (before dropout) */
};
/* softmax(q k^T / sqrt(D)) v; q (B,Tq,H*D), k and v (B,Tk,KV*D) -> (B,Tq,H*D) */
struct tensor op_attention(struct tape *tape, struct tensor q, struct tensor k, struct tensor v,
                           const struct attention *a);

/* Losses, each a tensor of one element; weight scales the loss. */
/* mean over rows with label >= 0 of -log softmax(x)[label]; x (R,V) */
struct tensor op_cross_entropy(struct tape *tape, struct tensor logits, const int32_t *labels);
/* the same with a weight per row: sum(w * ce) / sum(w) */
struct tensor op_cross_entropy_weighted(struct tape *tape, struct tensor logits,
                                        const int32_t *labels, const float *row_weight);
/* mean squared error against a constant target of the same shape */
struct tensor op_mse(struct tape *tape, struct tensor x, const float *target);
/* mean over rows (row_weight NULL or 0/1) of T^2 KL(softmax(teacher/T) || softmax(x/T)); R,V */
struct tensor op_kl(struct tape *tape, struct tensor logits, const float *teacher_logits,
                    float temperature, const float *row_weight);
/* mean over rows of the entropy of softmax(logits), nats (TENT) */
struct tensor op_entropy(struct tape *tape, struct tensor logits);
/* PKD (arXiv 2207.02039): mean of (u - v)^2 / 2, u and v being x and the target with each channel
 * standardised over all rows (sample deviation + 1e-6): 1 - Pearson's r. x (...,C), rows > 1 */
struct tensor op_pearson(struct tape *tape, struct tensor x, const float *target);
/* CWD (arXiv 2011.13256): T^2/(B C) sum over images and channels of KL(target || x), softmax over
 * the positions. x (B,Q,C) */
struct tensor op_channel_kl(struct tape *tape, struct tensor x, const float *target,
                            float temperature);
/* sum over j = 1..3 of mean |high band j of the db6 wavelet transform of x - target along the
 * positions| (CD-CCA's frequency term; zero beyond the ends). x (B,Q,C), Q <= 500 */
struct tensor op_wavelet(struct tape *tape, struct tensor x, const float *target);
/* sum of factor[i] * losses[i] */
struct tensor op_weighted_sum(struct tape *tape, const struct tensor *losses, const float *factors,
                              int n);

/* Plain helpers without tape */
void softmax_row(const float *x, int n, float temperature, float *out);
float entropy_row(const float *logits, int n); /* nats, of softmax(logits) */

#endif
