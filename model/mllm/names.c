/* Renaming as a few tables: at the beginning, anywhere, at the end; then LLaMA's "model." where a
 * bare decoder was saved. */
#include "model/mllm/names.h"

#include <stdio.h>
#include <string.h>

struct rename {
    const char *from, *to;
};

/* The parts of a multimodal model, which newer classes keep under "model.". */
static const char *const parts[] = {"vision_model.",       "qformer.",        "query_tokens",
                                    "language_projection", "language_model.", NULL};

/* LAVIS' parts, as transformers' conversion script names them. */
static const struct rename beginnings[] = {
    {"visual_encoder.cls_token", "vision_model.embeddings.class_embedding"},
    {"visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"},
    {"visual_encoder.patch_embed.proj.", "vision_model.embeddings.patch_embedding."},
    {"visual_encoder.blocks.", "vision_model.encoder.layers."},
    {"ln_vision.", "vision_model.post_layernorm."},
    {"Qformer.bert.", "qformer."},
    {"llm_proj.", "language_projection."},
    {"llm_model.", "language_model."},
    {"lm_head.", "language_model.lm_head."},
    {NULL, NULL},
};

static const struct rename vision_middles[] = {
    {".norm1.", ".layer_norm1."},
    {".norm2.", ".layer_norm2."},
    {".attn.proj.", ".self_attn.projection."},
    {".attn.", ".self_attn."},
    {NULL, NULL},
};

static const struct rename endings[] = {
    {"LayerNorm.gamma", "LayerNorm.weight"},
    {"LayerNorm.beta", "LayerNorm.bias"},
    {"layernorm.gamma", "layernorm.weight"},
    {"layernorm.beta", "layernorm.bias"},
    {NULL, NULL},
};

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Replaces text[at..at+len) by `by`, where it fits. */
static void splice(char text[NAMES_MAX], size_t at, size_t len, const char *by)
{
    size_t n = strlen(text), k = strlen(by);
    if (n - len + k >= NAMES_MAX)
        return;
    memmove(text + at + k, text + at + len, n - at - len + 1);
    for (size_t i = 0; i < k; i++)
        text[at + i] = by[i];
}

static void replace(char name[NAMES_MAX], const struct rename *table,
                    const char *(*find)(const char *name, const char *what))
{
    for (; table->from; table++) {
        const char *at = find(name, table->from);
        if (at) {
            splice(name, (size_t)(at - name), strlen(table->from), table->to);
            return;
        }
    }
}

static const char *find_start(const char *name, const char *what)
{
    return starts_with(name, what) ? name : NULL;
}

static const char *find_anywhere(const char *name, const char *what)
{
    return strstr(name, what);
}

static const char *find_end(const char *name, const char *what)
{
    return ends_with(name, what) ? name + strlen(name) - strlen(what) : NULL;
}

static void unwrap_parts(char name[NAMES_MAX])
{
    for (int i = 0; starts_with(name, "model.") && parts[i]; i++)
        if (starts_with(name + 6, parts[i]))
            splice(name, 0, 6, "");
}

/* The norm before the Q-Former's first layer has stood under three names. */
static void rename_first_norm(const struct mllm_config *config, char name[NAMES_MAX])
{
    static const char *const before[] = {"qformer.embeddings.LayerNorm.",
                                         "qformer.embeddings.layernorm.", "qformer.layernorm."};
    const char *ours = before[config->qformer.text ? 1 : 2];
    for (int i = 0; i < 3; i++)
        if (starts_with(name, before[i])) {
            splice(name, 0, strlen(before[i]), ours);
            return;
        }
}

static void rename_multimodal(const struct mllm_config *config, char name[NAMES_MAX])
{
    static const struct rename self[] = {{"attention.self.", "attention.attention."}, {NULL, NULL}};
    unwrap_parts(name);
    replace(name, beginnings, find_start);
    if (starts_with(name, "vision_model.encoder."))
        replace(name, vision_middles, find_anywhere);
    if (!starts_with(name, "qformer."))
        return;
    replace(name, self, find_anywhere);
    replace(name, endings, find_end);
    rename_first_norm(config, name);
}

/* "layers.0..." of a decoder that was saved without its head. */
static void rename_llama(const struct mllm_config *config, char name[NAMES_MAX])
{
    static const char *const bare[] = {"layers.", "embed_tokens.", "norm.", NULL};
    const char *root = config->multimodal ? "language_model." : "";
    if (!starts_with(name, root))
        return;
    for (int i = 0; bare[i]; i++)
        if (starts_with(name + strlen(root), bare[i])) {
            splice(name, strlen(root), 0, "model.");
            return;
        }
}

void names_canonical(const struct mllm_config *config, const char *name, char out[NAMES_MAX])
{
    snprintf(out, NAMES_MAX, "%s", name);
    if (config->multimodal)
        rename_multimodal(config, out);
    rename_llama(config, out);
}

bool names_extra(const struct mllm_config *config, const char *name)
{
    static const char *const extras[] = {"rotary_emb.inv_freq", "rotary_emb.cos_cached",
                                         "rotary_emb.sin_cached", "embeddings.position_ids", NULL};
    for (int i = 0; extras[i]; i++)
        if (ends_with(name, extras[i]))
            return true;
    return config->text.tied && ends_with(name, "lm_head.weight");
}
