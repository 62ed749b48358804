/* The kernels, compiled for avx512 (flags: CMakeLists.txt). */
#define KERNELS_NAME kernels_avx512
#define KERNELS_TEXT "avx512"
#include "model/tensor/kernels_all.h"
