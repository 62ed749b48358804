/* cdcca-model pretrain */
#ifndef CDCCA_TOOL_PRETRAIN_H
#define CDCCA_TOOL_PRETRAIN_H

#include "api/base/status.h"

enum status pretrain_command(int argc, char **argv, struct err *err);

#endif
