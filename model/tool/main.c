/* cdcca-model: the offline tool. One table of subcommands; each lives in a file of its own and
 * takes its own flags (--help). */
#include "api/base/log.h"
#include "api/base/status.h"
#include "model/tensor/blas.h"
#include "model/tool/bench.h"
#include "model/tool/eval.h"
#include "model/tool/experiment.h"
#include "model/tool/export.h"
#include "model/tool/generate.h"
#include "model/tool/generate_world.h"
#include "model/tool/import.h"
#include "model/tool/inspect.h"
#include "model/tool/loop.h"
#include "model/tool/pretrain_command.h"
#include "model/tool/quantize.h"
#include "model/tool/refit.h"
#include "model/tool/score.h"
#include "model/tool/synth.h"
#include "model/tool/tokenize.h"
#include "model/tool/verify.h"
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    enum status (*run)(int argc, char **argv, struct err *err);
    const char *help;
} COMMANDS[] = {
    {"pretrain", pretrain_command, "make the built-in teacher and student from a seed"},
    {"eval", eval_run, "accuracy of a model on the world or on a directory"},
    {"score", score_run, "score captions or answers that any model gave"},
    {"verify", verify_run, "compare a model with reference outputs"},
    {"inspect", inspect_run, "what a model directory holds"},
    {"export", export_run, "the adapters of a fleet in the layout of PEFT"},
    {"import", import_run, "adapters in the layout of PEFT, as a trainable set or merged"},
    {"quantize", quantize_run, "a checkpoint as NF4, LLM.int8 or BF16"},
    {"synth", synth_run, "random weights in the shape of a real model"},
    {"tokenize", tokenize_run, "text to ids and back"},
    {"generate", generate_run, "go on with a text, or answer about an image"},
    {"generate-world", generate_world_run,
     "write scenes and questions of the built-in world to disk"},
    {"experiment", experiment_run, "the paper's tables, with baselines and seeds"},
    {"loop", loop_run, "the whole loop in one process, for tuning"},
    {"bench", bench_run, "how fast this machine decodes, prefills and trains"},
    {"refit", refit_run, "baseline: re-fit the output head alone on stored uploads"},
};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(*COMMANDS) };

static void print_help(FILE *out)
{
    fprintf(out, "usage: cdcca-model COMMAND [flags]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-15s %s\n", COMMANDS[i].name, COMMANDS[i].help);
    fprintf(out, "\ncdcca-model COMMAND --help says more. Version %s.\n", CDCCA_VERSION);
}

static int command_run(const struct command *command, int argc, char **argv)
{
    struct err err = {0};
    enum status status = command->run(argc - 1, argv + 1, &err);
    if (status == STATUS_CANCELLED && err.text[0] == '\0')
        return 0; /* --help or --version */
    if (status != STATUS_OK)
        fprintf(stderr, "cdcca-model %s: %s\n", command->name, err.text);
    return status_exit(status);
}

static int version_print(void)
{
    struct err err = {0};
    bool blas = blas_load(&err) == STATUS_OK;
    printf("cdcca-model %s (BLAS kernel: %s)\n", CDCCA_VERSION, blas ? blas_kernel() : err.text);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return status_exit(STATUS_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return print_help(stdout), 0;
    if (strcmp(argv[1], "--version") == 0)
        return version_print();
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(argv[1], COMMANDS[i].name) == 0)
            return command_run(&COMMANDS[i], argc, argv);
    fprintf(stderr, "cdcca-model: no command \"%s\"\n", argv[1]);
    print_help(stderr);
    return status_exit(STATUS_USAGE);
}
