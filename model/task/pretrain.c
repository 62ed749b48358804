/* See pretrain.h. Settings as measured in the recipe; where they differ the comment says why. */
#include "model/task/pretrain.h"

#include "api/base/clock.h"
#include "api/base/log.h"
#include "api/base/progress.h"
#include "model/task/curriculum.h"
#include "model/task/evaluate.h"
#include "model/tensor/trainer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, WARMUP = 200, VISION_WARMUP = 60, CHECKPOINT_EVERY = 500, PATH_BYTES = 1024 };

/* How often a kind is asked. Relations and comparisons, the slow ones, more often than in use; and
 * in the teacher's last stage most of all where things are, which both of them rest on. */
static const float EVEN[KINDS] = {
    [KIND_COLOR] = .14f, [KIND_SHAPE] = .16f,    [KIND_TEXTURE] = .11f, [KIND_COUNT] = .09f,
    [KIND_EXIST] = .11f, [KIND_RELATION] = .16f, [KIND_COMPARE] = .13f, [KIND_OBJECT] = .10f,
};
static const float PLACES[KINDS] = {
    [KIND_COLOR] = .11f, [KIND_SHAPE] = .14f,    [KIND_TEXTURE] = .08f, [KIND_COUNT] = .06f,
    [KIND_EXIST] = .13f, [KIND_RELATION] = .14f, [KIND_COMPARE] = .12f, [KIND_OBJECT] = .22f,
};

struct stage {
    const char *name, *domain;
    int steps;
    float lr, floor;
    int caption_every; /* one step in so many asks for captions, half a batch; 0: never */
    int shards;        /* fixed, so that the result does not depend on the threads */
    const float *share;
};

static const struct stage VISION = {"vision", "all", 3000, 2e-3f, .03f, 0, 2, NULL};
static const struct stage BASE = {"base", "known", 3600, 1e-3f, .1f, 6, 4, EVEN};
static const struct stage TEACHER = {"teacher", "all", 7500, 8e-4f, .03f, 6, 4, PLACES};
static const struct stage STUDENT = {"student", "known", 1800, 1e-3f, .03f, 6, 4, EVEN};
static const struct stage SOURCE = {"source", "source", 900, 1.2e-3f, .03f, 8, 4, EVEN};

struct work {
    struct io *io;
    struct pool *pool;
    const struct pretrain_options *options;
    char dir[PATH_BYTES];
};

/* ---- configurations ---- */

static struct mllm_config config_of(bool teacher, bool tiny, int vocab)
{
    struct mllm_config c = {.multimodal = true, .queries = 8};
    c.vision.hidden = tiny ? 32 : 96;
    c.vision.layers = tiny ? 1 : 3;
    c.vision.heads = 4;
    c.vision.ffn = 4 * c.vision.hidden;
    c.vision.image = WORLD_SIZE;
    c.vision.patch = 8;
    c.vision.eps = 1e-6f;
    c.vision.qkv_bias = true;
    c.qformer.hidden = tiny ? 32 : 128;
    c.qformer.layers = teacher ? 8 : 4;
    c.qformer.heads = 4;
    c.qformer.ffn = 3 * c.qformer.hidden;
    c.qformer.vocab = vocab;
    c.qformer.positions = 64;
    c.qformer.encoder_hidden = c.vision.hidden;
    c.qformer.cross_every = 2;
    c.qformer.eps = 1e-12f;
    c.qformer.text = true;
    c.text.hidden = tiny ? 32 : teacher ? 192 : 128;
    c.text.layers = tiny ? 2 : teacher ? 4 : 3;
    c.text.heads = c.text.kv_heads = 4;
    c.text.ffn = tiny ? 64 : teacher ? 512 : 336;
    c.text.vocab = vocab;
    c.text.positions = 256;
    c.text.eps = 1e-5f;
    c.text.theta = 10000;
    c.text.bos = 1;
    c.text.eos = 2;
    c.text.pad = 0;
    snprintf(c.prompt, sizeof(c.prompt), "{question}\n");
    return c;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Deviation of a fresh weight: 1/sqrt(3 fan-in) as PyTorch's linear layers, which leave the plateau
 * sooner at these widths than HF's 0.02; embeddings as in the recipe. */
static float weight_deviation(const struct param *p)
{
    if (strcmp(p->name, "query_tokens") == 0 || strstr(p->name, "embed_tokens"))
        return .5f;
    if (strstr(p->name, "word_embeddings"))
        return .3f;
    if (strstr(p->name, "qformer") && strstr(p->name, "position_embeddings"))
        return .1f;
    if (strstr(p->name, "position_embedding") || strstr(p->name, "class_embedding"))
        return .1f;
    size_t inputs = param_count(p) / (size_t)p->dim[0];
    return 1.f / sqrtf(3.f * (float)inputs);
}

static void weights_init(struct mllm *m, uint64_t seed)
{
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = &m->params[i];
        if (p->ndim < 2)
            continue; /* norms 1, biases 0 as mllm_create left them */
        struct rng rng;
        rng_init(&rng, seed, (uint64_t)i);
        float deviation = weight_deviation(p);
        for (size_t j = 0; j < param_count(p); j++)
            p->data[j] = deviation * rng_normal(&rng);
    }
}

