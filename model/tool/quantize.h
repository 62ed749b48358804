/* cdcca-model quantize SRC DST --to nf4|q8|bf16: a checkpoint with its linear layers quantized, in
 * bitsandbytes' serialized layout, so that Hugging Face's transformers loads it too. Memory does
 * not grow with the checkpoint. */
#ifndef CDCCA_QUANTIZE_H
#define CDCCA_QUANTIZE_H

#include "api/base/status.h"

enum status quantize_run(int argc, char **argv, struct err *err);

#endif
