/* The inner loops: plain functions on raw pointers, compiled once per instruction set (kernels_*.c)
 * and picked at run time. Internal to model/tensor.
 *
 * R rows, C channels, all row-major float32; a "d" in front is a gradient, and gradients add up
 * (+=). The code is in kernels_<noun>.h, forward and backward side by side. */
#ifndef CDCCA_KERNELS_H
#define CDCCA_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One head of one sample. Rows of q and out are q_stride apart, of k and v kv_stride; P (Tq,Tk) has
 * rows Tp = Tk rounded up to 16 apart and holds 0 where a key is masked. */
struct head {
    int Tq, Tk, Tp, D, q_stride, kv_stride;
    float scale;         /* 1 / sqrt(D) */
    bool causal;         /* query t sees keys 0 .. first + t */
    int first;           /* the position of query 0 */
    int keys;            /* keys that exist, from the front */
    const uint8_t *mask; /* (Tk) 1: exists; or NULL */
    int last_weight;     /* how many equal keys the last that exists stands for */
};

struct adamw_rates {
    float beta1, beta2, eps, keep, step_size, root_correction; /* keep: 1 - lr * decay */
};

struct kernels {
    const char *name;
    /* vectors */
    float (*dot)(const float *x, const float *y, int n);
    double (*square_sum)(const float *x, size_t n);
    void (*add)(float *y, const float *a, const float *b, size_t n);      /* y = a + b */
    void (*accumulate)(float *y, const float *x, float factor, size_t n); /* y += factor x */
    void (*scale)(float *y, const float *x, float factor, size_t n);      /* y = factor x */
    void (*select)(float *y, const float *x, const uint8_t *keep, float factor, size_t n);
    void (*select_back)(float *dx, const float *dy, const uint8_t *keep, float factor, size_t n);
    void (*column_sum)(float *sum, const float *x, int R, int C); /* sum (C) += over rows */
    /* activations */
    void (*gelu)(float *y, const float *x, size_t n);
    void (*gelu_back)(float *dx, const float *dy, const float *x, size_t n);
    void (*swiglu)(float *y, const float *gate, const float *up, size_t n);
    void (*swiglu_back)(float *dgate, float *dup, const float *dy, const float *gate,
                        const float *up, size_t n);
    /* cosine and sine (T,half) of (first + t) * frequency[i] */
    void (*rope_tables)(float *cosine, float *sine, const float *frequency, int T, int half,
                        int first);
    /* x (T,H,D), cosine and sine (T,D/2); sign -1 turns back; adds into y when accumulate */
    void (*rope)(float *y, const float *x, const float *cosine, const float *sine, int T, int H,
                 int D, float sign, bool accumulate);
    /* norms: mean and rstd (R) are kept for the way back; dx, dw, db may be NULL */
    void (*layernorm)(float *y, float *mean, float *rstd, const float *x, const float *w,
                      const float *b, float eps, int R, int C);
    void (*layernorm_back)(float *dx, float *dw, float *db, const float *dy, const float *x,
                           const float *w, const float *mean, const float *rstd, int R, int C);
    void (*rmsnorm)(float *y, float *rstd, const float *x, const float *w, float eps, int R, int C);
    void (*rmsnorm_back)(float *dx, float *dw, const float *dy, const float *x, const float *w,
                         const float *rstd, int R, int C);
    /* softmax */
    float (*log_sum_exp)(const float *x, float factor, int n); /* ln sum exp(factor x) */
    void (*softmax)(float *y, const float *x, float factor, int n);
    /* dx += weight * exp(factor x - lse): the softmax half of a cross-entropy's gradient */
    void (*softmax_accumulate)(float *dx, const float *x, float factor, float lse, float weight,
                               int n);
    /* sum_i exp(factor t - lse_t) * (factor t - lse_t - factor x + lse_x) */
    double (*kl_row)(const float *t, const float *x, float factor, float lse_t, float lse_x, int n);
    /* attention; work: (D,Tp) floats, in the backward pass (D,Tp) + (Tq,Tp) */
    void (*attention_probs)(const struct head *h, float *P, const float *q, const float *k,
                            float *work);
    void (*attention_mix)(const struct head *h, float *out, const float *P, const float *v);
    /* dP comes in work + D*Tp after attention_dP, becomes dS there in attention_back */
    void (*attention_dP)(const struct head *h, float *dP, const float *dout, const float *v,
                         float *work);
    void (*attention_back)(const struct head *h, float *dq, float *dk, float *dP, const float *P,
                           const float *q, const float *k);
    void (*attention_dv)(const struct head *h, float *dv, const float *P, const float *dout);
    /* matrices: C (M,N) = alpha op(A) op(B) + (keep ? C : 0); y (N) += alpha B (N,K) x; y (N) +=
     * alpha x (K) B (K,N) */
    void (*gemm)(bool ta, bool tb, int M, int N, int K, float alpha, const float *A, int lda,
                 const float *B, int ldb, bool keep, float *C, int ldc);
    void (*gemv)(int N, int K, float alpha, const float *B, int ldb, const float *x, float *y);
    void (*gevm)(int N, int K, float alpha, const float *x, const float *B, int ldb, float *y);
    /* optimisers */
    void (*adamw)(float *w, float *m, float *v, const float *g, const struct adamw_rates *r,
                  size_t n);
};

extern const struct kernels kernels_base, kernels_avx2, kernels_avx512;

/* The best the CPU has; CDCCA_KERNELS=base|avx2|avx512|vnni|amx|neon in the environment asks for
 * less (vnni and amx differ from avx512 in the products of packed weights alone, kernels_weight.h).
 */
const struct kernels *kernels(void);
/* By name, NULL when this CPU cannot run it (tests compare them). */
const struct kernels *kernels_find(const char *name);

#endif
