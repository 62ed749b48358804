/* Packed matrices on disk and in a model: what is written comes back bit for bit, a model with them
 * computes what its unpacked twin does, clones share them, and a layout that is not whole is
 * refused by name. */
// links: mllm
#include "model/mllm/params.h"
#include "model/mllm/stored.h"
#include "tests/unit/checkpoint_case.h"

#include <math.h>

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

static size_t scale_count(const struct weight *w)
{
    return weight_scale_count(w->type, w->rows, w->cols);
}

/* ---- packing in place ---- */

struct packed {
    struct weight w;
    unsigned char codes[4096];
    float scale[512];
};

static struct packed *pack(struct param *p, enum weight_type type)
{
    struct packed *k = calloc(1, sizeof *k);
    assert_non_null(k);
    weight_pack(type, p->data, p->dim[0], p->dim[1], k->codes, k->scale);
    k->w = (struct weight){type, p->dim[0], p->dim[1], k->codes, k->scale};
    return k;
}

/* The model with every quantizable matrix packed: types in turn. out: one per parameter or NULL. */
static void model_pack(struct mllm *m, struct packed **out, const enum weight_type *types, int n)
{
    for (int i = 0, k = 0; i < m->param_count; i++) {
        struct param *p = &m->params[i];
        out[i] = params_quantizable(m, p) ? pack(p, types[k++ % n]) : NULL;
        if (!out[i])
            continue;
        p->packed = &out[i]->w;
        p->data = NULL;
    }
}

static void packed_free(struct packed **k, int n)
{
    for (int i = 0; i < n; i++)
        free(k[i]);
}

/* Logits of a fixed batch, exactly computed; to be freed. */
static float *logits_of(const struct mllm *m, size_t *n)
{
    static float pixels[3 * 8 * 8];
    static const int32_t question[] = {1, 2}, text[] = {3, 4, 5};
    struct arena arena;
    struct tape tape = {.exact = true};
    for (int i = 0; i < 3 * 8 * 8; i++)
        pixels[i] = sinf((float)i);
    assert_true(arena_init(&arena, 1 << 26));
    tape_begin(&tape, &arena, false, NULL);
    struct tensor visual = vision_forward(&tape, m, tensor_view(pixels, 4, (int[]){1, 3, 8, 8}), 0);
    struct mllm_batch b = {.B = 1,
                           .visual = visual,
                           .question_T = 2,
                           .question = question,
                           .question_count = (int[]){2},
                           .text_T = 3,
                           .text = text};
    struct tensor logits = mllm_logits(&tape, m, mllm_forward(&tape, m, &b, NULL), NULL, 0);
    assert_int_equal(tape_check(&tape, NULL), STATUS_OK);
    *n = tensor_count(logits);
    float *copy = malloc(*n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, logits.data, *n * sizeof *copy);
    arena_deinit(&arena);
    return copy;
}

static void assert_same_weights(const struct mllm *a, const struct mllm *b)
{
    for (int i = 0; i < a->param_count; i++) {
        const struct weight *x = a->params[i].packed, *y = b->params[i].packed;
        assert_true(!x == !y);
        if (!x) {
            assert_memory_equal(a->params[i].data, b->params[i].data,
                                param_count(&a->params[i]) * sizeof(float));
            continue;
        }
        assert_int_equal(x->type, y->type);
        assert_memory_equal(x->codes, y->codes, weight_code_bytes(x->type, x->rows, x->cols));
        if (scale_count(x))
            assert_memory_equal(x->scale, y->scale, scale_count(x) * sizeof(float));
    }
}

