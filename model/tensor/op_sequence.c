/* Ops along the time axis: positions, broadcast, concatenation, slices, gathered rows, mean, rotary
 * positions. B batch, T time, C channels, H heads, D channels of a head. */
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"
#include <math.h>
#include <string.h>

/* One node for all ops of this file; each says what it keeps in it. */
struct sequence_node {
    struct tape_node node;
    const struct param *param;
    struct tensor a, b, y;
    int from;
    const int32_t *rows;
    const float *cosine, *sine;
    size_t table; /* from a sample's rotary table to the next; 0: one for all */
};

static struct sequence_node *sequence_record(struct tape *tape, struct tensor y, struct tensor a,
                                             void (*backward)(struct tape_node *, struct tape *))
{
    struct sequence_node *n = tape_record(tape, y, sizeof *n, backward);
    if (n)
        n->y = y, n->a = a;
    return n;
}

static void accumulate(float *y, const float *x, size_t n)
{
    kernels()->accumulate(y, x, 1, n);
}

/* ---- positions and broadcast: a parameter's rows meet every sample ---- */

/* dtable += sum of dy over B; dx += dy */
static void positions_backward(struct tape_node *node, struct tape *tape)
{
    const struct sequence_node *n = (const struct sequence_node *)node;
    int B = n->y.dim[0];
    size_t sample = tensor_count(n->y) / (size_t)B;
    float *dtable = tape_grad(tape, n->param);
    for (int b = 0; dtable && b < B; b++)
        accumulate(dtable, n->y.grad + (size_t)b * sample, sample);
    if (n->a.grad)
        accumulate(n->a.grad, n->y.grad, tensor_count(n->y));
}

struct tensor op_add_positions(struct tape *tape, struct tensor x, const struct param *table)
{
    if (!tape_expect(tape,
                     tensor_is(x) && x.ndim == 3 && table &&
                         table->dim[table->ndim - 1] == x.dim[2] &&
                         param_count(table) >= (size_t)x.dim[1] * (size_t)x.dim[2],
                     "add_positions", "a table of at least T rows of C"))
        return (struct tensor){0};
    struct tensor y = tape_like(tape, x.grad || tape_grad(tape, table), x);
    size_t sample = (size_t)x.dim[1] * (size_t)x.dim[2];
    if (!tensor_is(y))
        return y;
    for (int b = 0; b < x.dim[0]; b++)
        kernels()->add(y.data + (size_t)b * sample, x.data + (size_t)b * sample, table->data,
                       sample);
    struct sequence_node *n = sequence_record(tape, y, x, positions_backward);
    if (n)
        n->param = table;
    return y;
}

struct tensor op_broadcast(struct tape *tape, const struct param *p, int B)
{
    if (!tape_expect(tape, p && p->ndim >= 1 && B > 0, "broadcast", "a parameter and B > 0"))
        return (struct tensor){0};
    int C = p->dim[p->ndim - 1], T = C > 0 ? (int)(param_count(p) / (size_t)C) : 0;
    struct tensor y = tape_tensor(tape, tape_grad(tape, p) != NULL, 3, (int[]){B, T, C});
    for (int b = 0; tensor_is(y) && b < B; b++)
        memcpy(y.data + (size_t)b * param_count(p), p->data, param_count(p) * sizeof(float));
    struct sequence_node *n = sequence_record(tape, y, (struct tensor){0}, positions_backward);
    if (n)
        n->param = p;
    return y;
}

/* ---- concatenation and slices ---- */

/* Rows [from, from + count) of every sample of y (B,T,C) from or to the packed x (B,count,C) */
static void slice_copy(float *x, const float *y, int B, int T, int C, int from, int count)
{
    size_t row = (size_t)C, chunk = (size_t)count * row;
    for (int b = 0; b < B; b++)
        memcpy(x + (size_t)b * chunk, y + ((size_t)b * (size_t)T + (size_t)from) * row,
               chunk * sizeof *x);
}

static void slice_place(float *y, const float *x, int B, int T, int C, int from, int count)
{
    size_t row = (size_t)C, chunk = (size_t)count * row;
    for (int b = 0; b < B; b++)
        memcpy(y + ((size_t)b * (size_t)T + (size_t)from) * row, x + (size_t)b * chunk,
               chunk * sizeof *x);
}

/* dx += dy of its rows, when x has one */
static void slice_gather(struct tensor x, struct tensor y, int from)
{
    size_t row = (size_t)x.dim[2], chunk = (size_t)x.dim[1] * row;
    for (int b = 0; x.grad && b < x.dim[0]; b++)
        accumulate(x.grad + (size_t)b * chunk,
                   y.grad + ((size_t)b * (size_t)y.dim[1] + (size_t)from) * row, chunk);
}

