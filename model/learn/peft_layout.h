/* What the writer (peft.c) and the reader (peft_import.c) of PEFT directories share: names.
 * Internal to model/learn. */
#ifndef CDCCA_PEFT_LAYOUT_H
#define CDCCA_PEFT_LAYOUT_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PEFT_CONFIG "adapter_config.json"
#define PEFT_TENSORS "adapter_model.safetensors"
#define PEFT_EXTRAS "cdcca_extra.safetensors"
#define PEFT_PREFIX "base_model.model."
#define PEFT_WRAPPED ".base_layer"
#define PEFT_A ".lora_A.weight"
#define PEFT_B ".lora_B.weight"

enum { PEFT_NAME = 256 };

enum peft_kind { PEFT_LORA_A, PEFT_LORA_B, PEFT_NORM, PEFT_BIAS, PEFT_EXTRA, PEFT_OTHER };

static inline bool peft_ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), t = strlen(tail);
    return n >= t && strcmp(text + n - t, tail) == 0;
}

/* Of a parameter's name in a model; module: the name without its tail ("" for query_tokens). */
static inline enum peft_kind peft_kind(const char *name, char module[PEFT_NAME])
{
    static const char *const tails[] = {PEFT_A, PEFT_B, ".weight", ".bias"};
    size_t cut = 0;
    for (int i = 0; i < 4 && cut == 0; i++)
        if (peft_ends_with(name, tails[i]))
            cut = strlen(name) - strlen(tails[i]);
    snprintf(module, PEFT_NAME, "%.*s", (int)cut, name);
    if (strstr(name, "_adapter.") || strcmp(name, "query_tokens") == 0)
        return PEFT_EXTRA;
    if (peft_ends_with(name, PEFT_A))
        return PEFT_LORA_A;
    if (peft_ends_with(name, PEFT_B))
        return PEFT_LORA_B;
    if (cut > 0 && (peft_ends_with(module, "norm") || peft_ends_with(module, "Norm")))
        return PEFT_NORM;
    return peft_ends_with(name, ".bias") ? PEFT_BIAS : PEFT_OTHER;
}

#endif