static bool is_vision(const struct param *p)
{
    return has_prefix(p->name, "vision_model.");
}

/* What the files will hold: both models must see the encoder as it will be saved. */
static void vision_round(struct mllm *m)
{
    for (int i = 0; i < m->param_count; i++) {
        struct param *p = &m->params[i];
        for (size_t j = 0; is_vision(p) && j < param_count(p); j++) {
            uint16_t half;
            f32_to_bf16(&p->data[j], 1, &half);
            dtype_to_f32(DTYPE_BF16, &half, 1, &p->data[j]);
        }
    }
}

/* ---- the trained list: every parameter of the wanted part, attached heads included ---- */

static struct param **params_of(struct mllm *m, bool vision, int *count)
{
    struct param **list = calloc((size_t)m->param_count, sizeof(*list));
    *count = 0;
    for (int i = 0; list && i < m->param_count; i++) {
        struct param *p = &m->params[i];
        bool dense = has_prefix(p->name, "pretrain.dense");
        if (vision ? is_vision(p) || dense : !is_vision(p) && !dense)
            list[(*count)++] = p;
    }
    return list;
}

static enum status head_attach(struct mllm *m, const char *name, int out, int in,
                               struct linear *head, struct err *err)
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

struct lesson_plan {
    const struct stage *stage;
    int64_t steps, warmup;
    trainer_loss loss_fn;
    void *ctx;
    enum status (*prepare)(void *ctx, int64_t step, struct err *err);
};

static void checkpoint_path(const struct work *w, const char *stage, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%.900s/%s.safetensors", w->dir, stage);
}

static enum status stage_steps(struct work *w, struct trainer *t, const struct lesson_plan *plan,
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

/* Trains `list` by the plan, from its checkpoint if there is one. */
static enum status stage_train(struct work *w, struct param **list, int count,
                               const struct lesson_plan *plan, struct err *err)
{
    struct trainer trainer;
    struct adamw opt = {.beta1 = .9f, .beta2 = .98f, .eps = 1e-8f, .weight_decay = .05f};
    char checkpoint[PATH_BYTES];
    checkpoint_path(w, plan->stage->name, checkpoint);
    enum status status = trainer_init(&trainer, w->pool, list, count, opt, plan->stage->shards,
                                      (size_t)2 << 30, err);
    if (status == STATUS_OK && io_exists(checkpoint))
        status = trainer_load(w->io, &trainer, checkpoint, err);
    if (status == STATUS_OK)
        status = stage_steps(w, &trainer, plan, checkpoint, err);
    trainer_deinit(&trainer);
    return status == STATUS_OK ? status : err_prefix(err, "stage %s", plan->stage->name);
}

static int64_t scaled(const struct work *w, int64_t steps)
{
    int64_t n = (int64_t)((double)steps * w->options->effort);
    return n < 2 ? 2 : n;
}

/* ---- vision: dense labels ---- */

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
    mllm_pixels(rgb, WORLD_SIZE, batch->pixels.data + (size_t)b * 3 * WORLD_SIZE * WORLD_SIZE);
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
        vision_image(v, (uint64_t)(v->step * BATCH + from + b), b, batch);
    return true;
}

static struct tensor vision_loss(void *ctx, struct tape *tape, int shard, int shards)
{
    const struct vision_lesson *v = ctx;
    int from = BATCH * shard / shards, n = BATCH * (shard + 1) / shards - from;
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
        factor[k] = HEAD_WEIGHT[k] * (float)n / BATCH;
    }
    return op_weighted_sum(tape, loss, factor, HEADS);
}

