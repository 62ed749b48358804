/* cdcca-edge: run (the agent), serve (the same for applications), simulate (a fleet), enroll (a
 * token for it), ask (one question about one image), status (what the agent has done). Command
 * lines only; the work is in agent.c, serve.c, simulate.c, identity.c, ask.c and board.c. */
#include "api/base/log.h"
#include "api/wire/limits.h"
#include "api/wire/options.h"
#include "client/agent.h"
#include "client/ask.h"
#include "client/board.h"
#include "client/identity.h"
#include "client/infer.h"
#include "client/selftest.h"
#include "client/serve.h"
#include "client/simulate.h"
#include "client/stop.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int main_fail(const char *program, enum status status, const struct err *err)
{
    if (status == STATUS_CANCELLED)
        return 0; /* --help or --version */
    fprintf(stderr, "%s: %s\n", program, err->text);
    return status_exit(status);
}

/* The named directory, or the built-in student in room[PATH_MAX]. */
static enum status main_model(const char **dir, char room[PATH_MAX], struct err *err)
{
    if (*dir)
        return STATUS_OK;
    TRY(infer_default_model(room, PATH_MAX, err));
    *dir = room;
    return STATUS_OK;
}

static enum status main_run_check(const struct agent_options *o, struct err *err)
{
    if (!o->cloud_url)
        return err_set(err, STATUS_USAGE, "--cloud URL is missing, such as http://127.0.0.1:8080");
    if (!o->source)
        return err_set(err, STATUS_USAGE,
                       "--source is missing: a directory with questions.jsonl, or world:target");
    if (!o->data_dir)
        return err_set(err, STATUS_USAGE, "--data DIR is missing: where the agent keeps its state");
    if (o->bits != 4 && o->bits != 8)
        return err_set(err, STATUS_USAGE, "--bits is 4 or 8");
    return STATUS_OK;
}

static struct agent_options main_run_defaults(void)
{
    return (struct agent_options){.agreement = SELFTEST_SHARE,
                                  .budget = 0.1,
                                  .window = 910,
                                  .keep = uts_defaults().keep,
                                  .bits = 4,
                                  .threads = 1,
                                  .poll_s = 30,
                                  .seed = 1,
                                  .spool_bytes = 64 << 20,
                                  .spool_days = 7,
                                  .segment = 910,
                                  .lockstep_timeout_s = 600};
}

static enum status main_run_options(struct agent_options *o, int argc, char **argv, struct err *err)
{
    const struct option table[] = {
        {"cloud", OPTION_STRING, &o->cloud_url, 0, 0, "URL", "the cdcca-cloud to work with"},
        {"source", OPTION_STRING, &o->source, 0, 0, "DIR|world:NAME",
         "a directory of images and questions.jsonl, watched; or the built-in world"},
        {"data", OPTION_STRING, &o->data_dir, 0, 0, "DIR", "the agent's state; created if need be"},
        {"model", OPTION_STRING, &o->model_dir, 0, 0, "DIR",
         "factory model (the built-in student)"},
        {"device", OPTION_STRING, &o->device, 0, 0, "ID", "name of this device (made up once)"},
        {"trust", OPTION_STRING, &o->trust, 0, 0, "FILE",
         "the cloud's public root key (root.pub); without, DATA/root.pub"},
        {"token-file", OPTION_STRING, &o->token_file, 0, 0, "FILE",
         "what the device shows to the cloud (DATA/token)"},
        {"ca", OPTION_STRING, &o->ca_file, 0, 0, "FILE",
         "who vouches for the cloud, PEM (the system's authorities)"},
        {"class", OPTION_STRING, &o->device_class, 0, 0, "ID", "kind of device, for the fleet"},
        {"channel", OPTION_STRING, &o->channel, 0, 0, "ID", "whose releases it takes"},
        {"agreement", OPTION_NUMBER, &o->agreement, 0, 1, "SHARE",
         "of sure answers that a new version must give as before"},
        {"budget", OPTION_NUMBER, &o->budget, 0, 1, "SHARE", "share of the instances to upload"},
        {"window", OPTION_INT, &o->window, 1, 1 << 20, "N", "instances per sampling window"},
        {"keep", OPTION_INT, &o->keep, 1, LIMIT_TOKENS, "N", "visual tokens per upload"},
        {"bits", OPTION_INT, &o->bits, 4, 8, "4|8", "bits per uploaded value"},
        {"rate", OPTION_NUMBER, &o->rate, 0, 1e6, "N", "samples per second; 0: as fast as it can"},
        {"count", OPTION_INT, &o->count, 0, 1e15, "N", "stop after N samples in all"},
        {"rounds", OPTION_INT, &o->rounds, 0, 1 << 20, "N",
         "stop at version N; lockstep: after N rounds"},
        {"poll", OPTION_INT, &o->poll_s, 1, LIMIT_WAIT_S, "SECONDS", "length of a long poll"},
        {"seed", OPTION_INT, &o->seed, 0, 1e15, "N", "of world streams and of the draws"},
        {"threads", OPTION_INT, &o->threads, 0, 64, "N", "for answering; 0: one per core"},
        {"spool-bytes", OPTION_INT, &o->spool_bytes, 1 << 16, 1e15, "N",
         "most that may wait for the cloud; what tells least per byte gives way"},
        {"spool-days", OPTION_INT, &o->spool_days, 1, 3650, "N", "days it may wait"},
        {"uplink-bytes-per-day", OPTION_INT, &o->daily_bytes, 0, 1e15, "N",
         "most that uploads may weigh in a day; 0: no limit"},
        {"segment", OPTION_INT, &o->segment, 1, 1 << 20, "N",
         "samples per round in lockstep, and per step of world:drift"},
        {"lockstep", OPTION_FLAG, &o->lockstep, 0, 0, NULL,
         "after each segment: upload, ask for a round, wait for its version"},
        {"lockstep-timeout", OPTION_INT, &o->lockstep_timeout_s, 1, 1 << 20, "SECONDS",
         "longest such wait"},
        {"json", OPTION_FLAG, &o->json, 0, 0, NULL,
         "a JSON line per answer on stdout; in lockstep, per round"},
        {0}};
    const struct options options = {.program = "cdcca-edge run",
                                    .summary = "Answers a stream, uploads what it is unsure about, "
                                               "applies the updates that come back.",
                                    .table = table};
    int count;
    *o = main_run_defaults();
    TRY(options_parse(&options, argc, argv, &count, err));
    return main_run_check(o, err);
}

