/* The inner loops over packed weights (weight.h), written per instruction set (kernels_weight_*.c)
 * and picked at run time. Internal to model/tensor.
 *
 * The fast products round x to 8 bit, each block of 64 by its own absmax (0.6% of noise for
 * normally distributed x), and NF4's values to multiples of absmax / 127 (0.6%; NF4 itself: 9%),
 * multiply in integers, and add the blocks up in F32. Codes stay in the file's order; x is put into
 * theirs. */
#ifndef CDCCA_KERNELS_WEIGHT_H
#define CDCCA_KERNELS_WEIGHT_H

#include "model/tensor/weight.h"

enum {
    WEIGHT_FEW = 4,  /* rows of x that one pass over W serves */
    WEIGHT_TILE = 16 /* rows of x that are rounded together where there are many */
};

extern const int8_t weight_nf4_bytes[16]; /* weight_nf4 * 127, rounded */

/* Rows of x as code * step, of the same block; NF4's blocks have the 32 codes at even places first,
 * which meet the high nibbles of W.
 * Few rows: code (M,I), NF4's blocks in pairs, each as even, even, odd, odd; step (M,I/64); offset
 * (M,I/64,16), a pair's in its first half: for each 32-bit lane, -128 * the sum of the codes that
 * it adds up, since the kernels take W's codes 128 too high. Many rows: code (M/16,I/64,16,16,4),
 * so that a 32-bit lane is a row; step and offset (M/16,I/64,16). The rows that fill up the last 16
 * are 0. */
struct rounded {
    int8_t *code;
    float *step;
    int32_t *offset;
    int M, I;
};

struct weight_kernels {
    const char *name;
    /* count weights of the flattened matrix, from `from` on, as F32 */
    void (*unpack)(const struct weight *w, size_t from, size_t count, float *out);
    /* y (M,O) = x (M,I) W^T in columns from..to-1, M 1..WEIGHT_FEW, I a multiple of 64, exact, of
     * what is not NF4; NULL: none */
    void (*dot)(const struct weight *w, int from, int to, const float *x, int M, float *y);
    /* Fast products of Q8 and NF4 with I a multiple of 64; NULL: none. y (M,O) in columns
     * from..to-1, M 1..WEIGHT_FEW or any number, then with up to many_rows columns at a time. */
    void (*few_round)(const struct weight *w, const float *x, struct rounded *out);
    void (*few)(const struct weight *w, int from, int to, const struct rounded *x, float *y);
    /* rounds rows first..first+15 of x (M,I) */
    void (*many_round)(const struct weight *w, const float *x, int first, struct rounded *out);
    void (*many)(const struct weight *w, int from, int to, const struct rounded *x, float *y);
    int many_rows, many_from; /* the least rows of x from which `many` is faster than `few` */
};

extern const struct weight_kernels weight_kernels_base, weight_kernels_avx2, weight_kernels_vnni,
    weight_kernels_amx, weight_kernels_neon;

/* The best the CPU has, and by name, as kernels() and kernels_find(). */
const struct weight_kernels *weight_kernels(void);
const struct weight_kernels *weight_kernels_find(const char *name);

#endif