static void packed_models_come_back(void **state)
{
    enum weight_type types[] = {WEIGHT_NF4, WEIGHT_Q8};
    struct packed *k[CASE_TENSORS];
    struct mllm *back = NULL, *twin = NULL;
    struct err err = {0};
    size_t n = 0;
    (void)state;
    model_pack(c.model, k, types, 2);
    mllm_fingerprint(c.model);
    float *before = logits_of(c.model, &n);
    assert_int_equal(mllm_save(io_posix(), c.model, c.dir, DTYPE_F32, &err), STATUS_OK);
    if (mllm_load(io_posix(), c.dir, &back, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    assert_same_weights(back, c.model);
    assert_true(hash_equal(&back->encoder, &c.model->encoder));
    assert_int_equal(mllm_clone(back, &twin, NULL), STATUS_OK);
    assert_ptr_equal(twin->llama.layer[1].down.weight->packed,
                     back->llama.layer[1].down.weight->packed);
    mllm_release(back);
    float *after = logits_of(twin, &n);
    assert_memory_equal(before, after, n * sizeof *before);
    mllm_release(twin);
    free(before);
    free(after);
    packed_free(k, c.model->param_count);
}

/* A packed matrix computes what its values in F32 do. */
static void a_packed_model_is_its_unpacked_twin(void **state)
{
    enum weight_type types[] = {WEIGHT_NF4, WEIGHT_Q8, WEIGHT_BF16, WEIGHT_F16};
    struct packed *k[CASE_TENSORS];
    struct mllm *plain = NULL;
    size_t n = 0;
    (void)state;
    assert_int_equal(mllm_clone(c.model, &plain, NULL), STATUS_OK);
    model_pack(c.model, k, types, 4);
    for (int i = 0; i < plain->param_count; i++)
        if (k[i])
            weight_unpack(&k[i]->w, 0, param_count(&plain->params[i]), plain->params[i].data);
    float *x = logits_of(c.model, &n), *y = logits_of(plain, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(x[i] - y[i]) <= 1e-4F * (1 + fabsf(y[i])));
    free(x);
    free(y);
    mllm_release(plain);
    packed_free(k, c.model->param_count);
}

static void halves_stay_packed_in_a_large_model(void **state)
{
    struct mllm *small = NULL, *large = NULL;
    size_t n = 0;
    (void)state;
    for (int dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++) {
        assert_int_equal(mllm_save(io_posix(), c.model, c.dir, (enum dtype)dtype, NULL), STATUS_OK);
        assert_int_equal(mllm_load(io_posix(), c.dir, &small, NULL), STATUS_OK);
        assert_int_equal(mllm_load_within(io_posix(), c.dir, 1000, &large, NULL), STATUS_OK);
        assert_null(small->llama.head.weight->packed);
        assert_int_equal(large->llama.head.weight->packed->type,
                         dtype == DTYPE_F16 ? WEIGHT_F16 : WEIGHT_BF16);
        assert_non_null(large->llama.embed->packed);
        assert_non_null(large->qformer.positions->data);
        assert_non_null(large->llama.norm->data);
        assert_true(hash_equal(&large->encoder, &small->encoder));
        float *x = logits_of(small, &n), *y = logits_of(large, &n);
        for (size_t i = 0; i < n; i++)
            assert_true(fabsf(x[i] - y[i]) <= 1e-4F * (1 + fabsf(x[i])));
        free(x);
        free(y);
        mllm_release(small);
        mllm_release(large);
    }
}

static void a_half_that_is_not_finite_is_named(void **state)
{
    struct mllm *m = NULL;
    struct err err = {0};
    (void)state;
    mllm_find(c.model, "language_projection.weight")->data[5] = INFINITY;
    assert_int_equal(mllm_save(io_posix(), c.model, c.dir, DTYPE_BF16, NULL), STATUS_OK);
    assert_int_equal(mllm_load_within(io_posix(), c.dir, 0, &m, &err), STATUS_MALFORMED);
    assert_non_null(strstr(err.text, "language_projection.weight"));
}

/* ---- double quantization ---- */

static void double_quantization_is_near(void **state)
{
    enum { ROWS = 300, COLS = 70 };
    static float values[ROWS * COLS], scale[ROWS * COLS / 64 + 1], back_scale[ROWS * COLS / 64 + 1];
    static unsigned char codes[ROWS * COLS / 2], back_codes[ROWS * COLS / 2];
    struct weight w = {WEIGHT_NF4, ROWS, COLS, codes, scale}, back = w;
    struct param p = {.name = "x.weight", .ndim = 2, .dim = {ROWS, COLS}};
    struct safetensors_entry entry[STORED_ENTRIES];
    struct stored_names names;
    struct safetensors_writer to;
    struct checkpoint files;
    struct stored s = {0};
    struct rng rng;
    char path[128], name[STORED_NAME];
    enum stored_part part;
    (void)state;
    rng_init(&rng, 1, 1);
    for (int i = 0; i < ROWS * COLS; i++)
        values[i] = rng_normal(&rng);
    weight_pack(WEIGHT_NF4, values, ROWS, COLS, codes, scale);
    snprintf(path, sizeof path, "%s/model.safetensors", c.dir);
    int n = stored_entries("x.weight", WEIGHT_NF4, ROWS, COLS, true, &names, entry);
    assert_int_equal(safetensors_writer_open(io_posix(), path, entry, (size_t)n, &to, NULL), 0);
    assert_int_equal(stored_write(&to, &w, true, NULL), STATUS_OK);
    assert_int_equal(safetensors_writer_finish(&to, NULL), STATUS_OK);
    assert_int_equal(checkpoint_open(io_posix(), c.dir, &files, NULL), STATUS_OK);
    for (size_t i = 0; i < files.count; i++) {
        assert_int_equal(stored_split(files.tensor[i].entry->name, name, &part, NULL), STATUS_OK);
        assert_string_equal(name, "x.weight");
        s.part[part] = &files.tensor[i];
    }
    assert_int_equal(stored_check(&s, &p, NULL), STATUS_OK);
    assert_int_equal(s.nested_block, 256);
    assert_int_equal(stored_read_packed(&s, &p, &back, back_codes, back_scale, NULL), STATUS_OK);
    assert_memory_equal(codes, back_codes, sizeof codes);
    for (size_t i = 0; i < scale_count(&w); i++)
        assert_true(fabsf(scale[i] - back_scale[i]) < 0.02F);
    checkpoint_close(&files);
}

/* ---- layouts that are not whole ---- */

#define Q "language_model.model.layers.0.self_attn.q_proj."
enum { Q_WIDTH = 24, Q_VALUES = Q_WIDTH * Q_WIDTH, Q_BLOCKS = Q_VALUES / 64 };
static uint8_t q_codes[Q_VALUES];
static float q_scale[Q_WIDTH];

static const char *const GOOD =
    "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"float16\", \"shape\": [24, 24]}";

/* q_proj as NF4 with this JSON. */
static void quantize_q(const char *state)
{
    case_drop(&c, Q "weight");
    weight_pack(WEIGHT_NF4, c.model->llama.layer[0].q.weight->data, Q_WIDTH, Q_WIDTH, q_codes,
                q_scale);
    case_add(&c, Q "weight", DTYPE_U8, 2, (uint64_t[]){Q_VALUES / 2, 1}, q_codes);
    case_add(&c, Q "weight.absmax", DTYPE_F32, 1, (uint64_t[]){Q_BLOCKS}, q_scale);
    case_add(&c, Q "weight.quant_map", DTYPE_F32, 1, (uint64_t[]){16}, weight_nf4);
    case_add(&c, Q "weight.quant_state.bitsandbytes__nf4", DTYPE_U8, 1, (uint64_t[]){strlen(state)},
             state);
}

static void files_made_elsewhere_load(void **state)
{
    struct mllm *m = NULL;
    struct err err = {0};
    (void)state;
    quantize_q(GOOD);
    case_write(&c);
    if (mllm_load(io_posix(), c.dir, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    const struct weight *w = m->llama.layer[0].q.weight->packed;
    assert_memory_equal(w->codes, q_codes, Q_VALUES / 2);
    assert_memory_equal(w->scale, q_scale, Q_BLOCKS * sizeof(float));
    mllm_release(m);
}

static void states_that_are_refused(void **state)
{
    static const struct {
        const char *json;
        enum status code;
        const char *says;
    } cases[] = {
        {"{\"quant_type\": \"nf4\", \"blocksize\": 128, \"shape\": [24, 24]}", STATUS_UNSUPPORTED,
         "blocks of 128"},
        {"{\"quant_type\": \"fp4\", \"blocksize\": 64, \"shape\": [24, 24]}", STATUS_UNSUPPORTED,
         "fp4"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [12, 48]}", STATUS_SHAPE,
         "[24, 24]"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [576]}", STATUS_SHAPE, "shape"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 0, \"shape\": [24, 24]}", STATUS_MALFORMED,
         "blocksize"},
        {"{\"blocksize\": 64, \"shape\": [24, 24]}", STATUS_MALFORMED, "quant_type"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [24, 24], "
         "\"nested_blocksize\": 256}",
         STATUS_MALFORMED, "nested_offset"},
        {"{\"quant_type\": \"nf4\", \"blocksize\": 64, \"shape\": [24, 24], "
         "\"nested_blocksize\": 256, \"nested_offset\": 0.5}",
         STATUS_SHAPE, "absmax"},
        {"[]", STATUS_MALFORMED, "quant_state"},
        {"{", STATUS_MALFORMED, "quant_state"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        quantize_q(cases[i].json);
        case_refused(&c, cases[i].code, cases[i].says);
        case_refused(&c, cases[i].code, Q "weight");
        teardown(state);
        setup(state);
    }
}

static void parts_that_are_missing(void **state)
{
    static const char *const parts[] = {Q "weight.absmax", Q "weight.quant_map",
                                        Q "weight.quant_state.bitsandbytes__nf4", Q "weight"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        quantize_q(GOOD);
        case_drop(&c, parts[i]);
        case_refused(&c, STATUS_NOT_FOUND, Q "weight");
        teardown(state);
        setup(state);
    }
}

static void parts_that_do_not_fit(void **state)
{
    static const float other[16] = {-1, -0.7F}, infinite[Q_BLOCKS] = {INFINITY};
    (void)state;
    quantize_q(GOOD);
    case_find(&c, Q "weight.quant_map")->data = other;
    case_refused(&c, STATUS_UNSUPPORTED, "code table");
    case_find(&c, Q "weight.quant_map")->data = weight_nf4;
    case_find(&c, Q "weight.absmax")->data = infinite;
    case_refused(&c, STATUS_MALFORMED, "finite");
    case_find(&c, Q "weight.absmax")->data = q_scale;
    case_find(&c, Q "weight.absmax")->dim[0] = Q_BLOCKS - 1;
    case_refused(&c, STATUS_SHAPE, Q "weight.absmax");
    case_find(&c, Q "weight.absmax")->dim[0] = Q_BLOCKS;
    case_find(&c, Q "weight")->dim[0] = Q_VALUES / 2 - 1;
    case_refused(&c, STATUS_SHAPE, Q "weight");
    case_find(&c, Q "weight")->dim[0] = Q_VALUES / 2;
    case_add(&c, Q "SCB", DTYPE_F32, 1, (uint64_t[]){Q_WIDTH}, q_scale);
    case_refused(&c, STATUS_CONFLICT, "two ways");
}

static void int8_that_does_not_fit(void **state)
{
    static const unsigned char format = 2;
    (void)state;
    case_drop(&c, Q "weight");
    case_add(&c, Q "weight", DTYPE_I8, 2, (uint64_t[]){Q_WIDTH, Q_WIDTH}, q_codes);
    case_refused(&c, STATUS_UNSUPPORTED, "I8");
    case_add(&c, Q "SCB", DTYPE_F32, 1, (uint64_t[]){Q_WIDTH - 1}, q_scale);
    case_refused(&c, STATUS_SHAPE, "SCB");
    case_find(&c, Q "SCB")->dim[0] = Q_WIDTH;
    case_add(&c, Q "weight_format", DTYPE_U8, 0, NULL, &format);
    case_refused(&c, STATUS_UNSUPPORTED, "weight_format");
}

static void other_quantizations_are_named(void **state)
{
    static const char *const names[] = {Q "qweight", Q "g_idx",
                                        Q "weight.quant_state.bitsandbytes__fp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        case_add(&c, names[i], DTYPE_U8, 1, (uint64_t[]){4}, q_codes);
        case_refused(&c, STATUS_UNSUPPORTED, names[i]);
        teardown(state);
        setup(state);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packed_models_come_back),
        TEST(a_packed_model_is_its_unpacked_twin),
        TEST(halves_stay_packed_in_a_large_model),
        TEST(a_half_that_is_not_finite_is_named),
        TEST(double_quantization_is_near),
        TEST(files_made_elsewhere_load),
        TEST(states_that_are_refused),
        TEST(parts_that_are_missing),
        TEST(parts_that_do_not_fit),
        TEST(int8_that_does_not_fit),
        TEST(other_quantizations_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
