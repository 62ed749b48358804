/* Packed weight matrices: how a model's large, frozen matrices are kept when they are not F32, and
 * the products that read them as they are. W is (O,I), row-major: O outputs, I inputs; M rows of
 * activations.
 *
 *   BF16, F16  as in the file, 2 bytes a weight
 *   Q8         int8 codes, one scale a row: bitsandbytes' LLM.int8 layout (Dettmers et al. 2022)
 *   NF4        4-bit codes, one absmax a block of 64 (Dettmers et al. 2023, QLoRA, appendix E)
 *
 * The bytes in memory are those of the file, so that loading copies and saving writes them. */
#ifndef CDCCA_WEIGHT_H
#define CDCCA_WEIGHT_H

#include "api/base/arena.h"
#include "api/base/status.h"
#include "model/tensor/parallel.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weight_type { WEIGHT_BF16, WEIGHT_F16, WEIGHT_Q8, WEIGHT_NF4 };
enum { WEIGHT_BLOCK = 64, WEIGHT_MANY = 4 };

struct weight {
    enum weight_type type;
    int rows, cols;     /* O, I */
    const void *codes;  /* BF16, F16: uint16_t (O,I); Q8: int8_t (O,I); NF4: (O*I+1)/2 bytes, the
                           first code in the high nibble */
    const float *scale; /* Q8: absmax of each row, weight = code * scale / 127; NF4: absmax of each
                           block of 64, blocks running over the flattened matrix; else NULL */
};

/* Bytes of the codes and number of scales of an (O,I) matrix. */
size_t weight_code_bytes(enum weight_type type, int rows, int cols);
size_t weight_scale_count(enum weight_type type, int rows, int cols);
const char *weight_type_name(enum weight_type type); /* "bf16", "f16", "q8", "nf4" */

/* The 16 values of NF4 (in units of absmax), ascending; code 7 is 0. */
extern const float weight_nf4[16];

/* F32 -> codes and scales, to the nearest (a tie goes up for NF4, to even for the others). rows may
 * be a part of a matrix that starts on a block and on a byte. values are finite. */
void weight_pack(enum weight_type type, const float *values, int rows, int cols, void *codes,
                 float *scale);
/* count weights of the flattened matrix, from `from` on, as F32. */
void weight_unpack(const struct weight *w, size_t from, size_t count, float *out);

struct weight_kernels;

/* How a product is computed. */
struct weight_how {
    struct pool *pool;   /* its threads share the rows of W; NULL: the caller's alone */
    struct arena *arena; /* scratch of products that are not exact, given back on return; NULL: none
                            such */
    bool exact; /* weights as unpacked, products in F32; else activations may be rounded to 8 bit, a
                   block of 64 at a time, where the kernels gain by it */
    const struct weight_kernels *kernels; /* NULL: the best of this CPU (kernels_weight.h) */
};

/* y (M,O) = x (M,I) W^T. The result does not depend on the number of threads.
 * STATUS_NO_MEMORY: the arena is full. */
enum status weight_multiply(const struct weight *w, const float *x, int M, float *y,
                            const struct weight_how *how);
/* y[i] (M,O_i) = x (M,I) W_i^T of count matrices that share their input, such as a layer's q, k and
 * v: the same numbers as one by one; up to WEIGHT_MANY of one type are computed together, x rounded
 * and the threads woken once. */
enum status weight_multiply_many(const struct weight *const *w, int count, const float *x, int M,
                                 float *const *y, const struct weight_how *how);
/* dx (M,I) += dy (M,O) W, always exact. */
void weight_multiply_back(const struct weight *w, const float *dy, int M, float *dx,
                          const struct weight_how *how);

#endif
