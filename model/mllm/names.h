/* The names that tensors of a checkpoint have had: across versions of transformers, in LAVIS, from
 * which InstructBLIP comes, and with or without the prefixes of the classes around a part. Ours are
 * those of transformers 4.36. Internal to model/mllm. */
#ifndef CDCCA_NAMES_H
#define CDCCA_NAMES_H

#include "model/mllm/config.h"
#include <stddef.h>

enum { NAMES_MAX = 1280 };

/* Our name for a tensor's (itself when it is none of those known here). */
void names_canonical(const struct mllm_config *config, const char *name, char out[NAMES_MAX]);
/* Tensors beside the weights that follow from the configuration: positions, RoPE's frequencies and
 * tables, and an output head that config.json ties to the embedding. name is canonical. */
bool names_extra(const struct mllm_config *config, const char *name);

#endif
