/* trainable: what is attached is neutral and the same everywhere, the set is the one methods.md
 * names, and a file of it is taken whole or not at all. */
// links: learn
#include "model/learn/trainable.h"
#include "tests/unit/tiny_pair.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PATH = 96 };
static const uint32_t FACTORY_WORD = 0x3deb5f22;

static struct mllm *model_make(uint64_t seed)
{
    struct mllm_config config = tiny_config(4);
    struct mllm *m = NULL;
    struct err err = {0};
    if (mllm_create(&config, seed, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    return m;
}

static void attach(struct mllm *m, struct trainable *set)
{
    struct trainable_options options = trainable_defaults();
    struct err err = {0};
    if (trainable_attach(m, &options, set, &err) != STATUS_OK)
        fail_msg("%s", err.text);
}

/* Logits of a fixed random batch, all rows. */
static void logits_of(const struct mllm *m, float *out, size_t n)
{
    static const int32_t question[] = {5, 6, 7, 8}, text[] = {9, 10, 11, 12, 13, 14};
    static const int counts[] = {2, 2};
    float visual[2 * TINY_TOKENS * TINY_WIDTH];
    struct rng rng;
    struct arena arena;
    struct tape tape = {0};
    rng_init(&rng, 1, 1);
    for (size_t i = 0; i < sizeof visual / sizeof *visual; i++)
        visual[i] = rng_normal(&rng);
    assert_true(arena_init(&arena, 1 << 26));
    tape_begin(&tape, &arena, false, NULL);
    struct mllm_batch b = {.B = 2,
                           .visual = tensor_view(visual, 3, (int[]){2, TINY_TOKENS, TINY_WIDTH}),
                           .question_T = 2,
                           .question = question,
                           .question_count = counts,
                           .text_T = 3,
                           .text = text};
    struct tensor logits = mllm_logits(&tape, m, mllm_forward(&tape, m, &b, NULL), NULL, 0);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    assert_int_equal(tensor_count(logits), n);
    memcpy(out, logits.data, n * sizeof *out);
    arena_deinit(&arena);
}

static void test_version_zero_is_neutral(void **state)
{
    enum { COUNT = 2 * (4 + 3) * TINY_VOCAB };
    static float before[COUNT], after[COUNT];
    struct trainable set;
    (void)state;
    struct mllm *m = model_make(3);
    logits_of(m, before, COUNT);
    attach(m, &set);
    logits_of(m, after, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_true(fabsf(before[i] - after[i]) < 1e-6f);
    trainable_free(&set);
    mllm_release(m);
}

static bool holds(const struct trainable *set, const char *name)
{
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->params[i]->name, name) == 0)
            return true;
    return false;
}

static void test_what_the_set_holds(void **state)
{
    static const char *const in[] = {"query_tokens",
                                     "qformer.embeddings.layernorm.weight",
                                     "qformer.encoder.layer.0.attention.output.dense.bias",
                                     "qformer.encoder.layer.1.output.LayerNorm.weight",
                                     "language_projection.bias",
                                     "language_model.model.norm.weight",
                                     "language_model.model.layers.1.input_layernorm.weight",
                                     "language_model.model.layers.0.self_attn.q_proj.lora_A.weight",
                                     "language_model.model.layers.1.mlp.down_proj.lora_B.weight",
                                     "qformer.encoder.layer.3.query_adapter.down.weight",
                                     "qformer.encoder.layer.2.cross_adapter.up.bias"};
    static const char *const out[] = {"vision_model.post_layernorm.weight",
                                      "language_projection.weight", "language_model.lm_head.weight",
                                      "language_model.model.layers.0.self_attn.q_proj.weight",
                                      "qformer.encoder.layer.0.attention.output.dense.weight"};
    struct trainable set;
    size_t values = 0;
    (void)state;
    struct mllm *m = model_make(3);
    attach(m, &set);
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        if (!holds(&set, in[i]))
            fail_msg("%s is not in the set", in[i]);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        if (!mllm_find(m, out[i]) || holds(&set, out[i]))
            fail_msg("%s is in the set, or not in the model", out[i]);
    for (int i = 0; i < set.count; i++)
        values += param_count(set.params[i]);
    assert_int_equal(values, set.values);
    trainable_free(&set);
    mllm_release(m);
}

/* The factory bits are part of the contract between edge and cloud: pinned. */
static void test_factory_values_are_pinned(void **state)
{
    struct trainable set;
    double sum = 0, squares = 0;
    (void)state;
    struct mllm *m = model_make(3);
    attach(m, &set);
    const struct param *a =
        mllm_find(m, "language_model.model.layers.0.mlp.down_proj.lora_A.weight");
    for (size_t i = 0; i < param_count(a); i++) {
        sum += (double)a->data[i];
        squares += (double)a->data[i] * (double)a->data[i];
    }
    double n = (double)param_count(a), variance = squares / n - sum / n * (sum / n);
    assert_true(fabs(variance * (double)a->dim[1] - 1) < 0.3);
    assert_true(fabs(sum / n) < 0.05);
    uint32_t word;
    memcpy(&word, &a->data[0], sizeof word);
    assert_int_equal(word, FACTORY_WORD);
    trainable_free(&set);
    mllm_release(m);
}

static void test_hash_is_of_names_shapes_values(void **state)
{
    struct trainable set, twin;
    struct hash a, b;
    (void)state;
    struct mllm *m = model_make(3), *other = model_make(3);
    attach(m, &set);
    attach(other, &twin);
    trainable_hash(&set, &a);
    trainable_hash(&twin, &b);
    assert_true(hash_equal(&a, &b));
    float *values = calloc(set.values, sizeof *values);
    trainable_read(&set, values);
    trainable_hash_values(&set, values, &b);
    assert_true(hash_equal(&a, &b));
    twin.params[twin.count - 1]->data[0] += 1e-6f;
    trainable_hash(&twin, &b);
    assert_false(hash_equal(&a, &b));
    free(values);
    trainable_free(&set);
    trainable_free(&twin);
    mllm_release(m);
    mllm_release(other);
}

static void test_clone_has_the_same_set(void **state)
{
    struct trainable set, twin;
    struct hash a, b;
    struct err err;
    struct mllm *clone;
    (void)state;
    struct mllm *m = model_make(3);
    attach(m, &set);
    assert_int_equal(mllm_clone(m, &clone, &err), STATUS_OK);
    assert_int_equal(trainable_list(clone, &twin, &err), STATUS_OK);
    trainable_hash(&set, &a);
    trainable_hash(&twin, &b);
    assert_true(hash_equal(&a, &b));
    trainable_free(&set);
    trainable_free(&twin);
    mllm_release(m);
    mllm_release(clone);
}

static void test_attach_refusals(void **state)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set, again;
    struct err err;
    (void)state;
    struct mllm *m = model_make(3);
    assert_int_equal(trainable_list(m, &set, &err), STATUS_CONFLICT);
    options.lora_rank = 0;
    assert_int_equal(trainable_attach(m, &options, &set, &err), STATUS_MALFORMED);
    attach(m, &set);
    options = trainable_defaults();
    assert_int_equal(trainable_attach(m, &options, &again, &err), STATUS_CONFLICT);
    trainable_free(&set);
    mllm_release(m);
}

