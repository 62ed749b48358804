/* Loading and saving models: what is written comes back, and a directory with anything wrong in it
 * gets one error that names the tensor and what would be right. */
// links: mllm
#include "model/mllm/mllm.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static struct mllm *model;

static struct mllm_config small_config(void)
{
    struct mllm_config c = {.multimodal = true, .queries = 2, .prompt = "{question}"};
    c.vision.hidden = 8, c.vision.layers = 1, c.vision.heads = 2, c.vision.ffn = 8;
    c.vision.image = 8, c.vision.patch = 4, c.vision.eps = 1e-6F, c.vision.qkv_bias = true;
    c.qformer.hidden = 8, c.qformer.layers = 2, c.qformer.heads = 2, c.qformer.ffn = 8;
    c.qformer.vocab = 11, c.qformer.positions = 6, c.qformer.encoder_hidden = 8;
    c.qformer.cross_every = 2, c.qformer.eps = 1e-12F, c.qformer.text = true;
    c.text.hidden = 8, c.text.layers = 1, c.text.heads = 2, c.text.kv_heads = 1, c.text.ffn = 8;
    c.text.vocab = 11, c.text.positions = 32, c.text.eps = 1e-6F, c.text.theta = 10000;
    c.text.bos = c.text.eos = c.text.pad = -1;
    return c;
}

static int setup(void **state)
{
    struct mllm_config config = small_config();
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/cdcca-test-XXXXXX");
    if (!mkdtemp(dir) || mllm_create(&config, 5, &model, NULL) != STATUS_OK)
        return -1;
    return mllm_save(io_posix(), model, dir, DTYPE_F32, NULL) == STATUS_OK ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json",
                                        "model.safetensors.index.json", "preprocessor_config.json"};
    char path[128];
    (void)state;
    mllm_release(model);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static const char *weights_path(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    return path;
}

static void expect_refused(enum status code, const char *says, const char *also)
{
    struct mllm *m = NULL;
    struct err err = {0};
    enum status status = mllm_load(io_posix(), dir, &m, &err);
    if (status != code || !strstr(err.text, says) || !strstr(err.text, also))
        fail_msg("%s: %s", status_name(status), err.text);
    assert_null(m);
}

/* ---- the good way ---- */

static void what_is_saved_comes_back(void **state)
{
    struct mllm *back = NULL;
    (void)state;
    assert_int_equal(mllm_load(io_posix(), dir, &back, NULL), STATUS_OK);
    assert_int_equal(back->param_count, model->param_count);
    for (int i = 0; i < back->param_count; i++) {
        assert_string_equal(back->params[i].name, model->params[i].name);
        assert_memory_equal(back->params[i].data, model->params[i].data,
                            param_count(&model->params[i]) * sizeof(float));
    }
    assert_true(hash_equal(&back->encoder, &model->encoder));
    mllm_release(back);
}

static void bf16_rounds_and_changes_the_fingerprint(void **state)
{
    struct mllm *back = NULL;
    (void)state;
    assert_int_equal(mllm_save(io_posix(), model, dir, DTYPE_BF16, NULL), STATUS_OK);
    assert_int_equal(mllm_load(io_posix(), dir, &back, NULL), STATUS_OK);
    for (int i = 0; i < back->param_count; i++)
        for (size_t j = 0; j < param_count(&back->params[i]); j++)
            assert_true(fabsf(back->params[i].data[j] - model->params[i].data[j]) <=
                        fabsf(model->params[i].data[j]) / 256);
    assert_false(hash_equal(&back->encoder, &model->encoder));
    mllm_release(back);
}

static void the_seed_decides_the_weights(void **state)
{
    struct mllm_config config = small_config();
    struct mllm *same = NULL, *other = NULL;
    (void)state;
    assert_int_equal(mllm_create(&config, 5, &same, NULL), STATUS_OK);
    assert_int_equal(mllm_create(&config, 6, &other, NULL), STATUS_OK);
    assert_true(hash_equal(&same->encoder, &model->encoder));
    assert_false(hash_equal(&other->encoder, &model->encoder));
    assert_true(model->vision.post_norm_w->data[0] == 1 && model->vision.post_norm_b->data[0] == 0);
    mllm_release(same);
    mllm_release(other);
}

static void attached_parameters_are_not_saved(void **state)
{
    struct mllm *back = NULL;
    (void)state;
    struct param *p = mllm_attach(model, "lora.a", 2, (int[]){2, 8});
    assert_non_null(p);
    memset(p->data, 0, param_count(p) * sizeof *p->data);
    assert_ptr_equal(mllm_find(model, "lora.a"), p);
    assert_int_equal(mllm_save(io_posix(), model, dir, DTYPE_F32, NULL), STATUS_OK);
    assert_int_equal(mllm_load(io_posix(), dir, &back, NULL), STATUS_OK);
    assert_int_equal(back->param_count, model->param_count - 1);
    assert_null(mllm_find(back, "lora.a"));
    mllm_release(back);
}

static void attaching_stops_at_the_reserve(void **state)
{
    (void)state;
    int n = 0;
    while (mllm_attach(model, "more", 1, (int[]){1}))
        n++;
    assert_true(n > 0 && model->param_count == model->param_cap);
    assert_null(mllm_attach(model, "more", 0, NULL));
}

/* ---- the bad ones: the file of `model`, altered ---- */

struct alteration {
    const char *leave_out, *rename, *reshape, *spoil; /* a tensor's name, or NULL */
};

