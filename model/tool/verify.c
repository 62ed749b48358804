/* cdcca-model verify; see verify.h. The model runs on the stored inputs with every parameter
 * trainable, so one pass gives logits, loss and all gradients. */
#include "model/tool/verify.h"

#include "api/wire/json.h"
#include "api/wire/options.h"
#include "model/mllm/generation.h"
#include "model/tensor/optim.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 64 << 20, NUMBERS_MAX = 1 << 22, NEW_MAX = 512 };
static const size_t STEP_BYTES = (size_t)4 << 30; /* address space */

struct verify {
    struct mllm *m;
    struct param **params; /* all of them */
    float *grads;
    size_t values;
    struct arena arena;
    struct tape tape;
    json *inputs, *expected; /* inputs may be NULL */
    struct verify_report *report;
};

/* ---- reading numbers of nested arrays ---- */

struct numbers {
    double *at;
    size_t count;
    int ndim, dim[TENSOR_DIMS]; /* of the outermost arrays */
};

static void numbers_shape(const json *value, struct numbers *n)
{
    n->count = value ? 1 : 0;
    for (n->ndim = 0; n->ndim < TENSOR_DIMS && json_length(value) > 0; value = json_at(value, 0)) {
        n->dim[n->ndim++] = (int)json_length(value);
        n->count *= json_length(value);
    }
}

static enum status numbers_fill(const json *value, int depth, struct numbers *n, size_t *at,
                                struct err *err)
{
    if (depth >= TENSOR_DIMS || json_length(value) != (size_t)n->dim[depth])
        return err_set(err, STATUS_SHAPE, "rows of different lengths");
    for (size_t i = 0; i < json_length(value); i++) {
        if (depth + 1 < n->ndim)
            TRY(numbers_fill(json_at(value, i), depth + 1, n, at, err));
        else
            TRY(json_number_at(value, i, &n->at[(*at)++], err));
    }
    return STATUS_OK;
}

static const json *field_of(const json *object, const char *key)
{
    const json *value = NULL;
    void *cursor = NULL;
    for (const char *k; object && (k = json_next(object, &cursor, &value)) != NULL;)
        if (strcmp(k, key) == 0)
            return value;
    return NULL;
}

/* object[key] flattened into the tape's arena; count 0 when absent, null or empty. */
static enum status numbers_read(struct verify *v, const json *object, const char *key,
                                struct numbers *n, struct err *err)
{
    const json *value = NULL;
    size_t at = 0;
    *n = (struct numbers){0};
    value = field_of(object, key);
    if (json_length(value) == 0)
        return STATUS_OK;
    numbers_shape(value, n);
    if (n->count > NUMBERS_MAX || n->ndim == 0)
        return err_set(err, STATUS_TOO_LARGE, "%s: 1 to %d numbers", key, NUMBERS_MAX);
    n->at = tape_alloc(&v->tape, n->count * sizeof *n->at);
    TRY(tape_check(&v->tape, err));
    enum status status = numbers_fill(value, 0, n, &at, err);
    return status == STATUS_OK ? status : err_prefix(err, "%s", key);
}

static float *as_floats(struct verify *v, const struct numbers *n)
{
    float *out = tape_alloc(&v->tape, n->count * sizeof *out);
    for (size_t i = 0; out && i < n->count; i++)
        out[i] = (float)n->at[i];
    return out;
}

static int32_t *as_ids(struct verify *v, const struct numbers *n)
{
    int32_t *out = tape_alloc(&v->tape, (n->count + 1) * sizeof *out);
    for (size_t i = 0; out && i < n->count; i++)
        out[i] = (int32_t)n->at[i];
    return out;
}

/* ---- reporting ---- */

static struct verify_check *report_add(struct verify *v, const char *name, const char *what,
                                       double difference)
{
    struct verify_check *c = &v->report->check[v->report->count];
    v->report->count += v->report->count < VERIFY_CHECKS - 1;
    snprintf(c->name, sizeof c->name, "%.40s %.20s", name, what);
    c->difference = difference;
    c->where[0] = 0;
    return c;
}

static double largest_difference(const float *have, const double *want, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)have[i] - want[i]);
        if (!(d <= largest)) /* NaN counts */
            largest = d;
    }
    return largest;
}

/* A tensor against {"values"} or {"stat": {first8, last4}} or a plain array under `key`. */
static enum status compare_tensor(struct verify *v, const json *object, const char *name,
                                  const char *key, struct tensor t, struct err *err)
{
    struct numbers want;
    TRY(numbers_read(v, object, key, &want, err));
    if (want.count == 0)
        return STATUS_OK;
    if (want.count > tensor_count(t))
        return err_set(err, STATUS_SHAPE, "%s %s: %zu numbers expected, %zu computed", name, key,
                       want.count, tensor_count(t));
    report_add(v, name, key, largest_difference(t.data, want.at, want.count));
    return STATUS_OK;
}