/* ---- files ---- */

struct saved {
    struct mllm *m;
    struct trainable set;
    float *values;
    char path[PATH];
};

static int setup_saved(void **state)
{
    struct saved *s = calloc(1, sizeof *s);
    struct err err;
    s->m = model_make(3);
    attach(s->m, &s->set);
    s->values = calloc(s->set.values, sizeof *s->values);
    for (size_t i = 0; i < s->set.values; i++)
        s->values[i] = (float)i * 0.001f;
    trainable_write(&s->set, s->values);
    snprintf(s->path, PATH, "/tmp/cdcca-trainable-%d.safetensors", (int)getpid());
    *state = s;
    return trainable_save(io_posix(), &s->set, 42, s->path, &err) == STATUS_OK ? 0 : -1;
}

static int teardown_saved(void **state)
{
    struct saved *s = *state;
    unlink(s->path);
    trainable_free(&s->set);
    mllm_release(s->m);
    free(s->values);
    free(s);
    return 0;
}

static void test_save_and_load(void **state)
{
    struct saved *s = *state;
    int64_t version = 0;
    struct err err;
    float *zeros = calloc(s->set.values, sizeof *zeros);
    trainable_write(&s->set, zeros);
    assert_int_equal(trainable_load(io_posix(), &s->set, s->path, &version, &err), STATUS_OK);
    assert_int_equal(version, 42);
    trainable_read(&s->set, zeros);
    assert_memory_equal(zeros, s->values, s->set.values * sizeof *zeros);
    free(zeros);
}

