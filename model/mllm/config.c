/* config.json, read and written in Hugging Face's layout. HF leaves out what equals its defaults,
 * so every field starts with the default of transformers 4.36 and the file overrides it. What we do
 * not compute (RoPE scaling, other activations, other text models) is refused by name here, not
 * approximated later. */
#include "model/mllm/config.h"

#include "api/wire/json_out.h"
#include <stdio.h>
#include <string.h>

enum {
    CONFIG_BYTES = 128 << 10, /* as a JSON tree up to a hundred times that */
    WIDTH_MAX = 1 << 16,
    LAYERS_MAX = 512,
    HEADS_MAX = 1024,
    VOCAB_MAX = 1 << 20,
    POSITIONS_MAX = 1 << 20,
    IMAGE_MAX = 4096,
    QUERIES_MAX = 1024,
};

/* One integer of a JSON object and where it goes. */
struct field {
    const char *key;
    int *value;
    int min, max;
};

static enum status read_fields(const json *object, const struct field *fields, struct err *err)
{
    for (; fields->key; fields++) {
        int64_t value = *fields->value;
        TRY(json_opt_int(object, fields->key, fields->min, fields->max, &value, err));
        *fields->value = (int)value;
    }
    return STATUS_OK;
}

static enum status read_float(const json *object, const char *key, double max, float *out,
                              struct err *err)
{
    double value = (double)*out;
    TRY(json_opt_number(object, key, 0, max, &value, err));
    *out = (float)value;
    return STATUS_OK;
}

/* A key that must be absent, null or exactly `only`. */
static enum status only_string(const json *object, const char *key, const char *only,
                               struct err *err)
{
    const char *value = only;
    TRY(json_opt_string(object, key, 256, &value, err));
    if (strcmp(value, only) != 0)
        return err_set(err, STATUS_UNSUPPORTED, "%s is \"%s\"; only \"%s\" is supported", key,
                       value, only);
    return STATUS_OK;
}

static enum status only_false(const json *object, const char *key, struct err *err)
{
    bool value = false;
    TRY(json_opt_bool(object, key, &value, err));
    if (value)
        return err_set(err, STATUS_UNSUPPORTED, "%s is true; only false is supported", key);
    return STATUS_OK;
}

static enum status read_vision(const json *object, struct mllm_config *c, struct err *err)
{
    const struct field fields[] = {
        {"hidden_size", &c->vision.hidden, 1, WIDTH_MAX},
        {"num_hidden_layers", &c->vision.layers, 1, LAYERS_MAX},
        {"num_attention_heads", &c->vision.heads, 1, HEADS_MAX},
        {"intermediate_size", &c->vision.ffn, 1, WIDTH_MAX},
        {"image_size", &c->vision.image, 1, IMAGE_MAX},
        {"patch_size", &c->vision.patch, 1, IMAGE_MAX},
        {NULL, NULL, 0, 0},
    };
    TRY(read_fields(object, fields, err));
    TRY(read_float(object, "layer_norm_eps", 1, &c->vision.eps, err));
    TRY(json_opt_bool(object, "qkv_bias", &c->vision.qkv_bias, err));
    return only_string(object, "hidden_act", "gelu", err);
}

static enum status read_qformer(const json *object, struct mllm_config *c, struct err *err)
{
    c->qformer.encoder_hidden = c->vision.hidden;
    const struct field fields[] = {
        {"hidden_size", &c->qformer.hidden, 1, WIDTH_MAX},
        {"num_hidden_layers", &c->qformer.layers, 1, LAYERS_MAX},
        {"num_attention_heads", &c->qformer.heads, 1, HEADS_MAX},
        {"intermediate_size", &c->qformer.ffn, 1, WIDTH_MAX},
        {"vocab_size", &c->qformer.vocab, 1, VOCAB_MAX},
        {"max_position_embeddings", &c->qformer.positions, 1, POSITIONS_MAX},
        {"encoder_hidden_size", &c->qformer.encoder_hidden, 1, WIDTH_MAX},
        {"cross_attention_frequency", &c->qformer.cross_every, 1, LAYERS_MAX},
        {NULL, NULL, 0, 0},
    };
    TRY(read_fields(object, fields, err));
    TRY(read_float(object, "layer_norm_eps", 1, &c->qformer.eps, err));
    TRY(only_string(object, "position_embedding_type", "absolute", err));
    return only_string(object, "hidden_act", "gelu", err);
}