/* ---- one case: forward, loss, backward ---- */

struct sample {
    const char *name;
    const json *input, *expected;
    struct mllm_batch batch;
    struct tensor pixels;
    struct numbers labels;
};

static enum status sample_mask(struct verify *v, struct sample *s, struct err *err)
{
    struct numbers mask;
    TRY(numbers_read(v, s->input, "attention_mask", &mask, err));
    if (mask.count == 0)
        return STATUS_OK;
    uint8_t *out = tape_alloc(&v->tape, mask.count);
    TRY(tape_check(&v->tape, err));
    for (size_t i = 0; i < mask.count; i++)
        out[i] = mask.at[i] != 0;
    s->batch.text_mask = out;
    return STATUS_OK;
}

static enum status sample_question(struct verify *v, struct sample *s, struct err *err)
{
    struct numbers ids, mask;
    TRY(numbers_read(v, s->input, "qformer_input_ids", &ids, err));
    TRY(numbers_read(v, s->input, "qformer_attention_mask", &mask, err));
    if (ids.count == 0)
        return STATUS_OK;
    int *count = tape_alloc(&v->tape, (size_t)s->batch.B * sizeof *count);
    s->batch.question = as_ids(v, &ids);
    s->batch.question_T = (int)(ids.count / (size_t)s->batch.B);
    TRY(tape_check(&v->tape, err));
    for (int b = 0; b < s->batch.B; b++) {
        count[b] = mask.count == ids.count ? 0 : s->batch.question_T;
        for (int t = 0; mask.count == ids.count && t < s->batch.question_T; t++)
            count[b] += mask.at[b * s->batch.question_T + t] != 0;
    }
    s->batch.question_count = count;
    return STATUS_OK;
}

static enum status sample_pixels(struct verify *v, struct sample *s, struct err *err)
{
    struct numbers pixels;
    TRY(numbers_read(v, s->input, "pixel_values", &pixels, err));
    if (pixels.count > 0)
        s->pixels = tensor_view(as_floats(v, &pixels), pixels.ndim, pixels.dim);
    return tape_check(&v->tape, err);
}

static enum status sample_read(struct verify *v, struct sample *s, struct err *err)
{
    struct numbers text;
    TRY(numbers_read(v, s->input, "input_ids", &text, err));
    if (text.ndim != 2)
        return err_set(err, STATUS_SHAPE, "%s: input_ids must be (B,T)", s->name);
    s->batch.B = text.dim[0];
    s->batch.text_T = text.dim[1];
    s->batch.text = as_ids(v, &text);
    TRY(numbers_read(v, s->input, "labels", &s->labels, err));
    TRY(sample_mask(v, s, err));
    TRY(sample_question(v, s, err));
    return sample_pixels(v, s, err);
}

/* Hidden row q + t predicts the label of text position t + 1; all other rows predict nothing. */
static struct tensor sample_loss(struct verify *v, const struct sample *s, struct tensor logits)
{
    int T = s->batch.text_T, N = tensor_rows(logits) / s->batch.B, Q = N - T;
    int32_t *labels = tape_alloc(&v->tape, (size_t)s->batch.B * (size_t)N * sizeof *labels);
    for (int b = 0; labels && b < s->batch.B; b++)
        for (int i = 0; i < N; i++)
            labels[b * N + i] =
                i >= Q && i - Q + 1 < T ? (int32_t)s->labels.at[b * T + i - Q + 1] : -1;
    return op_cross_entropy(&v->tape, logits, labels);
}

/* norm, sum, first8 and last4 of a gradient against the reference's "stat" */
static enum status compare_stat(struct verify *v, const json *stat, const float *x, size_t n,
                                double *largest, struct err *err)
{
    struct numbers first, last;
    double norm = 0, sum = 0, want = 0;
    for (size_t i = 0; i < n; i++) {
        norm += (double)x[i] * (double)x[i];
        sum += (double)x[i];
    }
    TRY(json_get_number(stat, "norm", 0, 1e30, &want, err));
    *largest = fabs(sqrt(norm) - want);
    TRY(json_get_number(stat, "sum", -1e30, 1e30, &want, err));
    *largest = fmax(*largest, fabs(sum - want));
    TRY(numbers_read(v, stat, "first8", &first, err));
    TRY(numbers_read(v, stat, "last4", &last, err));
    if (first.count > n || last.count > n)
        return err_set(err, STATUS_SHAPE, "a gradient of %zu values", n);
    *largest = fmax(*largest, largest_difference(x, first.at, first.count));
    *largest = fmax(*largest, largest_difference(x + n - last.count, last.at, last.count));
    return isfinite(norm) ? STATUS_OK : err_set(err, STATUS_MALFORMED, "a gradient is not finite");
}

