/* Packed weights on any machine: what the other instruction sets are tested against. */
#include "model/tensor/kernels_weight_unpack.h"

const struct weight_kernels weight_kernels_base = {.name = "base", .unpack = unpack};
