/* A table of sizes. llama-5m is the training shape, llama-110m and llama-1.1b the decoding shapes
 * that peers are measured with (the latter is TinyLlama's); the InstructBLIP pair is the paper's:
 * EVA-CLIP ViT-g, a 12-layer Q-Former with 32 queries, Vicuna (Dai et al. 2023). */
#include "model/tool/shape.h"

#include <string.h>

static const struct shape {
    const char *name;
    bool multimodal;
    int hidden, layers, heads, kv_heads, ffn, vocab;
} SHAPES[] = {
    {"llama-5m", false, 256, 6, 8, 8, 688, 1024},
    {"llama-110m", false, 768, 12, 12, 12, 2048, 32000},
    {"llama-1.1b", false, 2048, 22, 32, 4, 5632, 32000},
    {"llama-7b", false, 4096, 32, 32, 32, 11008, 32000},
    {"instructblip-vicuna-7b", true, 4096, 32, 32, 32, 11008, 32001},
    {"instructblip-vicuna-13b", true, 5120, 40, 40, 40, 13824, 32001},
};

static void shape_text(const struct shape *shape, struct mllm_config *out)
{
    out->text.hidden = shape->hidden;
    out->text.layers = shape->layers;
    out->text.heads = shape->heads;
    out->text.kv_heads = shape->kv_heads;
    out->text.ffn = shape->ffn;
    out->text.vocab = shape->vocab;
    out->text.positions = 2048;
    out->text.eps = 1e-6F;
    out->text.theta = 10000;
    out->text.bos = 1;
    out->text.eos = 2;
    out->text.pad = shape->vocab > 32000 ? 32000 : -1;
}

static void shape_vision(struct mllm_config *out)
{
    out->vision.hidden = 1408;
    out->vision.layers = 39;
    out->vision.heads = 16;
    out->vision.ffn = 6144;
    out->vision.image = 224;
    out->vision.patch = 14;
    out->vision.eps = 1e-6F;
    out->vision.qkv_bias = true;
}

static void shape_qformer(struct mllm_config *out)
{
    out->qformer.hidden = 768;
    out->qformer.layers = 12;
    out->qformer.heads = 12;
    out->qformer.ffn = 3072;
    out->qformer.vocab = 30523;
    out->qformer.positions = 512;
    out->qformer.encoder_hidden = out->vision.hidden;
    out->qformer.cross_every = 2;
    out->qformer.eps = 1e-12F;
    out->qformer.text = true;
    out->queries = 32;
}

enum status shape_config(const char *name, struct mllm_config *out, struct err *err)
{
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        if (strcmp(name, SHAPES[i].name) != 0)
            continue;
        *out = (struct mllm_config){.multimodal = SHAPES[i].multimodal, .prompt = "{question}"};
        shape_text(&SHAPES[i], out);
        if (out->multimodal) {
            shape_vision(out);
            shape_qformer(out);
        }
        return mllm_config_check(out, err);
    }
    return err_set(err, STATUS_USAGE, "--shape: %s is not one of " SHAPE_NAMES, name);
}
