/* Adapters in the layout of Hugging Face PEFT, out and in: a directory with adapter_config.json and
 * adapter_model.safetensors (huggingface/peft, docs/source/developer_guides/checkpoint.md).
 *
 *   base_model.model.<module>.lora_A.weight (r,in), .lora_B.weight (out,r)   LoRA
 *   base_model.model.<module>.weight, .bias          a norm, listed in modules_to_save
 *   base_model.model.<module>[.base_layer].bias      a bias ("bias": "all"); base_layer where the
 *                                                    module has LoRA
 *
 * What LoRA's layout has no place for, the query tokens and the bottleneck adapters, lies beside it
 * in cdcca_extra.safetensors under our own names; PEFT does not look there. Module names are those
 * of HF transformers, as everywhere in a model.
 *
 * Left out, and refused by name: DoRA and the other kinds of adapter, LoRA on embeddings,
 * initialisations that change the base model (PiSSA, OLoRA, CorDA, LoftQ), regular expressions in
 * rank_pattern and alpha_pattern. One in target_modules is not evaluated: the tensors say which
 * modules it meant. */
#ifndef CDCCA_PEFT_H
#define CDCCA_PEFT_H

#include "model/learn/trainable.h"

struct peft_report {
    int rank;                     /* of most modules */
    float alpha;                  /* likewise */
    int lora;                     /* modules with LoRA */
    int norms;                    /* modules in modules_to_save */
    int biases;                   /* outside norms */
    int others;                   /* whole tensors of other modules_to_save; import only */
    int extras;                   /* tensors of cdcca_extra.safetensors */
    int64_t values, extra_values; /* in adapter_model.safetensors; in cdcca_extra.safetensors */
};

/* Writes the trainable set of `model`, attached with `options`, to dir. base: what the
 * configuration calls the base model. Values are F32, bit for bit. */
enum status peft_export(struct io *io, const struct mllm *model, const struct trainable *set,
                        const struct trainable_options *options, const char *base, const char *dir,
                        struct peft_report *report, struct err *err);

/* Reads dir into the trainable set of `model`, freshly attached with `options`: a smaller rank
 * leaves the further rows of A as they are and their columns of B 0; another alpha goes into B.
 * UNSUPPORTED: something the set has no place for. */
enum status peft_import(struct io *io, const char *dir, struct mllm *model,
                        const struct trainable *set, const struct trainable_options *options,
                        struct peft_report *report, struct err *err);

/* Reads dir into the weights of a model without adapters: W + scale B A. UNSUPPORTED: bottleneck
 * adapters that do something, or weights that are not F32 in memory.
 *
 * Both: MALFORMED (a value out of range, half a LoRA), NOT_FOUND (a file, or a module that the
 * model or the directory lacks), SHAPE, UNSUPPORTED. After a failure the model is of no use. */
enum status peft_merge(struct io *io, const char *dir, struct mllm *model,
                       struct peft_report *report, struct err *err);

#endif
