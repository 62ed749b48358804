/* Packed weights with AVX2. */
#include "model/tensor/kernels_weight_unpack.h"

const struct weight_kernels weight_kernels_avx2 = {.name = "avx2", .unpack = unpack};
