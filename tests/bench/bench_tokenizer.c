/* Tokenizers on long texts: seconds for 1 MB and what twice as much costs (2.0: linear time).
 * Texts: one letter, blanks, a sentence over and over. Prints one JSON object a line.
 *     bench_tokenizer DIR [DIR ..]        folders with a tokenizer's files */
#include "model/mllm/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MEGABYTE = 1000000, ROUNDS = 5 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of ROUNDS, in seconds; *count: ids */
static double measure(const struct tokenizer *t, const char *text, size_t len, int32_t *ids,
                      size_t max, size_t *count, struct err *err)
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double from = now();
        if (tokenizer_encode(t, text, len, ids, max, count, err) != STATUS_OK)
            return -1;
        double took = now() - from;
        best = took < best ? took : best;
    }
    return best;
}

static enum status bench_folder(const char *dir, char *text, int32_t *ids, size_t max,
                                struct err *err)
{
    static const char *const units[] = {
        "a", " ", "Describe this image in one or two sentences, if its quality allows. "};
    struct tokenizer *t = NULL;
    TRY(tokenizer_load(io_posix(), dir, &t, err));
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t step = strlen(units[u]), count = 0, twice = 0;
        for (size_t i = 0; i < 2 * MEGABYTE; i++)
            text[i] = units[u][i % step];
        double two = measure(t, text, 2 * MEGABYTE, ids, max, &twice, err);
        double one = measure(t, text, MEGABYTE, ids, max, &count, err);
        if (one < 0 || two < 0) {
            tokenizer_destroy(t);
            return err->code;
        }
        printf("{\"tokenizer\": \"%s\", \"text\": \"%.9s\", \"ids\": %zu, \"seconds\": %.4f, "
               "\"twice\": %.2f}\n",
               dir, units[u], count, one, two / one);
    }
    tokenizer_destroy(t);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    size_t max = 8 * MEGABYTE;
    struct err err = {0};
    char *text = malloc(2 * MEGABYTE);
    int32_t *ids = malloc(max * sizeof *ids);
    if (argc < 2 || !text || !ids) {
        fprintf(stderr, "usage: bench_tokenizer DIR [DIR ..]\n");
        free(text);
        free(ids);
        return status_exit(STATUS_USAGE);
    }
    for (int i = 1; i < argc && err.code == STATUS_OK; i++)
        err.code = bench_folder(argv[i], text, ids, max, &err);
    if (err.code != STATUS_OK)
        fprintf(stderr, "bench_tokenizer: %s\n", err.text);
    free(text);
    free(ids);
    return status_exit(err.code);
}
