/* Tensors, parameters and the tape.
 *
 * A tensor is a small value: a float32 row-major view into an arena. Ops (ops.h) take and return
 * tensors by value. While tape->recording, an op pushes a backward node and its output has a grad
 * buffer of the same size, zeroed. tape_backward walks the nodes in reverse.
 *
 * Errors are sticky: when the arena is full or shapes do not fit, tape->status is set, the op
 * returns an empty tensor, and every later op on this tape does nothing. Callers check once, at the
 * end (tape_check). So model code reads like the equations.
 *
 * Parameters are named weights. The gradient of a parameter lives in tape->grads + grad_at, so that
 * several tapes (one per thread) can work on one model; grad_at < 0 means frozen. */
#ifndef CDCCA_TENSOR_H
#define CDCCA_TENSOR_H

#include "api/base/arena.h"
#include "api/base/rng.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TENSOR_DIMS = 4 };

struct tensor {
    float *data;
    float *grad; /* NULL: nothing flows back through this tensor */
    int ndim;
    int dim[TENSOR_DIMS];
};

struct param {
    const char *name; /* as in the Hugging Face checkpoint; owned by the model */
    int ndim;
    int dim[TENSOR_DIMS];
    float *data;                 /* F32; owned by the model; NULL when packed */
    const struct weight *packed; /* a frozen matrix that is not F32 (weight.h), else NULL */
    int64_t grad_at;             /* offset into tape->grads, or -1: frozen */
};

struct pool;
struct tape;
struct weight;

struct tape_node {
    void (*backward)(struct tape_node *node, struct tape *tape);
    struct tape_node *previous;
};

struct tape {
    struct arena *arena;
    struct tape_node *last;
    float *grads; /* flat gradients of all trainable parameters; may be NULL when not recording */
    bool recording;
    struct rng rng;    /* dropout */
    struct pool *pool; /* threads that share the work of one op; NULL: one thread. Like exact, the
                          caller's to set: tape_begin leaves both */
    bool exact;        /* packed weights multiply in F32 also when nothing is recorded (weight.h) */
    enum status status;
    struct err err;
};

size_t tensor_count(struct tensor t); /* number of elements; 0 for an empty tensor */
int tensor_rows(struct tensor t);     /* product of all dims but the last */
int tensor_cols(struct tensor t);     /* last dim */
size_t param_count(const struct param *p);

/* Starts a step: empties the tape and the whole arena, which is the tape's own (what must outlive
 * the step, such as a KV cache, lies elsewhere). tape->rng is the caller's to seed: it goes on. */
void tape_begin(struct tape *tape, struct arena *arena, bool recording, float *grads);
/* New tensors in the arena: uninitialised data (grad zeroed when recording and wanted). */
struct tensor tape_tensor(struct tape *tape, bool wants_grad, int ndim, const int *dim);
/* View of caller-owned data without gradient. */
struct tensor tensor_view(float *data, int ndim, const int *dim);
struct tensor tensor_reshape(struct tensor t, int ndim, const int *dim);
/* Scratch and nodes; NULL sets the sticky status. */
void *tape_alloc(struct tape *tape, size_t size);
void tape_fail(struct tape *tape, enum status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Seeds loss.grad with 1 (or what the caller already put there when keep_seed) and runs backward.
 */
void tape_backward(struct tape *tape, struct tensor loss, bool keep_seed);
enum status tape_check(const struct tape *tape, struct err *err);

#endif