static void concat_backward(struct tape_node *node, struct tape *tape)
{
    const struct sequence_node *n = (const struct sequence_node *)node;
    (void)tape;
    slice_gather(n->a, n->y, 0);
    slice_gather(n->b, n->y, n->a.dim[1]);
}

struct tensor op_concat(struct tape *tape, struct tensor a, struct tensor b)
{
    if (!tape_expect(tape,
                     tensor_is(a) && tensor_is(b) && a.ndim == 3 && b.ndim == 3 &&
                         a.dim[0] == b.dim[0] && a.dim[2] == b.dim[2],
                     "concat", "(B,T1,C) and (B,T2,C)"))
        return (struct tensor){0};
    int B = a.dim[0], T = a.dim[1] + b.dim[1], C = a.dim[2];
    struct tensor y = tape_tensor(tape, a.grad || b.grad, 3, (int[]){B, T, C});
    if (!tensor_is(y))
        return y;
    slice_place(y.data, a.data, B, T, C, 0, a.dim[1]);
    slice_place(y.data, b.data, B, T, C, a.dim[1], b.dim[1]);
    struct sequence_node *n = sequence_record(tape, y, a, concat_backward);
    if (n)
        n->b = b;
    return y;
}

static void slice_backward(struct tape_node *node, struct tape *tape)
{
    const struct sequence_node *n = (const struct sequence_node *)node;
    size_t row = (size_t)n->y.dim[2], chunk = (size_t)n->y.dim[1] * row;
    (void)tape;
    for (int b = 0; b < n->y.dim[0]; b++)
        accumulate(n->a.grad + ((size_t)b * (size_t)n->a.dim[1] + (size_t)n->from) * row,
                   n->y.grad + (size_t)b * chunk, chunk);
}

struct tensor op_slice(struct tape *tape, struct tensor x, int from, int count)
{
    if (!tape_expect(
            tape, tensor_is(x) && x.ndim == 3 && from >= 0 && count > 0 && count <= x.dim[1] - from,
            "slice", "(B,T,C) and a range within T"))
        return (struct tensor){0};
    struct tensor y = tape_tensor(tape, x.grad != NULL, 3, (int[]){x.dim[0], count, x.dim[2]});
    if (!tensor_is(y))
        return y;
    slice_copy(y.data, x.data, x.dim[0], x.dim[1], x.dim[2], from, count);
    struct sequence_node *n = sequence_record(tape, y, x, slice_backward);
    if (n)
        n->from = from;
    return y;
}

/* ---- rows ---- */

static void rows_backward(struct tape_node *node, struct tape *tape)
{
    const struct sequence_node *n = (const struct sequence_node *)node;
    size_t C = (size_t)tensor_cols(n->y);
    (void)tape;
    for (int i = 0; i < n->y.dim[0]; i++)
        accumulate(n->a.grad + (size_t)n->rows[i] * C, n->y.grad + (size_t)i * C, C);
}

struct tensor op_rows(struct tape *tape, struct tensor x, const int32_t *row, int count)
{
    bool ok = tensor_is(x) && row && count > 0;
    for (int i = 0; ok && i < count; i++)
        ok = row[i] >= 0 && row[i] < tensor_rows(x);
    if (!tape_expect(tape, ok, "rows", "row numbers within the input"))
        return (struct tensor){0};
    size_t C = (size_t)tensor_cols(x);
    struct tensor y = tape_tensor(tape, x.grad != NULL, 2, (int[]){count, (int)C});
    if (!tensor_is(y))
        return y;
    for (int i = 0; i < count; i++)
        memcpy(y.data + (size_t)i * C, x.data + (size_t)row[i] * C, C * sizeof(float));
    struct sequence_node *n = sequence_record(tape, y, x, rows_backward);
    if (n)
        n->rows = tape_copy_ints(tape, row, (size_t)count);
    return y;
}

/* ---- mean over time ---- */

static void mean_time_backward(struct tape_node *node, struct tape *tape)
{
    const struct sequence_node *n = (const struct sequence_node *)node;
    int B = n->a.dim[0], T = n->a.dim[1];
    size_t C = (size_t)n->a.dim[2];
    (void)tape;
    for (int i = 0; i < B * T; i++)
        kernels()->accumulate(n->a.grad + (size_t)i * C, n->y.grad + (size_t)(i / T) * C,
                              1.0f / (float)T, C);
}