/* rope_scaling, or rope_parameters as newer versions write it, theta included: plain RoPE alone. */
static enum status read_rope(const json *object, const char *key, struct mllm_config *c,
                             struct err *err)
{
    const json *rope = NULL;
    const char *type = "";
    TRY(json_opt_object(object, key, &rope, err));
    if (!rope)
        return STATUS_OK;
    TRY(json_opt_string(rope, "type", 64, &type, err));
    TRY(json_opt_string(rope, "rope_type", 64, &type, err));
    if (strcmp(type, "default") != 0)
        return err_set(err, STATUS_UNSUPPORTED, "%s (%s) is not supported; only null is", key,
                       type[0] ? type : "without a type");
    return read_float(rope, "rope_theta", 1e9, &c->text.theta, err);
}

/* A model may end its answers with one of several tokens; the first is the one we stop at. */
static enum status read_eos(const json *object, struct mllm_config *c, struct err *err)
{
    const json *list = NULL;
    int64_t id = c->text.eos;
    enum status status = json_opt_int(object, "eos_token_id", -1, VOCAB_MAX, &id, err);
    if (status != STATUS_OK && json_get_array(object, "eos_token_id", 64, &list, NULL) == STATUS_OK)
        status = json_int_at(list, 0, 0, VOCAB_MAX, &id, err);
    c->text.eos = (int)id;
    return status;
}

/* The widths of heads are not a choice here. */
static enum status check_head_dim(const json *object, const struct mllm_config *c, struct err *err)
{
    int64_t dim = 0;
    TRY(json_opt_int(object, "head_dim", 1, WIDTH_MAX, &dim, err));
    if (dim > 0 && dim * c->text.heads != c->text.hidden)
        return err_set(err, STATUS_UNSUPPORTED,
                       "head_dim is %d; only hidden_size / num_attention_heads is supported",
                       (int)dim);
    return STATUS_OK;
}

static enum status read_text(const json *object, struct mllm_config *c, struct err *err)
{
    c->text.kv_heads = 0;
    const struct field fields[] = {
        {"hidden_size", &c->text.hidden, 1, WIDTH_MAX},
        {"num_hidden_layers", &c->text.layers, 1, LAYERS_MAX},
        {"num_attention_heads", &c->text.heads, 1, HEADS_MAX},
        {"num_key_value_heads", &c->text.kv_heads, 1, HEADS_MAX},
        {"intermediate_size", &c->text.ffn, 1, WIDTH_MAX},
        {"vocab_size", &c->text.vocab, 1, VOCAB_MAX},
        {"max_position_embeddings", &c->text.positions, 1, POSITIONS_MAX},
        {"bos_token_id", &c->text.bos, -1, VOCAB_MAX},
        {"pad_token_id", &c->text.pad, -1, VOCAB_MAX},
        {NULL, NULL, 0, 0},
    };
    TRY(read_fields(object, fields, err));
    if (c->text.kv_heads == 0)
        c->text.kv_heads = c->text.heads;
    TRY(read_float(object, "rms_norm_eps", 1, &c->text.eps, err));
    TRY(read_float(object, "rope_theta", 1e9, &c->text.theta, err));
    TRY(json_opt_bool(object, "tie_word_embeddings", &c->text.tied, err));
    TRY(read_rope(object, "rope_scaling", c, err));
    TRY(read_rope(object, "rope_parameters", c, err));
    TRY(read_eos(object, c, err));
    TRY(check_head_dim(object, c, err));
    TRY(only_false(object, "attention_bias", err));
    TRY(only_false(object, "mlp_bias", err));
    return only_string(object, "hidden_act", "silu", err);
}

/* The defaults of InstructBlipVisionConfig, InstructBlipQFormerConfig and LlamaConfig. */
static struct mllm_config config_defaults(void)
{
    struct mllm_config c = {
        .vision = {1408, 39, 16, 6144, 224, 14, 1e-6F, true},
        .qformer = {768, 12, 12, 3072, 30522, 512, 1408, 2, 1e-12F, true},
        .text = {4096, 32, 32, 32, 11008, 32000, 2048, 1e-6F, 10000.0F, false, 1, 2, -1},
        .queries = 32,
        .prompt = "{question}",
    };
    return c;
}

