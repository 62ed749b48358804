/* One case: inputs through the whole model and back; see verify_parts.h. */
#include "model/tool/verify_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct sample {
    const char *name;
    const json *input, *expected;
    struct mllm_batch batch;
};

/* ---- inputs ---- */

static enum status input_text(struct verify *v, const json *input, struct mllm_batch *batch,
                              struct err *err)
{
    struct numbers text, mask;
    int32_t *ids;
    TRY(numbers_read(&v->tape, input, "input_ids", &text, err));
    if (text.ndim != 2)
        return err_set(err, STATUS_SHAPE, "input_ids must be (B,T): a list of lists of ids");
    TRY(numbers_ids(&v->tape, &text, "input_ids", &ids, err));
    batch->B = text.dim[0];
    batch->text_T = text.dim[1];
    batch->text = ids;
    for (size_t i = 0; i < text.count; i++)
        if (ids[i] < 0 || ids[i] >= v->m->config.text.vocab)
            return err_set(err, STATUS_MALFORMED, "input_ids: %d; the model has ids 0..%d", ids[i],
                           v->m->config.text.vocab - 1);
    TRY(numbers_read(&v->tape, input, "attention_mask", &mask, err));
    if (mask.count == 0)
        return STATUS_OK;
    if (mask.count != text.count)
        return err_set(err, STATUS_SHAPE, "attention_mask: %zu numbers; input_ids has %zu",
                       mask.count, text.count);
    uint8_t *out = tape_alloc(&v->tape, mask.count);
    for (size_t i = 0; out && i < mask.count; i++)
        out[i] = mask.at[i] != 0;
    batch->text_mask = out;
    return tape_check(&v->tape, err);
}

static enum status input_question(struct verify *v, const json *input, struct mllm_batch *batch,
                                  struct err *err)
{
    struct numbers question, mask;
    int32_t *ids;
    TRY(numbers_read(&v->tape, input, "qformer_input_ids", &question, err));
    TRY(numbers_read(&v->tape, input, "qformer_attention_mask", &mask, err));
    if (question.count == 0)
        return STATUS_OK;
    if (question.ndim != 2 || question.dim[0] != batch->B ||
        (mask.count && mask.count != question.count))
        return err_set(err, STATUS_SHAPE, "qformer_input_ids and its mask must be (B,T), B %d",
                       batch->B);
    TRY(numbers_ids(&v->tape, &question, "qformer_input_ids", &ids, err));
    int T = question.dim[1], *count = tape_alloc(&v->tape, (size_t)batch->B * sizeof *count);
    for (int b = 0; count && b < batch->B; b++) {
        count[b] = mask.count ? 0 : T;
        for (int t = 0; mask.count && t < T; t++)
            count[b] += mask.at[b * T + t] != 0;
    }
    batch->question = ids;
    batch->question_T = T;
    batch->question_count = count;
    return tape_check(&v->tape, err);
}

static enum status input_pixels(struct verify *v, const json *input, struct mllm_batch *batch,
                                struct err *err)
{
    struct numbers pixels;
    int S = v->m->config.vision.image;
    TRY(numbers_read(&v->tape, input, "pixel_values", &pixels, err));
    if (pixels.ndim != 4 || pixels.dim[0] != batch->B || pixels.dim[1] != 3 || pixels.dim[2] != S ||
        pixels.dim[3] != S)
        return err_set(err, STATUS_SHAPE, "pixel_values must be (%d,3,%d,%d), normalised", batch->B,
                       S, S);
    float *values = numbers_floats(&v->tape, &pixels);
    TRY(tape_check(&v->tape, err));
    struct tensor x = tensor_view(values, pixels.ndim, pixels.dim);
    batch->visual = vision_forward(&v->tape, v->m, x, 0);
    return tape_check(&v->tape, err);
}

static enum status input_read(struct verify *v, const json *input, struct mllm_batch *batch,
                              struct err *err)
{
    *batch = (struct mllm_batch){0};
    TRY(input_text(v, input, batch, err));
    if (!v->m->config.multimodal)
        return STATUS_OK;
    TRY(input_question(v, input, batch, err));
    return input_pixels(v, input, batch, err);
}

enum status verify_input(struct verify *v, const char *name, const json *expected,
                         struct mllm_batch *batch, const json **input, struct err *err)
{
    *input = json_has(expected, "input_ids") ? expected : numbers_field(v->inputs, name);
    if (!*input || !json_is_object(*input))
        return err_set(
            err, STATUS_NOT_FOUND,
            "case %s has no input: inputs.json should have {\"%s\": {\"input_ids\": ..}}", name,
            name);
    enum status status = input_read(v, *input, batch, err);
    return status == STATUS_OK ? status : err_prefix(err, "case %s", name);
}

/* ---- loss ---- */

