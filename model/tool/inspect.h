/* cdcca-model inspect: what a model directory holds. */
#ifndef CDCCA_TOOL_INSPECT_H
#define CDCCA_TOOL_INSPECT_H

#include "api/base/status.h"

/* inspect DIR [--json]: configuration, parameters per part, weight type, encoder fingerprint,
 * tokenizer, BLAS kernel. The model is loaded in full, so what inspect accepts, everything does. */
enum status inspect_run(int argc, char **argv, struct err *err);

#endif
