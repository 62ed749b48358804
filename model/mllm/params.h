/* The table of parameters: one description of every name, shape and initial value, from which
 * models are created, loaded, cloned and saved. Internal to model/mllm. */
#ifndef CDCCA_PARAMS_H
#define CDCCA_PARAMS_H

#include "model/mllm/mllm.h"

/* Gives an otherwise empty model (config set, zeroed) its arena, its layer structs and its
 * parameters with uninitialised data. */
enum status params_build(struct mllm *model, struct err *err);
/* Random initial values: matrices normal with deviation 0.02, norm weights 1, biases 0. */
void params_init(struct mllm *model, uint64_t seed);
/* Repeats on `to`, built from the same config, what was attached to `from`: parameters, and the
 * LoRA and adapter pointers of every linear. */
enum status params_copy_attached(struct mllm *to, const struct mllm *from, struct err *err);

#endif
