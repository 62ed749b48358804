/* Which kernels this CPU runs, decided once. */
#include "model/tensor/kernels.h"
#include "model/tensor/kernels_weight.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

static bool has_vnni(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

/* The kernel gives the tiles' registers to those who ask, for the whole process and its threads. */
static bool has_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };
    unsigned a, b, c, d;
    return has_vnni() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_TILE) &&
           (d & AMX_INT8) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

#if defined(__aarch64__)
#include <sys/auxv.h>

static bool has_neon(void)
{
    enum { DOT_PRODUCT = 1 << 20 }; /* HWCAP_ASIMDDP */
    return (getauxval(AT_HWCAP) & DOT_PRODUCT) != 0;
}
#endif

static bool has_base(void)
{
    return true;
}

/* Each set of instructions holds those before it. */
static const struct {
    const char *name;
    bool (*available)(void);
    const struct kernels *kernels;
    const struct weight_kernels *weight;
} sets[] = {
    {"base", has_base, &kernels_base, &weight_kernels_base},
#if defined(__x86_64__)
    {"avx2", has_avx2, &kernels_avx2, &weight_kernels_avx2},
    {"avx512", has_avx512, &kernels_avx512, &weight_kernels_avx2},
    {"vnni", has_vnni, &kernels_avx512, &weight_kernels_vnni},
    {"amx", has_amx, &kernels_avx512, &weight_kernels_amx},
#endif
#if defined(__aarch64__)
    {"neon", has_neon, &kernels_base, &weight_kernels_neon},
#endif
};

enum { SETS = sizeof sets / sizeof *sets };

/* -1: no such set, or not on this CPU */
static int set_find(const char *name)
{
    for (int i = 0; name && i < SETS; i++)
        if (strcmp(name, sets[i].name) == 0)
            return sets[i].available() ? i : -1;
    return -1;
}

static int chosen; /* written once, under the once flag */
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void set_choose(void)
{
    chosen = set_find(getenv("CDCCA_KERNELS"));
    if (chosen >= 0)
        return;
    for (chosen = SETS - 1; !sets[chosen].available();)
        chosen--;
}

const struct kernels *kernels(void)
{
    pthread_once(&chosen_once, set_choose);
    return sets[chosen].kernels;
}

const struct weight_kernels *weight_kernels(void)
{
    pthread_once(&chosen_once, set_choose);
    return sets[chosen].weight;
}

const struct kernels *kernels_find(const char *name)
{
    int i = set_find(name);
    return i < 0 ? NULL : sets[i].kernels;
}

const struct weight_kernels *weight_kernels_find(const char *name)
{
    int i = set_find(name);
    return i < 0 ? NULL : sets[i].weight;
}
