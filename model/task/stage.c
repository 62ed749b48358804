/* The training loop that every stage of pretraining shares (stage.h). */
#include "model/task/stage.h"

#include "api/base/progress.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECKPOINT_EVERY = 500 };

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool stage_is_vision(const struct param *p)
{
    return has_prefix(p->name, "vision_model.");
}

/* ---- the trained list: every parameter of the wanted part, attached heads included ---- */

struct param **stage_params(struct mllm *m, bool vision, int *count)
{
    struct param **list = calloc((size_t)m->param_count, sizeof(*list));
    *count = 0;
    for (int i = 0; list && i < m->param_count; i++) {
        struct param *p = &m->params[i];
        bool dense = has_prefix(p->name, "pretrain.dense");
        if (vision ? stage_is_vision(p) || dense : !stage_is_vision(p) && !dense)
            list[(*count)++] = p;
    }
    return list;
}

enum status stage_head(struct mllm *m, const char *name, int out, int in, struct linear *head,
                       struct err *err)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof(weight), "%s.weight", name);
    snprintf(bias, sizeof(bias), "%s.bias", name);
    head->weight = mllm_attach(m, weight, 2, (int[]){out, in});
    head->bias = mllm_attach(m, bias, 1, (int[]){out});
    if (!head->weight || !head->bias)
        return err_set(err, STATUS_NO_MEMORY, "no room for %s", name);
    struct rng rng;
    rng_init(&rng, 77, (uint64_t)out);
    for (int i = 0; i < out * in; i++)
        head->weight->data[i] = rng_normal(&rng) / sqrtf(3.f * (float)in);
    memset(head->bias->data, 0, (size_t)out * sizeof(float));
    return STATUS_OK;
}

/* ---- the loop every stage shares ---- */

static void checkpoint_path(const struct work *w, const char *stage, char path[STAGE_PATH])
{
    snprintf(path, STAGE_PATH, "%.900s/%s.safetensors", w->dir, stage);
}

static enum status steps_run(struct work *w, struct trainer *t, const struct lesson_plan *plan,
                             const char *checkpoint, struct err *err)
{
    struct progress bar;
    float mean = 0;
    progress_start(&bar, plan->stage->name, "steps", plan->steps, t->opt.step, w->options->quiet);
    for (int64_t step = t->opt.step; step < plan->steps; step++) {
        float loss, lr = schedule_cosine(step, plan->steps, plan->warmup, plan->stage->lr,
                                         plan->stage->floor);
        TRY(plan->prepare(plan->ctx, step, err));
        TRY(trainer_step(t, plan->loss_fn, plan->ctx, w->options->seed * 1000003 + (uint64_t)step,
                         lr, 1.f, &loss, err));
        mean = step == 0 ? loss : .98f * mean + .02f * loss;
        char note[32];
        snprintf(note, sizeof(note), "loss %.3f", (double)mean);
        progress_update(&bar, step + 1, note);
        if ((step + 1) % CHECKPOINT_EVERY == 0 || step + 1 == plan->steps)
            TRY(trainer_save(w->io, t, checkpoint, err));
    }
    progress_finish(&bar, NULL);
    return STATUS_OK;
}

enum status stage_train(struct work *w, struct param **list, int count,
                        const struct lesson_plan *plan, struct err *err)
{
    struct trainer trainer;
    struct adamw opt = {.beta1 = .9f, .beta2 = .98f, .eps = 1e-8f, .weight_decay = .05f};
    char checkpoint[STAGE_PATH];
    checkpoint_path(w, plan->stage->name, checkpoint);
    enum status status = trainer_init(&trainer, w->pool, list, count, opt, plan->stage->shards,
                                      (size_t)2 << 30, err);
    if (status == STATUS_OK && io_exists(checkpoint))
        status = trainer_load(w->io, &trainer, checkpoint, err);
    if (status == STATUS_OK)
        status = steps_run(w, &trainer, plan, checkpoint, err);
    trainer_deinit(&trainer);
    return status == STATUS_OK ? status : err_prefix(err, "stage %s", plan->stage->name);
}

int64_t stage_steps(const struct work *w, const struct stage *stage)
{
    int64_t n = (int64_t)((double)stage->steps * w->options->effort);
    return n < 2 ? 2 : n;
}
