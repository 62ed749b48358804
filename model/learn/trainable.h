/* The trainable set: the named parameters AKD may change (methods.md): norm weights and linear
 * biases (vision encoder apart: frozen and shared), LoRA in the language model and, beyond the
 * paper, in its output head and in the Q-Former (a concept the student has never met needs both to
 * be looked for and to be said: measured, see the README's results), query tokens, bottleneck
 * adapters. Version 0 is the factory model with freshly attached, neutral adapters (B
 * and up-projections 0; A from a fixed seed), so cloud and edge derive the same set from the same
 * directory. The order is canonical (parameter order of the model, then attached ones). */
#ifndef CDCCA_TRAINABLE_H
#define CDCCA_TRAINABLE_H

#include "api/base/hash.h"
#include "model/mllm/mllm.h"

struct trainable_options {
    int lora_rank;     /* default 16 */
    float lora_alpha;  /* 32 */
    int adapter_width; /* 32; 0: none */
};
struct trainable_options trainable_defaults(void);

struct trainable {
    struct param **params; /* in canonical order; owned array of borrowed parameters */
    int count;
    size_t values; /* total number of floats */
};

/* Attaches LoRA and adapters to a model that has none and lists the set. */
enum status trainable_attach(struct mllm *model, const struct trainable_options *options,
                             struct trainable *out, struct err *err);
/* Lists the set of a model that already has them (a clone). */
enum status trainable_list(const struct mllm *model, struct trainable *out, struct err *err);
void trainable_free(struct trainable *set);
/* Flat copy out and in, `values` floats. */
void trainable_read(const struct trainable *set, float *out);
void trainable_write(const struct trainable *set, const float *in);
/* SHA-256 over "name\0" ndim dims and little-endian F32 values of each parameter, in order. */
void trainable_hash(const struct trainable *set, struct hash *out);
/* The same over other values for the set, `values` floats. */
void trainable_hash_values(const struct trainable *set, const float *values, struct hash *out);
/* safetensors with the set's tensors in F32 and metadata version, sha256. Durable. */
enum status trainable_save(struct io *io, const struct trainable *set, int64_t version,
                           const char *path, struct err *err);
/* Checks names, shapes, finite values and the hash. */
enum status trainable_load(struct io *io, const struct trainable *set, const char *path,
                           int64_t *version, struct err *err);

#endif
