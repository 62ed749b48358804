/* Losses: each returns a tensor of one element. R rows, V columns (the vocabulary). */
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"
#include <math.h>
#include <string.h>

struct loss_node {
    struct tape_node node;
    struct tensor x, y;
    const int32_t *labels; /* (R) cross-entropy */
    const float *target;   /* as x: mse; teacher logits: kl */
    const float *weight;   /* (R) what a row counts, already divided by the total; entropy: H */
    const float *lse, *lse_target; /* (R) log-sum-exp of the rows */
    float factor;                  /* kl: 1 / temperature */
};

static struct tensor loss_tensor(struct tape *tape, struct tensor x, double value)
{
    struct tensor y = tape_tensor(tape, x.grad != NULL, 1, (int[]){1});
    if (tensor_is(y))
        y.data[0] = (float)value;
    return y;
}

/* ---- cross-entropy ---- */

/* dx += dloss * weight * (softmax(x) - onehot(label)) */
static void cross_entropy_backward(struct tape_node *node, struct tape *tape)
{
    const struct loss_node *n = (const struct loss_node *)node;
    int R = tensor_rows(n->x), V = tensor_cols(n->x);
    (void)tape;
    for (int r = 0; r < R; r++) {
        float w = n->y.grad[0] * n->weight[r];
        size_t at = (size_t)r * (size_t)V;
        if (w == 0)
            continue;
        kernels()->softmax_accumulate(n->x.grad + at, n->x.data + at, 1, n->lse[r], w, V);
        n->x.grad[at + (size_t)n->labels[r]] -= w;
    }
}

/* weight (R) = row_weight / its sum over rows with a label; 0 without. False: a label beyond V. */
static bool cross_entropy_weights(float *weight, const int32_t *labels, const float *row_weight,
                                  int R, int V)
{
    double total = 0;
    for (int r = 0; r < R; r++) {
        if (labels[r] >= V)
            return false;
        weight[r] = labels[r] < 0 ? 0 : row_weight ? row_weight[r] : 1;
        total += (double)weight[r];
    }
    for (int r = 0; r < R && total > 0; r++)
        weight[r] = (float)((double)weight[r] / total);
    return true;
}

/* sum of weight * (lse - x[label]); lse (R) is filled where weight is not 0 */
static double cross_entropy_forward(const float *x, const int32_t *labels, const float *weight,
                                    float *lse, int R, int V)
{
    double loss = 0;
    for (int r = 0; r < R; r++) {
        const float *row = x + (size_t)r * (size_t)V;
        if (weight[r] == 0)
            continue;
        lse[r] = kernels()->log_sum_exp(row, 1, V);
        loss += (double)weight[r] * ((double)lse[r] - (double)row[labels[r]]);
    }
    return loss;
}

struct tensor op_cross_entropy_weighted(struct tape *tape, struct tensor logits,
                                        const int32_t *labels, const float *row_weight)
{
    if (!tape_expect(tape, tensor_is(logits) && labels, "cross_entropy", "logits and labels"))
        return (struct tensor){0};
    int R = tensor_rows(logits), V = tensor_cols(logits);
    float *weight = tape_floats(tape, (size_t)R), *lse = tape_floats(tape, (size_t)R);
    if (!weight || !lse ||
        !tape_expect(tape, cross_entropy_weights(weight, labels, row_weight, R, V), "cross_entropy",
                     "labels below the vocabulary's size"))
        return (struct tensor){0};
    double loss = cross_entropy_forward(logits.data, labels, weight, lse, R, V);
    struct tensor y = loss_tensor(tape, logits, loss);
    struct loss_node *n = tape_record(tape, y, sizeof *n, cross_entropy_backward);
    if (n) {
        n->x = logits, n->y = y, n->weight = weight, n->lse = lse;
        n->labels = tape_copy_ints(tape, labels, (size_t)R);
    }
    return y;
}

struct tensor op_cross_entropy(struct tape *tape, struct tensor logits, const int32_t *labels)
{
    return op_cross_entropy_weighted(tape, logits, labels, NULL);
}

/* ---- mean squared error ---- */

