/* Layer norm and RMS norm over the last dimension: R rows, C channels. */
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"

struct norm_node {
    struct tape_node node;
    const struct param *weight, *bias;
    struct tensor x, y;
    float *mean, *rstd; /* (R) */
};

static void layernorm_backward(struct tape_node *node, struct tape *tape)
{
    const struct norm_node *n = (const struct norm_node *)node;
    kernels()->layernorm_back(n->x.grad, tape_grad(tape, n->weight), tape_grad(tape, n->bias),
                              n->y.grad, n->x.data, n->weight->data, n->mean, n->rstd,
                              tensor_rows(n->x), tensor_cols(n->x));
}

struct tensor op_layernorm(struct tape *tape, struct tensor x, const struct param *weight,
                           const struct param *bias, float eps)
{
    size_t C = (size_t)tensor_cols(x);
    if (!tape_expect(tape,
                     tensor_is(x) && weight && bias && param_count(weight) == C &&
                         param_count(bias) == C,
                     "layernorm", "a weight and a bias as long as a row"))
        return (struct tensor){0};
    bool wants = x.grad || tape_grad(tape, weight) || tape_grad(tape, bias);
    int R = tensor_rows(x);
    struct tensor y = tape_like(tape, wants, x);
    float *stats = tape_floats(tape, 2 * (size_t)R);
    if (!tensor_is(y) || !stats)
        return (struct tensor){0};
    kernels()->layernorm(y.data, stats, stats + R, x.data, weight->data, bias->data, eps, R,
                         (int)C);
    struct norm_node *n = tape_record(tape, y, sizeof *n, layernorm_backward);
    if (n)
        n->weight = weight, n->bias = bias, n->x = x, n->y = y, n->mean = stats,
        n->rstd = stats + R;
    return y;
}

static void rmsnorm_backward(struct tape_node *node, struct tape *tape)
{
    const struct norm_node *n = (const struct norm_node *)node;
    kernels()->rmsnorm_back(n->x.grad, tape_grad(tape, n->weight), n->y.grad, n->x.data,
                            n->weight->data, n->rstd, tensor_rows(n->x), tensor_cols(n->x));
}

struct tensor op_rmsnorm(struct tape *tape, struct tensor x, const struct param *weight, float eps)
{
    size_t C = (size_t)tensor_cols(x);
    if (!tape_expect(tape, tensor_is(x) && weight && param_count(weight) == C, "rmsnorm",
                     "a weight as long as a row"))
        return (struct tensor){0};
    int R = tensor_rows(x);
    struct tensor y = tape_like(tape, x.grad || tape_grad(tape, weight), x);
    float *rstd = tape_floats(tape, (size_t)R);
    if (!tensor_is(y) || !rstd)
        return (struct tensor){0};
    kernels()->rmsnorm(y.data, rstd, x.data, weight->data, eps, R, (int)C);
    struct norm_node *n = tape_record(tape, y, sizeof *n, rmsnorm_backward);
    if (n)
        n->weight = weight, n->x = x, n->y = y, n->rstd = rstd;
    return y;
}
