/* Optimisers over the flat gradient vector of a list of parameters, clipping, schedules. */
#ifndef CDCCA_OPTIM_H
#define CDCCA_OPTIM_H

#include "model/tensor/parallel.h"
#include "model/tensor/tensor.h"

struct adamw {
    float beta1, beta2, eps, weight_decay;
    int64_t step;
    float *m, *v; /* flat, as long as the gradients */
    size_t count;
};

/* Gives each parameter its grad_at in order (trainable) and returns the flat length. */
size_t optim_assign(struct param *const *params, int n);
/* grads[0] += grads[1] + ... in this order: the shards' gradients, each of `count` floats. pool may
 * be NULL; the result does not depend on it. */
void optim_sum(struct pool *pool, float *const *grads, int shards, size_t count);
/* sqrt of the sum of squares; scales grads in place when above max_norm (max_norm <= 0: only
 * measures). Returns the norm before. */
float optim_clip(float *grads, size_t count, float max_norm);
enum status adamw_init(struct adamw *opt, size_t count, float beta1, float beta2, float eps,
                       float weight_decay, struct err *err);
void adamw_deinit(struct adamw *opt);
/* decay applies to parameters with ndim >= 2 when decay_matrices_only, else to all (PyTorch's). */
void adamw_step(struct adamw *opt, struct param *const *params, int n, const float *grads, float lr,
                bool decay_matrices_only);
/* The same, cut over a pool (may be NULL); the same bits. */
void adamw_step_shared(struct adamw *opt, struct pool *pool, struct param *const *params, int n,
                       const float *grads, float lr, bool decay_matrices_only);
/* SGD with momentum (velocity: flat, caller's, may be NULL when momentum is 0), as PyTorch's */
void sgd_step(struct param *const *params, int n, const float *grads, float lr, float momentum,
              float *velocity);

/* lr * min(1, (step+1)/warmup) * (floor + (1-floor) * half cosine) ; and linear to floor */
float schedule_cosine(int64_t step, int64_t total, int64_t warmup, float lr, float floor);
float schedule_linear(int64_t step, int64_t total, int64_t warmup, float lr, float floor);

#endif