static enum status read_prompt(const json *root, struct mllm_config *c, struct err *err)
{
    const char *prompt = c->prompt;
    TRY(json_opt_string(root, "cdcca_prompt", sizeof c->prompt - 1, &prompt, err));
    if (prompt != c->prompt)
        snprintf(c->prompt, sizeof c->prompt, "%s", prompt);
    return STATUS_OK;
}

static enum status read_multimodal(const json *root, bool qformer_text, struct mllm_config *c,
                                   struct err *err)
{
    const json *vision = root, *qformer = root, *text = root;
    bool decoder_only = true;
    const struct field fields[] = {{"num_query_tokens", &c->queries, 1, QUERIES_MAX},
                                   {NULL, NULL, 0, 0}};
    c->multimodal = true;
    c->qformer.text = qformer_text;
    TRY(read_fields(root, fields, err));
    TRY(json_opt_bool(root, "tie_word_embeddings", &c->text.tied, err));
    TRY(json_opt_bool(root, "use_decoder_only_language_model", &decoder_only, err));
    TRY(json_get_object(root, "vision_config", &vision, err));
    TRY(json_get_object(root, "qformer_config", &qformer, err));
    TRY(json_get_object(root, "text_config", &text, err));
    const char *type = "";
    TRY(json_get_string(text, "model_type", 64, &type, err));
    if (strcmp(type, "llama") != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "text_config.model_type is \"%s\"; only \"llama\" is supported", type);
    if (!decoder_only)
        return err_set(err, STATUS_UNSUPPORTED,
                       "use_decoder_only_language_model is false; only true is supported");
    if (!qformer_text)
        TRY(only_false(qformer, "use_qformer_text_input", err));
    if (read_vision(vision, c, err) != STATUS_OK)
        return err_prefix(err, "vision_config");
    if (read_qformer(qformer, c, err) != STATUS_OK)
        return err_prefix(err, "qformer_config");
    if (read_text(text, c, err) != STATUS_OK)
        return err_prefix(err, "text_config");
    return STATUS_OK;
}

/* Which layout the matrices have is seen from the files; what no file of ours has is refused. */
static enum status read_quantization(const json *root, struct mllm_config *c, struct err *err)
{
    const json *object = NULL;
    const char *method = "bitsandbytes", *type = "nf4";
    bool four = false, eight = false;
    TRY(json_opt_object(root, "quantization_config", &object, err));
    if (!object)
        return STATUS_OK;
    TRY(json_opt_string(object, "quant_method", 64, &method, err));
    TRY(json_opt_bool(object, "load_in_4bit", &four, err));
    TRY(json_opt_bool(object, "load_in_8bit", &eight, err));
    if (four)
        TRY(json_opt_string(object, "bnb_4bit_quant_type", 64, &type, err));
    if (strcmp(method, "bitsandbytes") != 0 || strcmp(type, "nf4") != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "quantization_config: %s of type %s; bitsandbytes' nf4 and 8 bit are "
                       "supported",
                       method, type);
    c->quantized_bits = four ? 4 : eight ? 8 : 0;
    return STATUS_OK;
}

static enum status read_root(const json *root, struct mllm_config *c, struct err *err)
{
    const char *type = "";
    TRY(json_get_string(root, "model_type", 64, &type, err));
    TRY(read_prompt(root, c, err));
    TRY(read_quantization(root, c, err));
    if (strcmp(type, "instructblip") == 0)
        return read_multimodal(root, true, c, err);
    if (strcmp(type, "blip-2") == 0)
        return read_multimodal(root, false, c, err);
    if (strcmp(type, "llama") == 0) {
        c->multimodal = false;
        c->queries = 0;
        return read_text(root, c, err);
    }
    return err_set(err, STATUS_UNSUPPORTED,
                   "architecture \"%s\" (model_type): supported are instructblip, blip-2 and llama",
                   type);
}