static int main_run(int argc, char **argv)
{
    struct agent_options o;
    struct err err = {0};
    char room[PATH_MAX];
    enum status status = main_run_options(&o, argc, argv, &err);
    if (status == STATUS_OK)
        status = main_model(&o.model_dir, room, &err);
    if (status == STATUS_OK) {
        stop_install();
        status = agent_run(&o, &err);
    }
    return status == STATUS_OK ? 0 : main_fail("cdcca-edge run", status, &err);
}

static enum status enroll_check(const struct enroll_options *o, struct err *err)
{
    if (o->cloud_url && o->code && o->data_dir)
        return STATUS_OK;
    return err_set(err, STATUS_USAGE, "--cloud URL, --code CODE and --data DIR are needed");
}

static int main_enroll(int argc, char **argv)
{
    struct enroll_options o = {0};
    const struct option table[] = {
        {"cloud", OPTION_STRING, &o.cloud_url, 0, 0, "URL", "the cdcca-cloud to work with"},
        {"code", OPTION_STRING, &o.code, 0, 0, "CODE", "from cdcca-cloud enroll-code"},
        {"data", OPTION_STRING, &o.data_dir, 0, 0, "DIR", "the agent's state; created if need be"},
        {"device", OPTION_STRING, &o.device, 0, 0, "ID",
         "name of this device (its own, or what the cloud says)"},
        {"ca", OPTION_STRING, &o.ca_file, 0, 0, "FILE",
         "who vouches for the cloud, PEM (the system's authorities)"},
        {0}};
    const struct options options = {.program = "cdcca-edge enroll",
                                    .summary = "Turns a one-time code into this device's token.",
                                    .table = table};
    struct err err = {0};
    char name[LIMIT_ID + 1];
    int count;
    enum status status = options_parse(&options, argc, argv, &count, &err);
    if (status == STATUS_OK)
        status = enroll_check(&o, &err);
    if (status == STATUS_OK)
        status = identity_enroll(io_posix(), &o, name, &err);
    if (status == STATUS_OK)
        printf("enrolled as %s; the token is in %s/token\n", name, o.data_dir);
    return status == STATUS_OK ? 0 : main_fail(options.program, status, &err);
}

