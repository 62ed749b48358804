/* The model's dimensions, read from a Hugging Face config.json (nested vision_config,
 * qformer_config, text_config; keys left out take HF's defaults), for model_type instructblip,
 * blip-2 with a LLaMA text model, and plain llama. */
#ifndef CDCCA_MLLM_CONFIG_H
#define CDCCA_MLLM_CONFIG_H

#include "api/base/io.h"
#include "api/base/status.h"
#include <stdbool.h>

struct mllm_config {
    bool multimodal; /* false: plain LLaMA, vision and qformer are absent */
    struct {
        int hidden, layers, heads, ffn, image, patch;
        float eps;
        bool qkv_bias;
    } vision;
    struct {
        int hidden, layers, heads, ffn, vocab, positions, encoder_hidden, cross_every;
        float eps;
        bool text; /* InstructBLIP: the instruction goes in too; BLIP-2: queries alone */
    } qformer;
    struct {
        int hidden, layers, heads, kv_heads, ffn, vocab, positions;
        float eps, theta;
        bool tied;
        int bos, eos, pad; /* -1: none */
    } text;
    int queries;        /* num_query_tokens */
    int quantized_bits; /* "quantization_config" of bitsandbytes: 8 (LLM.int8), 4 (NF4); 0: none */
    char prompt[512];   /* "cdcca_prompt" in config.json: "{question}" is replaced; default
                           "{question}" */
};

/* Every value is checked: ranges, heads dividing widths, no overflow of any size. On failure *out
 * is as it was. */
enum status mllm_config_parse(const void *data, size_t len, struct mllm_config *out,
                              struct err *err);
/* The same from DIR/config.json; the error names the file. */
enum status mllm_config_load(struct io *io, const char *dir, struct mllm_config *out,
                             struct err *err);
/* config.json in HF's InstructBLIP layout */
enum status mllm_config_save(struct io *io, const char *dir, const struct mllm_config *config,
                             struct err *err);
/* Sets "quantization_config" as transformers writes it; bits: 4 (NF4) or 8 (LLM.int8); nested:
 * double quantization of NF4. False without memory. */
struct json_t;
bool mllm_config_set_quantization(struct json_t *root, bool multimodal, int bits, bool nested);
enum status mllm_config_check(const struct mllm_config *config, struct err *err);

#endif
