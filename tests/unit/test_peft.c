/* peft: what goes out comes back as it was; a directory as PEFT writes it gives the numbers that
 * PyTorch gave; anything else is refused with the status that tests/data/peft/<case>/expect names.
 *
 * A case: adapter_config.json, and `tensors`, a line each: NAME DIM.. [= VALUE]; without `tensors`,
 * those of `valid`. It is merged into a LLaMA of one layer, width 16. */
// links: learn
#include "api/wire/json.h"
#include "model/learn/peft.h"
#include "tests/unit/tiny_pair.h"
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#define CASES SOURCE_DIR "/tests/data/peft"
#define LLAMA SHARED_DATA "/reference/llama-tiny"
enum { PATH = 512, ROOM = 1 << 18 };

static char work[64];

static int work_open(void **state)
{
    (void)state;
    snprintf(work, sizeof work, "/tmp/cdcca-peft-XXXXXX");
    return mkdtemp(work) ? 0 : -1;
}

static int work_close(void **state)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors",
                                        "cdcca_extra.safetensors"};
    char path[PATH];
    (void)state;
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", work, names[i]);
        unlink(path);
    }
    return rmdir(work);
}

static void must(enum status status, const struct err *err)
{
    if (status != STATUS_OK)
        fail_msg("%s", err->text);
}

static void write_text(const char *name, const char *text)
{
    char path[PATH];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/%s", work, name);
    must(io_write_file(io_posix(), path, text, strlen(text), &err), &err);
}

static void write_tensors(const struct safetensors_entry *entries, size_t n)
{
    char path[PATH];
    struct err err = {0};
    struct buf file = {.max = ROOM * 8};
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", work);
    must(safetensors_write(entries, n, NULL, NULL, 0, &file, &err), &err);
    must(io_write_file(io_posix(), path, file.data, file.len, &err), &err);
    buf_free(&file);
}

static char *read_text(const char *dir, const char *name)
{
    char path[PATH];
    struct buf file = {.max = ROOM};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (io_read_file(io_posix(), path, &file, NULL) != STATUS_OK)
        return NULL;
    char *text = calloc(1, file.len + 1);
    assert_non_null(text);
    memcpy(text, file.data, file.len);
    buf_free(&file);
    return text;
}

/* ---- out and back ---- */

static struct mllm *tiny_model(struct trainable *set, const struct trainable_options *options)
{
    struct mllm_config config = tiny_config(4);
    struct mllm *m = NULL;
    struct err err = {0};
    must(mllm_create(&config, 3, &m, &err), &err);
    if (set)
        must(trainable_attach(m, options, set, &err), &err);
    return m;
}

static void stir(const struct trainable *set)
{
    struct rng rng;
    rng_init(&rng, 4, 4);
    for (int t = 0; t < set->count; t++)
        for (size_t i = 0; i < param_count(set->params[t]); i++)
            set->params[t]->data[i] += 0.1f * rng_normal(&rng);
}

static void expect_logits(struct tape *tape, const struct mllm *m, float *out, size_t n)
{
    static const int32_t question[] = {5, 6}, text[] = {9, 10, 11};
    static const int count[] = {2};
    float visual[TINY_TOKENS * TINY_WIDTH];
    for (int i = 0; i < TINY_TOKENS * TINY_WIDTH; i++)
        visual[i] = (float)(i % 7) - 3;
    struct mllm_batch b = {.B = 1,
                           .visual = tensor_view(visual, 3, (int[]){1, TINY_TOKENS, TINY_WIDTH}),
                           .question_T = 2,
                           .question = question,
                           .question_count = count,
                           .text_T = 3,
                           .text = text};
    struct tensor logits = mllm_logits(tape, m, mllm_forward(tape, m, &b, NULL), NULL, 0);
    assert_int_equal(tape_check(tape, NULL), STATUS_OK);
    assert_int_equal(tensor_count(logits), n);
    memcpy(out, logits.data, n * sizeof *out);
}

