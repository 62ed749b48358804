/* Columns [from, from + count) of the last dimension, as a tensor of its own: how the vision
 * encoder's joint qkv projection is taken apart. Backward adds into the same columns. */
#include "model/tensor/ops.h"

#include <string.h>

struct columns_node {
    struct tape_node node;
    struct tensor x, y;
    int from;
};

static void columns_backward(struct tape_node *node, struct tape *tape)
{
    struct columns_node *n = (struct columns_node *)node;
    int rows = tensor_rows(n->y), C = tensor_cols(n->x), D = tensor_cols(n->y);
    (void)tape;
    for (int r = 0; r < rows; r++) {
        float *dx = n->x.grad + (size_t)r * (size_t)C + n->from;
        const float *dy = n->y.grad + (size_t)r * (size_t)D;
        for (int i = 0; i < D; i++)
            dx[i] += dy[i];
    }
}

static void columns_record(struct tape *tape, struct tensor x, struct tensor y, int from)
{
    struct columns_node *n = tape_alloc(tape, sizeof *n);
    if (!n)
        return;
    n->node.backward = columns_backward;
    n->node.previous = tape->last;
    n->x = x;
    n->y = y;
    n->from = from;
    tape->last = &n->node;
}

struct tensor op_columns(struct tape *tape, struct tensor x, int from, int count)
{
    struct tensor none = {0};
    int C = x.ndim > 0 ? tensor_cols(x) : 0;
    if (tape->status != STATUS_OK)
        return none;
    if (from < 0 || count < 1 || from > C - count) {
        tape_fail(tape, STATUS_SHAPE, "columns %d..%d of a tensor with %d", from, from + count, C);
        return none;
    }
    int dim[TENSOR_DIMS];
    memcpy(dim, x.dim, sizeof dim);
    dim[x.ndim - 1] = count;
    struct tensor y = tape_tensor(tape, x.grad != NULL, x.ndim, dim);
    if (!y.data)
        return none;
    int rows = tensor_rows(x);
    for (int r = 0; r < rows; r++)
        memcpy(y.data + (size_t)r * (size_t)count, x.data + (size_t)r * (size_t)C + from,
               (size_t)count * sizeof *y.data);
    if (y.grad)
        columns_record(tape, x, y, from);
    return y;
}
