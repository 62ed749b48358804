/* Which kernels this CPU runs, decided once. */
#include "model/tensor/kernels.h"
#include "model/tensor/kernels_weight.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
static bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}

static bool cpu_has_avx512(void)
{
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#else
static bool cpu_has_avx2(void)
{
    return false;
}

static bool cpu_has_avx512(void)
{
    return false;
}
#endif

const struct kernels *kernels_find(const char *name)
{
    if (strcmp(name, "base") == 0)
        return &kernels_base;
    if (strcmp(name, "avx2") == 0 && cpu_has_avx2())
        return &kernels_avx2;
    if (strcmp(name, "avx512") == 0 && cpu_has_avx512())
        return &kernels_avx512;
    return NULL;
}

static const struct kernels *kernels_choose(void)
{
    const char *wanted = getenv("CDCCA_KERNELS");
    const struct kernels *k = wanted ? kernels_find(wanted) : NULL;
    if (!k)
        k = kernels_find("avx512");
    if (!k)
        k = kernels_find("avx2");
    return k ? k : &kernels_base;
}

/* Two threads that race here choose the same. */
const struct kernels *kernels(void)
{
    static _Atomic(const struct kernels *) chosen;
    const struct kernels *k = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!k) {
        k = kernels_choose();
        atomic_store_explicit(&chosen, k, memory_order_release);
    }
    return k;
}

const struct weight_kernels *weight_kernels_find(const char *name)
{
    return strcmp(name, "base") == 0 ? &weight_kernels_base : NULL;
}

const struct weight_kernels *weight_kernels(void)
{
    return &weight_kernels_base;
}
