/* Tensors and the tape: a bump-allocated list of backward nodes, walked in reverse.
 * Everything lives in the step's arena, so a step allocates nothing from the heap. */
#include "model/tensor/tape.h"
#include "api/base/checked.h"
#include "model/tensor/blas.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- shapes ---- */

static size_t dims_count(int ndim, const int *dim)
{
    size_t count = ndim > 0 ? 1 : 0;
    for (int i = 0; i < ndim; i++)
        count *= (size_t)dim[i];
    return count;
}

size_t tensor_count(struct tensor t)
{
    return t.data ? dims_count(t.ndim, t.dim) : 0;
}

int tensor_rows(struct tensor t)
{
    return (int)dims_count(t.ndim - 1 > 0 ? t.ndim - 1 : 0, t.dim) + (t.ndim == 1);
}

int tensor_cols(struct tensor t)
{
    return t.ndim > 0 ? t.dim[t.ndim - 1] : 0;
}

size_t param_count(const struct param *p)
{
    return dims_count(p->ndim, p->dim);
}

bool tensor_same_shape(struct tensor a, struct tensor b)
{
    return a.ndim == b.ndim && memcmp(a.dim, b.dim, (size_t)a.ndim * sizeof a.dim[0]) == 0;
}

struct tensor tensor_view(float *data, int ndim, const int *dim)
{
    struct tensor t = {.data = data, .ndim = ndim};
    memcpy(t.dim, dim, (size_t)ndim * sizeof *dim);
    return t;
}

struct tensor tensor_reshape(struct tensor t, int ndim, const int *dim)
{
    struct tensor r = {.data = t.data, .grad = t.grad, .ndim = ndim};
    if (!t.data || ndim < 1 || ndim > TENSOR_DIMS || dims_count(ndim, dim) != tensor_count(t))
        return (struct tensor){0};
    memcpy(r.dim, dim, (size_t)ndim * sizeof *dim);
    return r;
}

/* ---- the tape ---- */

void tape_begin(struct tape *tape, struct arena *arena, bool recording, float *grads)
{
    arena_reset(arena, 0);
    tape->arena = arena;
    tape->last = NULL;
    tape->grads = grads;
    tape->recording = recording;
    tape->status = blas_load(&tape->err);
}

void tape_fail(struct tape *tape, enum status code, const char *format, ...)
{
    if (tape->status != STATUS_OK)
        return;
    char text[sizeof tape->err.text];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tape->status = err_set(&tape->err, code, "%s", text);
}

bool tape_expect(struct tape *tape, bool ok, const char *op, const char *what)
{
    if (!ok)
        tape_fail(tape, STATUS_SHAPE, "%s: expected %s", op, what);
    return tape->status == STATUS_OK;
}

enum status tape_check(const struct tape *tape, struct err *err)
{
    if (tape->status != STATUS_OK && err)
        *err = tape->err;
    return tape->status;
}

void *tape_alloc(struct tape *tape, size_t size)
{
    if (tape->status != STATUS_OK)
        return NULL;
    void *p = arena_alloc(tape->arena, size ? size : 1);
    if (!p)
        tape_fail(tape, STATUS_NO_MEMORY,
                  "the step's arena of %zu bytes is full (%zu used, %zu more wanted)",
                  tape->arena->cap, tape->arena->used, size);
    return p;
}

float *tape_floats(struct tape *tape, size_t count)
{
    size_t size;
    if (!checked_mul(count, sizeof(float), &size)) {
        tape_fail(tape, STATUS_TOO_LARGE, "a tensor of %zu elements", count);
        return NULL;
    }
    return tape_alloc(tape, size);
}

int32_t *tape_copy_ints(struct tape *tape, const int32_t *ints, size_t count)
{
    int32_t *copy = tape_alloc(tape, count * sizeof *ints);
    if (copy)
        memcpy(copy, ints, count * sizeof *ints);
    return copy;
}

/* Two 32-bit draws from each 64-bit number */
uint8_t *tape_keep(struct tape *tape, size_t count, float p)
{
    uint8_t *keep = tape_alloc(tape, count);
    uint32_t limit = (uint32_t)((double)p * 4294967296.0);
    for (size_t i = 0; keep && i < count; i += 2) {
        uint64_t draw = rng_u64(&tape->rng);
        keep[i] = (uint32_t)draw >= limit;
        if (i + 1 < count)
            keep[i + 1] = (uint32_t)(draw >> 32) >= limit;
    }
    return keep;
}

/* Checked product of the dimensions; they must be positive, and a row count must fit an int. */
static bool dims_check(struct tape *tape, int ndim, const int *dim, size_t *count)
{
    bool ok = ndim >= 1 && ndim <= TENSOR_DIMS;
    *count = 1;
    for (int i = 0; ok && i < ndim; i++)
        ok = dim[i] > 0 && checked_mul(*count, (size_t)dim[i], count) && *count <= INT32_MAX;
    if (!ok)
        tape_fail(tape, STATUS_SHAPE, "a tensor needs 1 to %d positive dimensions", TENSOR_DIMS);
    return ok;
}

struct tensor tape_tensor(struct tape *tape, bool wants_grad, int ndim, const int *dim)
{
    size_t count;
    if (tape->status != STATUS_OK || !dims_check(tape, ndim, dim, &count))
        return (struct tensor){0};
    struct tensor t = tensor_view(tape_floats(tape, count), ndim, dim);
    if (t.data && wants_grad && tape->recording) {
        t.grad = tape_floats(tape, count);
        if (t.grad)
            memset(t.grad, 0, count * sizeof *t.grad);
    }
    return tape->status == STATUS_OK ? t : (struct tensor){0};
}

struct tensor tape_like(struct tape *tape, bool wants_grad, struct tensor x)
{
    return tape_tensor(tape, wants_grad, x.ndim, x.dim);
}

struct tensor tape_like_cols(struct tape *tape, bool wants_grad, struct tensor x, int cols)
{
    int dim[TENSOR_DIMS] = {0};
    if (x.ndim < 1)
        return (struct tensor){0};
    memcpy(dim, x.dim, sizeof dim);
    dim[x.ndim - 1] = cols;
    return tape_tensor(tape, wants_grad, x.ndim, dim);
}

void *tape_record(struct tape *tape, struct tensor y, size_t size,
                  void (*backward)(struct tape_node *node, struct tape *tape))
{
    struct tape_node *node = y.grad ? tape_alloc(tape, size) : NULL;
    if (!node)
        return NULL;
    memset(node, 0, size);
    node->backward = backward;
    node->previous = tape->last;
    tape->last = node;
    return node;
}

float *tape_grad(const struct tape *tape, const struct param *p)
{
    if (!p || p->grad_at < 0 || !tape->recording || !tape->grads)
        return NULL;
    return tape->grads + p->grad_at;
}

void tape_backward(struct tape *tape, struct tensor loss, bool keep_seed)
{
    if (tape->status != STATUS_OK || !loss.grad)
        return;
    for (size_t i = 0; !keep_seed && i < tensor_count(loss); i++)
        loss.grad[i] = 1;
    for (struct tape_node *node = tape->last; node && tape->status == STATUS_OK;
         node = node->previous)
        node->backward(node, tape);
    tape->last = NULL;
}
