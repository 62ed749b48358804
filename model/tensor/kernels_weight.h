/* The inner loops over packed weights (weight.h), written per instruction set (kernels_weight_*.c)
 * and picked at run time. Internal to model/tensor. */
#ifndef CDCCA_KERNELS_WEIGHT_H
#define CDCCA_KERNELS_WEIGHT_H

#include "model/tensor/weight.h"

enum { WEIGHT_FEW = 4 }; /* rows of x that one pass over W serves */

struct weight_kernels {
    const char *name;
    /* count weights of the flattened matrix, from `from` on, as F32 */
    void (*unpack)(const struct weight *w, size_t from, size_t count, float *out);
    /* y (M,O) = x (M,I) W^T in columns from..to-1, in F32; M 1..WEIGHT_FEW */
    void (*dot)(const struct weight *w, int from, int to, const float *x, int M, float *y);
};

extern const struct weight_kernels weight_kernels_base;

/* The best the CPU has, and by name, as kernels() and kernels_find(). */
const struct weight_kernels *weight_kernels(void);
const struct weight_kernels *weight_kernels_find(const char *name);

#endif
