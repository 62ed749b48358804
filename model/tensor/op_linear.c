/* Linear layers with bias and LoRA (Hu et al. 2021), and embeddings; their matrices in F32 or
 * packed (weight.h). R rows (all dims but the last), I inputs, O outputs, r LoRA rank. */
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tensor/ops.h"
#include "model/tensor/tape.h"
#include "model/tensor/weight.h"
#include <string.h>

struct linear_node {
    struct tape_node node;
    struct linear w;
    struct tensor x, y;
    float *low; /* (R,r) = x A^T */
};

/* A weight of more than two dimensions, such as a patch convolution's (C,3,P,P), is the matrix
 * (C, 3*P*P) */
static int param_rows(const struct param *p)
{
    return p->dim[0];
}

static int param_cols(const struct param *p)
{
    return p->dim[0] > 0 ? (int)(param_count(p) / (size_t)p->dim[0]) : 0;
}

static bool linear_check(struct tape *tape, struct tensor x, const struct linear *w)
{
    const struct param *a = w->lora_a, *b = w->lora_b;
    if (!tape_expect(tape, tensor_is(x) && w->weight, "linear", "an input and a weight"))
        return false;
    int I = tensor_cols(x), O = param_rows(w->weight);
    bool ok = param_cols(w->weight) == I && (!w->bias || param_count(w->bias) == (size_t)O) &&
              !a == !b &&
              (!a || (param_cols(a) == I && param_rows(b) == O && param_rows(a) == param_cols(b)));
    if (!ok)
        tape_fail(tape, STATUS_SHAPE, "linear %s: (%d,%d) does not fit an input of %d columns",
                  w->weight->name ? w->weight->name : "", O, param_cols(w->weight), I);
    return ok;
}

static bool linear_trains(const struct tape *tape, const struct linear *w)
{
    return tape_grad(tape, w->weight) || tape_grad(tape, w->bias) || tape_grad(tape, w->lora_a) ||
           tape_grad(tape, w->lora_b);
}

/* Columns of y that one thread computes at a time, a multiple of what the kernels take at once */
enum { SHARE_COLUMNS = 64 };

struct shared_product {
    const float *x, *w;
    float *y, beta;
    int R, I, O;
};

static void shared_run(void *ctx, int item, int worker)
{
    const struct shared_product *p = ctx;
    (void)worker;
    int from = item * SHARE_COLUMNS,
        cols = p->O - from < SHARE_COLUMNS ? p->O - from : SHARE_COLUMNS;
    gemm(false, true, p->R, cols, p->I, 1, p->x, p->I, p->w + (size_t)from * (size_t)p->I, p->I,
         p->beta, p->y + from, p->O);
}

/* y (R,O) = x (R,I) W^T + beta y, W in F32 */
static void multiply_f32(const struct tape *tape, float *y, float beta, const float *x,
                         const float *w, int R, int I, int O)
{
    struct shared_product p = {x, w, y, beta, R, I, O};
    if (tape->pool)
        pool_run(tape->pool, (O + SHARE_COLUMNS - 1) / SHARE_COLUMNS, shared_run, &p);
    else
        gemm(false, true, R, O, I, 1, x, I, w, I, beta, y, O);
}

static struct weight_how linear_how(const struct tape *tape)
{
    return (struct weight_how){
        .pool = tape->pool, .arena = tape->arena, .exact = tape->recording || tape->exact};
}

/* y (R,O) += bias */
static void linear_bias(float *y, const struct linear *w, int R, int O)
{
    for (size_t i = 0; w->bias && i < (size_t)R; i++)
        kernels()->accumulate(y + i * (size_t)O, w->bias->data, 1, (size_t)O);
}

static void linear_rounding_failed(struct tape *tape, const struct linear *w)
{
    tape_fail(tape, STATUS_NO_MEMORY, "linear %s: no memory to round its input",
              w->weight->name ? w->weight->name : "");
}

