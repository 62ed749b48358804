/* `quantize` and `synth`: the tensors that bitsandbytes' layout names, with the bytes that packing
 * the original gives; shards as wanted; config.json as transformers reads it. */
// links: tool
#include "api/wire/json.h"
#include "model/mllm/stored.h"
#include "model/tool/quantize.h"
#include "model/tool/synth.h"
#include "tests/unit/checkpoint_case.h"

#include <math.h>

static struct checkpoint_case c;
static char out[80];

static int setup(void **state)
{
    struct mllm_config config = case_config();
    (void)state;
    case_init(&c, &config);
    snprintf(out, sizeof out, "%s-out", c.dir);
    return 0;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    case_deinit(&c);
    snprintf(command, sizeof command, "rm -rf %.79s %.79s.partial", out, out);
    return system(command); /* NOLINT(cert-env33-c): a path of our own making */
}

enum { ARGS = 12 };

/* Arguments may be moved about, so each run has its own. */
static enum status run(enum status (*command)(int, char **, struct err *), const char *const *args,
                       struct err *err)
{
    char text[ARGS][96];
    char *argv[ARGS + 1] = {NULL};
    int n = 0;
    for (; args[n]; n++) {
        snprintf(text[n], sizeof text[n], "%s", args[n]);
        argv[n] = text[n];
    }
    return command(n, argv, err);
}

