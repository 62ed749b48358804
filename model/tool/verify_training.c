/* training.json: runs of optimisers from the model's weights, and distillation from it into
 * student.safetensors; see verify_parts.h. The names of the runs say their settings, so this file
 * knows them. Every run starts from freshly loaded weights. */
#include "model/tool/verify_parts.h"

#include "model/tensor/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LORA_BYTES = 64 << 20, STEPS_MAX = 64 };

struct recipe {
    const char *key, *name;
    bool adam, lora;
    float lr, decay, clip, momentum;
};

static const struct recipe RECIPES[] = {
    {"adamw_lr1e-3_b0.9_0.999_eps1e-8_wd0.01_5_steps", "adamw", true, false, 1e-3F, .01F, 0, 0},
    {"adamw_same_with_clip_grad_norm_1.0_5_steps", "adamw clip", true, false, 1e-3F, .01F, 1, 0},
    {"sgd_lr1e-2_momentum0.9_3_steps", "sgd", false, false, 1e-2F, 0, 0, .9F},
    {"lora_r4_alpha8_q_v_adamw_lr5e-3_wd0_10_steps", "lora", true, true, 5e-3F, 0, 0, 0},
};

struct training {
    struct verify *v;
    json *root; /* training.json */
    const struct recipe *recipe;
    const json *run; /* what was recorded of it */
    struct adamw adam;
    float *velocity;
};

/* ---- one step ---- */

static struct tensor logits_of(struct verify *v, const struct mllm_batch *batch)
{
    return mllm_logits(&v->tape, v->m, mllm_forward(&v->tape, v->m, batch, NULL), NULL, 0);
}

/* Loss of case "single", its gradients in v->grads. */
static enum status step_loss(struct verify *v, double *out, struct err *err)
{
    const json *expected = numbers_field(v->expected, "single"), *input;
    struct mllm_batch batch;
    struct numbers given;
    int32_t *label;
    verify_begin(v, true);
    TRY(verify_input(v, "single", expected, &batch, &input, err));
    TRY(numbers_read(&v->tape, input, "labels", &given, err));
    TRY(numbers_ids(&v->tape, &given, "labels", &label, err));
    if (batch.B != 1 || given.count != (size_t)batch.text_T)
        return err_set(err, STATUS_SHAPE, "case single: labels must be (1,%d)", batch.text_T);
    for (int t = 0; t < batch.text_T; t++)
        label[t] = t + 1 < batch.text_T ? label[t + 1] : -1;
    struct tensor loss = op_cross_entropy(&v->tape, logits_of(v, &batch), label);
    tape_backward(&v->tape, loss, false);
    TRY(tape_check(&v->tape, err));
    *out = (double)loss.data[0];
    return STATUS_OK;
}

static void step_apply(struct training *t)
{
    struct verify *v = t->v;
    const struct recipe *r = t->recipe;
    if (r->clip > 0)
        optim_clip(v->grads, v->values, r->clip);
    if (r->adam)
        adamw_step(&t->adam, v->params, v->count, v->grads, r->lr, false);
    else
        sgd_step(v->params, v->count, v->grads, r->lr, r->momentum, t->velocity);
}

/* ---- what is compared ---- */

/* {name: stat} against values that `of` finds for a parameter. */
static enum status compare_stats(struct training *t, const char *what, const json *stats,
                                 const float *(*of)(const struct verify *, const struct param *),
                                 struct err *err)
{
    struct verify_check *check = verify_add(t->v, t->recipe->name, what, 0);
    const json *stat = NULL;
    void *cursor = NULL;
    for (const char *name; (name = json_next(stats, &cursor, &stat)) != NULL;) {
        const struct param *p = mllm_find(t->v->m, name);
        double difference = 0;
        if (!p || p->grad_at < 0)
            return err_set(err, STATUS_MALFORMED, "training.json: no parameter %s", name);
        TRY(verify_stat(t->v, stat, of(t->v, p), param_count(p), &difference, err));
        if (!(difference <= check->difference)) {
            check->difference = difference;
            snprintf(check->where, sizeof check->where, "%s", name);
        }
    }
    return STATUS_OK;
}

static const float *gradient_of(const struct verify *v, const struct param *p)
{
    return v->grads + p->grad_at;
}

static const float *weight_of(const struct verify *v, const struct param *p)
{
    (void)v;
    return p->data;
}

static enum status compare_gradients_at(struct training *t, size_t step, struct err *err)
{
    char key[64];
    const json *stats = NULL;
    snprintf(key, sizeof key, "gradients_at_step_%zu", step);
    TRY(json_opt_object(t->run, key, &stats, err));
    return stats ? compare_stats(t, key, stats, gradient_of, err) : STATUS_OK;
}

