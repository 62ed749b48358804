/* Exemplars (exemplar.h): copies of uploads, and batches of them. */
#include "model/learn/exemplar.h"
#include "api/wire/limits.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT_IDS = 512 };

/* ---- matching ---- */

static int cross_outputs(const struct mllm *m)
{
    int n = 0;
    for (int i = 0; i < m->config.qformer.layers; i++)
        n += m->qformer.layer[i].cross;
    return n < 16 ? n : 16;
}

void exemplar_match_init(struct exemplar_match *match, const struct mllm *student,
                         const struct mllm *teacher)
{
    int s = cross_outputs(student), t = cross_outputs(teacher);
    int pairs = s < t ? s : t;
    match->pairs = pairs < EXEMPLAR_PAIRS ? pairs : EXEMPLAR_PAIRS;
    for (int i = 0; i < match->pairs; i++) {
        match->student[i] = (i + 1) * s / match->pairs - 1;
        match->teacher[i] = (i + 1) * t / match->pairs - 1;
    }
}

/* ---- one exemplar ---- */

static enum status visual_check(const struct distill_instance *instance, size_t values,
                                struct err *err)
{
    for (size_t i = 0; i < values; i++)
        if (!isfinite(instance->visual[i]))
            return err_set(err, STATUS_MALFORMED, "visual value %zu is not finite", i);
    return STATUS_OK;
}

static enum status visual_copy(struct exemplar *e, const struct mllm *model,
                               const struct distill_instance *instance, struct err *err)
{
    if (instance->count < 1 || instance->count > LIMIT_TOKENS)
        return err_set(err, STATUS_MALFORMED, "%d visual tokens, expected 1 .. %d", instance->count,
                       LIMIT_TOKENS);
    size_t values = (size_t)instance->count * (size_t)model->config.vision.hidden;
    TRY(visual_check(instance, values, err));
    e->visual = malloc(values * sizeof *e->visual);
    if (!e->visual)
        return err_set(err, STATUS_NO_MEMORY, "no memory for visual tokens");
    memcpy(e->visual, instance->visual, values * sizeof *e->visual);
    e->visual_count = instance->count;
    e->visual_rest = instance->rest > 1 ? instance->rest : 1;
    e->bytes += values * sizeof *e->visual;
    return STATUS_OK;
}

/* The prompt's ids and, where a user said what is right, the label's. */
static enum status text_encode(struct exemplar *e, const struct mllm *model,
                               const struct distill_instance *instance, struct err *err)
{
    TRY(answer_prompt(model, instance->question, e->ids, &e->prompt_count, e->question_ids,
                      &e->question_count, PROMPT_IDS, err));
    if (!instance->correction)
        return STATUS_OK;
    e->corrected = true;
    return answer_target(model, instance->correction, e->ids + e->prompt_count, &e->label_count,
                         ANSWER_IDS, err);
}

static enum status text_copy(struct exemplar *e, const struct mllm *model,
                             const struct distill_instance *instance, struct err *err)
{
    size_t room = PROMPT_IDS + ANSWER_IDS;
    e->question = strdup(instance->question);
    e->ids = calloc(room, sizeof *e->ids);
    e->question_ids = calloc(PROMPT_IDS, sizeof *e->question_ids);
    if (!e->question || !e->ids || !e->question_ids)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a question");
    TRY(text_encode(e, model, instance, err));
    room = (size_t)e->prompt_count + ANSWER_IDS;
    int32_t *ids = realloc(e->ids, room * sizeof *ids);
    e->ids = ids ? ids : e->ids;
    ids = realloc(e->question_ids, ((size_t)e->question_count + 1) * sizeof *ids);
    e->question_ids = ids ? ids : e->question_ids;
    e->bytes += strlen(e->question) + (room + (size_t)e->question_count) * sizeof *ids;
    return STATUS_OK;
}

enum status exemplar_init(struct exemplar *e, const struct mllm *model,
                          const struct distill_instance *instance, struct err *err)
{
    memset(e, 0, sizeof *e);
    e->bytes = sizeof *e;
    e->device = instance->device;
    enum status s = visual_copy(e, model, instance, err);
    if (s == STATUS_OK)
        s = text_copy(e, model, instance, err);
    if (s != STATUS_OK)
        exemplar_deinit(e);
    return s;
}

