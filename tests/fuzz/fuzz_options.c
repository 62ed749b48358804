/* Options: a first byte 'j' makes the rest the configuration file, else each line is an argument.
 * What is accepted is within the table's bounds; a refusal says why. */
#include "api/wire/options.h"
#include "fuzz.h"
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ARGUMENTS = 16, TEXT_MAX = 4096 };

static void options_read(int argc, char **argv)
{
    const char *name = "none";
    int64_t count = 3;
    double share = 0.5;
    bool verbose = false;
    int positional = 0;
    struct err err = {0};
    const struct option table[] = {
        {"name", OPTION_STRING, &name, 0, 0, "TEXT", "a name"},
        {"count", OPTION_INT, &count, 1, 1e9, "N", "how many"},
        {"upload-share", OPTION_NUMBER, &share, 0, 1, "SHARE", "how much"},
        {"verbose", OPTION_FLAG, &verbose, 0, 0, NULL, "say more"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        .program = "fuzz", .summary = "nothing", .table = table, .positional_max = 2};
    enum status status = options_parse(&options, argc, argv, &positional, &err);
    FUZZ_HOLDS(status == STATUS_OK || status == STATUS_CANCELLED || err.text[0]);
    if (status != STATUS_OK)
        return;
    FUZZ_HOLDS(name && count >= 1 && count <= 1000000000 && share >= 0 && share <= 1);
    FUZZ_HOLDS(positional >= 0 && positional <= 2);
}

static void file_read(const uint8_t *data, size_t len)
{
    char path[64], program[] = "fuzz", flag[] = "--config";
    int fd = memfd_create("options", MFD_CLOEXEC);
    FUZZ_HOLDS(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char *argv[] = {program, flag, path, NULL};
    options_read(3, argv);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char text[TEXT_MAX], program[] = "fuzz", *argv[ARGUMENTS + 2] = {program};
    int argc = 1;
    if (len > 0 && data[0] == 'j') {
        file_read(data + 1, len - 1);
        return 0;
    }
    if (len >= sizeof text)
        return 0;
    memcpy(text, data, len);
    text[len] = '\0';
    if (strstr(text, "--config") || strstr(text, "--help") || strstr(text, "--version"))
        return 0; /* reads a file of that name, or prints */
    for (char *rest = text; rest && argc <= ARGUMENTS;)
        argv[argc++] = strsep(&rest, "\n");
    options_read(argc, argv);
    return 0;
}