/* One figure of every step */
struct record {
    double want[STEPS_MAX];
    float have[STEPS_MAX];
    size_t count;
};

static enum status record_read(struct training *t, const char *key, struct record *out,
                               struct err *err)
{
    struct numbers n;
    TRY(numbers_read(&t->v->tape, t->run, key, &n, err));
    if (n.count > STEPS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "%s: %zu steps; at most %d", key, n.count, STEPS_MAX);
    for (size_t i = 0; i < n.count; i++)
        out->want[i] = n.at[i];
    out->count = n.count;
    return STATUS_OK;
}

static enum status run_steps(struct training *t, struct err *err)
{
    struct record losses, norms;
    verify_begin(t->v, false);
    TRY(record_read(t, "loss_before_each_step_then_final", &losses, err));
    TRY(record_read(t, "grad_norm_before_clip", &norms, err));
    for (size_t i = 0; i < losses.count; i++) {
        double loss = 0;
        TRY(step_loss(t->v, &loss, err));
        TRY(compare_gradients_at(t, i, err));
        losses.have[i] = (float)loss;
        norms.have[i] = optim_clip(t->v->grads, t->v->values, 0);
        if (i + 1 < losses.count)
            step_apply(t);
    }
    verify_add_numbers(t->v, t->recipe->name, "losses", losses.have, losses.want, losses.count);
    if (norms.count > 0 && norms.count <= losses.count)
        verify_add_numbers(t->v, t->recipe->name, "gradient norms", norms.have, norms.want,
                           norms.count);
    return STATUS_OK;
}

/* ---- LoRA ---- */

static enum status lora_file(struct verify *v, const char *name, struct safetensors *out,
                             struct err *err)
{
    char path[4096];
    TRY(io_join(path, sizeof path, v->dir, name, err));
    return safetensors_open(v->io, path, LORA_BYTES, out, err);
}

/* A and B of one projection, under the names of the file. */
static enum status lora_attach(struct verify *v, const struct safetensors *file, int layer,
                               const char *which, struct linear *w, struct err *err)
{
    struct param **slot[] = {&w->lora_a, &w->lora_b};
    for (int i = 0; i < 2; i++) {
        char name[128];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.%s.lora_%c.weight", layer, which,
                 "AB"[i]);
        const struct safetensors_entry *e = safetensors_find(file, name);
        int rows = i ? w->weight->dim[0] : 4, cols = i ? 4 : w->weight->dim[1];
        if (!e || e->ndim != 2 || e->dim[0] != (uint64_t)rows || e->dim[1] != (uint64_t)cols)
            return err_set(err, STATUS_SHAPE, "lora-init.safetensors: %s must be (%d,%d)", name,
                           rows, cols);
        *slot[i] = mllm_attach(v->m, name, 2, (int[]){rows, cols});
        if (!*slot[i])
            return err_set(err, STATUS_NO_MEMORY, "no memory for LoRA");
        TRY(dtype_to_f32(e->dtype, e->data, param_count(*slot[i]), (*slot[i])->data));
    }
    w->lora_scale = 2; /* alpha 8 / r 4 */
    return STATUS_OK;
}

static enum status lora_begin(struct verify *v, struct err *err)
{
    struct safetensors file = {0};
    TRY(lora_file(v, "lora-init.safetensors", &file, err));
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < v->m->config.text.layers; i++) {
        struct llama_layer *layer = &v->m->llama.layer[i];
        status = lora_attach(v, &file, i, "q_proj", &layer->q, err);
        if (status == STATUS_OK)
            status = lora_attach(v, &file, i, "v_proj", &layer->v, err);
    }
    safetensors_close(&file);
    return status == STATUS_OK ? verify_train(v, ".lora_", err) : status;
}

/* The trained values, one by one. */
static enum status lora_end(struct verify *v, struct err *err)
{
    struct safetensors file = {0};
    double largest = 0;
    TRY(lora_file(v, "lora-after-10-steps.safetensors", &file, err));
    enum status status = STATUS_OK;
    for (int i = 0; status == STATUS_OK && i < v->count; i++) {
        const struct param *p = v->params[i];
        const struct safetensors_entry *e = safetensors_find(&file, p->name);
        size_t n = param_count(p);
        float *want = tape_alloc(&v->tape, n * sizeof *want);
        if (!e || !want || e->size != n * dtype_size(e->dtype))
            status = err_set(err, STATUS_SHAPE, "lora-after-10-steps.safetensors: %s", p->name);
        else
            status = dtype_to_f32(e->dtype, e->data, n, want);
        for (size_t j = 0; status == STATUS_OK && j < n; j++)
            largest = fmax(largest, fabs((double)p->data[j] - (double)want[j]));
    }
    safetensors_close(&file);
    if (status == STATUS_OK)
        verify_add(v, "lora", "final weights", largest);
    return status;
}