struct tensor op_mean_time(struct tape *tape, struct tensor x)
{
    if (!tape_expect(tape, tensor_is(x) && x.ndim == 3, "mean_time", "(B,T,C)"))
        return (struct tensor){0};
    int B = x.dim[0], T = x.dim[1], C = x.dim[2];
    struct tensor y = tape_tensor(tape, x.grad != NULL, 2, (int[]){B, C});
    if (!tensor_is(y))
        return y;
    memset(y.data, 0, tensor_count(y) * sizeof(float));
    for (int b = 0; b < B; b++)
        kernels()->column_sum(y.data + (size_t)b * (size_t)C,
                              x.data + (size_t)b * (size_t)T * (size_t)C, T, C);
    for (size_t i = 0; i < tensor_count(y); i++)
        y.data[i] /= (float)T;
    sequence_record(tape, y, x, mean_time_backward);
    return y;
}

/* ---- rotary positions ---- */

/* x and y (B,T,H*D) */
static void rope_apply(float *y, const float *x, const struct sequence_node *n, int H, float sign,
                       bool add)
{
    int B = n->y.dim[0], T = n->y.dim[1], C = n->y.dim[2];
    for (int b = 0; b < B; b++) {
        size_t at = (size_t)b * (size_t)T * (size_t)C;
        kernels()->rope(y + at, x + at, n->cosine + (size_t)b * n->table,
                        n->sine + (size_t)b * n->table, T, H, C / H, sign, add);
    }
}

static void rope_backward(struct tape_node *node, struct tape *tape)
{
    const struct sequence_node *n = (const struct sequence_node *)node;
    (void)tape;
    rope_apply(n->a.grad, n->y.grad, n, n->from, -1, true);
}

struct rope op_rope_tables(struct tape *tape, int T, int D, float theta, const int *first,
                           int tables)
{
    bool ok = T > 0 && D > 0 && D % 2 == 0 && tables > 0;
    for (int b = 0; ok && b < tables; b++)
        ok = first[b] >= 0;
    if (!tape_expect(tape, ok, "rope", "D even and positions from 0"))
        return (struct rope){0};
    size_t half = (size_t)D / 2, each = (size_t)T * half;
    float *cosine = tape_floats(tape, each * (size_t)tables);
    float *sine = tape_floats(tape, each * (size_t)tables);
    float *frequency = tape_floats(tape, half);
    if (!cosine || !sine || !frequency)
        return (struct rope){0};
    for (size_t i = 0; i < half; i++)
        frequency[i] = 1.0f / powf(theta, (float)i / (float)half);
    for (int b = 0; b < tables; b++)
        kernels()->rope_tables(cosine + (size_t)b * each, sine + (size_t)b * each, frequency, T,
                               (int)half, first[b]);
    return (struct rope){cosine, sine, T, D, tables};
}

struct tensor op_rope_by(struct tape *tape, struct tensor x, int heads, const struct rope *by)
{
    bool ok = tensor_is(x) && x.ndim == 3 && heads > 0 && by->cosine && x.dim[1] == by->T &&
              x.dim[2] == heads * by->D && (by->tables == 1 || by->tables == x.dim[0]);
    if (!tape_expect(tape, ok, "rope", "(B,T,H*D) and tables of B or one, T and D"))
        return (struct tensor){0};
    size_t each = by->tables > 1 ? (size_t)by->T * (size_t)(by->D / 2) : 0;
    struct sequence_node how = {.y = tape_like(tape, x.grad != NULL, x), .from = heads};
    how.cosine = by->cosine, how.sine = by->sine, how.table = each;
    if (!tensor_is(how.y))
        return (struct tensor){0};
    rope_apply(how.y.data, x.data, &how, heads, 1, false);
    struct sequence_node *n = sequence_record(tape, how.y, x, rope_backward);
    if (n)
        n->cosine = how.cosine, n->sine = how.sine, n->table = each, n->from = heads;
    return how.y;
}

/* first (tables): of every sample, or one for all */
static struct tensor rope(struct tape *tape, struct tensor x, int heads, float theta,
                          const int *first, int tables)
{
    if (!tape_expect(tape, tensor_is(x) && x.ndim == 3 && heads > 0 && x.dim[2] % heads == 0,
                     "rope", "(B,T,H*D)"))
        return (struct tensor){0};
    struct rope by = op_rope_tables(tape, x.dim[1], x.dim[2] / heads, theta, first, tables);
    return op_rope_by(tape, x, heads, &by);
}

struct tensor op_rope(struct tape *tape, struct tensor x, int heads, float theta, int first)
{
    return rope(tape, x, heads, theta, &first, 1);
}

struct tensor op_rope_rows(struct tape *tape, struct tensor x, int heads, float theta,
                           const int *first)
{
    return rope(tape, x, heads, theta, first, tensor_is(x) ? x.dim[0] : 0);
}