/* Hidden row q + t predicts the label of text position t + 1; all other rows predict nothing. */
static enum status case_loss(struct verify *v, const struct sample *s, struct tensor logits,
                             struct tensor *loss, struct err *err)
{
    struct numbers given;
    int32_t *label;
    int B = s->batch.B, T = s->batch.text_T, N = tensor_rows(logits) / B, Q = N - T;
    TRY(numbers_read(&v->tape, s->input, "labels", &given, err));
    if (given.count != (size_t)B * (size_t)T)
        return err_set(err, STATUS_SHAPE,
                       "case %s: labels must be (%d,%d) as input_ids is, -100 "
                       "where nothing is predicted",
                       s->name, B, T);
    TRY(numbers_ids(&v->tape, &given, "labels", &label, err));
    int32_t *shifted = tape_alloc(&v->tape, (size_t)B * (size_t)N * sizeof *shifted);
    for (int b = 0; shifted && b < B; b++)
        for (int i = 0; i < N; i++)
            shifted[b * N + i] = i >= Q && i - Q + 1 < T ? label[b * T + i - Q + 1] : -1;
    if (shifted)
        *loss = op_cross_entropy(&v->tape, logits, shifted);
    return tape_check(&v->tape, err);
}

/* ---- comparing ---- */

static enum status compare_tensor(struct verify *v, const char *name, const char *what,
                                  const json *object, const char *key, struct tensor t,
                                  struct err *err)
{
    struct numbers want;
    TRY(numbers_read(&v->tape, object, key, &want, err));
    if (want.count == 0)
        return STATUS_OK;
    if (want.count > tensor_count(t))
        return err_set(err, STATUS_SHAPE, "case %s, %s: %zu numbers expected, %zu computed", name,
                       what, want.count, tensor_count(t));
    verify_add_numbers(v, name, what, t.data, want.at, want.count);
    return STATUS_OK;
}

static enum status compare_gradients(struct verify *v, const struct sample *s, struct err *err)
{
    const json *all = NULL, *stat = NULL;
    void *cursor = NULL;
    double norm = 0;
    TRY(json_opt_object(s->expected, "gradients", &all, err));
    if (!all || !v->gradients)
        return STATUS_OK;
    struct verify_check *check = verify_add(v, s->name, "gradients", 0);
    for (const char *name; (name = json_next(all, &cursor, &stat)) != NULL;) {
        const struct param *p = mllm_find(v->m, name);
        double difference = 0;
        if (!p || p->grad_at < 0)
            return err_set(err, STATUS_MALFORMED,
                           "case %s, gradients: %s is no parameter that is "
                           "trained in F32",
                           s->name, name);
        TRY(verify_stat(v, stat, v->grads + p->grad_at, param_count(p), &difference, err));
        if (!(difference <= check->difference)) {
            check->difference = difference;
            snprintf(check->where, sizeof check->where, "%s", name);
        }
    }
    for (size_t i = 0; i < v->values; i++)
        norm += (double)v->grads[i] * (double)v->grads[i];
    return verify_add_number(v, s->name, "gradient norm", s->expected, "total_grad_norm",
                             sqrt(norm), err);
}

static enum status compare_outputs(struct verify *v, const struct sample *s,
                                   const struct mllm_taps *taps, struct tensor logits,
                                   struct err *err)
{
    const json *vision = NULL, *want = NULL;
    TRY(json_opt_object(s->expected, "vision_last_hidden_state", &vision, err));
    TRY(compare_tensor(v, s->name, "vision", vision, "rows_first3_of_batch0", s->batch.visual,
                       err));
    TRY(compare_tensor(v, s->name, "qformer", s->expected, "qformer_query_output",
                       taps->query_output, err));
    TRY(json_opt_object(s->expected, "logits", &want, err));
    return compare_tensor(v, s->name, "logits", want, "values", logits, err);
}

enum status verify_case(struct verify *v, const char *name, const json *expected, struct err *err)
{
    struct sample s = {.name = name, .expected = expected};
    struct mllm_taps taps = {0};
    struct tensor loss;
    bool back = v->gradients && json_has(expected, "gradients");
    verify_begin(v, back);
    TRY(verify_input(v, name, expected, &s.batch, &s.input, err));
    struct tensor hidden = mllm_forward(&v->tape, v->m, &s.batch, &taps);
    struct tensor logits = mllm_logits(&v->tape, v->m, hidden, NULL, 0);
    TRY(tape_check(&v->tape, err));
    TRY(compare_outputs(v, &s, &taps, logits, err));
    if (!json_has(expected, "loss") && !back)
        return STATUS_OK;
    TRY(case_loss(v, &s, logits, &loss, err));
    TRY(verify_add_number(v, name, "loss", expected, "loss", (double)loss.data[0], err));
    if (!back)
        return STATUS_OK;
    tape_backward(&v->tape, loss, false);
    TRY(tape_check(&v->tape, err));
    return compare_gradients(v, &s, err);
}
