/* Products of packed weights: GB/s of codes read and GOP/s, per format, shape, rows and kernel set.
 * The matrices are walked through a buffer larger than the last cache, as a model's are. Prints one
 * JSON object a line.
 *     bench_weight [threads] [MiB] [set[,set..]] [format[,format..]] [rows[,rows..]] [exact] */
#include "api/base/rng.h"
#include "model/tensor/kernels_weight.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS_MAX = 4096, SIDE_MAX = 5632, ROUNDS = 5 };

struct bench {
    struct pool *pool;
    struct arena arena;
    size_t bytes; /* of codes to walk through */
    uint8_t *codes;
    float *scale, *x, *y;
    bool exact;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of a few walks, in seconds a product */
static double measure(struct bench *b, enum weight_type type, int O, int I, int M,
                      const struct weight_kernels *set)
{
    size_t each = weight_code_bytes(type, O, I), count = b->bytes / each;
    double best = 1e9;
    struct weight_how how = {
        .pool = b->pool, .arena = &b->arena, .exact = b->exact, .kernels = set};
    if (count < 1 || (M > 400 && count > 8))
        count = count < 1 ? 1 : 8;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        for (size_t i = 0; i < count; i++) {
            struct weight w = {type, O, I, b->codes + i * each, b->scale};
            if (weight_multiply(&w, b->x, M, b->y, &how) != STATUS_OK)
                exit(1);
        }
        double seconds = (now() - start) / (double)count;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void report(struct bench *b, enum weight_type type, const int *shape, int M, const char *set)
{
    const struct weight_kernels *kernels = weight_kernels_find(set);
    int O = shape[0], I = shape[1];
    if (!kernels)
        return;
    double seconds = measure(b, type, O, I, M, kernels);
    double bytes =
        (double)weight_code_bytes(type, O, I) + 4 * (double)weight_scale_count(type, O, I);
    printf("{\"set\": \"%s\", \"format\": \"%s\", \"exact\": %s, \"O\": %d, \"I\": %d, \"M\": %d, "
           "\"threads\": %d, \"us\": %.1f, \"gb_s\": %.2f, \"gop_s\": %.1f}\n",
           set, weight_type_name(type), b->exact ? "true" : "false", O, I, M, pool_threads(b->pool),
           seconds * 1e6, bytes / seconds / 1e9, 2e-9 * O * I * M / seconds);
    fflush(stdout);
}

static bool fill(struct bench *b)
{
    struct rng rng;
    rng_init(&rng, 1, 1);
    size_t scales = (size_t)SIDE_MAX * SIDE_MAX / WEIGHT_BLOCK;
    b->codes = aligned_alloc(64, b->bytes + (size_t)SIDE_MAX * SIDE_MAX * 2);
    b->scale = malloc(scales * sizeof *b->scale);
    b->x = malloc((size_t)ROWS_MAX * SIDE_MAX * sizeof *b->x);
    b->y = malloc((size_t)ROWS_MAX * SIDE_MAX * sizeof *b->y);
    if (!b->codes || !b->scale || !b->x || !b->y || !arena_init(&b->arena, (size_t)1 << 30))
        return false;
    for (size_t i = 0; i < b->bytes + (size_t)SIDE_MAX * SIDE_MAX * 2; i++)
        b->codes[i] = i % 2 ? 0x3c : (uint8_t)(i * 2654435761u >> 13); /* normal in any format */
    for (size_t i = 0; i < scales; i++)
        b->scale[i] = 0.01f;
    for (size_t i = 0; i < (size_t)ROWS_MAX * SIDE_MAX; i++)
        b->x[i] = i < 100000 ? rng_normal(&rng) : b->x[i - 100000];
    return true;
}

static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ','))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static const int shapes[][2] = {{768, 768},   {2048, 768},  {768, 2048},
                                    {2048, 2048}, {5632, 2048}, {2048, 5632}};
    static const char *const sets[] = {"base", "avx2", "vnni", "amx"};
    static struct bench b;
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    b.bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 256) << 20;
    const char *wanted = argc > 3 ? argv[3] : "avx2,vnni,amx",
               *formats = argc > 4 ? argv[4] : "bf16,q8,nf4",
               *rows = argc > 5 ? argv[5] : "1,4,16,128";
    b.exact = argc > 6 && strcmp(argv[6], "exact") == 0;
    if (b.bytes < 1 << 20 || !fill(&b) || pool_create(threads, &b.pool, NULL) != STATUS_OK) {
        fprintf(stderr, "usage: bench_weight [threads] [MiB] [sets] [formats] [rows] [exact]\n");
        return 1;
    }
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++)
        for (int type = WEIGHT_BF16; type <= WEIGHT_NF4; type++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                for (int M = 1; M <= ROWS_MAX; M++) {
                    char text[16];
                    snprintf(text, sizeof text, "%d", M);
                    if (listed(wanted, sets[s]) && listed(rows, text) &&
                        listed(formats, weight_type_name((enum weight_type)type)))
                        report(&b, (enum weight_type)type, shapes[i], M, sets[s]);
                }
    pool_destroy(b.pool);
    return 0;
}