static void mse_backward(struct tape_node *node, struct tape *tape)
{
    const struct loss_node *n = (const struct loss_node *)node;
    size_t count = tensor_count(n->x);
    float factor = 2 * n->y.grad[0] / (float)count;
    (void)tape;
    kernels()->accumulate(n->x.grad, n->x.data, factor, count);
    kernels()->accumulate(n->x.grad, n->target, -factor, count);
}

static double mse_forward(const float *x, const float *target, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += ((double)x[i] - (double)target[i]) * ((double)x[i] - (double)target[i]);
    return sum / (double)count;
}

struct tensor op_mse(struct tape *tape, struct tensor x, const float *target)
{
    if (!tape_expect(tape, tensor_is(x) && target, "mse", "an input and a target"))
        return (struct tensor){0};
    struct tensor y = loss_tensor(tape, x, mse_forward(x.data, target, tensor_count(x)));
    struct loss_node *n = tape_record(tape, y, sizeof *n, mse_backward);
    if (n)
        n->x = x, n->y = y, n->target = target;
    return y;
}

/* ---- Kullback-Leibler divergence of softened distributions (Hinton et al. 2015) ---- */

/* dx += dloss * weight * T * (softmax(x/T) - softmax(teacher/T)) */
static void kl_backward(struct tape_node *node, struct tape *tape)
{
    const struct loss_node *n = (const struct loss_node *)node;
    int R = tensor_rows(n->x), V = tensor_cols(n->x);
    (void)tape;
    for (int r = 0; r < R; r++) {
        float w = n->y.grad[0] * n->weight[r] / n->factor, f = n->factor;
        size_t at = (size_t)r * (size_t)V;
        if (w == 0)
            continue;
        kernels()->softmax_accumulate(n->x.grad + at, n->x.data + at, f, n->lse[r], w, V);
        kernels()->softmax_accumulate(n->x.grad + at, n->target + at, f, n->lse_target[r], -w, V);
    }
}

static double kl_forward(const float *x, const float *teacher, const float *weight, float *lse,
                         float *lse_target, float factor, int R, int V)
{
    const struct kernels *k = kernels();
    double sum = 0;
    for (int r = 0; r < R; r++) {
        size_t at = (size_t)r * (size_t)V;
        if (weight[r] == 0)
            continue;
        lse[r] = k->log_sum_exp(x + at, factor, V);
        lse_target[r] = k->log_sum_exp(teacher + at, factor, V);
        sum +=
            (double)weight[r] * k->kl_row(teacher + at, x + at, factor, lse_target[r], lse[r], V);
    }
    return sum / ((double)factor * (double)factor);
}

static void kl_weights(float *weight, const float *row_weight, int R)
{
    double total = 0;
    for (int r = 0; r < R; r++)
        total += (double)(weight[r] = row_weight ? row_weight[r] : 1);
    for (int r = 0; r < R && total > 0; r++)
        weight[r] = (float)((double)weight[r] / total);
}

struct tensor op_kl(struct tape *tape, struct tensor logits, const float *teacher_logits,
                    float temperature, const float *row_weight)
{
    if (!tape_expect(tape, tensor_is(logits) && teacher_logits && temperature > 0, "kl",
                     "logits of both and a temperature above 0"))
        return (struct tensor){0};
    int R = tensor_rows(logits), V = tensor_cols(logits);
    float *weight = tape_floats(tape, 3 * (size_t)R), factor = 1 / temperature;
    if (!weight)
        return (struct tensor){0};
    float *lse = weight + R, *lse_target = lse + R;
    kl_weights(weight, row_weight, R);
    struct tensor y =
        loss_tensor(tape, logits,
                    kl_forward(logits.data, teacher_logits, weight, lse, lse_target, factor, R, V));
    struct loss_node *n = tape_record(tape, y, sizeof *n, kl_backward);
    if (n) {
        n->x = logits, n->y = y, n->target = teacher_logits, n->weight = weight;
        n->lse = lse, n->lse_target = lse_target, n->factor = factor;
    }
    return y;
}

/* ---- entropy ---- */