static void same_logits(const struct mllm *a, const struct mllm *b, float tolerance)
{
    enum { COUNT = (4 + 3) * TINY_VOCAB };
    static float x[COUNT], y[COUNT];
    struct arena arena;
    struct tape tape = {0};
    assert_true(arena_init(&arena, 1 << 26));
    tape_begin(&tape, &arena, false, NULL);
    expect_logits(&tape, a, x, COUNT);
    tape_begin(&tape, &arena, false, NULL);
    expect_logits(&tape, b, y, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_true(fabsf(x[i] - y[i]) <= tolerance);
    arena_deinit(&arena);
}

static void comes_back_as_it_was(void **state)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set, back;
    struct peft_report out, in;
    struct hash a, b;
    struct err err = {0};
    struct mllm *m = tiny_model(&set, &options), *n = tiny_model(&back, &options);
    (void)state;
    stir(&set);
    must(peft_export(io_posix(), m, &set, &options, "models/tiny", work, &out, &err), &err);
    must(peft_import(io_posix(), work, n, &back, &options, &in, &err), &err);
    trainable_hash(&set, &a);
    trainable_hash(&back, &b);
    assert_memory_equal(&a, &b, sizeof a);
    same_logits(m, n, 0);
    assert_int_equal(out.lora, in.lora);
    assert_int_equal(out.norms, in.norms);
    assert_int_equal(out.biases, in.biases);
    assert_int_equal(out.extras, in.extras);
    assert_int_equal(out.values + out.extra_values, set.values);
    assert_int_equal(in.values + in.extra_values, set.values);
    trainable_free(&set);
    trainable_free(&back);
    mllm_release(m);
    mllm_release(n);
}

/* A larger rank and another alpha on the way in: the same function, to rounding. */
static void fits_a_larger_rank(void **state)
{
    struct trainable_options small = {.lora_rank = 3, .lora_alpha = 5, .adapter_width = 32};
    struct trainable_options large = trainable_defaults();
    struct trainable set, back;
    struct peft_report report;
    struct err err = {0};
    struct mllm *m = tiny_model(&set, &small), *n = tiny_model(&back, &large);
    (void)state;
    stir(&set);
    must(peft_export(io_posix(), m, &set, &small, "tiny", work, &report, &err), &err);
    must(peft_import(io_posix(), work, n, &back, &large, &report, &err), &err);
    same_logits(m, n, 1e-4f);
    assert_int_equal(peft_import(io_posix(), work, n, &set, &(struct trainable_options){1, 1, 32},
                                 &report, &err),
                     STATUS_UNSUPPORTED);
    trainable_free(&set);
    trainable_free(&back);
    mllm_release(m);
    mllm_release(n);
}

/* Bottleneck adapters that do something cannot be merged; neutral ones are nothing to merge. */
static void merges_what_weights_can_hold(void **state)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set;
    struct peft_report report;
    struct err err = {0};
    struct mllm *m = tiny_model(&set, &options), *n = tiny_model(NULL, NULL);
    (void)state;
    stir(&set);
    must(peft_export(io_posix(), m, &set, &options, "tiny", work, &report, &err), &err);
    assert_int_equal(peft_merge(io_posix(), work, n, &report, &err), STATUS_UNSUPPORTED);
    mllm_release(n);
    for (int t = 0; t < set.count; t++)
        if (strstr(set.params[t]->name, "_adapter.up."))
            memset(set.params[t]->data, 0, param_count(set.params[t]) * sizeof(float));
    n = tiny_model(NULL, NULL);
    must(peft_export(io_posix(), m, &set, &options, "tiny", work, &report, &err), &err);
    must(peft_merge(io_posix(), work, n, &report, &err), &err);
    same_logits(m, n, 1e-4f);
    trainable_free(&set);
    mllm_release(m);
    mllm_release(n);
}

static bool listed(const json *config, const char *key, const char *module)
{
    const json *list = NULL;
    const char *text = NULL;
    assert_int_equal(json_get_array(config, key, 1 << 12, &list, NULL), STATUS_OK);
    for (size_t i = 0; i < json_length(list); i++)
        if (json_string_at(list, i, 256, &text, NULL) == STATUS_OK && strcmp(text, module) == 0)
            return true;
    return false;
}