/* y (R,O) = bias + x W^T */
static void linear_weight(struct tape *tape, float *y, const float *x, const struct linear *w,
                          int R, int I, int O)
{
    if (w->weight->packed) {
        struct weight_how how = linear_how(tape);
        if (weight_multiply(w->weight->packed, x, R, y, &how) != STATUS_OK)
            linear_rounding_failed(tape, w);
        linear_bias(y, w, R, O);
        return;
    }
    for (size_t i = 0; w->bias && i < (size_t)R; i++)
        memcpy(y + i * (size_t)O, w->bias->data, (size_t)O * sizeof *y);
    multiply_f32(tape, y, w->bias ? 1 : 0, x, w->weight->data, R, I, O);
}

/* low (R,r) = x (R,I) A^T; y (R,O) += scale low B^T; A (r,I), B (O,r) */
static void linear_lora(float *y, float *low, const float *x, const struct linear *w, int R, int I,
                        int O, int r)
{
    gemm(false, true, R, r, I, 1, x, I, w->lora_a->data, I, 0, low, r);
    gemm(false, true, R, O, r, w->lora_scale, low, r, w->lora_b->data, r, 1, y, O);
}

/* dlow = scale dy B; dB += scale dy^T low; dA += dlow^T x; dx += dlow A */
static void lora_backward(struct tape *tape, const struct linear_node *n, int R, int I, int O,
                          int r)
{
    float *da = tape_grad(tape, n->w.lora_a), *db = tape_grad(tape, n->w.lora_b);
    float *dlow = da || n->x.grad ? tape_floats(tape, (size_t)R * (size_t)r) : NULL;
    if (db)
        gemm(true, false, O, r, R, n->w.lora_scale, n->y.grad, O, n->low, r, 1, db, r);
    if (!dlow)
        return;
    gemm(false, false, R, r, O, n->w.lora_scale, n->y.grad, O, n->w.lora_b->data, r, 0, dlow, r);
    if (da)
        gemm(true, false, r, I, R, 1, dlow, r, n->x.data, I, 1, da, I);
    if (n->x.grad)
        gemm(false, false, R, I, r, 1, dlow, r, n->w.lora_a->data, I, 1, n->x.grad, I);
}

/* dx += dy W; dW += dy^T x; dbias += sum of dy over rows */
static void linear_backward(struct tape_node *node, struct tape *tape)
{
    const struct linear_node *n = (const struct linear_node *)node;
    int R = tensor_rows(n->x), I = tensor_cols(n->x), O = tensor_cols(n->y);
    float *dw = tape_grad(tape, n->w.weight), *dbias = tape_grad(tape, n->w.bias);
    struct weight_how how = linear_how(tape);
    if (n->x.grad && n->w.weight->packed)
        weight_multiply_back(n->w.weight->packed, n->y.grad, R, n->x.grad, &how);
    else if (n->x.grad)
        gemm(false, false, R, I, O, 1, n->y.grad, O, n->w.weight->data, I, 1, n->x.grad, I);
    if (dw)
        gemm(true, false, O, I, R, 1, n->y.grad, O, n->x.data, I, 1, dw, I);
    if (dbias)
        kernels()->column_sum(dbias, n->y.grad, R, O);
    if (n->w.lora_a)
        lora_backward(tape, n, R, I, O, param_rows(n->w.lora_a));
}

struct tensor op_linear(struct tape *tape, struct tensor x, const struct linear *w)
{
    if (!linear_check(tape, x, w))
        return (struct tensor){0};
    int R = tensor_rows(x), O = param_rows(w->weight), r = w->lora_a ? param_rows(w->lora_a) : 0;
    struct tensor y = tape_like_cols(tape, x.grad || linear_trains(tape, w), x, O);
    float *low = r ? tape_floats(tape, (size_t)R * (size_t)r) : NULL;
    if (!tensor_is(y) || (r && !low))
        return (struct tensor){0};
    linear_weight(tape, y.data, x.data, w, R, tensor_cols(x), O);
    if (r > 0)
        linear_lora(y.data, low, x.data, w, R, tensor_cols(x), O, r);
    struct linear_node *n = tape_record(tape, y, sizeof *n, linear_backward);
    if (n)
        n->w = *w, n->x = x, n->y = y, n->low = low;
    return y;
}

/* ---- several of one input ---- */

enum { MANY_MAX = 4 };

