/* Columns [from, from + count) of the last dimension, as a tensor of its own: how the vision
 * encoder's joint qkv projection is taken apart. R rows, C columns in, D columns out. */
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"
#include <string.h>

struct columns_node {
    struct tape_node node;
    struct tensor x, y;
    int from;
};

/* dx[:, from + i] += dy[:, i] */
static void columns_backward(struct tape_node *node, struct tape *tape)
{
    const struct columns_node *n = (const struct columns_node *)node;
    size_t R = (size_t)tensor_rows(n->y), C = (size_t)tensor_cols(n->x);
    size_t D = (size_t)tensor_cols(n->y);
    (void)tape;
    for (size_t r = 0; r < R; r++)
        kernels()->accumulate(n->x.grad + r * C + (size_t)n->from, n->y.grad + r * D, 1, D);
}

struct tensor op_columns(struct tape *tape, struct tensor x, int from, int count)
{
    bool ok = tensor_is(x) && from >= 0 && count > 0 && from <= tensor_cols(x) - count;
    if (!tape_expect(tape, ok, "columns", "a range of the last dimension"))
        return (struct tensor){0};
    struct tensor y = tape_like_cols(tape, x.grad != NULL, x, count);
    size_t R = (size_t)tensor_rows(x), C = (size_t)tensor_cols(x), D = (size_t)count;
    for (size_t r = 0; tensor_is(y) && r < R; r++)
        memcpy(y.data + r * D, x.data + r * C + (size_t)from, D * sizeof *y.data);
    struct columns_node *n = tape_record(tape, y, sizeof *n, columns_backward);
    if (n)
        n->x = x, n->y = y, n->from = from;
    return y;
}
