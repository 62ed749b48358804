/* cdcca-cloud backup and restore: argv[0] is the command's name. STATUS_CANCELLED after --help. */
#ifndef CDCCA_BACKUP_COMMAND_H
#define CDCCA_BACKUP_COMMAND_H

#include "api/base/status.h"

enum status backup_command(int argc, char **argv, struct err *err);
enum status restore_command(int argc, char **argv, struct err *err);

#endif