/* Packed, and nothing flows back: their products can be one. */
static bool linear_can_share(const struct tape *tape, const struct linear *const *w, int n)
{
    bool can = !tape->recording && n <= MANY_MAX;
    for (int i = 0; can && i < n; i++)
        can = w[i]->weight && w[i]->weight->packed;
    return can;
}

static void linear_share(struct tape *tape, struct tensor x, const struct linear *const *w, int n,
                         struct tensor *y)
{
    const struct weight *packed[MANY_MAX];
    float *out[MANY_MAX];
    struct weight_how how = linear_how(tape);
    int R = tensor_rows(x), I = tensor_cols(x);
    for (int i = 0; i < n; i++) {
        packed[i] = w[i]->weight->packed;
        out[i] = y[i].data;
    }
    if (weight_multiply_many(packed, n, x.data, R, out, &how) != STATUS_OK)
        linear_rounding_failed(tape, w[0]);
    for (int i = 0; i < n; i++) {
        int O = tensor_cols(y[i]), r = w[i]->lora_a ? param_rows(w[i]->lora_a) : 0;
        float *low = r ? tape_floats(tape, (size_t)R * (size_t)r) : NULL;
        linear_bias(out[i], w[i], R, O);
        if (low)
            linear_lora(out[i], low, x.data, w[i], R, I, O, r);
    }
}

void op_linear_many(struct tape *tape, struct tensor x, const struct linear *const *w, int n,
                    struct tensor *y)
{
    bool share = linear_can_share(tape, w, n);
    for (int i = 0; i < n; i++)
        if (!share)
            y[i] = op_linear(tape, x, w[i]);
        else if (linear_check(tape, x, w[i]))
            y[i] = tape_like_cols(tape, false, x, param_rows(w[i]->weight));
        else
            y[i] = (struct tensor){0};
    if (share && tape->status == STATUS_OK)
        linear_share(tape, x, w, n, y);
}

/* ---- embedding ---- */

struct embedding_node {
    struct tape_node node;
    const struct param *table;
    struct tensor y;
    const int32_t *ids; /* (B*T) */
};

static bool embedding_check(struct tape *tape, const struct param *table, const int32_t *ids,
                            int count)
{
    if (!tape_expect(tape, table && ids, "embedding", "a table and ids"))
        return false;
    for (int i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= param_rows(table)) {
            tape_fail(tape, STATUS_SHAPE, "embedding %s: id %d is not in 0..%d",
                      table->name ? table->name : "", ids[i], param_rows(table) - 1);
            return false;
        }
    return true;
}

/* dtable[id] += dy */
static void embedding_backward(struct tape_node *node, struct tape *tape)
{
    const struct embedding_node *n = (const struct embedding_node *)node;
    int R = tensor_rows(n->y), C = tensor_cols(n->y);
    float *dtable = tape_grad(tape, n->table);
    for (int i = 0; i < R; i++)
        kernels()->accumulate(dtable + (size_t)n->ids[i] * (size_t)C,
                              n->y.grad + (size_t)i * (size_t)C, 1, (size_t)C);
}

static void embedding_row(const struct param *table, int32_t id, int C, float *out)
{
    size_t row = (size_t)C, at = (size_t)id * row;
    if (table->packed)
        weight_unpack(table->packed, at, row, out);
    else
        memcpy(out, table->data + at, row * sizeof *out);
}

/* y (B,T,C) = table[ids]; table (V,C) */
struct tensor op_embedding(struct tape *tape, const struct param *table, const int32_t *ids, int B,
                           int T)
{
    if (tape->status != STATUS_OK || !embedding_check(tape, table, ids, B * T))
        return (struct tensor){0};
    int C = param_cols(table);
    struct tensor y = tape_tensor(tape, tape_grad(tape, table) != NULL, 3, (int[]){B, T, C});
    if (!tensor_is(y))
        return y;
    for (int i = 0; i < B * T; i++)
        embedding_row(table, ids[i], C, y.data + (size_t)i * (size_t)C);
    struct embedding_node *n = tape_record(tape, y, sizeof *n, embedding_backward);
    if (n) {
        n->table = table, n->y = y, n->ids = tape_copy_ints(tape, ids, (size_t)B * (size_t)T);
    }
    return y;
}
