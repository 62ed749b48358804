/* See pretrain.h. Settings as measured in the recipe; where they differ the comment says why. */
#include "model/task/pretrain.h"

#include "model/task/stage.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const struct stage VISION = {"vision", "all", 3000, 2e-3f, .03f, 0, 2, NULL};
static const struct stage BASE = {"base", "known", 3600, 1e-3f, .1f, 6, 4, EVEN};
static const struct stage TEACHER = {"teacher", "all", 7500, 8e-4f, .03f, 6, 4, PLACES};
static const struct stage STUDENT = {"student", "known", 1800, 1e-3f, .03f, 6, 4, EVEN};
static const struct stage SOURCE = {"source", "source", 900, 1.2e-3f, .03f, 8, 4, EVEN};

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

/* ---- the student starts from every second layer pair of the base ---- */

static const struct param *student_source(const struct mllm *base, const struct param *p)
{
    static const char LAYER[] = "qformer.encoder.layer.";
    if (has_prefix(p->name, LAYER)) {
        char name[256], *rest;
        long layer = strtol(p->name + strlen(LAYER), &rest, 10);
        snprintf(name, sizeof(name), "%s%ld%s", LAYER, layer / 2 * 4 + layer % 2, rest);
        return mllm_find(base, name);
    }
    bool shared = stage_is_vision(p) || has_prefix(p->name, "qformer.") ||
                  strcmp(p->name, "query_tokens") == 0;
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
    char path[STAGE_PATH];
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
    char dir[STAGE_PATH], from[STAGE_PATH], to[STAGE_PATH];
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
    TRY(vision_train(w, teacher, &VISION, err));
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