static void taught_free(struct exemplar *e)
{
    free(e->logits);
    e->logits = NULL;
    for (int f = 0; f < EXEMPLAR_FEATURES; f++) {
        free(e->feature[f]);
        e->feature[f] = NULL;
    }
    e->bytes -= e->taught_bytes;
    e->taught_bytes = 0;
}

void exemplar_deinit(struct exemplar *e)
{
    free(e->question);
    free(e->visual);
    free(e->ids);
    free(e->question_ids);
    taught_free(e);
    memset(e, 0, sizeof *e);
}

void exemplar_forget(struct exemplar *e)
{
    taught_free(e);
    e->label_count = 0;
    e->corrected = false;
}

/* ---- the list ---- */

enum status exemplars_reserve(struct exemplars *list, int extra, struct err *err)
{
    if (extra <= list->cap - list->count)
        return STATUS_OK;
    size_t cap = (size_t)list->count + (size_t)extra;
    struct exemplar *item = realloc(list->item, cap * sizeof *item);
    if (!item)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu uploads", cap);
    list->item = item;
    list->cap = (int)cap;
    return STATUS_OK;
}

void exemplars_doubtful_drop(struct exemplars *list, int first, float max_entropy)
{
    int kept = first;
    for (int i = first; i < list->count; i++) {
        if (list->item[i].crossed && !(list->item[i].entropy <= max_entropy))
            exemplar_deinit(&list->item[i]);
        else
            list->item[kept++] = list->item[i];
    }
    list->count = kept;
}

void exemplars_truncate(struct exemplars *list, int count)
{
    while (list->count > count)
        exemplar_deinit(&list->item[--list->count]);
    if (count == 0) {
        free(list->item);
        memset(list, 0, sizeof *list);
    }
}

void exemplars_trim(struct exemplars *list, int max_count, size_t max_bytes)
{
    int drop = 0;
    size_t bytes = 0;
    for (int i = 0; i < list->count; i++)
        bytes += list->item[i].bytes;
    while (drop < list->count && (list->count - drop > max_count || bytes > max_bytes))
        bytes -= list->item[drop++].bytes;
    for (int i = 0; i < drop; i++)
        exemplar_deinit(&list->item[i]);
    if (drop)
        memmove(list->item, list->item + drop, (size_t)(list->count - drop) * sizeof *list->item);
    list->count -= drop;
}

/* ---- batches ---- */

static void batch_measure(const struct exemplar *const *items, int n, struct exemplar_batch *out,
                          int *visual_T)
{
    memset(out, 0, sizeof *out);
    out->model.B = n;
    *visual_T = 0;
    for (int i = 0; i < n; i++) {
        const struct exemplar *e = items[i];
        int text = e->prompt_count + e->label_count - 1;
        if (e->question_count > out->model.question_T)
            out->model.question_T = e->question_count;
        if (text > out->model.text_T)
            out->model.text_T = text;
        if (e->visual_count > *visual_T)
            *visual_T = e->visual_count;
        out->row_count += e->label_count;
        out->soft_rows += e->corrected ? 0 : e->label_count;
    }
}

/* What of the batch is written after its buffers are there. */
struct batch_room {
    int32_t *question, *text;
    int *question_count, *visual_count, *visual_rest;
};

static bool batch_allocate(struct tape *tape, const struct mllm *m, int visual_T,
                           struct exemplar_batch *b, struct batch_room *room)
{
    size_t B = (size_t)b->model.B, rows = (size_t)b->row_count;
    int dim[3] = {b->model.B, visual_T, m->config.vision.hidden};
    room->question = tape_alloc(tape, (B * (size_t)b->model.question_T + 1) * sizeof(int32_t));
    room->text = tape_alloc(tape, (B * (size_t)b->model.text_T + 1) * sizeof(int32_t));
    room->question_count = tape_alloc(tape, B * sizeof(int));
    room->visual_count = tape_alloc(tape, B * sizeof(int));
    room->visual_rest = tape_alloc(tape, B * sizeof(int));
    b->rows = tape_alloc(tape, rows * sizeof *b->rows);
    b->labels = tape_alloc(tape, rows * sizeof *b->labels);
    b->row_weight = tape_alloc(tape, rows * sizeof *b->row_weight);
    b->model.visual = tape_tensor(tape, false, 3, dim);
    if (tape->status != STATUS_OK)
        return false;
    memset(room->question, 0, B * (size_t)b->model.question_T * sizeof(int32_t));
    memset(room->text, 0, B * (size_t)b->model.text_T * sizeof(int32_t));
    memset(b->model.visual.data, 0, tensor_count(b->model.visual) * sizeof(float));
    b->model.question = room->question;
    b->model.question_count = room->question_count;
    b->model.text = room->text;
    return true;
}

