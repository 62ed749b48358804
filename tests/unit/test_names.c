/* Checkpoints under the names that others gave their tensors load to the same weights, and what is
 * under no known name is refused by it. */
// links: mllm
#include "tests/unit/checkpoint_case.h"

static struct checkpoint_case c;

static int setup(void **state)
{
    struct mllm_config config = case_config();
    (void)state;
    case_init(&c, &config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    case_deinit(&c);
    return 0;
}

static void our_own(void **state)
{
    (void)state;
    case_same(&c);
}

static void gamma_and_beta(void **state)
{
    (void)state;
    case_rename(&c, "LayerNorm.weight", "LayerNorm.gamma");
    case_rename(&c, "LayerNorm.bias", "LayerNorm.beta");
    case_rename(&c, "qformer.embeddings.layernorm.weight", "qformer.embeddings.LayerNorm.gamma");
    case_same(&c);
}

static void the_first_norm_of_the_qformer(void **state)
{
    (void)state;
    case_rename(&c, "qformer.embeddings.layernorm.weight", "qformer.embeddings.LayerNorm.weight");
    case_rename(&c, "qformer.embeddings.layernorm.bias", "qformer.layernorm.bias");
    case_same(&c);
}

static void a_decoder_without_its_prefix(void **state)
{
    (void)state;
    case_rename(&c, "language_model.model.", "language_model.");
    case_same(&c);
}

static void parts_within_a_model(void **state)
{
    (void)state;
    case_rename(&c, "language_model.lm_head.", "lm_head.");
    for (size_t i = 0; i < c.count; i++) {
        char old[CASE_NAME];
        memcpy(old, c.name[i], CASE_NAME);
        if (strncmp(old, "lm_head.", 8) != 0)
            snprintf(c.name[i], CASE_NAME, "model.%.140s", old);
    }
    case_rename(&c, "model.language_model.model.", "model.language_model.");
    case_same(&c);
}

static void lavis(void **state)
{
    static const char *const renames[][2] = {
        {"vision_model.embeddings.class_embedding", "visual_encoder.cls_token"},
        {"vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"},
        {"vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"},
        {"vision_model.post_layernorm", "ln_vision"},
        {"vision_model.encoder.layers", "visual_encoder.blocks"},
        {".layer_norm1.", ".norm1."},
        {".layer_norm2.", ".norm2."},
        {".self_attn.projection.", ".attn.proj."},
        {".self_attn.qkv.", ".attn.qkv."},
        {"attention.attention.", "attention.self."},
        {"qformer.embeddings.layernorm", "qformer.embeddings.LayerNorm"},
        {"qformer.", "Qformer.bert."},
        {"language_projection", "llm_proj"},
        {"language_model.", "llm_model."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof renames / sizeof *renames; i++)
        case_rename(&c, renames[i][0], renames[i][1]);
    case_same(&c);
}

static void query_and_value_biases_apart(void **state)
{
    (void)state;
    for (int layer = 0; layer < 2; layer++) {
        char name[CASE_NAME], part[CASE_NAME];
        snprintf(name, sizeof name, "vision_model.encoder.layers.%d.self_attn.qkv.bias", layer);
        float *bias = mllm_find(c.model, name)->data;
        memset(bias + 8, 0, 8 * sizeof *bias);
        case_drop(&c, name);
        snprintf(part, sizeof part, "visual_encoder.blocks.%d.attn.q_bias", layer);
        case_add(&c, part, DTYPE_F32, 1, (uint64_t[]){8}, bias);
        snprintf(part, sizeof part, "vision_model.encoder.layers.%d.self_attn.v_bias", layer);
        case_add(&c, part, DTYPE_F32, 1, (uint64_t[]){8}, bias + 16);
    }
    case_same(&c);
}

static void extras_are_passed_over(void **state)
{
    static const float numbers[4] = {1, 2, 3, 4};
    static const int64_t ids[6] = {0, 1, 2, 3, 4, 5};
    (void)state;
    case_add(&c, "language_model.model.layers.0.self_attn.rotary_emb.inv_freq", DTYPE_F32, 1,
             (uint64_t[]){4}, numbers);
    case_add(&c, "language_model.model.rotary_emb.inv_freq", DTYPE_F32, 1, (uint64_t[]){4},
             numbers);
    case_add(&c, "qformer.embeddings.position_ids", DTYPE_I64, 2, (uint64_t[]){1, 6}, ids);
    case_same(&c);
}

static void one_tensor_under_two_names(void **state)
{
    const struct param *norm = mllm_find(c.model, "language_model.model.norm.weight");
    (void)state;
    case_add(&c, "language_model.norm.weight", DTYPE_F32, 1, (uint64_t[]){24}, norm->data);
    case_refused(&c, STATUS_CONFLICT, "language_model.model.norm.weight");
}

static void half_of_a_bias(void **state)
{
    const char *name = "vision_model.encoder.layers.1.self_attn.qkv.bias";
    (void)state;
    float *bias = mllm_find(c.model, name)->data;
    case_drop(&c, name);
    case_add(&c, "vision_model.encoder.layers.1.self_attn.q_bias", DTYPE_F32, 1, (uint64_t[]){8},
             bias);
    case_refused(&c, STATUS_CONFLICT, name);
}

static void pickles_are_named(void **state)
{
    char path[128];
    struct mllm *m = NULL;
    struct err err = {0};
    (void)state;
    case_write(&c);
    snprintf(path, sizeof path, "%s/model.safetensors", c.dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/pytorch_model.bin", c.dir);
    assert_int_equal(io_write_file(io_posix(), path, "PK", 2, NULL), STATUS_OK);
    assert_int_equal(mllm_load(io_posix(), c.dir, &m, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "pytorch_model.bin"));
}

/* ---- a decoder by itself, and tied heads ---- */

static void with_config(bool multimodal, bool tied)
{
    struct mllm_config config = case_config();
    case_deinit(&c);
    config.multimodal = multimodal;
    config.queries = multimodal ? config.queries : 0;
    config.text.tied = tied;
    case_init(&c, &config);
}

static void a_bare_decoder(void **state)
{
    (void)state;
    with_config(false, false);
    case_rename(&c, "model.", "");
    case_same(&c);
}

static void a_tied_head_may_be_there(void **state)
{
    (void)state;
    with_config(true, true);
    case_same(&c);
    case_add(&c, "language_model.lm_head.weight", DTYPE_F32, 2, (uint64_t[]){11, 24},
             c.model->llama.embed->data);
    case_same(&c);
}

static void an_untied_head_must_be_there(void **state)
{
    (void)state;
    case_drop(&c, "language_model.lm_head.weight");
    case_refused(&c, STATUS_NOT_FOUND, "language_model.lm_head.weight");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(our_own),
        TEST(gamma_and_beta),
        TEST(the_first_norm_of_the_qformer),
        TEST(a_decoder_without_its_prefix),
        TEST(parts_within_a_model),
        TEST(lavis),
        TEST(query_and_value_biases_apart),
        TEST(extras_are_passed_over),
        TEST(one_tensor_under_two_names),
        TEST(half_of_a_bias),
        TEST(pickles_are_named),
        TEST(a_bare_decoder),
        TEST(a_tied_head_may_be_there),
        TEST(an_untied_head_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
