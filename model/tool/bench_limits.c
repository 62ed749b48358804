/* The machine's limits, by the simplest loops that reach them. */
#include "model/tool/bench_limits.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tool/bench.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PASSES = 5, PART = 1 << 18 /* floats */, SIDE = 1024 };

/* ---- memory ---- */

struct reading {
    const float *data;
    size_t count; /* floats */
    float *sum;   /* per worker, 16 apart: keeps the loads alive */
};

static void read_part(void *ctx, int item, int worker)
{
    struct reading *r = ctx;
    size_t from = (size_t)item * PART, n = r->count - from < PART ? r->count - from : PART;
    r->sum[16 * worker] += kernels()->dot(r->data + from, r->data + from, (int)n);
}

size_t bench_read_size(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE), pages = sysconf(_SC_AVPHYS_PAGES);
    size_t wanted = cache > 0 ? 2 * (size_t)cache : (size_t)256 << 20;
    size_t memory = pages > 0 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) / 4 : wanted;
    return wanted < memory ? wanted : memory;
}

double bench_read_limit(struct pool *pool, size_t size)
{
    float sum[16 * 64] = {0};
    size = (size + 4095) & ~(size_t)4095;
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return 0;
    (void)madvise(data, size, MADV_HUGEPAGE);
    memset(data, 1, size);
    struct reading r = {.data = data, .count = size / sizeof(float), .sum = sum};
    struct bench_series series = {0};
    for (int i = 0; i < PASSES; i++) {
        double start = bench_clock();
        pool_run(pool, (int)((r.count + PART - 1) / PART), read_part, &r);
        bench_series_add(&series, bench_clock() - start);
    }
    (void)munmap(data, size);
    return (double)size / bench_series_best(&series);
}

/* ---- products ---- */

struct products {
    float *matrix; /* per worker: A, B, C (SIDE,SIDE) */
};

static void product_item(void *ctx, int item, int worker)
{
    struct products *p = ctx;
    size_t square = (size_t)SIDE * SIDE;
    float *A = p->matrix + 3 * square * (size_t)worker;
    (void)item;
    gemm(false, true, SIDE, SIDE, SIDE, 1, A, SIDE, A + square, SIDE, 0, A + 2 * square, SIDE);
}

double bench_product_limit(struct pool *pool)
{
    int threads = pool_threads(pool);
    size_t square = (size_t)SIDE * SIDE;
    struct products p = {calloc((size_t)threads * 3 * square, sizeof(float))};
    struct bench_series series = {0};
    if (!p.matrix || blas_load(NULL) != STATUS_OK) {
        free(p.matrix);
        return 0;
    }
    for (size_t i = 0; i < (size_t)threads * 3 * square; i++)
        p.matrix[i] = 1.0F / (float)(1 + i % 7);
    for (int i = 0; i < PASSES; i++) {
        double start = bench_clock();
        pool_run(pool, 4 * threads, product_item, &p);
        bench_series_add(&series, bench_clock() - start);
    }
    free(p.matrix);
    return 2.0 * SIDE * SIDE * SIDE * 4 * threads / bench_series_best(&series);
}

/* ---- the command ---- */

static enum status limits_print(double read, size_t size, double product, int threads, bool as_json,
                                struct err *err)
{
    if (!as_json) {
        printf("%d threads: read %.1f GB/s (%zu MiB), F32 products %.0f GFLOP/s, kernels %s, "
               "BLAS %s\n",
               threads, read / 1e9, size >> 20, product / 1e9, kernels()->name, blas_kernel());
        return STATUS_OK;
    }
    json *out = json_object_new();
    bool whole = out && json_set_string(out, "bench", "limits") &&
                 json_set_int(out, "threads", threads) &&
                 json_set_number(out, "read_gb_per_s", read / 1e9) &&
                 json_set_int(out, "read_mib", (int64_t)(size >> 20)) &&
                 json_set_number(out, "product_gflops", product / 1e9) &&
                 json_set_string(out, "kernels", kernels()->name) &&
                 json_set_string(out, "blas", blas_kernel());
    return json_say(out, whole, err);
}

enum status bench_limits_run(int argc, char **argv, struct err *err)
{
    int64_t threads = 0, mib = 0;
    bool as_json = false;
    int positional = 0;
    const struct option table[] = {
        {"threads", OPTION_INT, &threads, 0, 64, "N", "0: one per core"},
        {"read-mib", OPTION_INT, &mib, 0, 1 << 16, "N", "0: twice the last cache"},
        {"json", OPTION_FLAG, &as_json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {"cdcca-model bench limits",
                                    "What memory and arithmetic of this machine give.",
                                    NULL,
                                    table,
                                    0,
                                    0};
    struct pool *pool = NULL;
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(blas_load(err));
    TRY(pool_create((int)threads, &pool, err));
    size_t size = mib ? (size_t)mib << 20 : bench_read_size();
    double read = bench_read_limit(pool, size), product = bench_product_limit(pool);
    int used = pool_threads(pool);
    pool_destroy(pool);
    if (read <= 0 || product <= 0)
        return err_set(err, STATUS_NO_MEMORY, "no memory to measure with");
    return limits_print(read, size, product, used, as_json, err);
}
