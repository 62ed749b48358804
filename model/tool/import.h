/* cdcca-model import --peft DIR --model BASE --out DIR [--merge]: adapters made elsewhere, or
 * exported before, as a trainable set (OUT/trainable.safetensors, for eval --trainable) or, merged,
 * as a model directory without adapters. */
#ifndef CDCCA_TOOL_IMPORT_H
#define CDCCA_TOOL_IMPORT_H

#include "api/base/status.h"

enum status import_run(int argc, char **argv, struct err *err);

#endif
