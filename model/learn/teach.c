/* The teacher's side of exemplars (exemplar.h): a greedy answer as the label, then one pass along
 * the label that keeps what the student will be held against. */
#include "model/learn/exemplar.h"
#include <stdlib.h>
#include <string.h>

enum { TEACH_CHUNK = 16, LABEL_NEW = 32 };
static const size_t ARENA_CAP = (size_t)2 << 30;

/* ---- labels ---- */

static void label_take(const struct mllm *teacher, const struct answer *answer, struct exemplar *e)
{
    int32_t *label = e->ids + e->prompt_count;
    memcpy(label, answer->ids, (size_t)answer->count * sizeof *label);
    e->label_count = answer->count;
    e->entropy = answer->entropy;
    if (answer->count < LABEL_NEW && teacher->config.text.eos >= 0)
        label[e->label_count++] = teacher->config.text.eos;
}

/* Asks about what no user corrected; asked[]: which exemplars, in order. */
static int asks_fill(const struct exemplar *items, int n, struct ask *asks, int *asked)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        if (items[i].corrected)
            continue;
        asks[count] = (struct ask){.visual = items[i].visual,
                                   .visual_count = items[i].visual_count,
                                   .visual_rest = items[i].visual_rest,
                                   .question = items[i].question};
        asked[count++] = i;
    }
    return count;
}

static enum status labels_ask(const struct mllm *teacher, struct pool *pool, struct exemplar *items,
                              int n, struct err *err)
{
    struct ask *asks = calloc((size_t)n, sizeof *asks);
    struct answer *answers = calloc((size_t)n, sizeof *answers);
    int *asked = calloc((size_t)n, sizeof *asked);
    enum status s = STATUS_NO_MEMORY;
    if (!asks || !answers || !asked) {
        err_set(err, s, "no memory to label %d uploads", n);
        goto out;
    }
    int count = asks_fill(items, n, asks, asked);
    s = answer_batch(teacher, pool, asks, count, LABEL_NEW, answers, err);
    for (int i = 0; s == STATUS_OK && i < count; i++)
        label_take(teacher, &answers[i], &items[asked[i]]);
    for (int i = 0; s == STATUS_OK && i < n; i++)
        if (items[i].label_count == 0)
            s = err_set(err, STATUS_MALFORMED, "the label of upload %d is empty", i);
out:
    free(asks);
    free(answers);
    free(asked);
    return s;
}

/* ---- logits and features ---- */

struct teach_job {
    const struct mllm *teacher;
    const struct exemplar_match *match;
    struct exemplar *items;
    int n;
    struct err *errs;    /* one a chunk */
    struct pool *within; /* shares the products of a chunk; NULL: the pool shares chunks */
};

static float *copy_of(const float *data, size_t n, struct exemplar *e)
{
    float *copy = malloc(n * sizeof *copy);
    if (!copy)
        return NULL;
    memcpy(copy, data, n * sizeof *copy);
    e->bytes += n * sizeof *copy;
    e->taught_bytes += n * sizeof *copy;
    return copy;
}

static bool targets_keep(const struct teach_job *job, struct exemplar *e, int i,
                         const float *logits, const struct mllm_taps *taps)
{
    size_t size =
        (size_t)job->teacher->config.queries * (size_t)job->teacher->config.qformer.hidden;
    size_t V = (size_t)job->teacher->config.text.vocab;
    e->logits = copy_of(logits, (size_t)e->label_count * V, e);
    e->feature[0] = copy_of(taps->query_output.data + (size_t)i * size, size, e);
    bool ok = e->logits && e->feature[0];
    for (int p = 0; p < job->match->pairs; p++) {
        const struct tensor *cross = &taps->cross[job->match->teacher[p]];
        e->feature[1 + p] = copy_of(cross->data + (size_t)i * size, size, e);
        ok = ok && e->feature[1 + p];
    }
    return ok;
}

static enum status chunk_forward(const struct teach_job *job, struct tape *tape,
                                 struct exemplar *items, int n, struct err *err)
{
    const struct exemplar *list[TEACH_CHUNK];
    struct exemplar_batch batch;
    struct mllm_taps taps = {0};
    for (int i = 0; i < n; i++)
        list[i] = &items[i];
    exemplar_batch_build(tape, job->teacher, list, n, 0, &batch);
    TRY(tape_check(tape, err));
    struct tensor logits =
        mllm_row_logits(tape, job->teacher, &batch.model, &taps, batch.rows, batch.row_count);
    TRY(tape_check(tape, err));
    const float *at = logits.data;
    for (int i = 0; i < n; i++) {
        if (!targets_keep(job, &items[i], i, at, &taps))
            return err_set(err, STATUS_NO_MEMORY, "no memory for the teacher's features");
        at += (size_t)items[i].label_count * (size_t)job->teacher->config.text.vocab;
    }
    return STATUS_OK;
}

static void chunk_run(void *ctx, int item, int worker)
{
    struct teach_job *job = ctx;
    struct arena arena;
    struct tape tape = {0};
    (void)worker;
    int from = item * TEACH_CHUNK;
    int n = job->n - from < TEACH_CHUNK ? job->n - from : TEACH_CHUNK;
    if (!arena_init(&arena, ARENA_CAP)) {
        err_set(&job->errs[item], STATUS_NO_MEMORY, "no address space for the teacher");
        return;
    }
    tape.pool = job->within;
    tape_begin(&tape, &arena, false, NULL);
    job->errs[item].code = chunk_forward(job, &tape, job->items + from, n, &job->errs[item]);
    arena_deinit(&arena);
}

enum status exemplar_teach(const struct mllm *teacher, struct pool *pool,
                           const struct exemplar_match *match, struct exemplar *items, int n,
                           struct err *err)
{
    if (n == 0)
        return STATUS_OK;
    int chunks = (n + TEACH_CHUNK - 1) / TEACH_CHUNK;
    TRY(labels_ask(teacher, pool, items, n, err));
    struct err *errs = calloc((size_t)chunks, sizeof *errs);
    if (!errs)
        return err_set(err, STATUS_NO_MEMORY, "no memory to label %d uploads", n);
    struct pool *within = mllm_is_large(teacher) ? pool : NULL;
    struct teach_job job = {teacher, match, items, n, errs, within};
    pool_run(within ? NULL : pool, chunks, chunk_run, &job);
    enum status s = STATUS_OK;
    for (int c = 0; c < chunks && s == STATUS_OK; c++)
        if (errs[c].code != STATUS_OK)
            s = err_set(err, errs[c].code, "%s", errs[c].text);
    free(errs);
    return s;
}

enum status exemplar_reteach(const struct mllm *teacher, struct pool *pool,
                             const struct exemplar_match *match, struct exemplar *items, int n,
                             struct err *err)
{
    int count = 0;
    struct exemplar *some = calloc((size_t)n + 1, sizeof *some);
    if (!some)
        return err_set(err, STATUS_NO_MEMORY, "no memory to label %d uploads", n);
    for (int i = 0; i < n; i++)
        if (items[i].label_count == 0)
            some[count++] = items[i];
    enum status s = exemplar_teach(teacher, pool, match, some, count, err);
    for (int i = 0, at = 0; at < count; i++)
        if (items[i].label_count == 0)
            items[i] = some[at++];
    free(some);
    return s;
}
