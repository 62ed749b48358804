/* Training and distillation of a whole model against PyTorch: losses of every step of AdamW (with
 * and without clipping), SGD and LoRA, the final weights, and the distillation loss with its
 * gradients. */
// links: mllm
#include "api/wire/json.h"
#include "model/mllm/mllm.h"
#include "model/tensor/optim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LLAMA SHARED_DATA "/reference/llama-tiny"

enum { T = 12, STEPS_MAX = 16 };

struct training {
    struct mllm *m;
    struct param *params[64]; /* what is trained */
    int count;
    size_t values;
    float *grads;
    struct arena arena;
    struct tape tape;
    int32_t ids[T], labels[T]; /* labels shifted by one already */
};

static json *read_json(const char *name)
{
    char path[512];
    struct buf file = {.max = 64 << 20};
    struct err err = {0};
    json *root = NULL;
    snprintf(path, sizeof path, LLAMA "/%s", name);
    if (io_read_file(io_posix(), path, &file, &err) || json_parse(file.data, file.len, &root, &err))
        fail_msg("%s", err.text);
    buf_free(&file);
    return root;
}

static const json *object_at(const json *root, const char *key)
{
    const json *value = NULL;
    assert_int_equal(json_get_object(root, key, &value, NULL), STATUS_OK);
    return value;
}

static int numbers_at(const json *root, const char *key, double *out, int max)
{
    const json *list = NULL;
    assert_int_equal(json_get_array(root, key, (size_t)max, &list, NULL), STATUS_OK);
    if (json_length(json_at(list, 0)) > 0) /* (1,T) */
        list = json_at(list, 0);
    for (size_t i = 0; i < json_length(list); i++)
        assert_int_equal(json_number_at(list, i, &out[i], NULL), STATUS_OK);
    return (int)json_length(list);
}

static double number_at(const json *root, const char *key)
{
    double value = 0;
    assert_int_equal(json_get_number(root, key, -1e30, 1e30, &value, NULL), STATUS_OK);
    return value;
}

static void read_case(struct training *t)
{
    double ids[T], labels[T];
    json *root = read_json("expected.json");
    const json *one = object_at(root, "single");
    assert_int_equal(numbers_at(one, "input_ids", ids, T), T);
    assert_int_equal(numbers_at(one, "labels", labels, T), T);
    for (int i = 0; i < T; i++) {
        t->ids[i] = (int32_t)ids[i];
        t->labels[i] = i + 1 < T ? (int32_t)labels[i + 1] : -1;
    }
    json_free(root);
}