static enum status vision_train(struct work *w, struct mllm *m, struct err *err)
{
    struct vision_lesson v = {.model = m, .seed = w->options->seed};
    const int classes[HEADS] = {1 + world_shapes(), 1 + world_colors(), 1 + world_textures(), 3,
                                WORLD_PATCHES,      1 + WORLD_OBJECTS};
    TRY(world_domain_parse(VISION.domain, &v.domain, err));
    for (int k = 0; k < HEADS; k++) {
        char name[32];
        snprintf(name, sizeof(name), "pretrain.dense%d", k);
        TRY(head_attach(m, name, classes[k], m->config.vision.hidden, &v.head[k], err));
    }
    int count;
    struct param **list = params_of(m, true, &count);
    if (!list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the parameter list");
    struct lesson_plan plan = {.stage = &VISION,
                               .steps = scaled(w, VISION.steps),
                               .warmup = VISION_WARMUP,
                               .loss_fn = vision_loss,
                               .ctx = &v,
                               .prepare = vision_prepare};
    enum status status = stage_train(w, list, count, &plan, err);
    free(list);
    vision_round(m);
    return status;
}

/* ---- language: questions, answers, captions ---- */

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
    l->batch = captions ? BATCH / 2 : BATCH;
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

static enum status language_train(struct work *w, struct mllm *m, const struct stage *stage,
                                  struct err *err)
{
    struct language_lesson l = {.model = m, .stage = stage};
    int count;
    l.aux.weight = mllm_find(m, "pretrain.aux.weight");
    l.aux.bias = mllm_find(m, "pretrain.aux.bias");
    if (!l.aux.weight)
        TRY(head_attach(m, "pretrain.aux", m->config.text.vocab, m->config.qformer.hidden, &l.aux,
                        err));
    struct param **list = params_of(m, false, &count);
    if (!list)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the parameter list");
    enum status status = curriculum_init(&l.curriculum, m, w->pool, stage->domain, stage->share,
                                         w->options->seed, err);
    struct lesson_plan plan = {.stage = stage,
                               .steps = scaled(w, stage->steps),
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

/* ---- the student starts from every second layer pair of the base ---- */

static const struct param *student_source(const struct mllm *base, const struct param *p)
{
    int layer, end = 0;
    char name[256];
    if (sscanf(p->name, "qformer.encoder.layer.%d.%n", &layer, &end) == 1 && end > 0) {
        snprintf(name, sizeof(name), "qformer.encoder.layer.%d.%s", layer / 2 * 4 + layer % 2,
                 p->name + end);
        return mllm_find(base, name);
    }
    bool shared =
        is_vision(p) || has_prefix(p->name, "qformer.") || strcmp(p->name, "query_tokens") == 0;
    return shared ? mllm_find(base, p->name) : NULL;
}

static void student_init(struct mllm *student, const struct mllm *base, uint64_t seed)
{
    weights_init(student, seed);
    for (int i = 0; i < student->param_count; i++) {
        struct param *p = &student->params[i];
        const struct param *from = student_source(base, p);
        if (from && param_count(from) == param_count(p))
            memcpy(p->data, from->data, param_count(p) * sizeof(float));
    }
}

/* ---- tokenizer ---- */

enum { TEXTS = 24000, TEXT_BYTES = WORLD_CAPTION + 2 };

static void texts_draw(const struct world_domain *domain, uint64_t seed, char **texts, int n)
{
    for (int i = 0; i < n; i += 2) {
        struct world_scene scene;
        struct world_question question;
        struct rng rng;
        world_scene_draw(domain, seed, (uint64_t)i, &scene);
        rng_init(&rng, seed, (uint64_t)i);
        world_ask(&scene, domain, i % 20 == 0 ? (int)KIND_CAPTION : -1, &rng, &question);
        snprintf(texts[i], TEXT_BYTES, "%s\n", question.text);
        snprintf(texts[i + 1], TEXT_BYTES, " %s", question.answer); /* as answer_target does */
    }
}

static enum status tokenizer_train_world(struct work *w, int vocab, struct err *err)
{
    static const char *const SPECIALS[] = {"<pad>", "<s>", "</s>"};
    struct world_domain domain;
    TRY(world_domain_parse("all", &domain, err));
    char **texts = calloc(TEXTS, sizeof(char *)), *memory = calloc(TEXTS, TEXT_BYTES);
    enum status status = STATUS_NO_MEMORY;
    if (texts && memory) {
        for (int i = 0; i < TEXTS; i++)
            texts[i] = memory + (size_t)i * TEXT_BYTES;
        texts_draw(&domain, w->options->seed, texts, TEXTS);
        status = tokenizer_train(w->io, w->dir, (const char *const *)texts, TEXTS, vocab, SPECIALS,
                                 3, err);
    }
    free(texts);
    free(memory);
    return status;
}

/* A resumed run keeps its tokenizer: the checkpoints mean its ids, whatever the world says by now.
 */
static enum status tokenizer_make(struct work *w, int vocab, struct tokenizer **out,
                                  struct err *err)
{
    char path[PATH_BYTES];
    TRY(io_join(path, sizeof(path), w->dir, "tokenizer.json", err));
    if (!io_exists(path))
        TRY(tokenizer_train_world(w, vocab, err));
    return tokenizer_load(w->io, w->dir, out, err);
}

/* ---- all of it ---- */

static enum status model_create(const struct work *w, bool teacher, struct tokenizer *tokenizer,
                                struct mllm **out, struct err *err)
{
    struct mllm_config config = config_of(teacher, w->options->tiny, tokenizer_vocab(tokenizer));
    TRY(mllm_create(&config, w->options->seed, out, err));
    (*out)->tokenizer = tokenizer_retain(tokenizer);
    (*out)->qformer_tokenizer = tokenizer_retain(tokenizer);
    weights_init(*out, w->options->seed + (teacher ? 1 : 2));
    return STATUS_OK;
}

static enum status model_write(const struct work *w, const struct mllm *m, const char *name,
                               struct err *err)
{
    char dir[PATH_BYTES], from[PATH_BYTES], to[PATH_BYTES];
    struct buf text = {.max = 16 << 20};
    TRY(io_join(dir, sizeof(dir), w->options->out, name, err));
    TRY(io_make_dirs(w->io, dir, err));
    TRY(mllm_save(w->io, m, dir, DTYPE_BF16, err));
    TRY(io_join(from, sizeof(from), w->dir, "tokenizer.json", err));
    TRY(io_join(to, sizeof(to), dir, "tokenizer.json", err));
    enum status status = io_read_file(w->io, from, &text, err);
    if (status == STATUS_OK)
        status = io_write_file(w->io, to, text.data, text.len, err);
    buf_free(&text);
    return status;
}

static enum status pair_train(struct work *w, struct mllm *teacher, struct mllm *student,
                              struct err *err)
{
    TRY(vision_train(w, teacher, err));
    TRY(language_train(w, teacher, &BASE, err));
    TRY(model_write(w, teacher, "teacher", err)); /* something to try while the rest trains */
    student_init(student, teacher, w->options->seed + 2);
    TRY(language_train(w, student, &STUDENT, err));
    TRY(language_train(w, student, &SOURCE, err));
    TRY(model_write(w, student, "student", err));
    TRY(language_train(w, teacher, &TEACHER, err));
    return model_write(w, teacher, "teacher", err);
}

enum status pretrain_run(struct io *io, struct pool *pool, const struct pretrain_options *options,
                         struct err *err)
{
    struct work w = {.io = io, .pool = pool, .options = options};
    struct tokenizer *tokenizer = NULL;
    struct mllm *teacher = NULL, *student = NULL;
    if (options->work)
        snprintf(w.dir, sizeof(w.dir), "%s", options->work);
    else
        TRY(io_join(w.dir, sizeof(w.dir), options->out, "work", err));
    TRY(io_make_dirs(io, w.dir, err));
    enum status status = tokenizer_make(&w, options->tiny ? 512 : 768, &tokenizer, err);
    if (status == STATUS_OK)
        status = model_create(&w, true, tokenizer, &teacher, err);
    if (status == STATUS_OK)
        status = model_create(&w, false, tokenizer, &student, err);
    if (status == STATUS_OK)
        status = pair_train(&w, teacher, student, err);
    mllm_release(student);
    mllm_release(teacher);
    tokenizer_destroy(tokenizer);
    return status;
}