/* The names of PEFT's documentation, written out. */
static void writes_the_layout_of_peft(void **state)
{
    static const char *const names[] = {
        "base_model.model.language_model.model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.language_model.model.layers.1.mlp.down_proj.lora_B.weight",
        "base_model.model.language_model.model.norm.weight",
        "base_model.model.qformer.encoder.layer.0.attention.attention.query.base_layer.bias",
        "base_model.model.qformer.encoder.layer.0.attention.output.LayerNorm.bias",
        "base_model.model.language_projection.bias"};
    struct trainable_options options = trainable_defaults();
    struct trainable set;
    struct peft_report report;
    struct safetensors file;
    struct err err = {0};
    json *config = NULL;
    char path[PATH];
    struct mllm *m = tiny_model(&set, &options);
    (void)state;
    must(peft_export(io_posix(), m, &set, &options, "tiny", work, &report, &err), &err);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", work);
    must(safetensors_open(io_posix(), path, ROOM * 8, &file, &err), &err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(safetensors_find(&file, names[i]));
    assert_null(safetensors_find(&file, "base_model.model.query_tokens"));
    safetensors_close(&file);
    char *text = read_text(work, "adapter_config.json");
    must(json_parse(text, strlen(text), &config, &err), &err);
    assert_true(listed(config, "target_modules", "language_model.model.layers.0.self_attn.q_proj"));
    assert_true(listed(config, "modules_to_save", "language_model.model.norm"));
    assert_false(listed(config, "target_modules", "language_projection"));
    json_free(config);
    free(text);
    trainable_free(&set);
    mllm_release(m);
}

/* ---- a directory as PEFT writes it ---- */

/* lora-after-10-steps with PEFT's prefix: r 4, alpha 8 on q_proj and v_proj. */
static void write_reference(const char *config)
{
    char names[16][160];
    struct safetensors_entry entries[16];
    struct safetensors file;
    struct err err = {0};
    must(safetensors_open(io_posix(), LLAMA "/lora-after-10-steps.safetensors", ROOM, &file, &err),
         &err);
    assert_true(file.count <= 16);
    for (size_t i = 0; i < file.count; i++) {
        entries[i] = file.entries[i];
        snprintf(names[i], sizeof *names, "base_model.model.%s", file.entries[i].name);
        entries[i].name = names[i];
    }
    write_tensors(entries, file.count);
    safetensors_close(&file);
    write_text("adapter_config.json", config);
}

/* One row of numbers. */
static int reference_row(const json *single, const char *key, int32_t *out, size_t max)
{
    const json *rows = NULL;
    struct err err = {0};
    must(json_get_array(single, key, max, &rows, &err), &err);
    const json *row = json_length(json_at(rows, 0)) ? json_at(rows, 0) : rows;
    size_t n = json_length(row);
    assert_in_range(n, 2, max);
    for (size_t t = 0; t < n; t++) {
        int64_t id = 0;
        must(json_int_at(row, t, -100, 1 << 20, &id, &err), &err);
        out[t] = (int32_t)id;
    }
    return (int)n;
}

/* Cross-entropy of the reference's ids. */
static double reference_loss(const struct mllm *m)
{
    int32_t ids[64], labels[64];
    const json *single = NULL;
    json *root = NULL;
    struct err err = {0};
    struct buf file = {.max = 64 << 20};
    must(io_read_file(io_posix(), LLAMA "/expected.json", &file, &err), &err);
    must(json_parse(file.data, file.len, &root, &err), &err);
    must(json_get_object(root, "single", &single, &err), &err);
    int T = reference_row(single, "input_ids", ids, 64);
    assert_int_equal(reference_row(single, "labels", labels, 64), T);
    memmove(labels, labels + 1, (size_t)(T - 1) * sizeof *labels);
    labels[T - 1] = -100;
    struct arena arena;
    struct tape tape = {0};
    assert_true(arena_init(&arena, 1 << 26));
    tape_begin(&tape, &arena, false, NULL);
    struct mllm_batch b = {.B = 1, .text_T = T, .text = ids};
    struct tensor logits = mllm_logits(&tape, m, mllm_forward(&tape, m, &b, NULL), NULL, 0);
    double loss = (double)op_cross_entropy(&tape, logits, labels).data[0];
    must(tape_check(&tape, &err), &err);
    arena_deinit(&arena);
    json_free(root);
    buf_free(&file);
    return loss;
}

static void need_data(void)
{
    if (access(LLAMA, R_OK) == 0)
        return;
    print_message("skipped: no reference data at %s\n", LLAMA);
    skip();
}

static void gives_the_numbers_of_pytorch(void **state)
{
    static const char *const configs[] = {
        "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 8, \"target_modules\": [\"q_proj\","
        "\"v_proj\"], \"bias\": \"none\", \"fan_in_fan_out\": false, \"loftq_config\": {}}",
        "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 4, \"use_rslora\": true,"
        "\"target_modules\": \".*\\\\.(q|v)_proj\", \"modules_to_save\": null}",
        "{\"peft_type\": \"LORA\", \"r\": 16, \"lora_alpha\": 1, \"target_modules\": [\"q_proj\","
        "\"v_proj\"], \"rank_pattern\": {\"q_proj\": 4, \"^model\\\\.layers.0.self_attn.v_proj\": "
        "4, \"layers.1.self_attn.v_proj$\": 4}, \"alpha_pattern\": {\"v_proj\": 8, \"q_proj\": 8}}",
    };
    struct trainable_options options = trainable_defaults();
    struct peft_report report;
    struct err err = {0};
    (void)state;
    need_data();
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct trainable set;
        struct mllm *m = NULL;
        write_reference(configs[i]);
        must(mllm_load(io_posix(), LLAMA, &m, &err), &err);
        assert_float_equal(reference_loss(m), 5.28324127, 1e-4);
        must(peft_merge(io_posix(), work, m, &report, &err), &err);
        assert_float_equal(reference_loss(m), 2.96387482, 1e-4);
        assert_int_equal(report.lora, 4);
        mllm_release(m);
        must(mllm_load(io_posix(), LLAMA, &m, &err), &err);
        must(trainable_attach(m, &options, &set, &err), &err);
        must(peft_import(io_posix(), work, m, &set, &options, &report, &err), &err);
        assert_float_equal(reference_loss(m), 2.96387482, 1e-4);
        trainable_free(&set);
        mllm_release(m);
    }
}

