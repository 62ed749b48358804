/* Ops that work on each element by itself: GELU, SwiGLU, add, scale, dropout. */
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"

struct unary_node {
    struct tape_node node;
    struct tensor x, y;
    float factor;        /* scale, dropout */
    const uint8_t *keep; /* dropout */
};

static void gelu_backward(struct tape_node *node, struct tape *tape)
{
    const struct unary_node *n = (const struct unary_node *)node;
    (void)tape;
    kernels()->gelu_back(n->x.grad, n->y.grad, n->x.data, tensor_count(n->x));
}

struct tensor op_gelu(struct tape *tape, struct tensor x)
{
    if (!tape_expect(tape, tensor_is(x), "gelu", "an input"))
        return (struct tensor){0};
    struct tensor y = tape_like(tape, x.grad != NULL, x);
    if (!tensor_is(y))
        return y;
    kernels()->gelu(y.data, x.data, tensor_count(x));
    struct unary_node *n = tape_record(tape, y, sizeof *n, gelu_backward);
    if (n)
        n->x = x, n->y = y;
    return y;
}

static void scale_backward(struct tape_node *node, struct tape *tape)
{
    const struct unary_node *n = (const struct unary_node *)node;
    (void)tape;
    kernels()->accumulate(n->x.grad, n->y.grad, n->factor, tensor_count(n->x));
}

struct tensor op_scale(struct tape *tape, struct tensor x, float factor)
{
    if (!tape_expect(tape, tensor_is(x), "scale", "an input"))
        return (struct tensor){0};
    struct tensor y = tape_like(tape, x.grad != NULL, x);
    if (!tensor_is(y))
        return y;
    kernels()->scale(y.data, x.data, factor, tensor_count(x));
    struct unary_node *n = tape_record(tape, y, sizeof *n, scale_backward);
    if (n)
        n->x = x, n->y = y, n->factor = factor;
    return y;
}

/* ---- dropout (Srivastava et al. 2014), inverted: what stays is scaled by 1 / (1 - p) ---- */

static void dropout_backward(struct tape_node *node, struct tape *tape)
{
    const struct unary_node *n = (const struct unary_node *)node;
    (void)tape;
    kernels()->select_back(n->x.grad, n->y.grad, n->keep, n->factor, tensor_count(n->x));
}

struct tensor op_dropout(struct tape *tape, struct tensor x, float p)
{
    if (!tape_expect(tape, tensor_is(x) && p >= 0 && p < 1, "dropout", "0 <= p < 1"))
        return (struct tensor){0};
    if (p == 0)
        return x;
    struct tensor y = tape_like(tape, x.grad != NULL, x);
    uint8_t *keep = tape_keep(tape, tensor_count(x), p);
    if (!tensor_is(y) || !keep)
        return (struct tensor){0};
    float factor = 1 / (1 - p);
    kernels()->select(y.data, x.data, keep, factor, tensor_count(x));
    struct unary_node *n = tape_record(tape, y, sizeof *n, dropout_backward);
    if (n)
        n->x = x, n->y = y, n->factor = factor, n->keep = keep;
    return y;
}

/* ---- two inputs ---- */

struct binary_node {
    struct tape_node node;
    struct tensor a, b, y;
};

/* y = silu(gate) * up; a gradient that nobody wants goes to scratch */
static void swiglu_backward(struct tape_node *node, struct tape *tape)
{
    const struct binary_node *n = (const struct binary_node *)node;
    size_t count = tensor_count(n->y);
    float *spare = n->a.grad && n->b.grad ? NULL : tape_floats(tape, count);
    if (tape->status != STATUS_OK)
        return;
    kernels()->swiglu_back(n->a.grad ? n->a.grad : spare, n->b.grad ? n->b.grad : spare, n->y.grad,
                           n->a.data, n->b.data, count);
}

static struct tensor binary_op(struct tape *tape, struct tensor a, struct tensor b, const char *op,
                               void (*forward)(float *y, const float *a, const float *b, size_t n),
                               void (*backward)(struct tape_node *node, struct tape *tape))
{
    if (!tape_expect(tape, tensor_is(a) && tensor_is(b) && tensor_same_shape(a, b), op,
                     "two inputs of one shape"))
        return (struct tensor){0};
    struct tensor y = tape_like(tape, a.grad || b.grad, a);
    if (!tensor_is(y))
        return y;
    forward(y.data, a.data, b.data, tensor_count(y));
    struct binary_node *n = tape_record(tape, y, sizeof *n, backward);
    if (n)
        n->a = a, n->b = b, n->y = y;
    return y;
}

struct tensor op_swiglu(struct tape *tape, struct tensor gate, struct tensor up)
{
    return binary_op(tape, gate, up, "swiglu", kernels()->swiglu, swiglu_backward);
}

static void add_backward(struct tape_node *node, struct tape *tape)
{
    const struct binary_node *n = (const struct binary_node *)node;
    size_t count = tensor_count(n->y);
    (void)tape;
    if (n->a.grad)
        kernels()->accumulate(n->a.grad, n->y.grad, 1, count);
    if (n->b.grad)
        kernels()->accumulate(n->b.grad, n->y.grad, 1, count);
}

struct tensor op_add(struct tape *tape, struct tensor a, struct tensor b)
{
    return binary_op(tape, a, b, "add", kernels()->add, add_backward);
}
