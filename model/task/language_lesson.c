/* Language lessons: questions, answers and captions about scenes of the ring (stage.h,
 * curriculum.h). */
#include "api/base/log.h"
#include "model/task/curriculum.h"
#include "model/task/evaluate.h"
#include "model/task/stage.h"

#include <stdio.h>
#include <stdlib.h>

enum { WARMUP = 200, RING_SLOTS = 4096, RING_SLOTS_TINY = 128 };

struct language_lesson {
    const struct mllm *model;
    const struct stage *stage;
    struct curriculum curriculum;
    struct linear aux; /* mean query output -> the answer's first token: helps off the plateau */
    int keep, batch;
};

/* 60% of the steps see 16 to 63 of the visual tokens, so that subsets work later. */
static int keep_draw(const struct language_lesson *l, int64_t step)
{
    struct rng rng;
    rng_init(&rng, l->curriculum.seed ^ 0xd20b, (uint64_t)step);
    int all = l->curriculum.tokens;
    return rng_uniform(&rng) < .6f ? all / 4 + (int)rng_below(&rng, (uint32_t)(all - all / 4))
                                   : all;
}

static enum status language_prepare(void *ctx, int64_t step, struct err *err)
{
    struct language_lesson *l = ctx;
    int every = l->stage->caption_every;
    bool captions = every > 0 && step % every == every - 1;
    l->keep = keep_draw(l, step);
    l->batch = captions ? STAGE_BATCH / 2 : STAGE_BATCH;
    return curriculum_step(&l->curriculum, step, l->batch, captions, err);
}

static struct tensor language_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    const struct language_lesson *l = ctx;
    const struct curriculum *c = &l->curriculum;
    int from = l->batch * shard / shards, n = l->batch * (shard + 1) / shards - from;
    struct lesson_batch b;
    curriculum_batch(c, tape, from, n, l->keep, &b);
    if (tape->status != STATUS_OK)
        return (struct tensor){0};
    struct mllm_taps taps = {0};
    struct tensor logits = mllm_row_logits(tape, l->model, &b.model, &taps, b.rows, b.row_count);
    struct tensor mean = op_mean_time(tape, taps.query_output);
    struct tensor loss[2] = {
        op_cross_entropy(tape, logits, b.labels),
        op_cross_entropy(tape, op_linear(tape, mean, &l->aux), b.first),
    };
    float factor[2] = {(float)b.row_count / (float)curriculum_rows(c, 0, l->batch),
                       (c->captions ? 0.f : .5f) * (float)n / (float)l->batch};
    return op_weighted_sum(tape, loss, factor, 2);
}

static void evaluation_log(const struct stage *stage, const char *domain,
                           const struct evaluation *e)
{
    char kinds[256] = "";
    size_t at = 0;
    for (int k = 0; k < KIND_CAPTION && at < sizeof(kinds); k++)
        at += (size_t)snprintf(kinds + at, sizeof(kinds) - at, " %s %.0f/%.0f",
                               world_kind_name((enum world_kind)k), e->kind[k].mc, e->kind[k].da);
    log_line(LOG_INFO, stage->name, "%s: five kinds MC %.1f DA %.1f, new concepts %.1f/%.1f;%s",
             domain, e->five.mc, e->five.da, e->new_concepts.mc, e->new_concepts.da, kinds);
}

static enum status stage_evaluate(struct work *w, const struct mllm *m, const struct stage *stage,
                                  struct err *err)
{
    static const char *const DOMAINS[] = {"world:target", "world:source"};
    for (int d = 0; w->options->evaluate > 0 && d < 2; d++) {
        struct evaluation e;
        TRY(evaluate(m, w->pool, DOMAINS[d], 999, w->options->evaluate, true, &e, err));
        evaluation_log(stage, DOMAINS[d], &e);
    }
    return STATUS_OK;
}

enum status language_train(struct work *w, struct mllm *m, const struct stage *stage,
                           struct err *err)
{
    struct language_lesson l = {.model = m, .stage = stage};
    int count;
    l.aux.weight = mllm_find(m, "pretrain.aux.weight");
    l.aux.bias = mllm_find(m, "pretrain.aux.bias");
    if (!l.aux.weight)
        TRY(stage_head(m, "pretrain.aux", m->config.text.vocab, m->config.qformer.hidden, &l.aux,
                       err));
    struct param **list = stage_params(m, false, &count);
    if (!list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the parameter list");
    enum status status = curriculum_init(&l.curriculum, m, w->pool, stage->domain,
                                         w->options->tiny ? RING_SLOTS_TINY : RING_SLOTS,
                                         stage->share, w->options->seed, err);
    struct lesson_plan plan = {.stage = stage,
                               .steps = stage_steps(w, stage),
                               .warmup = WARMUP,
                               .loss_fn = language_loss,
                               .ctx = &l,
                               .prepare = language_prepare};
    if (status == STATUS_OK)
        status = stage_train(w, list, count, &plan, err);
    curriculum_deinit(&l.curriculum);
    free(list);
    TRY(status);
    return stage_evaluate(w, m, stage, err);
}