/* ---- one recorded run ---- */

static enum status run_prepared(struct training *t, struct err *err)
{
    const json *stats = NULL;
    TRY(run_steps(t, err));
    if (t->recipe->lora)
        return lora_end(t->v, err);
    TRY(json_opt_object(t->run, "final_weights", &stats, err));
    return stats ? compare_stats(t, "final weights", stats, weight_of, err) : STATUS_OK;
}

static enum status run_one(struct training *t, struct err *err)
{
    const struct recipe *r = t->recipe;
    TRY(verify_open(t->v, NULL, NULL, NULL, err));
    if (r->lora)
        TRY(lora_begin(t->v, err));
    TRY(adamw_init(&t->adam, t->v->values, .9F, .999F, 1e-8F, r->decay, err));
    t->velocity = calloc(t->v->values + 1, sizeof *t->velocity);
    enum status status =
        t->velocity ? run_prepared(t, err) : err_set(err, STATUS_NO_MEMORY, "no memory to verify");
    free(t->velocity);
    adamw_deinit(&t->adam);
    return status;
}

/* ---- distillation ---- */

struct distillation {
    struct verify *v;
    const json *want;
    struct mllm_batch batch;
    float *teacher; /* (T,V) logits, the caller's own memory */
    int V;
};

static enum status distillation_batch(struct distillation *d, struct err *err)
{
    struct numbers n;
    int32_t *ids;
    TRY(numbers_read(&d->v->tape, d->want, "input_ids", &n, err));
    if (n.ndim != 2 || n.dim[0] != 1)
        return err_set(err, STATUS_SHAPE, "distillation: input_ids must be (1,T)");
    TRY(numbers_ids(&d->v->tape, &n, "input_ids", &ids, err));
    d->batch = (struct mllm_batch){.B = 1, .text_T = n.dim[1], .text = ids};
    return STATUS_OK;
}

static enum status compare_positions(struct distillation *d, const char *key, const float *have,
                                     struct err *err)
{
    const json *positions = NULL;
    struct numbers want;
    TRY(json_opt_object(d->want, "teacher_per_position", &positions, err));
    TRY(numbers_read(&d->v->tape, positions, key, &want, err));
    if (want.count != (size_t)d->batch.text_T)
        return err_set(err, STATUS_SHAPE, "teacher_per_position: %s", key);
    verify_add_numbers(d->v, "teacher", key, have, want.at, want.count);
    return STATUS_OK;
}

/* The teacher's logits, and what is known of its distributions. */
static enum status teacher_run(struct distillation *d, struct err *err)
{
    struct verify *v = d->v;
    verify_begin(v, false);
    TRY(distillation_batch(d, err));
    int T = d->batch.text_T, V = d->V = v->m->config.text.vocab;
    struct tensor logits = logits_of(v, &d->batch);
    float *p = tape_alloc(&v->tape, (size_t)(V + 3 * T) * sizeof *p);
    TRY(tape_check(&v->tape, err));
    d->teacher = malloc(tensor_count(logits) * sizeof *d->teacher);
    if (!d->teacher)
        return err_set(err, STATUS_NO_MEMORY, "no memory to verify");
    memcpy(d->teacher, logits.data, tensor_count(logits) * sizeof *d->teacher);
    float *entropy = p + V, *top = entropy + T, *margin = top + T;
    for (int t = 0; t < T; t++) {
        float second = 0;
        softmax_row(d->teacher + (size_t)t * (size_t)V, V, 1, p);
        entropy[t] = entropy_row(d->teacher + (size_t)t * (size_t)V, V);
        top[t] = 0;
        for (int i = 0; i < V; i++) {
            second = p[i] > top[t] ? top[t] : fmaxf(second, p[i]);
            top[t] = fmaxf(top[t], p[i]);
        }
        margin[t] = top[t] - second;
    }
    TRY(compare_positions(d, "entropy_nats", entropy, err));
    TRY(compare_positions(d, "max_probability", top, err));
    return compare_positions(d, "top1_minus_top2_probability", margin, err);
}

static enum status compare_stat(struct verify *v, const char *name, const json *object,
                                const char *key, const float *x, size_t n, struct err *err)
{
    const json *stat = NULL;
    double difference = 0;
    TRY(json_get_object(object, key, &stat, err));
    TRY(verify_stat(v, stat, x, n, &difference, err));
    verify_add(v, name, key, difference);
    return STATUS_OK;
}

