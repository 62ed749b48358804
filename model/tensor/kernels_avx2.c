/* The kernels, compiled for avx2 (flags: CMakeLists.txt). */
#define KERNELS_NAME kernels_avx2
#define KERNELS_TEXT "avx2"
#include "model/tensor/kernels_all.h"