static enum status compare_gradients(struct verify *v, const struct sample *s, struct err *err)
{
    const json *all = NULL, *stat = NULL;
    double total = 0, want = 0;
    TRY(json_opt_object(s->expected, "gradients", &all, err));
    if (!all)
        return STATUS_OK;
    struct verify_check *check = report_add(v, s->name, "gradients", 0);
    for (int i = 0; i < v->m->param_count; i++) {
        const struct param *p = v->params[i];
        double difference = 0;
        TRY(json_get_object(all, p->name, &stat, err));
        TRY(compare_stat(v, stat, v->grads + p->grad_at, param_count(p), &difference, err));
        if (difference > check->difference) {
            check->difference = difference;
            snprintf(check->where, sizeof check->where, "%s", p->name);
        }
    }
    for (size_t i = 0; i < v->values; i++)
        total += (double)v->grads[i] * (double)v->grads[i];
    TRY(json_get_number(s->expected, "total_grad_norm", 0, 1e30, &want, err));
    report_add(v, s->name, "gradient norm", fabs(sqrt(total) - want));
    return STATUS_OK;
}

static enum status compare_outputs(struct verify *v, const struct sample *s,
                                   const struct mllm_taps *taps, struct tensor logits,
                                   struct tensor loss, struct err *err)
{
    const json *part = NULL;
    double want = 0;
    TRY(json_opt_object(s->expected, "vision_last_hidden_state", &part, err));
    TRY(compare_tensor(v, part, s->name, "rows_first3_of_batch0", s->batch.visual, err));
    TRY(compare_tensor(v, s->expected, s->name, "qformer_query_output", taps->query_output, err));
    TRY(json_get_object(s->expected, "logits", &part, err));
    TRY(compare_tensor(v, part, s->name, "values", logits, err));
    TRY(json_get_number(s->expected, "loss", -1e30, 1e30, &want, err));
    report_add(v, s->name, "loss", fabs((double)loss.data[0] - want));
    return STATUS_OK;
}

static void step_begin(struct verify *v, bool recording)
{
    memset(v->grads, 0, v->values * sizeof *v->grads);
    tape_begin(&v->tape, &v->arena, recording, v->grads);
}

static enum status verify_sample(struct verify *v, struct sample *s, struct err *err)
{
    struct mllm_taps taps = {0};
    step_begin(v, true);
    TRY(sample_read(v, s, err));
    if (v->m->config.multimodal)
        s->batch.visual = vision_forward(&v->tape, v->m, s->pixels, 0);
    struct tensor hidden = mllm_forward(&v->tape, v->m, &s->batch, &taps);
    struct tensor logits = mllm_logits(&v->tape, v->m, hidden, NULL, 0);
    TRY(tape_check(&v->tape, err));
    struct tensor loss = sample_loss(v, s, logits);
    tape_backward(&v->tape, loss, false);
    TRY(tape_check(&v->tape, err));
    TRY(compare_outputs(v, s, &taps, logits, loss, err));
    return compare_gradients(v, s, err);
}

/* ---- greedy ids ---- */

/* Ids after a prompt of one row, with and without visual tokens; counts how many differ. */
static enum status compare_greedy(struct verify *v, const struct mllm_batch *batch,
                                  const double *want, size_t count, const char *name,
                                  struct err *err)
{
    int32_t ids[NEW_MAX];
    struct decoder decoder;
    struct generated made = {.ids = ids};
    int differ = 0;
    if (count < 1 || count > NEW_MAX || batch->B != 1)
        return err_set(err, STATUS_SHAPE, "%s: 1 prompt with 1..%d ids", name, NEW_MAX);
    TRY(decoder_start(&decoder, &v->tape, v->m, batch, -1, (int)count, err));
    TRY(generation_run(&decoder, &(struct generation){.max_new = (int)count}, &made, err));
    for (size_t i = 0; i < count; i++)
        differ += ids[i] != (int32_t)want[i];
    report_add(v, name, "ids", differ);
    return STATUS_OK;
}