/* The exemplar's visual tokens, or a random part of them, in the batch's row; returns how many. */
static int visual_place(struct tape *tape, const struct exemplar *e, size_t Cv, float token_drop,
                        float *out)
{
    int32_t order[LIMIT_TOKENS];
    int most = (int)(token_drop * (float)e->visual_count);
    int count = e->visual_count - (most > 0 ? (int)rng_below(&tape->rng, (uint32_t)most + 1) : 0);
    for (int t = 0; t < e->visual_count; t++)
        order[t] = t;
    if (count < e->visual_count) { /* one that stands for others stays, and stays last */
        rng_shuffle(&tape->rng, order, e->visual_count - (e->visual_rest > 1));
        order[count - 1] = e->visual_rest > 1 ? e->visual_count - 1 : order[count - 1];
    }
    for (int t = 0; t < count; t++)
        memcpy(out + (size_t)t * Cv, e->visual + (size_t)order[t] * Cv, Cv * sizeof *out);
    return count;
}

/* Exemplar e as row i of the batch; its label's rows from *row on. */
static void batch_place(const struct mllm *m, const struct exemplar *e, int i,
                        struct exemplar_batch *b, struct batch_room *room, int *row)
{
    size_t at = (size_t)i;
    int T = b->model.text_T, Q = m->config.queries;
    memcpy(room->question + at * (size_t)b->model.question_T, e->question_ids,
           (size_t)e->question_count * sizeof(int32_t));
    memcpy(room->text + at * (size_t)T, e->ids,
           (size_t)(e->prompt_count + e->label_count - 1) * sizeof(int32_t));
    room->question_count[i] = e->question_count;
    for (int j = 0; j < e->label_count; j++, ++*row) {
        b->rows[*row] = i * (Q + T) + Q + e->prompt_count - 1 + j;
        b->labels[*row] = e->ids[e->prompt_count + j];
        b->row_weight[*row] = e->corrected ? 0 : 1;
    }
}

void exemplar_batch_build(struct tape *tape, const struct mllm *m,
                          const struct exemplar *const *items, int n, float token_drop,
                          struct exemplar_batch *out)
{
    struct batch_room room;
    int visual_T, row = 0;
    bool ragged = false;
    size_t Cv = (size_t)m->config.vision.hidden;
    batch_measure(items, n, out, &visual_T);
    if (!batch_allocate(tape, m, visual_T, out, &room))
        return;
    for (int i = 0; i < n; i++) {
        float *visual = out->model.visual.data + (size_t)i * (size_t)visual_T * Cv;
        batch_place(m, items[i], i, out, &room, &row);
        room.visual_count[i] = visual_place(tape, items[i], Cv, token_drop, visual);
        room.visual_rest[i] = items[i]->visual_rest;
        ragged = ragged || room.visual_count[i] != visual_T;
    }
    out->model.visual_rest = room.visual_rest;
    out->model.visual_count = ragged ? room.visual_count : NULL;
}

const float *exemplar_batch_logits(struct tape *tape, const struct exemplar *const *items, int n,
                                   int V)
{
    size_t rows = 0;
    for (int i = 0; i < n; i++)
        rows += (size_t)items[i]->label_count;
    float *out = tape_alloc(tape, rows * (size_t)V * sizeof *out), *at = out;
    for (int i = 0; out && i < n; i++) {
        size_t size = (size_t)items[i]->label_count * (size_t)V;
        memcpy(at, items[i]->logits, size * sizeof *at);
        at += size;
    }
    return out;
}

const float *exemplar_batch_feature(struct tape *tape, const struct exemplar *const *items, int n,
                                    int f, size_t size)
{
    float *out = tape_alloc(tape, (size_t)n * size * sizeof *out);
    for (int i = 0; out && i < n; i++)
        memcpy(out + (size_t)i * size, items[i]->feature[f], size * sizeof *out);
    return out;
}