/* dx += dloss / R * p * (log p's mean - log p) = -dloss / R * p * (x - lse + H) */
static void entropy_backward(struct tape_node *node, struct tape *tape)
{
    const struct loss_node *n = (const struct loss_node *)node;
    int R = tensor_rows(n->x), V = tensor_cols(n->x);
    (void)tape;
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) {
            size_t at = (size_t)r * (size_t)V + (size_t)v;
            float log_p = n->x.data[at] - n->lse[r];
            n->x.grad[at] -= n->y.grad[0] / (float)R * expf(log_p) * (log_p + n->weight[r]);
        }
}

struct tensor op_entropy(struct tape *tape, struct tensor logits)
{
    if (!tape_expect(tape, tensor_is(logits), "entropy", "logits"))
        return (struct tensor){0};
    int R = tensor_rows(logits), V = tensor_cols(logits);
    float *lse = tape_floats(tape, 2 * (size_t)R);
    double sum = 0;
    if (!lse)
        return (struct tensor){0};
    float *entropy = lse + R;
    for (int r = 0; r < R; r++) {
        const float *row = logits.data + (size_t)r * (size_t)V;
        lse[r] = kernels()->log_sum_exp(row, 1, V);
        entropy[r] = entropy_row(row, V);
        sum += (double)entropy[r];
    }
    struct tensor y = loss_tensor(tape, logits, sum / R);
    struct loss_node *n = tape_record(tape, y, sizeof *n, entropy_backward);
    if (n)
        n->x = logits, n->y = y, n->lse = lse, n->weight = entropy;
    return y;
}

/* ---- weighted sum ---- */

struct sum_node {
    struct tape_node node;
    struct tensor y;
    struct tensor *losses;
    float *factors;
    int n;
};

static void sum_backward(struct tape_node *node, struct tape *tape)
{
    const struct sum_node *s = (const struct sum_node *)node;
    (void)tape;
    for (int i = 0; i < s->n; i++)
        if (s->losses[i].grad)
            s->losses[i].grad[0] += s->factors[i] * s->y.grad[0];
}

struct tensor op_weighted_sum(struct tape *tape, const struct tensor *losses, const float *factors,
                              int n)
{
    bool ok = n > 0, wants = false;
    double sum = 0;
    for (int i = 0; ok && i < n; i++) {
        ok = tensor_count(losses[i]) == 1;
        wants = wants || losses[i].grad;
        sum += ok ? (double)factors[i] * (double)losses[i].data[0] : 0;
    }
    if (!tape_expect(tape, ok, "weighted_sum", "losses of one element"))
        return (struct tensor){0};
    struct tensor y = tape_tensor(tape, wants, 1, (int[]){1});
    struct tensor *copy = tape_alloc(tape, (size_t)n * sizeof *copy);
    float *factor = tape_floats(tape, (size_t)n);
    if (!tensor_is(y) || !copy || !factor)
        return (struct tensor){0};
    y.data[0] = (float)sum;
    memcpy(copy, losses, (size_t)n * sizeof *copy);
    memcpy(factor, factors, (size_t)n * sizeof *factor);
    struct sum_node *node = tape_record(tape, y, sizeof *node, sum_backward);
    if (node)
        node->y = y, node->losses = copy, node->factors = factor, node->n = n;
    return y;
}

/* ---- helpers without a tape ---- */

void softmax_row(const float *x, int n, float temperature, float *out)
{
    kernels()->softmax(out, x, 1 / temperature, n);
}

/* H = lse - sum p x */
float entropy_row(const float *logits, int n)
{
    double lse = (double)kernels()->log_sum_exp(logits, 1, n), h = 0;
    float p[256];
    for (int i = 0; i < n; i += 256) {
        int count = n - i < 256 ? n - i : 256;
        memset(p, 0, sizeof p);
        kernels()->softmax_accumulate(p, logits + i, 1, (float)lse, 1, count);
        for (int j = 0; j < count; j++)
            h += (double)p[j] * (lse - (double)logits[i + j]);
    }
    return h > 0 ? (float)h : 0;
}