static enum status verify_greedy(struct verify *v, struct err *err)
{
    const json *part = NULL;
    struct numbers prompt, want;
    struct sample s = {.name = "greedy"};
    TRY(json_opt_object(v->expected, "greedy_generate", &part, err));
    if (!part)
        return STATUS_OK;
    step_begin(v, false);
    TRY(numbers_read(v, part, "new_token_ids", &want, err));
    TRY(numbers_read(v, part, "prompt", &prompt, err));
    if (prompt.count > 0) {
        s.batch = (struct mllm_batch){.B = 1, .text_T = (int)prompt.count};
        s.batch.text = as_ids(v, &prompt);
    } else {
        TRY(json_get_object(v->inputs, "single", &s.input, err));
        TRY(sample_read(v, &s, err));
        s.batch.visual = vision_forward(&v->tape, v->m, s.pixels, 0);
    }
    TRY(tape_check(&v->tape, err));
    return compare_greedy(v, &s.batch, want.at, want.count, "greedy", err);
}

/* The stories' format: prompt_ids_with_bos, and all_ids with them in front. */
static enum status verify_prompt(struct verify *v, const json *one, size_t i, struct err *err)
{
    struct numbers prompt, all;
    char name[32];
    snprintf(name, sizeof name, "prompt %zu", i);
    step_begin(v, false);
    TRY(numbers_read(v, one, "prompt_ids_with_bos", &prompt, err));
    TRY(numbers_read(v, one, "all_ids", &all, err));
    if (prompt.count < 1 || all.count <= prompt.count)
        return err_set(err, STATUS_SHAPE, "%s: all_ids must continue the prompt", name);
    struct mllm_batch batch = {.B = 1, .text_T = (int)prompt.count, .text = as_ids(v, &prompt)};
    return compare_greedy(v, &batch, all.at + prompt.count, all.count - prompt.count, name, err);
}

static enum status verify_prompts(struct verify *v, struct err *err)
{
    const json *list = NULL;
    if (!json_has(v->expected, "prompts"))
        return STATUS_OK;
    TRY(json_get_array(v->expected, "prompts", 64, &list, err));
    for (size_t i = 0; i < json_length(list); i++)
        TRY(verify_prompt(v, json_at(list, i), i, err));
    return STATUS_OK;
}

static enum status verify_forced(struct verify *v, struct err *err)
{
    const json *part = NULL;
    struct numbers ids, first16, last;
    double want = 0;
    TRY(json_opt_object(v->expected, "teacher_forced", &part, err));
    if (!part)
        return STATUS_OK;
    step_begin(v, false);
    TRY(numbers_read(v, part, "ids_with_bos", &ids, err));
    TRY(numbers_read(v, part, "logits_first16_per_position", &first16, err));
    TRY(numbers_read(v, part, "logits_last_position", &last, err));
    TRY(json_get_number(part, "mean_cross_entropy", 0, 1e30, &want, err));
    struct sample s = {.labels = ids};
    s.batch = (struct mllm_batch){.B = 1, .text_T = (int)ids.count, .text = as_ids(v, &ids)};
    struct tensor hidden = mllm_forward(&v->tape, v->m, &s.batch, NULL);
    struct tensor logits = mllm_logits(&v->tape, v->m, hidden, NULL, 0);
    struct tensor loss = sample_loss(v, &s, logits);
    TRY(tape_check(&v->tape, err));
    size_t V = (size_t)tensor_cols(logits);
    double largest = 0;
    if (V < 16 || first16.count != 16 * ids.count || last.count != V)
        return err_set(err, STATUS_SHAPE, "teacher_forced: numbers of logits");
    for (size_t i = 0; i < ids.count; i++)
        largest = fmax(largest, largest_difference(logits.data + i * V, first16.at + 16 * i, 16));
    largest = fmax(largest, largest_difference(logits.data + (ids.count - 1) * V, last.at, V));
    report_add(v, "teacher_forced", "logits", largest);
    report_add(v, "teacher_forced", "loss", fabs((double)loss.data[0] - want));
    return STATUS_OK;
}

/* ---- a directory ---- */

/* A sample's input lies in inputs.json, or beside its outputs. */
static enum status verify_samples(struct verify *v, struct err *err)
{
    static const char *const names[] = {"single", "padded_batch", "right_padded_batch"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sample s = {.name = names[i]};
        TRY(json_opt_object(v->expected, names[i], &s.expected, err));
        if (!s.expected)
            continue;
        s.input = s.expected;
        if (v->inputs)
            TRY(json_get_object(v->inputs, names[i], &s.input, err));
        TRY(verify_sample(v, &s, err));
    }
    return STATUS_OK;
}