static int main_ask(int argc, char **argv)
{
    struct ask_options o = {.threshold = -1, .keep = uts_defaults().keep, .bits = 4};
    const struct option table[] = {
        {"image", OPTION_STRING, &o.image, 0, 0, "FILE", "PNG or JPEG"},
        {"model", OPTION_STRING, &o.model_dir, 0, 0, "DIR", "factory model (the built-in student)"},
        {"data", OPTION_STRING, &o.data_dir, 0, 0, "DIR",
         "an agent's state: its active version answers"},
        {"threshold", OPTION_NUMBER, &o.threshold, 0, 100, "NATS",
         "entropy from which to sample (the agent's last, or 0.5)"},
        {"keep", OPTION_INT, &o.keep, 1, LIMIT_TOKENS, "N", "visual tokens per upload"},
        {"json", OPTION_FLAG, &o.json, 0, 0, NULL, "JSON on stdout"},
        {0}};
    const struct options options = {.program = "cdcca-edge ask",
                                    .summary = "Answers one question about one image.",
                                    .positional = "QUESTION",
                                    .table = table,
                                    .positional_min = 1,
                                    .positional_max = 1};
    struct err err = {0};
    struct buf out = {.max = 1 << 20};
    char room[PATH_MAX];
    int count;
    enum status status = options_parse(&options, argc, argv, &count, &err);
    if (status == STATUS_OK && !o.image)
        status = err_set(&err, STATUS_USAGE, "--image FILE is missing");
    if (status == STATUS_OK)
        status = main_model(&o.model_dir, room, &err);
    if (status == STATUS_OK) {
        o.question = argv[1];
        status = ask_run(&o, &out, &err);
    }
    if (status == STATUS_OK)
        fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return status == STATUS_OK ? 0 : main_fail(options.program, status, &err);
}

static int main_status(int argc, char **argv)
{
    const char *data = NULL;
    bool json_wanted = false;
    const struct option table[] = {
        {"data", OPTION_STRING, &data, 0, 0, "DIR", "the agent's state"},
        {"json", OPTION_FLAG, &json_wanted, 0, 0, NULL, "JSON on stdout"},
        {0}};
    const struct options options = {.program = "cdcca-edge status",
                                    .summary = "What the agent in a data folder has done so far.",
                                    .table = table};
    struct err err = {0};
    struct board_fields fields;
    struct buf out = {.max = 1 << 20};
    int count;
    enum status status = options_parse(&options, argc, argv, &count, &err);
    if (status == STATUS_OK && !data)
        status = err_set(&err, STATUS_USAGE, "--data DIR is missing");
    if (status == STATUS_OK)
        status = board_read(io_posix(), data, &fields, &err);
    if (status == STATUS_OK)
        status =
            json_wanted ? board_print_json(&fields, true, &out) : board_print_text(&fields, &out);
    if (status == STATUS_OK)
        fwrite(out.data, 1, out.len, stdout);
    if (status == STATUS_OK && json_wanted)
        putchar('\n');
    buf_free(&out);
    return status == STATUS_OK ? 0 : main_fail(options.program, status, &err);
}

/* A command that reads its own options. */
static int main_command(const char *program, enum status (*run)(int, char **, struct err *),
                        int argc, char **argv)
{
    struct err err = {0};
    enum status status = run(argc, argv, &err);
    return status == STATUS_OK ? 0 : main_fail(program, status, &err);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: cdcca-edge run --cloud URL --source DIR|world:NAME --data DIR [OPTION...]\n"
        "       cdcca-edge serve --data DIR [--cloud URL] [OPTION...]\n"
        "       cdcca-edge simulate --cloud URL [--devices N] [OPTION...]\n"
        "       cdcca-edge enroll --cloud URL --code CODE --data DIR [OPTION...]\n"
        "       cdcca-edge ask --image FILE QUESTION [OPTION...]\n"
        "       cdcca-edge status --data DIR [--json]\n"
        "Each has --help.\n";
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "run") == 0)
        return main_run(argc - 1, argv + 1);
    if (strcmp(command, "enroll") == 0)
        return main_enroll(argc - 1, argv + 1);
    if (strcmp(command, "serve") == 0)
        return main_command("cdcca-edge serve", serve_run, argc - 1, argv + 1);
    if (strcmp(command, "simulate") == 0)
        return main_command("cdcca-edge simulate", simulate_run, argc - 1, argv + 1);
    if (strcmp(command, "ask") == 0)
        return main_ask(argc - 1, argv + 1);
    if (strcmp(command, "status") == 0)
        return main_status(argc - 1, argv + 1);
    if (strcmp(command, "--version") == 0) {
        puts("cdcca-edge " CDCCA_VERSION);
        return 0;
    }
    bool help = strcmp(command, "--help") == 0 || strcmp(command, "help") == 0;
    if (!help && command[0])
        fprintf(stderr, "cdcca-edge: '%s' is no command\n", command);
    fputs(usage, help ? stdout : stderr);
    return help ? 0 : status_exit(STATUS_USAGE);
}
