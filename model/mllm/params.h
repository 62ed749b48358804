/* The table of parameters: one description of every name, shape and initial value, from which
 * models are created, loaded, cloned and saved. Internal to model/mllm. */
#ifndef CDCCA_PARAMS_H
#define CDCCA_PARAMS_H

#include "model/mllm/mllm.h"

/* Gives an otherwise empty model (config set, zeroed) its arena, its layer structs and its
 * parameters, without data. */
enum status params_build(struct mllm *model, struct err *err);
/* Uninitialised F32 data for every parameter that is not packed. */
enum status params_allocate(struct mllm *model, struct err *err);
/* May be kept packed: matrices of linear layers, and tables whose rows are looked up. */
bool params_packable(const struct mllm *model, const struct param *p);
/* Is quantized by default: the linear layers of the vision encoder and of LLaMA, and the
 * projection. Hugging Face keeps the output head and the Q-Former as they are, and so do we. */
bool params_quantizable(const struct mllm *model, const struct param *p);
/* F32 bytes of all parameters of the checkpoint. */
size_t params_bytes(const struct mllm *model);

/* Storage of packed parameters, immutable once filled and shared by clones. */
struct mllm_store {
    struct arena memory;
    int references; /* atomic */
};
/* Room for size bytes, large pages where there are any; NULL without memory. */
struct mllm_store *store_create(size_t size);
struct mllm_store *mllm_store_retain(struct mllm_store *store);
void mllm_store_release(struct mllm_store *store); /* NULL is fine */

/* Random initial values: matrices normal with deviation 0.02, norm weights 1, biases 0. */
void params_init(struct mllm *model, uint64_t seed);
/* Repeats on `to`, built from the same config, what was attached to `from`: parameters, and the
 * LoRA and adapter pointers of every linear. */
enum status params_copy_attached(struct mllm *to, const struct mllm *from, struct err *err);

#endif