static enum status compare_parameter(struct verify *v, const char *name, const json *object,
                                     const char *key, const char *parameter, struct err *err)
{
    const struct param *p = mllm_find(v->m, parameter);
    if (!p || p->grad_at < 0)
        return err_set(err, STATUS_UNSUPPORTED, "%s is no F32 parameter", parameter);
    return compare_stat(v, name, object, key, v->grads + p->grad_at, param_count(p), err);
}

/* Forward KL with its gradients, and the reverse, at one temperature. */
static enum status student_run(struct distillation *d, const char *key, float temperature,
                               struct err *err)
{
    struct verify *v = d->v;
    const json *want = NULL;
    TRY(json_get_object(d->want, key, &want, err));
    verify_begin(v, true);
    TRY(distillation_batch(d, err));
    struct tensor logits = logits_of(v, &d->batch);
    struct tensor loss = op_kl(&v->tape, logits, d->teacher, temperature, NULL);
    tape_backward(&v->tape, loss, false);
    struct tensor teacher = tensor_view(d->teacher, 2, (int[]){d->batch.text_T, d->V});
    struct tensor reverse = op_kl(&v->tape, teacher, logits.data, temperature, NULL);
    TRY(tape_check(&v->tape, err));
    TRY(verify_add_number(v, key, "forward KL", want,
                          "forward_KL_teacher_student_mean_over_positions_times_T2",
                          (double)loss.data[0], err));
    TRY(verify_add_number(v, key, "reverse KL", want,
                          "reverse_KL_student_teacher_mean_over_positions_times_T2",
                          (double)reverse.data[0], err));
    TRY(compare_stat(v, key, want, "grad_student_logits", logits.grad, tensor_count(logits), err));
    TRY(compare_parameter(v, key, want, "grad_student_q_proj_layer0",
                          "model.layers.0.self_attn.q_proj.weight", err));
    return compare_parameter(v, key, want, "grad_student_embed", "model.embed_tokens.weight", err);
}

static enum status student_positions(struct distillation *d, struct err *err)
{
    struct verify *v = d->v;
    struct numbers want;
    verify_begin(v, false);
    TRY(distillation_batch(d, err));
    TRY(numbers_read(&v->tape, d->want, "kl_per_position_T1_forward", &want, err));
    int T = d->batch.text_T;
    struct tensor logits = logits_of(v, &d->batch);
    float *have = tape_alloc(&v->tape, (size_t)T * sizeof *have);
    TRY(tape_check(&v->tape, err));
    for (int t = 0; t < T; t++) {
        size_t at = (size_t)t * (size_t)d->V;
        struct tensor row = tensor_view(logits.data + at, 2, (int[]){1, d->V});
        struct tensor loss = op_kl(&v->tape, row, d->teacher + at, 1, NULL);
        TRY(tape_check(&v->tape, err));
        have[t] = loss.data[0];
    }
    if (want.count == (size_t)T)
        verify_add_numbers(v, "T=1", "KL per position", have, want.at, want.count);
    return STATUS_OK;
}

static enum status distillation_run(struct distillation *d, struct err *err)
{
    TRY(verify_open(d->v, NULL, NULL, NULL, err));
    TRY(teacher_run(d, err));
    TRY(verify_open(d->v, NULL, NULL, "student.safetensors", err));
    TRY(student_run(d, "T=1", 1, err));
    TRY(student_run(d, "T=2", 2, err));
    return student_positions(d, err);
}

/* ---- all of training.json ---- */

static enum status training_runs(struct training *t, struct err *err)
{
    for (size_t i = 0; i < sizeof RECIPES / sizeof *RECIPES; i++) {
        t->recipe = &RECIPES[i];
        t->run = NULL;
        TRY(json_opt_object(t->root, t->recipe->key, &t->run, err));
        if (t->run)
            TRY(run_one(t, err));
    }
    struct distillation d = {.v = t->v};
    TRY(json_opt_object(t->root, "distillation", &d.want, err));
    enum status status = d.want ? distillation_run(&d, err) : STATUS_OK;
    free(d.teacher);
    return status;
}

enum status verify_training(struct verify *v, struct err *err)
{
    struct training t = {.v = v};
    if (!verify_has(v, "training.json"))
        return STATUS_OK;
    TRY(verify_read(v->io, v->dir, "training.json", &t.root, err));
    enum status status = training_runs(&t, err);
    json_free(t.root);
    return status;
}
