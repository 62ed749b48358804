/* See sim_answer.h. */
#include "client/sim_answer.h"
#include "api/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First samples are spread over a period, so that the fleet does not answer in one wave. */
enum status sim_answer_init(struct sim_answer *a, struct sim_device *device, int count, double rate,
                            struct pool *pool, struct err *err)
{
    int64_t now_ms = clock_monotonic_ms();
    const struct mllm *m = device[0].runs.m;
    size_t side = (size_t)device[0].fleet->side;
    *a = (struct sim_answer){.device = device, .count = count, .pool = pool};
    a->period_ms = 1000 / rate;
    a->image_bytes = side * side * 3;
    a->rgb = malloc(INFER_BATCH * a->image_bytes);
    a->visual =
        malloc(INFER_BATCH * (size_t)infer_tokens(m) * (size_t)infer_width(m) * sizeof *a->visual);
    if (!a->rgb || !a->visual)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a batch");
    for (int i = 0; i < count; i++)
        device[i].due_ms = now_ms + (int64_t)(a->period_ms * i / count);
    return STATUS_OK;
}

void sim_answer_deinit(struct sim_answer *a)
{
    free(a->rgb);
    free(a->visual);
}

/* Device i's sample into place n of the batch. */
static enum status sample_take(struct sim_answer *a, int i, int n, int64_t now_ms, struct err *err)
{
    struct sim_device *d = &a->device[i];
    struct sample sample;
    TRY(sim_device_take(d, &sample, err));
    memcpy(a->rgb + (size_t)n * a->image_bytes, sample.pixels, a->image_bytes);
    snprintf(a->question[n], sizeof a->question[n], "%s", sample.question.text);
    a->who[n] = i;
    d->due_ms += (int64_t)a->period_ms;
    if (d->due_ms < now_ms - 1000) /* never catch up with more than a second */
        d->due_ms = now_ms;
    return STATUS_OK;
}

/* Due devices of one version, round and round; *m is theirs, retained, when any is due. */
static enum status batch_gather(struct sim_answer *a, int64_t now_ms, int *n, struct mllm **m,
                                int64_t *version, struct err *err)
{
    *n = 0;
    for (int look = 0; look < a->count && *n < INFER_BATCH; look++) {
        int64_t its;
        int i = (a->next + look) % a->count;
        if (a->device[i].due_ms > now_ms)
            continue;
        struct mllm *model = sim_device_model(&a->device[i], &its);
        if (*n == 0) {
            *m = model;
            *version = its;
        } else {
            mllm_release(model);
        }
        if (its == *version)
            TRY(sample_take(a, i, (*n)++, now_ms, err));
    }
    a->next = *n ? (a->who[*n - 1] + 1) % a->count : a->next;
    return STATUS_OK;
}

static enum status batch_answer(struct sim_answer *a, const struct mllm *m, int64_t version, int n,
                                struct err *err)
{
    const char *questions[INFER_BATCH];
    size_t floats = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    for (int i = 0; i < n; i++)
        questions[i] = a->question[i];
    TRY(infer_answer(m, a->pool, a->rgb, questions, n, a->visual, a->answers, err));
    for (int i = 0; i < n; i++)
        TRY(sim_device_keep(&a->device[a->who[i]], m, version, a->question[i], &a->answers[i],
                            a->visual + (size_t)i * floats, err));
    return STATUS_OK;
}

enum status sim_answer_step(struct sim_answer *a, int64_t now_ms, bool *any, struct err *err)
{
    struct mllm *m = NULL;
    int64_t version = 0;
    int n;
    enum status status = batch_gather(a, now_ms, &n, &m, &version, err);
    if (status == STATUS_OK && n > 0)
        status = batch_answer(a, m, version, n, err);
    if (m)
        mllm_release(m);
    *any = n > 0;
    return status;
}
