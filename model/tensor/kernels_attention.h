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
    if (n > 0 && n == h->keys)
        row[n - 1] *= (float)h->last_weight;
    float sum = vec_sum(row, n), factor = sum > 0 ? 1.0f / sum : 0;
    for (int i = 0; i < n; i++)
        row[i] *= sum != sum ? sum : factor;
}

/* ---- a query or two, as in decoding: keys and values where they lie ---- */

/* to (v4) = the quarters of from (vec) added up */
#if defined(__AVX512F__)
#define QUARTERS(to, from)                                                                         \
    do {                                                                                           \
        v8 half_ = __builtin_shufflevector(from, from, 0, 1, 2, 3, 4, 5, 6, 7) +                   \
                   __builtin_shufflevector(from, from, 8, 9, 10, 11, 12, 13, 14, 15);              \
        (to) = __builtin_shufflevector(half_, half_, 0, 1, 2, 3) +                                 \
               __builtin_shufflevector(half_, half_, 4, 5, 6, 7);                                  \
    } while (0)
#elif defined(__AVX2__)
#define QUARTERS(to, from)                                                                         \
    ((to) = __builtin_shufflevector(from, from, 0, 1, 2, 3) +                                      \
            __builtin_shufflevector(from, from, 4, 5, 6, 7))
#else
#define QUARTERS(to, from) ((to) = (from))
#endif

/* score (4) = k (4,D) q, D a multiple of LANES: the sums of four keys are added up together. */
static inline void attention_four_scores(float *score, const float *q, const float *k,
                                         ptrdiff_t stride, int D)
{
    vec acc[4] = {{0}}, a, b;
    v4 part[4];
    for (int i = 0; i < D; i += LANES) {
        VEC_LOAD(a, q + i);
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
        {
            VEC_LOAD(b, k + j * stride + i);
            acc[j] += a * b;
        }
    }
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) QUARTERS(part[j], acc[j]);
    v4 ab = __builtin_shufflevector(part[0], part[1], 0, 4, 2, 6) +
            __builtin_shufflevector(part[0], part[1], 1, 5, 3, 7);
    v4 cd = __builtin_shufflevector(part[2], part[3], 0, 4, 2, 6) +
            __builtin_shufflevector(part[2], part[3], 1, 5, 3, 7);
    v4 sums =
        __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    memcpy(score, &sums, sizeof sums);
}

static void attention_scores_few(const struct head *h, float *P, const float *q, const float *k)
{
    for (int t = 0; t < h->Tq; t++) {
        const float *query = q + (ptrdiff_t)t * h->q_stride;
        int i = 0;
        for (; h->D % LANES == 0 && i + 4 <= h->keys; i += 4)
            attention_four_scores(P + t * h->Tp + i, query, k + (ptrdiff_t)i * h->kv_stride,
                                  h->kv_stride, h->D);
        for (; i < h->keys; i++)
            P[t * h->Tp + i] = vec_dot(query, k + (ptrdiff_t)i * h->kv_stride, h->D);
    }
}

enum { MIX_COLS = 4 * LANES };

/* out (MIX_COLS) = P (keys) v: every second key has sums of its own, so that an addition need not
 * wait for the one before. */
static inline void attention_mix_row(const struct head *h, float *out, const float *P,
                                     const float *v)
{
    vec even[4] = {{0}}, odd[4] = {{0}}, b;
    int i = 0;
    for (; i + 2 <= h->keys; i += 2, v += 2 * (ptrdiff_t)h->kv_stride) {
        _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
        {
            VEC_LOAD(b, v + j * LANES);
            even[j] += P[i] * b;
            VEC_LOAD(b, v + h->kv_stride + j * LANES);
            odd[j] += P[i + 1] * b;
        }
    }
    _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)
    {
        if (i < h->keys) {
            VEC_LOAD(b, v + j * LANES);
            even[j] += P[i] * b;
        }
        even[j] += odd[j];
        VEC_STORE(out + j * LANES, even[j]);
    }
}

/* P (Tq,Tp) = softmax(q k^T * scale); q (Tq,D), k (Tk,D), work (D,Tp) */
static void kernel_attention_probs(const struct head *h, float *P, const float *q, const float *k,
                                   float *work)
{
    if (h->Tq <= 2) {
        attention_scores_few(h, P, q, k);
    } else {
        memset(P, 0, (size_t)h->Tq * (size_t)h->Tp * sizeof *P);
        attention_turn(h, work, k);
        gemm_tiles(h->Tq, h->Tp, h->D, q, h->q_stride, 1, work, h->Tp, P, h->Tp);
    }
    for (int t = 0; t < h->Tq; t++)
        attention_softmax(h, P + (ptrdiff_t)t * h->Tp, t);
}

/* out (Tq,D) = P v; v (Tk,D) */
static void kernel_attention_mix(const struct head *h, float *out, const float *P, const float *v)
{
    if (h->Tq <= 2 && h->D % MIX_COLS == 0) {
        for (int t = 0; t < h->Tq; t++)
            for (int d = 0; d < h->D; d += MIX_COLS)
                attention_mix_row(h, out + (ptrdiff_t)t * h->q_stride + d, P + t * h->Tp, v + d);
        return;
    }
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
