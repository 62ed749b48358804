/* Vision lessons: the encoder learns from dense labels of every patch (stage.h). */
#include "model/task/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARMUP = 60 };

/* What is read off the tokens: of every patch its object's shape, colour, texture and size, and
 * where it lies (without which the tokens forget their place, and relations are never learned); of
 * the class token how many objects there are. */
enum { HEAD_SHAPE, HEAD_COLOR, HEAD_TEXTURE, HEAD_SIZE, HEAD_PLACE, HEAD_COUNT, HEADS };
static const float HEAD_WEIGHT[HEADS] = {1.f, 1.f, 1.f, 1.f, .3f, .3f};

struct vision_lesson {
    const struct mllm *model;
    struct world_domain domain;
    uint64_t seed;
    int64_t step;
    struct linear head[HEADS];
};

static enum status vision_prepare(void *ctx, int64_t step, struct err *err)
{
    (void)err;
    ((struct vision_lesson *)ctx)->step = step;
    return STATUS_OK;
}

struct vision_batch {
    struct tensor pixels;
    int32_t *labels[HEADS];
    float *weight; /* foreground patches count fully, background little */
};

static void vision_image(const struct vision_lesson *v, uint64_t index, int b,
                         struct vision_batch *batch)
{
    struct world_scene scene;
    uint8_t rgb[WORLD_SIZE * WORLD_SIZE * 3], labels[WORLD_PATCHES][4];
    world_scene_draw(&v->domain, v->seed ^ 0x5eed, index, &scene);
    world_scene_render(&scene, rgb, labels);
    preprocess_pixels(&v->model->preprocess, rgb, WORLD_SIZE,
                      batch->pixels.data + (size_t)b * 3 * WORLD_SIZE * WORLD_SIZE);
    for (int p = 0; p < WORLD_PATCHES; p++) {
        for (int k = 0; k < 4; k++)
            batch->labels[k][b * WORLD_PATCHES + p] = labels[p][k];
        batch->labels[HEAD_PLACE][b * WORLD_PATCHES + p] = p;
        batch->weight[b * WORLD_PATCHES + p] = labels[p][0] ? 1.f : .15f;
    }
    batch->labels[HEAD_COUNT][b] = scene.count;
}

static bool vision_draw(const struct vision_lesson *v, struct tape *tape, int from, int n,
                        struct vision_batch *batch)
{
    size_t patches = (size_t)n * WORLD_PATCHES;
    batch->pixels = tape_tensor(tape, false, 4, (int[]){n, 3, WORLD_SIZE, WORLD_SIZE});
    batch->weight = tape_alloc(tape, patches * sizeof(float));
    for (int k = 0; k < HEADS; k++)
        batch->labels[k] = tape_alloc(tape, patches * sizeof(int32_t));
    if (tape->status != STATUS_OK)
        return false;
    for (int b = 0; b < n; b++)
        vision_image(v, (uint64_t)(v->step * STAGE_BATCH + from + b), b, batch);
    return true;
}

static struct tensor vision_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    const struct vision_lesson *v = ctx;
    int from = STAGE_BATCH * shard / shards, n = STAGE_BATCH * (shard + 1) / shards - from;
    struct vision_batch batch;
    struct tensor none = {0}, loss[HEADS];
    float factor[HEADS];
    if (!vision_draw(v, tape, from, n, &batch))
        return none;
    struct tensor x = vision_forward(tape, v->model, batch.pixels, 0);
    struct tensor patches = op_slice(tape, x, 1, WORLD_PATCHES);
    struct tensor whole = op_slice(tape, x, 0, 1);
    for (int k = 0; k < HEADS; k++) {
        bool count = k == HEAD_COUNT;
        int rows = count ? n : n * WORLD_PATCHES;
        struct tensor logits = op_linear(tape, count ? whole : patches, &v->head[k]);
        if (tape->status != STATUS_OK)
            return none;
        logits = tensor_reshape(logits, 2, (int[]){rows, tensor_cols(logits)});
        loss[k] = count ? op_cross_entropy(tape, logits, batch.labels[k])
                        : op_cross_entropy_weighted(tape, logits, batch.labels[k], batch.weight);
        factor[k] = HEAD_WEIGHT[k] * (float)n / STAGE_BATCH;
    }
    return op_weighted_sum(tape, loss, factor, HEADS);
}

/* What the files will hold: both models must see the encoder as it will be saved. */
static void vision_round(struct mllm *m)
{
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = &m->params[i];
        for (size_t j = 0; stage_is_vision(p) && j < param_count(p); j++) {
            uint16_t half;
            f32_to_bf16(&p->data[j], 1, &half);
            dtype_to_f32(DTYPE_BF16, &half, 1, &p->data[j]);
        }
    }
}

enum status vision_train(struct work *w, struct mllm *m, const struct stage *stage, struct err *err)
{
    struct vision_lesson v = {.model = m, .seed = w->options->seed};
    const int classes[HEADS] = {1 + world_shapes(), 1 + world_colors(), 1 + world_textures(), 3,
                                WORLD_PATCHES,      1 + WORLD_OBJECTS};
    TRY(world_domain_parse(stage->domain, &v.domain, err));
    for (int k = 0; k < HEADS; k++) {
        char name[32];
        snprintf(name, sizeof(name), "pretrain.dense%d", k);
        TRY(stage_head(m, name, classes[k], m->config.vision.hidden, &v.head[k], err));
    }
    int count;
    struct param **list = stage_params(m, true, &count);
    if (!list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the parameter list");
    struct lesson_plan plan = {.stage = stage,
                               .steps = stage_steps(w, stage),
                               .warmup = WARMUP,
                               .loss_fn = vision_loss,
                               .ctx = &v,
                               .prepare = vision_prepare};
    enum status status = stage_train(w, list, count, &plan, err);
    free(list);
    vision_round(m);
    return status;
}
