/* cdcca-cloud backup, and restore. */
#include "server/backup_command.h"
#include "api/wire/options.h"
#include "server/backup.h"
#include <stdio.h>

static enum status copy(const char *from, const char *to, const char *what, struct err *err)
{
    struct backup_count count;
    TRY(backup_copy(io_posix(), from, to, &count, err));
    if (printf("cdcca-cloud: %s: %lld releases, %lld uploads, %lld bytes in %s\n", what,
               (long long)count.releases, (long long)count.uploads, (long long)count.bytes, to) < 0)
        return err_set(err, STATUS_IO, "cannot write");
    return STATUS_OK;
}

enum status backup_command(int argc, char **argv, struct err *err)
{
    const char *data = "cdcca-data", *to = NULL;
    const struct option table[] = {
        {"data", OPTION_STRING, &data, 0, 0, "DIR", "the service's; it may be running"},
        {"to", OPTION_STRING, &to, 0, 0, "DIR", "where the copy goes; made here, or empty"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {.program = "cdcca-cloud backup",
                                    .summary =
                                        "copies a data directory as of one moment, keys included",
                                    .table = table};
    int positional = 0;
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!to)
        return err_set(err, STATUS_USAGE, "--to DIR is needed");
    return copy(data, to, "backup", err);
}

enum status restore_command(int argc, char **argv, struct err *err)
{
    const char *data = "cdcca-data", *from = NULL;
    const struct option table[] = {
        {"from", OPTION_STRING, &from, 0, 0, "DIR", "what cdcca-cloud backup made"},
        {"data", OPTION_STRING, &data, 0, 0, "DIR", "the data directory; made here, or empty"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {.program = "cdcca-cloud restore",
                                    .summary = "makes a data directory from a backup",
                                    .table = table};
    int positional = 0;
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!from)
        return err_set(err, STATUS_USAGE, "--from DIR is needed");
    return copy(from, data, "restored", err);
}
