/* AdamW and SGD over the flat gradient vector, clipping, schedules; PyTorch's definitions. */
#include "model/tensor/optim.h"
#include "api/base/checked.h"
#include "model/tensor/kernels.h"
#include <math.h>
#include <stdlib.h>

static const double pi = 3.14159265358979323846;

size_t optim_assign(struct param *const *params, int n)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        params[i]->grad_at = (int64_t)at;
        at += param_count(params[i]);
    }
    return at;
}

/* ---- the shards' gradients ---- */

enum { CHUNK = 1 << 16 }; /* floats handed to a thread at once */

struct sum_job {
    float *const *grads;
    int shards;
    size_t count;
};

static void sum_chunk(void *ctx, int item, int worker)
{
    const struct sum_job *job = ctx;
    size_t from = (size_t)item * CHUNK, n = job->count - from < CHUNK ? job->count - from : CHUNK;
    (void)worker;
    for (int s = 1; s < job->shards; s++)
        kernels()->accumulate(job->grads[0] + from, job->grads[s] + from, 1, n);
}

void optim_sum(struct pool *pool, float *const *grads, int shards, size_t count)
{
    struct sum_job job = {grads, shards, count};
    pool_run(pool, (int)((count + CHUNK - 1) / CHUNK), sum_chunk, &job);
}

float optim_clip(float *grads, size_t count, float max_norm)
{
    float norm = (float)sqrt(kernels()->square_sum(grads, count));
    float factor = max_norm / (norm + 1e-6f);
    if (max_norm > 0 && factor < 1)
        for (size_t i = 0; i < count; i++)
            grads[i] *= factor;
    return norm;
}

/* ---- AdamW ---- */

enum status adamw_init(struct adamw *opt, size_t count, float beta1, float beta2, float eps,
                       float weight_decay, struct err *err)
{
    *opt = (struct adamw){
        .beta1 = beta1, .beta2 = beta2, .eps = eps, .weight_decay = weight_decay, .count = count};
    opt->m = calloc(count ? count : 1, sizeof *opt->m);
    opt->v = calloc(count ? count : 1, sizeof *opt->v);
    if (opt->m && opt->v)
        return STATUS_OK;
    adamw_deinit(opt);
    return err_set(err, STATUS_NO_MEMORY, "out of memory for the moments of %zu parameters", count);
}

void adamw_deinit(struct adamw *opt)
{
    free(opt->m);
    free(opt->v);
    opt->m = opt->v = NULL;
}

static struct adamw_rates adamw_rates(const struct adamw *opt, float lr)
{
    double correct1 = 1 - pow((double)opt->beta1, (double)opt->step);
    double correct2 = 1 - pow((double)opt->beta2, (double)opt->step);
    return (struct adamw_rates){.beta1 = opt->beta1,
                                .beta2 = opt->beta2,
                                .eps = opt->eps,
                                .keep = 1 - lr * opt->weight_decay,
                                .step_size = (float)((double)lr / correct1),
                                .root_correction = (float)sqrt(correct2)};
}

struct adamw_job {
    struct adamw *opt;
    struct param *const *params;
    int n;
    const float *grads;
    struct adamw_rates rates;
    bool decay_matrices_only;
};

/* Elements [from, to) of the flat vector, whatever parameters they belong to */
static void adamw_range(const struct adamw_job *job, size_t from, size_t to)
{
    for (int i = 0; i < job->n; i++) {
        const struct param *p = job->params[i];
        size_t start = (size_t)p->grad_at, end = start + param_count(p);
        size_t a = start > from ? start : from, b = end < to ? end : to;
        if (p->grad_at < 0 || a >= b)
            continue;
        struct adamw_rates rates = job->rates;
        if (job->decay_matrices_only && p->ndim < 2)
            rates.keep = 1;
        kernels()->adamw(p->data + (a - start), job->opt->m + a, job->opt->v + a, job->grads + a,
                         &rates, b - a);
    }
}

static void adamw_chunk(void *ctx, int item, int worker)
{
    (void)worker;
    adamw_range(ctx, (size_t)item * CHUNK, (size_t)(item + 1) * CHUNK);
}

void adamw_step_shared(struct adamw *opt, struct pool *pool, struct param *const *params, int n,
                       const float *grads, float lr, bool decay_matrices_only)
{
    opt->step++;
    struct adamw_job job = {opt, params, n, grads, adamw_rates(opt, lr), decay_matrices_only};
    pool_run(pool, (int)((opt->count + CHUNK - 1) / CHUNK), adamw_chunk, &job);
}

void adamw_step(struct adamw *opt, struct param *const *params, int n, const float *grads, float lr,
                bool decay_matrices_only)
{
    adamw_step_shared(opt, NULL, params, n, grads, lr, decay_matrices_only);
}

/* ---- SGD ---- */

void sgd_step(struct param *const *params, int n, const float *grads, float lr, float momentum,
              float *velocity)
{
    for (int i = 0; i < n; i++) {
        struct param *p = params[i];
        size_t count = param_count(p);
        if (p->grad_at < 0)
            continue;
        const float *g = grads + p->grad_at;
        if (velocity && momentum != 0) {
            float *v = velocity + p->grad_at;
            kernels()->scale(v, v, momentum, count);
            kernels()->accumulate(v, g, 1, count);
            g = v;
        }
        kernels()->accumulate(p->data, g, -lr, count);
    }
}

/* ---- schedules ---- */

static double schedule_warmup(int64_t step, int64_t warmup)
{
    return step < warmup ? (double)(step + 1) / (double)warmup : 1;
}

static double schedule_progress(int64_t step, int64_t total)
{
    double share = total > 0 ? (double)step / (double)total : 1;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

float schedule_cosine(int64_t step, int64_t total, int64_t warmup, float lr, float floor)
{
    double half_cosine = 0.5 * (1 + cos(pi * schedule_progress(step, total)));
    double low = (double)floor;
    return (float)((double)lr * schedule_warmup(step, warmup) * (low + (1 - low) * half_cosine));
}

float schedule_linear(int64_t step, int64_t total, int64_t warmup, float lr, float floor)
{
    double low = (double)floor, left = 1 - schedule_progress(step, total);
    return (float)((double)lr * schedule_warmup(step, warmup) * (low + (1 - low) * left));
}