/* The model in a file of the reference's folder, which may not be called model.safetensors. */
static struct mllm *load_weights(const char *file)
{
    char dir[] = "/tmp/cdcca-test-XXXXXX", config[64], weights[64], from[512];
    struct mllm *m = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(config, sizeof config, "%s/config.json", dir);
    snprintf(weights, sizeof weights, "%s/model.safetensors", dir);
    snprintf(from, sizeof from, LLAMA "/%s", file);
    assert_int_equal(symlink(LLAMA "/config.json", config), 0);
    assert_int_equal(symlink(from, weights), 0);
    if (mllm_load(io_posix(), dir, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    unlink(config);
    unlink(weights);
    rmdir(dir);
    return m;
}

static int setup(void **state)
{
    struct training *t = calloc(1, sizeof *t);
    *state = t;
    if (!io_exists(LLAMA "/training.json"))
        return 0;
    t->m = load_weights("model.safetensors");
    read_case(t);
    return arena_init(&t->arena, (size_t)256 << 20) ? 0 : -1;
}

static int teardown(void **state)
{
    struct training *t = *state;
    mllm_release(t->m);
    if (t->arena.base)
        arena_deinit(&t->arena);
    free(t->grads);
    free(t);
    return 0;
}

static struct training *need_data(void **state)
{
    struct training *t = *state;
    if (!t->m) {
        print_message("no reference data at %s\n", SHARED_DATA);
        skip();
    }
    return t;
}

static void train_what(struct training *t, bool (*wanted)(const char *name))
{
    t->count = 0;
    for (int i = 0; i < t->m->param_count; i++)
        if (wanted(t->m->params[i].name))
            t->params[t->count++] = &t->m->params[i];
    t->values = optim_assign(t->params, t->count);
    t->grads = calloc(t->values, sizeof *t->grads);
}

static bool all(const char *name)
{
    (void)name;
    return true;
}

static bool lora(const char *name)
{
    return strstr(name, "lora_") != NULL;
}

static struct tensor logits_of(struct tape *tape, const struct mllm *m, const int32_t *ids)
{
    struct mllm_batch batch = {.B = 1, .text_T = T, .text = ids};
    return mllm_logits(tape, m, mllm_forward(tape, m, &batch, NULL), NULL, 0);
}

/* Loss, and its gradients in t->grads. */
static double step_loss(struct training *t)
{
    memset(t->grads, 0, t->values * sizeof *t->grads);
    tape_begin(&t->tape, &t->arena, true, t->grads);
    struct tensor loss = op_cross_entropy(&t->tape, logits_of(&t->tape, t->m, t->ids), t->labels);
    tape_backward(&t->tape, loss, false);
    assert_int_equal(t->tape.status, STATUS_OK);
    return (double)loss.data[0];
}

/* Numbers under `key`, if any, at x. */
static void expect_some(const json *stat, const char *key, const float *x, double tolerance)
{
    double want[8];
    int n = json_has(stat, key) ? numbers_at(stat, key, want, 8) : 0;
    for (int i = 0; i < n; i++)
        assert_float_equal(x[i], want[i], tolerance);
}

static void expect_stat(const json *stat, const float *x, size_t n, double tolerance)
{
    double norm = 0;
    for (size_t i = 0; i < n; i++)
        norm += (double)x[i] * (double)x[i];
    assert_float_equal(sqrt(norm), number_at(stat, "norm"), tolerance);
    expect_some(stat, "first4", x, tolerance);
    expect_some(stat, "first8", x, tolerance);
    expect_some(stat, "last4", x + n - 4, tolerance);
}

/* run: the steps of one recorded run; step: applies the gradients. */
static void expect_run(struct training *t, const char *run,
                       void (*step)(struct training *t, void *ctx), void *ctx)
{
    json *root = read_json("training.json");
    const json *want = object_at(root, run);
    double losses[STEPS_MAX], norms[STEPS_MAX], worst = 0;
    int n = numbers_at(want, "loss_before_each_step_then_final", losses, STEPS_MAX);
    bool has_norms = json_has(want, "grad_norm_before_clip");
    if (has_norms)
        numbers_at(want, "grad_norm_before_clip", norms, STEPS_MAX);
    for (int i = 0; i < n; i++) {
        double loss = step_loss(t);
        worst = fmax(worst, fabs(loss - losses[i]));
        assert_float_equal(loss, losses[i], 1e-4);
        if (i == n - 1)
            break;
        if (has_norms)
            assert_float_equal((double)optim_clip(t->grads, t->values, 0), norms[i], 1e-3);
        step(t, ctx);
    }
    print_message("  %s: losses differ by at most %.2g\n", run, worst);
    for (int i = 0; i < t->count && json_has(want, "final_weights"); i++)
        expect_stat(object_at(object_at(want, "final_weights"), t->params[i]->name),
                    t->params[i]->data, param_count(t->params[i]), 1e-4);
    json_free(root);
}

/* ---- the runs ---- */

struct adam_run {
    struct adamw opt;
    float lr, clip;
};

static void adam_step(struct training *t, void *ctx)
{
    struct adam_run *run = ctx;
    if (run->clip > 0)
        optim_clip(t->grads, t->values, run->clip);
    adamw_step(&run->opt, t->params, t->count, t->grads, run->lr, false);
}

static void adamw_follows_pytorch(void **state)
{
    struct training *t = need_data(state);
    struct adam_run run = {.lr = 1e-3F};
    train_what(t, all);
    assert_int_equal(adamw_init(&run.opt, t->values, .9F, .999F, 1e-8F, .01F, NULL), STATUS_OK);
    expect_run(t, "adamw_lr1e-3_b0.9_0.999_eps1e-8_wd0.01_5_steps", adam_step, &run);
    adamw_deinit(&run.opt);
}

static void adamw_with_clipping_follows_pytorch(void **state)
{
    struct training *t = need_data(state);
    struct adam_run run = {.lr = 1e-3F, .clip = 1};
    train_what(t, all);
    assert_int_equal(adamw_init(&run.opt, t->values, .9F, .999F, 1e-8F, .01F, NULL), STATUS_OK);
    expect_run(t, "adamw_same_with_clip_grad_norm_1.0_5_steps", adam_step, &run);
    adamw_deinit(&run.opt);
}

static void momentum_step(struct training *t, void *ctx)
{
    sgd_step(t->params, t->count, t->grads, 1e-2F, .9F, ctx);
}

static void sgd_follows_pytorch(void **state)
{
    struct training *t = need_data(state);
    train_what(t, all);
    float *velocity = calloc(t->values, sizeof *velocity);
    expect_run(t, "sgd_lr1e-2_momentum0.9_3_steps", momentum_step, velocity);
    free(velocity);
}

/* ---- LoRA ---- */

static void attach_one(struct mllm *m, struct linear *w, const struct safetensors *file, int layer,
                       const char *which)
{
    struct param **slot[] = {&w->lora_a, &w->lora_b};
    static const char letters[] = "AB";
    for (int i = 0; i < 2; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.%s.lora_%c.weight", layer, which,
                 letters[i]);
        const struct safetensors_entry *entry = safetensors_find(file, name);
        assert_non_null(entry);
        *slot[i] = mllm_attach(m, name, 2, (int[]){(int)entry->dim[0], (int)entry->dim[1]});
        assert_non_null(*slot[i]);
        dtype_to_f32(entry->dtype, entry->data, param_count(*slot[i]), (*slot[i])->data);
    }
    w->lora_scale = 2; /* alpha 8 / r 4 */
}

static void attach_lora(struct mllm *m)
{
    struct safetensors file = {0};
    assert_int_equal(
        safetensors_open(io_posix(), LLAMA "/lora-init.safetensors", 1 << 20, &file, NULL),
        STATUS_OK);
    for (int i = 0; i < m->config.text.layers; i++) {
        attach_one(m, &m->llama.layer[i].q, &file, i, "q_proj");
        attach_one(m, &m->llama.layer[i].v, &file, i, "v_proj");
    }
    safetensors_close(&file);
}

static void lora_follows_pytorch(void **state)
{
    struct training *t = need_data(state);
    struct adam_run run = {.lr = 5e-3F};
    struct safetensors after = {0};
    attach_lora(t->m);
    train_what(t, lora);
    assert_int_equal(t->count, 8);
    assert_int_equal(adamw_init(&run.opt, t->values, .9F, .999F, 1e-8F, 0, NULL), STATUS_OK);
    expect_run(t, "lora_r4_alpha8_q_v_adamw_lr5e-3_wd0_10_steps", adam_step, &run);
    assert_int_equal(safetensors_open(io_posix(), LLAMA "/lora-after-10-steps.safetensors", 1 << 20,
                                      &after, NULL),
                     STATUS_OK);
    for (int i = 0; i < t->count; i++) {
        const struct safetensors_entry *entry = safetensors_find(&after, t->params[i]->name);
        float want[256];
        size_t n = param_count(t->params[i]);
        assert_non_null(entry);
        assert_true(n <= 256);
        dtype_to_f32(entry->dtype, entry->data, n, want);
        for (size_t j = 0; j < n; j++)
            assert_float_equal(t->params[i]->data[j], want[j], 1e-4);
    }
    safetensors_close(&after);
    adamw_deinit(&run.opt);
}

static void a_clone_keeps_what_was_attached(void **state)
{
    struct training *t = need_data(state);
    struct mllm *copy = NULL;
    attach_lora(t->m);
    for (int i = 0; i < t->m->config.text.layers; i++)
        for (size_t j = 0; j < param_count(t->m->llama.layer[i].q.lora_b); j++)
            t->m->llama.layer[i].q.lora_b->data[j] = .01F * (float)(j % 7);
    assert_int_equal(mllm_clone(t->m, &copy, NULL), STATUS_OK);
    assert_int_equal(copy->param_count, t->m->param_count);
    tape_begin(&t->tape, &t->arena, false, NULL);
    struct tensor a = logits_of(&t->tape, t->m, t->ids), b = logits_of(&t->tape, copy, t->ids);
    assert_int_equal(t->tape.status, STATUS_OK);
    assert_memory_equal(a.data, b.data, tensor_count(a) * sizeof *a.data);
    copy->llama.layer[0].q.lora_a->data[0] += 1; /* its own memory */
    assert_true(t->m->llama.layer[0].q.lora_a->data[0] != copy->llama.layer[0].q.lora_a->data[0]);
    mllm_release(copy);
}

/* ---- distillation ---- */

static void expect_distillation(struct training *t, const float *teacher, float temperature,
                                const json *want)
{
    memset(t->grads, 0, t->values * sizeof *t->grads);
    tape_begin(&t->tape, &t->arena, true, t->grads);
    struct tensor logits = logits_of(&t->tape, t->m, t->ids);
    struct tensor loss = op_kl(&t->tape, logits, teacher, temperature, NULL);
    tape_backward(&t->tape, loss, false);
    assert_int_equal(t->tape.status, STATUS_OK);
    assert_float_equal(loss.data[0],
                       number_at(want, "forward_KL_teacher_student_mean_over_positions_times_T2"),
                       1e-5);
    expect_stat(object_at(want, "grad_student_logits"), logits.grad, tensor_count(logits), 1e-5);
    const struct param *q = mllm_find(t->m, "model.layers.0.self_attn.q_proj.weight");
    const struct param *embed = mllm_find(t->m, "model.embed_tokens.weight");
    expect_stat(object_at(want, "grad_student_q_proj_layer0"), t->grads + q->grad_at,
                param_count(q), 1e-4);
    expect_stat(object_at(want, "grad_student_embed"), t->grads + embed->grad_at,
                param_count(embed), 1e-4);
}

static void distillation_follows_pytorch(void **state)
{
    struct training *t = need_data(state);
    json *root = read_json("training.json");
    const json *want = object_at(root, "distillation"), *position;
    double ids[T], entropy[T];
    float teacher[T * 96];
    numbers_at(want, "input_ids", ids, T);
    for (int i = 0; i < T; i++)
        t->ids[i] = (int32_t)ids[i];
    tape_begin(&t->tape, &t->arena, false, NULL);
    memcpy(teacher, logits_of(&t->tape, t->m, t->ids).data, sizeof teacher);
    position = object_at(want, "teacher_per_position");
    numbers_at(position, "entropy_nats", entropy, T);
    for (int i = 0; i < T; i++)
        assert_float_equal(entropy_row(teacher + (ptrdiff_t)i * 96, 96), entropy[i], 1e-4);
    mllm_release(t->m);
    t->m = load_weights("student.safetensors");
    train_what(t, all);
    expect_distillation(t, teacher, 1, object_at(want, "T=1"));
    expect_distillation(t, teacher, 2, object_at(want, "T=2"));
    json_free(root);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(adamw_follows_pytorch),
        TEST(adamw_with_clipping_follows_pytorch),
        TEST(sgd_follows_pytorch),
        TEST(lora_follows_pytorch),
        TEST(a_clone_keeps_what_was_attached),
        TEST(distillation_follows_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