/* Any one byte changed: refused, and the model is as it was. */
static void test_tampered_file(void **state)
{
    struct saved *s = *state;
    struct buf file = {.max = 1 << 24};
    int64_t version;
    struct err err;
    float *now = calloc(s->set.values, sizeof *now);
    assert_int_equal(io_read_file(io_posix(), s->path, &file, &err), STATUS_OK);
    for (size_t at = 0; at < file.len; at += 1 + file.len / 97) {
        if (file.data[at] == ' ')
            continue; /* header padding */
        file.data[at] ^= 0x40;
        assert_int_equal(io_write_file(io_posix(), s->path, file.data, file.len, &err), STATUS_OK);
        assert_int_not_equal(trainable_load(io_posix(), &s->set, s->path, &version, &err),
                             STATUS_OK);
        file.data[at] ^= 0x40;
    }
    trainable_read(&s->set, now);
    assert_memory_equal(now, s->values, s->set.values * sizeof *now);
    free(now);
    buf_free(&file);
}

static void test_truncated_file(void **state)
{
    struct saved *s = *state;
    struct buf file = {.max = 1 << 24};
    int64_t version;
    struct err err;
    assert_int_equal(io_read_file(io_posix(), s->path, &file, &err), STATUS_OK);
    for (size_t n = 0; n < file.len; n += 1 + file.len / 61) {
        assert_int_equal(io_write_file(io_posix(), s->path, file.data, n, &err), STATUS_OK);
        assert_int_not_equal(trainable_load(io_posix(), &s->set, s->path, &version, &err),
                             STATUS_OK);
    }
    buf_free(&file);
}

static void test_file_of_another_set(void **state)
{
    struct saved *s = *state;
    struct trainable_options options = {.lora_rank = 2, .lora_alpha = 4, .adapter_width = 4};
    struct trainable other;
    int64_t version;
    struct err err;
    struct mllm *m = model_make(3);
    assert_int_equal(trainable_attach(m, &options, &other, &err), STATUS_OK);
    assert_int_equal(trainable_load(io_posix(), &other, s->path, &version, &err), STATUS_SHAPE);
    trainable_free(&other);
    mllm_release(m);
}

static void test_file_with_nan(void **state)
{
    struct saved *s = *state;
    int64_t version;
    struct err err;
    s->set.params[0]->data[0] = NAN;
    assert_int_equal(trainable_save(io_posix(), &s->set, 43, s->path, &err), STATUS_OK);
    s->set.params[0]->data[0] = 1;
    assert_int_equal(trainable_load(io_posix(), &s->set, s->path, &version, &err),
                     STATUS_MALFORMED);
    assert_true(s->set.params[0]->data[0] == 1);
}

#define SAVED(name) cmocka_unit_test_setup_teardown(name, setup_saved, teardown_saved)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_zero_is_neutral),
        cmocka_unit_test(test_what_the_set_holds),
        cmocka_unit_test(test_factory_values_are_pinned),
        cmocka_unit_test(test_hash_is_of_names_shapes_values),
        cmocka_unit_test(test_clone_has_the_same_set),
        cmocka_unit_test(test_attach_refusals),
        SAVED(test_save_and_load),
        SAVED(test_tampered_file),
        SAVED(test_truncated_file),
        SAVED(test_file_of_another_set),
        SAVED(test_file_with_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