static enum status read_json(struct io *io, const char *dir, const char *name, bool optional,
                             json **out, struct err *err)
{
    char path[4096];
    struct buf file = {.max = FILE_BYTES};
    TRY(io_join(path, sizeof path, dir, name, err));
    if (optional && !io_exists(path))
        return STATUS_OK;
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK && (status = json_parse(file.data, file.len, out, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    return status;
}

static enum status load_model(struct io *io, const char *dir, struct mllm **out, struct err *err)
{
    char config[4096], inner[4096];
    TRY(io_join(config, sizeof config, dir, "config.json", err));
    if (io_exists(config))
        return mllm_load(io, dir, out, err);
    TRY(io_join(inner, sizeof inner, dir, "hf", err));
    return mllm_load(io, inner, out, err);
}

static enum status prepare(struct verify *v, struct err *err)
{
    int n = v->m->param_count;
    v->params = calloc((size_t)n, sizeof(struct param *));
    for (int i = 0; v->params && i < n; i++)
        v->params[i] = &v->m->params[i];
    if (v->params)
        v->values = optim_assign(v->params, n);
    v->grads = calloc(v->values + 1, sizeof *v->grads);
    if (!v->params || !v->grads || !arena_init(&v->arena, STEP_BYTES))
        return err_set(err, STATUS_NO_MEMORY, "no memory to verify");
    return STATUS_OK;
}

static enum status verify_all(struct verify *v, struct err *err)
{
    TRY(prepare(v, err));
    TRY(verify_samples(v, err));
    TRY(verify_greedy(v, err));
    TRY(verify_prompts(v, err));
    TRY(verify_forced(v, err));
    if (v->report->count == 0)
        return err_set(err, STATUS_MALFORMED, "expected.json holds nothing to compare with");
    return STATUS_OK;
}

enum status verify_directory(struct io *io, const char *dir, struct verify_report *out,
                             struct err *err)
{
    struct verify v = {.report = out};
    out->count = 0;
    enum status status = read_json(io, dir, "expected.json", false, &v.expected, err);
    if (status == STATUS_OK)
        status = read_json(io, dir, "inputs.json", true, &v.inputs, err);
    if (status == STATUS_OK)
        status = load_model(io, dir, &v.m, err);
    if (status == STATUS_OK)
        status = verify_all(&v, err);
    json_free(v.expected);
    json_free(v.inputs);
    mllm_release(v.m);
    free(v.params);
    free(v.grads);
    if (v.arena.base)
        arena_deinit(&v.arena);
    return status;
}

/* ---- the command ---- */

static bool report_passes(const struct verify_report *r, double tolerance)
{
    for (int i = 0; i < r->count; i++)
        if (!(r->check[i].difference <= tolerance))
            return false;
    return true;
}

static void report_print(const struct verify_report *r, double tolerance)
{
    for (int i = 0; i < r->count; i++) {
        const struct verify_check *c = &r->check[i];
        printf("%-6s %-42s %.3g %s\n", c->difference <= tolerance ? "ok" : "DIFFER", c->name,
               c->difference, c->where);
    }
}

static enum status report_json(const struct verify_report *r, double tolerance, struct err *err)
{
    json *root = json_object_new(), *list = json_array_new();
    struct buf text = {.max = 1 << 20};
    bool ok = root && list;
    for (int i = 0; ok && i < r->count; i++) {
        json *one = json_object_new();
        ok = one && json_set_string(one, "name", r->check[i].name) &&
             json_set_number(one, "difference", r->check[i].difference) &&
             json_append_take(list, one);
    }
    ok = ok && json_set_number(root, "tolerance", tolerance) &&
         json_set_bool(root, "passed", report_passes(r, tolerance)) &&
         json_set_take(root, "checks", list) && json_print(root, true, &text) == STATUS_OK;
    if (ok)
        printf("%.*s\n", (int)text.len, (const char *)text.data);
    json_free(root);
    buf_free(&text);
    return ok ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for the report");
}

enum status verify_run(int argc, char **argv, struct err *err)
{
    double tolerance = 1e-4;
    bool as_json = false;
    int positional = 0;
    const struct option table[] = {
        {"tolerance", OPTION_NUMBER, &tolerance, 0, 1e6, "X", "largest difference (1e-4)"},
        {"json", OPTION_FLAG, &as_json, 0, 0, NULL, "print the report as JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model verify", "Compares a model with reference outputs.", "DIR", table, 1, 1};
    struct verify_report report;
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(verify_directory(io_posix(), argv[1], &report, err));
    if (as_json)
        TRY(report_json(&report, tolerance, err));
    else
        report_print(&report, tolerance);
    if (!report_passes(&report, tolerance))
        return err_set(err, STATUS_CORRUPT, "%s differs from its reference by more than %g",
                       argv[1], tolerance);
    return STATUS_OK;
}
