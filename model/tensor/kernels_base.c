/* The kernels for any machine of the target architecture. */
#define KERNELS_NAME kernels_base
#define KERNELS_TEXT "base"
#include "model/tensor/kernels_all.h"
