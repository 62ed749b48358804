/* Generated ids against the reference's; see verify_parts.h. */
#include "model/mllm/generation.h"
#include "model/tool/verify_parts.h"

#include <math.h>
#include <stdio.h>

enum { NEW_MAX = 4096, EOS_NONE = -1, PROMPTS_MAX = 64 };

static enum status compare_ids(struct verify *v, const char *name, const struct mllm_batch *batch,
                               const struct generation *how, int eos, const struct numbers *want,
                               struct err *err)
{
    struct decoder decoder;
    int32_t *ids = tape_alloc(&v->tape, (size_t)how->max_new * sizeof *ids);
    struct generated made = {.ids = ids};
    int first = -1, differ = 0;
    TRY(tape_check(&v->tape, err));
    TRY(decoder_start(&decoder, &v->tape, v->m, batch, eos, how->max_new, err));
    TRY(generation_run(&decoder, how, &made, err));
    int n = (int)want->count;
    if (n > 0 && eos >= 0 && want->at[n - 1] == (double)eos)
        n--; /* the reference's list may end with the end token */
    for (int i = 0; i < n || i < made.count; i++) {
        bool same = i < n && i < made.count && (double)ids[i] == want->at[i];
        first = same || first >= 0 ? first : i;
        differ += !same;
    }
    struct verify_check *c = verify_add(v, name, "ids", differ);
    c->ids = true;
    if (first >= 0)
        snprintf(c->where, sizeof c->where, "first at [%d] of %d: %d, reference %d", first, n,
                 first < made.count ? ids[first] : -1, first < n ? (int)want->at[first] : -1);
    return STATUS_OK;
}

/* "prompt": a list of ids, or the input of a case, "single" unless "case" names it. */
static enum status generation_prompt(struct verify *v, const json *expected,
                                     struct mllm_batch *batch, struct err *err)
{
    const char *name = "single";
    const json *input;
    struct numbers prompt;
    int32_t *ids;
    TRY(numbers_read(&v->tape, expected, "prompt", &prompt, err));
    if (prompt.count == 0) {
        TRY(json_opt_string(expected, "case", 256, &name, err));
        const json *other = numbers_field(v->expected, name);
        return verify_input(v, name, other ? other : expected, batch, &input, err);
    }
    if (prompt.count > INT32_MAX / 2)
        return err_set(err, STATUS_TOO_LARGE, "prompt: %zu ids", prompt.count);
    TRY(numbers_ids(&v->tape, &prompt, "prompt", &ids, err));
    *batch = (struct mllm_batch){.B = 1, .text_T = (int)prompt.count, .text = ids};
    return STATUS_OK;
}

static enum status generation_settings(const json *expected, size_t wanted, struct generation *how,
                                       int *eos, struct err *err)
{
    int64_t beams = 0, end = EOS_NONE, most = (int64_t)wanted;
    double penalty = 1;
    TRY(json_opt_int(expected, "num_beams", 1, GENERATION_BEAMS, &beams, err));
    TRY(json_opt_number(expected, "length_penalty", -100, 100, &penalty, err));
    TRY(json_opt_int(expected, "eos_token_id", 0, INT32_MAX, &end, err));
    TRY(json_opt_int(expected, "max_new_tokens", 1, NEW_MAX, &most, err));
    *how = (struct generation){
        .max_new = (int)most, .beams = (int)beams, .length_penalty = (float)penalty};
    *eos = (int)end;
    return STATUS_OK;
}

enum status verify_generation(struct verify *v, const char *name, const json *expected,
                              struct err *err)
{
    struct numbers want;
    struct generation how;
    struct mllm_batch batch;
    int eos;
    verify_begin(v, false);
    TRY(numbers_read(&v->tape, expected, "new_token_ids", &want, err));
    if (want.ndim != 1 || want.count > NEW_MAX)
        return err_set(err, STATUS_SHAPE, "%s: new_token_ids must be a list of 1..%d ids", name,
                       NEW_MAX);
    enum status status = generation_settings(expected, want.count, &how, &eos, err);
    if (status == STATUS_OK)
        status = generation_prompt(v, expected, &batch, err);
    if (status == STATUS_OK && batch.B != 1)
        status = err_set(err, STATUS_SHAPE, "generation is compared for one prompt");
    if (status == STATUS_OK)
        status = compare_ids(v, name, &batch, &how, eos, &want, err);
    return status == STATUS_OK ? status : err_prefix(err, "%s", name);
}

