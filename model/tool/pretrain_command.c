/* cdcca-model pretrain: flags for model/task/pretrain. */
#include "model/tool/pretrain_command.h"

#include "api/wire/options.h"
#include "model/task/pretrain.h"
#include <stddef.h>

enum status pretrain_command(int argc, char **argv, struct err *err)
{
    const char *out = "models", *work = NULL;
    int64_t seed = 1, threads = 0, count = 600;
    double effort = 1;
    bool tiny = false, quiet = false;
    const struct option table[] = {
        {"out", OPTION_STRING, &out, 0, 0, "DIR", "where teacher/ and student/ go (models)"},
        {"work", OPTION_STRING, &work, 0, 0, "DIR", "checkpoints (OUT/work)"},
        {"seed", OPTION_INT, &seed, 0, 1e9, "N", "seed of everything (1)"},
        {"threads", OPTION_INT, &threads, 0, 64, "N", "0: one per core (0)"},
        {"effort", OPTION_NUMBER, &effort, 1e-4, 100, "X", "scales the steps of each stage (1)"},
        {"evaluate", OPTION_INT, &count, 0, 1e6, "N", "questions per evaluation (600)"},
        {"tiny", OPTION_FLAG, &tiny, 0, 0, NULL, "a toy pair, for tests"},
        {"quiet", OPTION_FLAG, &quiet, 0, 0, NULL, "no progress bar"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {.program = "cdcca-model pretrain",
                                    .summary = "Makes the built-in teacher and student.",
                                    .table = table};
    int positional;
    struct pool *pool = NULL;
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(pool_create((int)threads, &pool, err));
    struct pretrain_options pretrain = {.out = out,
                                        .work = work,
                                        .seed = (uint64_t)seed,
                                        .effort = effort,
                                        .evaluate = (int)count,
                                        .tiny = tiny,
                                        .quiet = quiet};
    enum status status = pretrain_run(io_posix(), pool, &pretrain, err);
    pool_destroy(pool);
    return status;
}
