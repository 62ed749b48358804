/* What the ops share: outputs, backward nodes, shape checks, gradients of parameters.
 * Internal to model/tensor. */
#ifndef CDCCA_TAPE_H
#define CDCCA_TAPE_H

#include "model/tensor/tensor.h"

/* True when the tape is fine and ok holds; else sets a sticky shape error naming the op. */
bool tape_expect(struct tape *tape, bool ok, const char *op, const char *what);

/* A new tensor shaped as x; or as x with another last dimension. */
struct tensor tape_like(struct tape *tape, bool wants_grad, struct tensor x);
struct tensor tape_like_cols(struct tape *tape, bool wants_grad, struct tensor x, int cols);

/* A zeroed node of `size` bytes (it starts with a struct tape_node), linked into the tape; NULL
 * when nothing flows back through y, or memory is out (sticky). */
void *tape_record(struct tape *tape, struct tensor y, size_t size,
                  void (*backward)(struct tape_node *node, struct tape *tape));

/* Where the gradient of p goes; NULL when p is NULL, frozen, or nothing is recorded. */
float *tape_grad(const struct tape *tape, const struct param *p);

/* count floats of scratch; NULL is sticky */
float *tape_floats(struct tape *tape, size_t count);
/* A copy of count ints that lives as long as the step. */
int32_t *tape_copy_ints(struct tape *tape, const int32_t *ints, size_t count);

/* count bytes, each 1 with probability 1 - p, from tape->rng (dropout) */
uint8_t *tape_keep(struct tape *tape, size_t count, float p);

static inline bool tensor_is(struct tensor t)
{
    return t.data != NULL;
}

bool tensor_same_shape(struct tensor a, struct tensor b);

#endif