static void write_altered(const struct alteration *a)
{
    struct safetensors_entry *entries = calloc((size_t)model->param_count, sizeof *entries);
    struct buf file = {.max = 1 << 20};
    size_t n = 0;
    for (int i = 0; i < model->param_count; i++) {
        const struct param *p = &model->params[i];
        struct safetensors_entry *e = &entries[n];
        if (a->leave_out && strcmp(a->leave_out, p->name) == 0)
            continue;
        *e = (struct safetensors_entry){.name = p->name,
                                        .dtype = DTYPE_F32,
                                        .ndim = p->ndim,
                                        .data = p->data,
                                        .size = param_count(p) * sizeof(float)};
        for (int d = 0; d < p->ndim; d++)
            e->dim[d] = (uint64_t)p->dim[d];
        if (a->rename && strcmp(a->rename, p->name) == 0)
            e->name = "some.other.tensor";
        if (a->reshape && strcmp(a->reshape, p->name) == 0) {
            e->ndim = 1;
            e->dim[0] = param_count(p);
        }
        if (a->spoil && strcmp(a->spoil, p->name) == 0)
            p->data[3] = NAN;
        n++;
    }
    assert_int_equal(safetensors_write(entries, n, NULL, NULL, 0, &file, NULL), STATUS_OK);
    assert_int_equal(io_write_file(io_posix(), weights_path(), file.data, file.len, NULL),
                     STATUS_OK);
    buf_free(&file);
    free(entries);
}

#define Q_PROJ "language_model.model.layers.0.self_attn.q_proj.weight"

static void a_missing_tensor_is_named(void **state)
{
    (void)state;
    write_altered(&(struct alteration){.leave_out = Q_PROJ});
    expect_refused(STATUS_NOT_FOUND, Q_PROJ, "missing");
}

static void an_unknown_tensor_is_named(void **state)
{
    (void)state;
    write_altered(&(struct alteration){.rename = Q_PROJ});
    expect_refused(STATUS_UNSUPPORTED, "some.other.tensor", "model.safetensors");
}

static void a_misshaped_tensor_is_named_with_both_shapes(void **state)
{
    (void)state;
    write_altered(&(struct alteration){.reshape = Q_PROJ});
    expect_refused(STATUS_SHAPE, Q_PROJ " is [64]", "[8, 8]");
}

static void a_value_that_is_not_finite_is_named(void **state)
{
    (void)state;
    write_altered(&(struct alteration){.spoil = Q_PROJ});
    expect_refused(STATUS_MALFORMED, Q_PROJ, "finite");
}

static void a_truncated_file_is_refused_at_any_length(void **state)
{
    struct buf file = {.max = 1 << 20};
    (void)state;
    assert_int_equal(io_read_file(io_posix(), weights_path(), &file, NULL), STATUS_OK);
    size_t step = file.len / 37 + 1;
    for (size_t len = 0; len < file.len; len += step) {
        struct mllm *m = NULL;
        struct err err = {0};
        assert_int_equal(io_write_file(io_posix(), weights_path(), file.data, len, NULL),
                         STATUS_OK);
        assert_int_not_equal(mllm_load(io_posix(), dir, &m, &err), STATUS_OK);
        assert_non_null(strstr(err.text, "model.safetensors"));
        assert_null(m);
    }
    buf_free(&file);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    unlink(weights_path());
    expect_refused(STATUS_NOT_FOUND, "model.safetensors", dir);
}

static void write_index(const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    assert_int_equal(io_write_file(io_posix(), path, text, strlen(text), NULL), STATUS_OK);
}

static void an_index_cannot_leave_its_directory(void **state)
{
    (void)state;
    write_index("{\"weight_map\":{\"a\":\"../../etc/passwd\"}}");
    expect_refused(STATUS_MALFORMED, "../../etc/passwd", "file name");
    write_index("{\"weight_map\":{\"a\":\"absent.safetensors\"}}");
    expect_refused(STATUS_NOT_FOUND, "absent.safetensors", dir);
    write_index("{\"weight_map\":3}");
    expect_refused(STATUS_MALFORMED, "weight_map", "");
    write_index("{\"weight_map\":{\"a\":\"model.safetensors\",\"b\":\"model.safetensors\"}}");
    struct mllm *m = NULL;
    assert_int_equal(mllm_load(io_posix(), dir, &m, NULL), STATUS_OK);
    mllm_release(m);
}

static void a_tokenizer_too_large_for_the_model_is_refused(void **state)
{
    (void)state;
    const char *text = "red green";
    assert_int_equal(tokenizer_train(io_posix(), dir, &text, 1, 256, NULL, 0, NULL), STATUS_OK);
    expect_refused(STATUS_SHAPE, "256 tokens", "11");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_saved_comes_back),
        TEST(bf16_rounds_and_changes_the_fingerprint),
        TEST(the_seed_decides_the_weights),
        TEST(attached_parameters_are_not_saved),
        TEST(attaching_stops_at_the_reserve),
        TEST(a_missing_tensor_is_named),
        TEST(an_unknown_tensor_is_named),
        TEST(a_misshaped_tensor_is_named_with_both_shapes),
        TEST(a_value_that_is_not_finite_is_named),
        TEST(a_truncated_file_is_refused_at_any_length),
        TEST(a_missing_file_is_named),
        TEST(an_index_cannot_leave_its_directory),
        TEST(a_tokenizer_too_large_for_the_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