/* ---- cases ---- */

static float room[ROOM];

/* "NAME DIM.. [= VALUE]" */
static void line_entry(char *line, struct safetensors_entry *e)
{
    size_t n = 1;
    char *save = NULL, *word = strtok_r(line, " ", &save);
    *e = (struct safetensors_entry){.name = word, .dtype = DTYPE_F32};
    float value = 0.5f;
    while ((word = strtok_r(NULL, " ", &save)) != NULL) {
        if (strcmp(word, "=") == 0) {
            value = strtof(strtok_r(NULL, " ", &save), NULL);
            break;
        }
        e->dim[e->ndim] = strtoull(word, NULL, 10);
        n *= (size_t)e->dim[e->ndim++];
    }
    static size_t used;
    if (used + n > ROOM)
        used = 0;
    assert_true(n <= ROOM);
    float *data = room + used;
    used += n;
    for (size_t i = 0; i < n; i++)
        data[i] = value;
    e->data = data;
    e->size = n * sizeof *data;
}

static void case_write(const char *dir)
{
    struct safetensors_entry entries[32];
    size_t n = 0;
    char *config = read_text(dir, "adapter_config.json"), *tensors = read_text(dir, "tensors");
    char *save = NULL;
    work_close(NULL);
    assert_int_equal(mkdir(work, 0700), 0);
    if (config)
        write_text("adapter_config.json", config);
    if (!tensors)
        tensors = read_text(CASES "/valid", "tensors");
    assert_non_null(tensors);
    for (char *line = strtok_r(tensors, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        assert_true(n < 32);
        line_entry(line, &entries[n++]);
    }
    write_tensors(entries, n);
    free(config);
    free(tensors);
}

static struct mllm *plain_model(void)
{
    struct mllm_config c = tiny_config(2);
    struct mllm *m = NULL;
    struct err err = {0};
    c.multimodal = false;
    c.text.layers = 1;
    c.text.vocab = 32;
    must(mllm_create(&c, 5, &m, &err), &err);
    return m;
}

/* expect: the status's name, then a part of the text */
static void case_run(const char *name)
{
    char dir[PATH], status_expected[32] = "", part[256] = "";
    struct peft_report report;
    struct err err = {0};
    snprintf(dir, sizeof dir, CASES "/%s", name);
    char *expect = read_text(dir, "expect");
    assert_non_null(expect);
    assert_true(sscanf(expect, "%31s %255[^\n]", status_expected, part) >= 1);
    case_write(dir);
    struct mllm *m = plain_model();
    enum status status = peft_merge(io_posix(), work, m, &report, &err);
    if (strcmp(status_name(status), status_expected) != 0 || !strstr(err.text, part))
        fail_msg("%s: %s \"%s\", expected %s \"%s\"", name, status_name(status), err.text,
                 status_expected, part);
    mllm_release(m);
    free(expect);
}

static void cases_give_their_status(void **state)
{
    DIR *dir = opendir(CASES);
    int count = 0;
    (void)state;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') {
            case_run(entry->d_name);
            count++;
        }
    closedir(dir);
    assert_true(count >= 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, work_open, work_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(comes_back_as_it_was),         TEST(fits_a_larger_rank),
        TEST(merges_what_weights_can_hold), TEST(writes_the_layout_of_peft),
        TEST(gives_the_numbers_of_pytorch), TEST(cases_give_their_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