/* ---- the stories' form ---- */

/* prompt_ids_with_bos, and all_ids with them in front. */
static enum status story(struct verify *v, const json *one, size_t i, struct err *err)
{
    struct numbers prompt, all;
    int32_t *ids;
    char name[32];
    snprintf(name, sizeof name, "prompt %zu", i);
    verify_begin(v, false);
    TRY(numbers_read(&v->tape, one, "prompt_ids_with_bos", &prompt, err));
    TRY(numbers_read(&v->tape, one, "all_ids", &all, err));
    if (prompt.count < 1 || all.count <= prompt.count || all.count > NEW_MAX)
        return err_set(err, STATUS_SHAPE, "%s: all_ids must continue prompt_ids_with_bos", name);
    TRY(numbers_ids(&v->tape, &prompt, "prompt_ids_with_bos", &ids, err));
    struct mllm_batch batch = {.B = 1, .text_T = (int)prompt.count, .text = ids};
    struct numbers want = {.at = all.at + prompt.count, .count = all.count - prompt.count};
    struct generation how = {.max_new = (int)want.count};
    return compare_ids(v, name, &batch, &how, EOS_NONE, &want, err);
}

static enum status stories_logits(struct verify *v, const json *part, struct tensor logits,
                                  struct err *err)
{
    struct numbers first16, last;
    size_t V = (size_t)tensor_cols(logits), T = (size_t)tensor_rows(logits);
    TRY(numbers_read(&v->tape, part, "logits_first16_per_position", &first16, err));
    TRY(numbers_read(&v->tape, part, "logits_last_position", &last, err));
    if (V < 16 || first16.count != 16 * T || last.count != V)
        return err_set(err, STATUS_SHAPE,
                       "teacher_forced: 16 logits of each of %zu positions and "
                       "all %zu of the last",
                       T, V);
    float *some = tape_alloc(&v->tape, 16 * T * sizeof *some);
    for (size_t i = 0; some && i < 16 * T; i++)
        some[i] = logits.data[i / 16 * V + i % 16];
    TRY(tape_check(&v->tape, err));
    verify_add_numbers(v, "teacher_forced", "logits", some, first16.at, 16 * T);
    verify_add_numbers(v, "teacher_forced", "last logits", logits.data + (T - 1) * V, last.at, V);
    return STATUS_OK;
}

static enum status teacher_forced(struct verify *v, struct err *err)
{
    const json *part = NULL;
    struct numbers ids;
    int32_t *id;
    TRY(json_opt_object(v->expected, "teacher_forced", &part, err));
    if (!part)
        return STATUS_OK;
    verify_begin(v, false);
    TRY(numbers_read(&v->tape, part, "ids_with_bos", &ids, err));
    if (ids.ndim != 1 || ids.count < 2)
        return err_set(err, STATUS_SHAPE, "teacher_forced: ids_with_bos must be a list of ids");
    TRY(numbers_ids(&v->tape, &ids, "ids_with_bos", &id, err));
    int T = (int)ids.count;
    struct mllm_batch batch = {.B = 1, .text_T = T, .text = id};
    struct tensor hidden = mllm_forward(&v->tape, v->m, &batch, NULL);
    struct tensor logits = mllm_logits(&v->tape, v->m, hidden, NULL, 0);
    int32_t *labels = tape_alloc(&v->tape, ids.count * sizeof *labels);
    for (int t = 0; labels && t < T; t++)
        labels[t] = t + 1 < T ? id[t + 1] : -1;
    TRY(tape_check(&v->tape, err));
    struct tensor loss = op_cross_entropy(&v->tape, logits, labels);
    TRY(tape_check(&v->tape, err));
    TRY(stories_logits(v, part, logits, err));
    return verify_add_number(v, "teacher_forced", "loss", part, "mean_cross_entropy",
                             (double)loss.data[0], err);
}

enum status verify_stories(struct verify *v, struct err *err)
{
    const json *list = NULL;
    if (json_has(v->expected, "prompts")) {
        TRY(json_get_array(v->expected, "prompts", PROMPTS_MAX, &list, err));
        for (size_t i = 0; i < json_length(list); i++)
            TRY(story(v, json_at(list, i), i, err));
    }
    return teacher_forced(v, err);
}
