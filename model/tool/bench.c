/* The table of benches, and the little they share: a clock, repetitions, printing. */
#include "model/tool/bench.h"

#include "api/base/buf.h"
#include "api/wire/json_out.h"
#include "model/tool/bench_accuracy.h"
#include "model/tool/bench_akd.h"
#include "model/tool/bench_decode.h"
#include "model/tool/bench_limits.h"
#include "model/tool/bench_train.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- repetitions ---- */

double bench_clock(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void bench_series_add(struct bench_series *series, double seconds)
{
    if (series->count < BENCH_REPEAT_MAX)
        series->seconds[series->count++] = seconds;
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double series_at(const struct bench_series *series, int place)
{
    double sorted[BENCH_REPEAT_MAX];
    size_t n = (size_t)series->count;
    if (n == 0)
        return 0;
    memcpy(sorted, series->seconds, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_seconds);
    return sorted[place];
}

double bench_series_best(const struct bench_series *series)
{
    return series_at(series, 0);
}

double bench_series_median(const struct bench_series *series)
{
    return series_at(series, series->count / 2);
}

/* ---- printing ---- */

bool bench_set_rate(json *out, const char *key, const struct bench_series *series, double per)
{
    json *rate = json_object_new();
    bool whole = rate && json_set_number(rate, "best", per / bench_series_best(series)) &&
                 json_set_number(rate, "median", per / bench_series_median(series));
    if (whole)
        return json_set_take(out, key, rate);
    json_free(rate);
    return false;
}

/* ---- the command ---- */

static const struct bench {
    const char *name;
    enum status (*run)(int argc, char **argv, struct err *err);
    const char *help;
} BENCHES[] = {
    {"decode", bench_decode_run, "tokens a second, one after another, of a LLaMA"},
    {"prefill", bench_prefill_run, "tokens a second of a prompt that goes in at once"},
    {"train", bench_train_run, "training steps a second, everything or LoRA and norms"},
    {"accuracy", bench_accuracy_run, "what packed weights and fast products cost in accuracy"},
    {"akd", bench_akd_run, "a round of distillation with models of any size"},
    {"limits", bench_limits_run, "what memory and arithmetic of this machine give"},
};
enum { BENCH_COUNT = sizeof(BENCHES) / sizeof(*BENCHES) };

static void bench_help(FILE *out)
{
    fprintf(out, "usage: cdcca-model bench WHAT [flags]\n\n");
    for (int i = 0; i < BENCH_COUNT; i++)
        fprintf(out, "  %-10s %s\n", BENCHES[i].name, BENCHES[i].help);
    fprintf(out, "\ncdcca-model bench WHAT --help says more.\n");
}

enum status bench_run(int argc, char **argv, struct err *err)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        bench_help(stdout);
        return STATUS_CANCELLED;
    }
    for (int i = 0; argc > 1 && i < BENCH_COUNT; i++)
        if (strcmp(argv[1], BENCHES[i].name) == 0)
            return BENCHES[i].run(argc - 1, argv + 1, err);
    if (argc > 1)
        return err_set(err, STATUS_USAGE, "no bench \"%s\"; cdcca-model bench --help lists them",
                       argv[1]);
    bench_help(stderr);
    return err_set(err, STATUS_USAGE, "which bench? see above");
}