static void quantize(const char *kind, bool nested)
{
    struct err err = {0};
    const char *args[ARGS] = {
        "quantize", c.dir, out, "--to", kind, "--json", nested ? "--double-quant" : NULL};
    case_write(&c);
    if (run(quantize_run, args, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

static struct mllm *load(void)
{
    struct mllm *m = NULL;
    struct err err = {0};
    if (mllm_load(io_posix(), out, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return m;
}

/* Every quantized matrix is what packing the original gives; all else is the original. */
static void assert_packed_as(enum weight_type type)
{
    static unsigned char codes[8192];
    static float scale[512];
    struct mllm *m = load();
    int packed = 0;
    for (int i = 0; i < m->param_count; i++) {
        const struct param *p = &m->params[i], *from = &c.model->params[i];
        if (!p->packed) {
            assert_memory_equal(p->data, from->data, param_count(p) * sizeof(float));
            continue;
        }
        packed++;
        assert_int_equal(p->packed->type, type);
        weight_pack(type, from->data, p->dim[0], p->dim[1], codes, scale);
        assert_memory_equal(p->packed->codes, codes, weight_code_bytes(type, p->dim[0], p->dim[1]));
        assert_memory_equal(p->packed->scale, scale,
                            weight_scale_count(type, p->dim[0], p->dim[1]) * sizeof(float));
    }
    assert_int_equal(packed, 2 * 4 + 2 * 7 + 1);
    assert_null(m->llama.head.weight->packed);
    assert_null(m->qformer.layer[0].query.weight->packed);
    mllm_release(m);
}

static void nf4_is_the_packed_original(void **state)
{
    (void)state;
    quantize("nf4", false);
    assert_packed_as(WEIGHT_NF4);
}

static void q8_is_the_packed_original(void **state)
{
    (void)state;
    quantize("q8", false);
    assert_packed_as(WEIGHT_Q8);
}

static void bf16_is_rounded(void **state)
{
    (void)state;
    quantize("bf16", false);
    struct mllm *m = load();
    for (int i = 0; i < m->param_count; i++)
        for (size_t j = 0; j < param_count(&m->params[i]); j++) {
            float x = c.model->params[i].data[j];
            assert_true(fabsf(m->params[i].data[j] - x) <= fabsf(x) / 256);
        }
    mllm_release(m);
}

/* The names, types and shapes that transformers and bitsandbytes look for. */
static void the_layout_is_that_of_bitsandbytes(void **state)
{
#define X "language_model.model.layers.0.mlp.up_proj.weight"
    static const struct {
        const char *name;
        enum dtype dtype;
        int ndim;
        uint64_t dim[2];
    } want[] = {
        {X, DTYPE_U8, 2, {24 * 20 / 2, 1}},
        {X ".absmax", DTYPE_U8, 1, {8, 0}},
        {X ".quant_map", DTYPE_F32, 1, {16, 0}},
        {X ".nested_absmax", DTYPE_F32, 1, {1, 0}},
        {X ".nested_quant_map", DTYPE_F32, 1, {256, 0}},
        {"language_model.lm_head.weight", DTYPE_F32, 2, {11, 24}},
    };
    struct safetensors file;
    char path[128];
    json *quant_state = NULL;
    double offset = 0;
    (void)state;
    quantize("nf4", true);
    snprintf(path, sizeof path, "%s/model.safetensors", out);
    assert_int_equal(safetensors_open(io_posix(), path, 1 << 22, &file, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct safetensors_entry *e = safetensors_find(&file, want[i].name);
        assert_non_null(e);
        assert_int_equal(e->dtype, want[i].dtype);
        assert_int_equal(e->ndim, want[i].ndim);
        for (int d = 0; d < e->ndim; d++)
            assert_int_equal(e->dim[d], want[i].dim[d]);
    }
    const struct safetensors_entry *e = safetensors_find(&file, X ".quant_state.bitsandbytes__nf4");
    assert_int_equal(json_parse(e->data, e->size, &quant_state, NULL), STATUS_OK);
    assert_int_equal(json_get_number(quant_state, "nested_offset", 0, 10, &offset, NULL),
                     STATUS_OK);
    assert_true(offset > 1 && offset < 4); /* the mean of the most of 64 normal values */
    json_free(quant_state);
    safetensors_close(&file);
    mllm_release(load());
}

static void the_configuration_says_so(void **state)
{
    struct mllm_config config;
    struct buf text = {.max = 1 << 16};
    char path[128];
    (void)state;
    quantize("nf4", false);
    assert_int_equal(mllm_config_load(io_posix(), out, &config, NULL), STATUS_OK);
    assert_int_equal(config.quantized_bits, 4);
    snprintf(path, sizeof path, "%s/config.json", out);
    assert_int_equal(io_read_file(io_posix(), path, &text, NULL), STATUS_OK);
    assert_non_null(strstr((const char *)text.data, "\"load_in_4bit\": true"));
    assert_non_null(strstr((const char *)text.data, "\"qformer\""));
    buf_free(&text);
}

static void shards_have_an_index(void **state)
{
    struct err err = {0};
    struct checkpoint files;
    const char *args[ARGS] = {"synth",     "--shape", "llama-5m",    "--out", out,
                              "--weights", "nf4",     "--shard-mib", "1"};
    (void)state;
    if (run(synth_run, args, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(checkpoint_open(io_posix(), out, &files, NULL), STATUS_OK);
    assert_int_equal(files.shards, 4);
    for (int i = 0; i < files.shards; i++)
        assert_true(files.shard[i].head.count > 0);
    checkpoint_close(&files);
    struct mllm *m = load();
    assert_int_equal(m->llama.layer[5].down.weight->packed->type, WEIGHT_NF4);
    assert_non_null(m->tokenizer);
    mllm_release(m);
}

/* What synth writes at once is what packing its values gives. */
static void synthetic_codes_are_those_of_their_values(void **state)
{
    static float f32[688 * 256], scale[688 * 4];
    static unsigned char codes[688 * 128];
    struct err err = {0};
    const char *args[ARGS] = {"synth", "--shape", "llama-5m", "--out", out, "--weights", "f32"};
    char packed[96];
    struct mllm *plain = NULL, *nf4 = NULL;
    (void)state;
    assert_int_equal(run(synth_run, args, &err), STATUS_OK);
    assert_int_equal(mllm_load(io_posix(), out, &plain, NULL), STATUS_OK);
    snprintf(packed, sizeof packed, "%s.partial", out); /* a name that teardown removes */
    args[4] = packed;
    args[6] = "nf4";
    assert_int_equal(run(synth_run, args, &err), STATUS_OK);
    assert_int_equal(mllm_load(io_posix(), packed, &nf4, NULL), STATUS_OK);
    const struct param *p = plain->llama.layer[2].up.weight;
    memcpy(f32, p->data, sizeof f32);
    weight_pack(WEIGHT_NF4, f32, 688, 256, codes, scale);
    const struct weight *w = nf4->llama.layer[2].up.weight->packed;
    assert_memory_equal(w->codes, codes, sizeof codes);
    assert_memory_equal(w->scale, scale, sizeof scale);
    mllm_release(plain);
    mllm_release(nf4);
}

static void what_is_there_is_not_overwritten(void **state)
{
    struct err err = {0};
    const char *args[ARGS] = {"quantize", c.dir, out, "--to", "q8"};
    (void)state;
    quantize("nf4", false);
    assert_int_equal(run(quantize_run, args, &err), STATUS_CONFLICT);
    assert_non_null(strstr(err.text, "not empty"));
    args[1] = out;
    args[2] = c.dir;
    case_write(&c);
    assert_int_equal(run(quantize_run, args, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "quantized already"));
}

static void a_broken_source_leaves_nothing(void **state)
{
    struct err err = {0};
    const char *args[ARGS] = {"quantize", c.dir, out};
    char partial[96];
    (void)state;
    c.model->llama.layer[1].down.weight->data[7] = NAN;
    case_write(&c);
    assert_int_equal(run(quantize_run, args, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "down_proj"));
    snprintf(partial, sizeof partial, "%s.partial", out);
    assert_false(io_exists(partial));
    assert_false(io_exists(out));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nf4_is_the_packed_original),
        TEST(q8_is_the_packed_original),
        TEST(bf16_is_rounded),
        TEST(the_layout_is_that_of_bitsandbytes),
        TEST(the_configuration_says_so),
        TEST(shards_have_an_index),
        TEST(synthetic_codes_are_those_of_their_values),
        TEST(what_is_there_is_not_overwritten),
        TEST(a_broken_source_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
