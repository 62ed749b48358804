/* Kernels of attention (Vaswani et al. 2017), for one head of one sample: sequences are short here,
 * so the products are our own small ones, on rows in place and K or V turned once into `work`. */
#include "model/tensor/kernels.h"
#include "model/tensor/kernels_gemm.h"
#include "model/tensor/vecmath.h"

/* turned (D,Tp) = x^T, x (Tk,D) with rows kv_stride apart; columns past Tk are 0. */
static void attention_turn(const struct head *h, float *turned, const float *x)
{
    for (int d = 0; d < h->D; d++)
        for (int t = h->Tk; t < h->Tp; t++)
            turned[d * h->Tp + t] = 0;
    turn(turned, h->Tp, x, h->kv_stride, h->D, h->Tk, 1);
}

/* One row of scores to probabilities, 0 for keys that are masked; a row without keys is all 0. */
static void attention_softmax(const struct head *h, float *row, int t)
{
    int n = h->keys, seen = h->first + t + 1;
    if (h->causal && seen < n)
        n = seen < 0 ? 0 : seen;
    for (int i = 0; h->mask && i < n; i++)
        row[i] = h->mask[i] ? row[i] : -1e30f;
    float m = n > 0 ? vec_max(row, n) : 0;
    for (int i = 0; i < n; i++)
        row[i] = vec_exp(h->scale * (row[i] - m));
    for (int i = 0; h->mask && i < n; i++)
        row[i] = h->mask[i] ? row[i] : 0;
    for (int i = n; i < h->Tp; i++)
        row[i] = 0;
    float sum = vec_sum(row, n), factor = sum > 0 ? 1.0f / sum : 0;
    for (int i = 0; i < n; i++)
        row[i] *= sum != sum ? sum : factor;
}

/* A query or two (decoding): dot products with the keys where they lie. */
static void attention_scores_few(const struct head *h, float *P, const float *q, const float *k)
{
    for (int t = 0; t < h->Tq; t++)
        for (int i = 0; i < h->keys; i++)
            P[t * h->Tp + i] =
                vec_dot(q + (ptrdiff_t)t * h->q_stride, k + (ptrdiff_t)i * h->kv_stride, h->D);
}

/* P (Tq,Tp) = softmax(q k^T * scale); q (Tq,D), k (Tk,D), work (D,Tp) */
static void kernel_attention_probs(const struct head *h, float *P, const float *q, const float *k,
                                   float *work)
{
    memset(P, 0, (size_t)h->Tq * (size_t)h->Tp * sizeof *P);
    if (h->Tq <= 2) {
        attention_scores_few(h, P, q, k);
    } else {
        attention_turn(h, work, k);
        gemm_tiles(h->Tq, h->Tp, h->D, q, h->q_stride, 1, work, h->Tp, P, h->Tp);
    }
    for (int t = 0; t < h->Tq; t++)
        attention_softmax(h, P + (ptrdiff_t)t * h->Tp, t);
}

/* out (Tq,D) = P v; v (Tk,D) */
static void kernel_attention_mix(const struct head *h, float *out, const float *P, const float *v)
{
    for (int t = 0; t < h->Tq; t++)
        memset(out + (ptrdiff_t)t * h->q_stride, 0, (size_t)h->D * sizeof *out);
    gemm_tiles(h->Tq, h->D, h->keys, P, h->Tp, 1, v, h->kv_stride, out, h->q_stride);
}

/* dP (Tq,Tp) = dout v^T; work (D,Tp) */
static void kernel_attention_dP(const struct head *h, float *dP, const float *dout, const float *v,
                                float *work)
{
    attention_turn(h, work, v);
    memset(dP, 0, (size_t)h->Tq * (size_t)h->Tp * sizeof *dP);
    gemm_tiles(h->Tq, h->Tp, h->D, dout, h->q_stride, 1, work, h->Tp, dP, h->Tp);
}

/* dS = P (dP - sum(dP P)) * scale in place of dP; dq += dS k, dk += dS^T q (either may be NULL) */
static void kernel_attention_back(const struct head *h, float *dq, float *dk, float *dP,
                                  const float *P, const float *q, const float *k)
{
    for (int t = 0; t < h->Tq; t++) {
        float *restrict ds = dP + (ptrdiff_t)t * h->Tp;
        const float *restrict p = P + (ptrdiff_t)t * h->Tp;
        float sum = vec_dot(ds, p, h->Tp);
        for (int i = 0; i < h->Tp; i++)
            ds[i] = p[i] * (ds[i] - sum) * h->scale;
    }
    if (dq)
        gemm_tiles(h->Tq, h->D, h->keys, dP, h->Tp, 1, k, h->kv_stride, dq, h->q_stride);
    if (dk)
        gemm_tiles(h->keys, h->D, h->Tq, dP, 1, h->Tp, q, h->q_stride, dk, h->kv_stride);
}

/* dv (Tk,D) += P^T dout */
static void kernel_attention_dv(const struct head *h, float *dv, const float *P, const float *dout)
{
    gemm_tiles(h->keys, h->D, h->Tq, P, 1, h->Tp, dout, h->q_stride, dv, h->kv_stride);
}