enum status mllm_config_parse(const void *data, size_t len, struct mllm_config *out,
                              struct err *err)
{
    struct mllm_config config = config_defaults();
    struct err local = {0}; /* statuses travel through err_prefix, which needs one */
    struct err *e = err ? err : &local;
    json *root = NULL;
    if (len > CONFIG_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "a configuration of %zu bytes; the limit is %d", len,
                       CONFIG_BYTES);
    TRY(json_parse(data, len, &root, e));
    enum status status = read_root(root, &config, e);
    if (status == STATUS_OK)
        status = mllm_config_check(&config, e);
    if (status == STATUS_OK)
        *out = config;
    json_free(root);
    return status;
}

enum status mllm_config_load(struct io *io, const char *dir, struct mllm_config *out,
                             struct err *err)
{
    char path[4096];
    struct buf file = {.max = CONFIG_BYTES};
    TRY(io_join(path, sizeof path, dir, "config.json", err));
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK &&
        (status = mllm_config_parse(file.data, file.len, out, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    return status;
}

/* ---- checks ---- */

static enum status check_range(const char *name, int value, int min, int max, struct err *err)
{
    if (value < min || value > max)
        return err_set(err, STATUS_MALFORMED, "%s is %d; must be %d..%d", name, value, min, max);
    return STATUS_OK;
}

static enum status check_divides(const char *part, const char *small_name, int small,
                                 const char *big_name, int big, struct err *err)
{
    if (big % small != 0)
        return err_set(err, STATUS_MALFORMED, "%s: %s (%d) must divide %s (%d)", part, small_name,
                       small, big_name, big);
    return STATUS_OK;
}

static enum status check_eps(const char *name, float eps, struct err *err)
{
    if (!(eps > 0 && eps < 1))
        return err_set(err, STATUS_MALFORMED, "%s is %g; must be above 0 and below 1", name,
                       (double)eps);
    return STATUS_OK;
}

static enum status check_vision(const struct mllm_config *c, struct err *err)
{
    TRY(check_range("vision hidden_size", c->vision.hidden, 1, WIDTH_MAX, err));
    TRY(check_range("vision num_hidden_layers", c->vision.layers, 1, LAYERS_MAX, err));
    TRY(check_range("vision num_attention_heads", c->vision.heads, 1, HEADS_MAX, err));
    TRY(check_range("vision intermediate_size", c->vision.ffn, 1, WIDTH_MAX, err));
    TRY(check_range("vision image_size", c->vision.image, 1, IMAGE_MAX, err));
    TRY(check_range("vision patch_size", c->vision.patch, 1, IMAGE_MAX, err));
    TRY(check_eps("vision layer_norm_eps", c->vision.eps, err));
    TRY(check_divides("vision", "num_attention_heads", c->vision.heads, "hidden_size",
                      c->vision.hidden, err));
    return check_divides("vision", "patch_size", c->vision.patch, "image_size", c->vision.image,
                         err);
}

static enum status check_qformer(const struct mllm_config *c, struct err *err)
{
    TRY(check_range("qformer hidden_size", c->qformer.hidden, 1, WIDTH_MAX, err));
    TRY(check_range("qformer num_hidden_layers", c->qformer.layers, 1, LAYERS_MAX, err));
    TRY(check_range("qformer num_attention_heads", c->qformer.heads, 1, HEADS_MAX, err));
    TRY(check_range("qformer intermediate_size", c->qformer.ffn, 1, WIDTH_MAX, err));
    TRY(check_range("qformer vocab_size", c->qformer.vocab, 1, VOCAB_MAX, err));
    TRY(check_range("qformer max_position_embeddings", c->qformer.positions, 1, POSITIONS_MAX,
                    err));
    TRY(check_range("qformer cross_attention_frequency", c->qformer.cross_every, 1, LAYERS_MAX,
                    err));
    TRY(check_range("num_query_tokens", c->queries, 1, QUERIES_MAX, err));
    TRY(check_eps("qformer layer_norm_eps", c->qformer.eps, err));
    if (c->qformer.encoder_hidden != c->vision.hidden)
        return err_set(err, STATUS_SHAPE,
                       "qformer encoder_hidden_size is %d; must be the vision hidden_size, %d",
                       c->qformer.encoder_hidden, c->vision.hidden);
    return check_divides("qformer", "num_attention_heads", c->qformer.heads, "hidden_size",
                         c->qformer.hidden, err);
}

static enum status check_text(const struct mllm_config *c, struct err *err)
{
    TRY(check_range("text hidden_size", c->text.hidden, 1, WIDTH_MAX, err));
    TRY(check_range("text num_hidden_layers", c->text.layers, 1, LAYERS_MAX, err));
    TRY(check_range("text num_attention_heads", c->text.heads, 1, HEADS_MAX, err));
    TRY(check_range("text num_key_value_heads", c->text.kv_heads, 1, HEADS_MAX, err));
    TRY(check_range("text intermediate_size", c->text.ffn, 1, WIDTH_MAX, err));
    TRY(check_range("text vocab_size", c->text.vocab, 1, VOCAB_MAX, err));
    TRY(check_range("text max_position_embeddings", c->text.positions, 1, POSITIONS_MAX, err));
    TRY(check_range("text bos_token_id", c->text.bos, -1, c->text.vocab - 1, err));
    TRY(check_range("text eos_token_id", c->text.eos, -1, c->text.vocab - 1, err));
    TRY(check_range("text pad_token_id", c->text.pad, -1, c->text.vocab - 1, err));
    TRY(check_eps("text rms_norm_eps", c->text.eps, err));
    if (!(c->text.theta > 0))
        return err_set(err, STATUS_MALFORMED, "text rope_theta is %g; must be above 0",
                       (double)c->text.theta);
    TRY(check_divides("text", "num_attention_heads", c->text.heads, "hidden_size", c->text.hidden,
                      err));
    TRY(check_divides("text", "num_key_value_heads", c->text.kv_heads, "num_attention_heads",
                      c->text.heads, err));
    return check_divides("text", "2 (for RoPE)", 2, "the head width",
                         c->text.hidden / c->text.heads, err);
}

enum status mllm_config_check(const struct mllm_config *config, struct err *err)
{
    if (config->multimodal) {
        TRY(check_vision(config, err));
        TRY(check_qformer(config, err));
    }
    TRY(check_text(config, err));
    if (!memchr(config->prompt, 0, sizeof config->prompt) || !strstr(config->prompt, "{question}"))
        return err_set(err, STATUS_MALFORMED, "cdcca_prompt must contain {question}");
    return STATUS_OK;
}

/* ---- writing ---- */

static bool write_vision(json *o, const struct mllm_config *c)
{
    return json_set_string(o, "model_type", "instructblip_vision_model") &&
           json_set_int(o, "hidden_size", c->vision.hidden) &&
           json_set_int(o, "num_hidden_layers", c->vision.layers) &&
           json_set_int(o, "num_attention_heads", c->vision.heads) &&
           json_set_int(o, "intermediate_size", c->vision.ffn) &&
           json_set_int(o, "image_size", c->vision.image) &&
           json_set_int(o, "patch_size", c->vision.patch) &&
           json_set_number(o, "layer_norm_eps", (double)c->vision.eps) &&
           json_set_bool(o, "qkv_bias", c->vision.qkv_bias) &&
           json_set_string(o, "hidden_act", "gelu");
}

static bool write_qformer(json *o, const struct mllm_config *c)
{
    return json_set_string(o, "model_type",
                           c->qformer.text ? "instructblip_qformer" : "blip_2_qformer") &&
           json_set_int(o, "hidden_size", c->qformer.hidden) &&
           json_set_int(o, "num_hidden_layers", c->qformer.layers) &&
           json_set_int(o, "num_attention_heads", c->qformer.heads) &&
           json_set_int(o, "intermediate_size", c->qformer.ffn) &&
           json_set_int(o, "vocab_size", c->qformer.vocab) &&
           json_set_int(o, "max_position_embeddings", c->qformer.positions) &&
           json_set_int(o, "encoder_hidden_size", c->qformer.encoder_hidden) &&
           json_set_int(o, "cross_attention_frequency", c->qformer.cross_every) &&
           json_set_number(o, "layer_norm_eps", (double)c->qformer.eps);
}

static bool write_token(json *o, const char *key, int id)
{
    return id < 0 || json_set_int(o, key, id);
}

static bool write_text(json *o, const struct mllm_config *c)
{
    return json_set_string(o, "model_type", "llama") &&
           json_set_int(o, "hidden_size", c->text.hidden) &&
           json_set_int(o, "num_hidden_layers", c->text.layers) &&
           json_set_int(o, "num_attention_heads", c->text.heads) &&
           json_set_int(o, "num_key_value_heads", c->text.kv_heads) &&
           json_set_int(o, "intermediate_size", c->text.ffn) &&
           json_set_int(o, "vocab_size", c->text.vocab) &&
           json_set_int(o, "max_position_embeddings", c->text.positions) &&
           json_set_number(o, "rms_norm_eps", (double)c->text.eps) &&
           json_set_number(o, "rope_theta", (double)c->text.theta) &&
           json_set_bool(o, "tie_word_embeddings", c->text.tied) &&
           write_token(o, "bos_token_id", c->text.bos) &&
           write_token(o, "eos_token_id", c->text.eos) &&
           write_token(o, "pad_token_id", c->text.pad) && json_set_string(o, "hidden_act", "silu");
}

/* Builds one nested object; the reference goes to root in every case. */
static bool write_part(json *root, const char *key, const struct mllm_config *c,
                       bool (*write)(json *, const struct mllm_config *))
{
    json *part = json_object_new();
    if (!part || !write(part, c)) {
        json_free(part);
        return false;
    }
    return json_set_take(root, key, part);
}

static json *skipped_modules(bool multimodal)
{
    static const char *const names[] = {"lm_head", "language_model.lm_head", "qformer"};
    json *list = json_array_new();
    bool whole = list != NULL;
    for (int i = 0; whole && i < (multimodal ? 3 : 1); i++)
        whole = json_append_string(list, names[i]);
    if (whole)
        return list;
    json_free(list);
    return NULL;
}

bool mllm_config_set_quantization(struct json_t *root, bool multimodal, int bits, bool nested)
{
    json *o = json_object_new();
    bool four = bits == 4;
    bool whole =
        o && json_set_string(o, "quant_method", "bitsandbytes") &&
        json_set_bool(o, "_load_in_4bit", four) && json_set_bool(o, "_load_in_8bit", !four) &&
        json_set_bool(o, "load_in_4bit", four) && json_set_bool(o, "load_in_8bit", !four) &&
        json_set_string(o, "bnb_4bit_compute_dtype", four ? "bfloat16" : "float32") &&
        json_set_string(o, "bnb_4bit_quant_storage", "uint8") &&
        json_set_string(o, "bnb_4bit_quant_type", four ? "nf4" : "fp4") &&
        json_set_bool(o, "bnb_4bit_use_double_quant", nested) &&
        json_set_bool(o, "llm_int8_enable_fp32_cpu_offload", false) &&
        json_set_bool(o, "llm_int8_has_fp16_weight", false) &&
        json_set_number(o, "llm_int8_threshold", 6) &&
        json_set_take(o, "llm_int8_skip_modules", skipped_modules(multimodal));
    if (!whole) {
        json_free(o);
        return false;
    }
    return json_set_take(root, "quantization_config", o);
}

static bool write_root(json *root, const struct mllm_config *c)
{
    if (!json_set_string(root, "cdcca_prompt", c->prompt))
        return false;
    if (c->quantized_bits &&
        !mllm_config_set_quantization(root, c->multimodal, c->quantized_bits, false))
        return false;
    if (!c->multimodal)
        return write_text(root, c);
    return json_set_string(root, "model_type", c->qformer.text ? "instructblip" : "blip-2") &&
           json_set_int(root, "num_query_tokens", c->queries) &&
           write_part(root, "vision_config", c, write_vision) &&
           write_part(root, "qformer_config", c, write_qformer) &&
           write_part(root, "text_config", c, write_text);
}

enum status mllm_config_save(struct io *io, const char *dir, const struct mllm_config *config,
                             struct err *err)
{
    char path[4096];
    TRY(mllm_config_check(config, err));
    TRY(io_join(path, sizeof path, dir, "config.json", err));
    json *root = json_object_new();
    return json_save(io, path, root, root && write_root(root, config), err);
}
