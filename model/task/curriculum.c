/* See curriculum.h. */
#include "model/task/curriculum.h"

#include "model/mllm/answer.h"
#include <stdlib.h>
#include <string.h>

enum {
    CURRICULUM_TOKENS = 1024,
    REFILL = 16,
    ENCODE_CHUNK = 64,
    IMAGE_BYTES = WORLD_SIZE * WORLD_SIZE * 3
};

enum status curriculum_init(struct curriculum *c, const struct mllm *model, struct pool *pool,
                            const char *domain, int slots, const float share[KINDS], uint64_t seed,
                            struct err *err)
{
    memset(c, 0, sizeof(*c));
    TRY(world_domain_parse(domain, &c->domain, err));
    int side = model->config.vision.image / model->config.vision.patch;
    if (1 + side * side > CURRICULUM_TOKENS)
        return err_set(err, STATUS_TOO_LARGE, "%d visual tokens: at most %d", 1 + side * side,
                       CURRICULUM_TOKENS);
    c->model = model;
    c->pool = pool;
    c->seed = seed;
    c->slots = slots;
    c->refill = REFILL;
    c->tokens = 1 + side * side;
    c->width = model->config.vision.hidden;
    memcpy(c->share, share, sizeof(c->share));
    c->scene = calloc((size_t)c->slots, sizeof(*c->scene));
    c->encoded = calloc((size_t)c->slots * (size_t)c->tokens * (size_t)c->width, sizeof(float));
    if (!c->scene || !c->encoded)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d encoded scenes", c->slots);
    return STATUS_OK;
}

void curriculum_deinit(struct curriculum *c)
{
    free(c->scene);
    free(c->encoded);
    memset(c, 0, sizeof(*c));
}

/* Draws, renders and encodes scenes [first, first + n); n <= ENCODE_CHUNK, slots in a row. */
static enum status ring_fill(struct curriculum *c, int64_t first, int n, struct err *err)
{
    size_t slot = (size_t)(first % c->slots);
    uint8_t *rgb = malloc((size_t)n * IMAGE_BYTES);
    if (!rgb)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d images", n);
    for (int i = 0; i < n; i++) {
        struct world_scene *scene = &c->scene[slot + (size_t)i];
        world_scene_draw(&c->domain, c->seed, (uint64_t)(first + i), scene);
        world_scene_render(scene, rgb + (size_t)i * IMAGE_BYTES, NULL);
    }
    float *out = c->encoded + slot * (size_t)c->tokens * (size_t)c->width;
    enum status status = answer_encode(c->model, c->pool, rgb, n, out, err);
    free(rgb);
    return status;
}

/* Scenes 0 .. slots-1 fill the ring; step s replaces `refill` of them. Only what is still visible
 * at `step` is encoded, so a resumed run starts at once. */
static enum status ring_advance(struct curriculum *c, int64_t step, struct err *err)
{
    int64_t wanted = c->slots + step * c->refill;
    int64_t from = c->filled > wanted - c->slots ? c->filled : wanted - c->slots;
    while (from < wanted) {
        int64_t to_wrap = c->slots - from % c->slots;
        int64_t n = wanted - from < ENCODE_CHUNK ? wanted - from : ENCODE_CHUNK;
        n = n < to_wrap ? n : to_wrap;
        TRY(ring_fill(c, from, (int)n, err));
        from += n;
    }
    c->filled = wanted;
    return STATUS_OK;
}

static int kind_draw(const struct curriculum *c, struct rng *rng)
{
    float u = rng_uniform(rng);
    for (int kind = 0; kind < KINDS; kind++)
        if ((u -= c->share[kind]) < 0)
            return kind;
    return KIND_COLOR;
}

static enum status lesson_draw(struct curriculum *c, int64_t step, int i, struct err *err)
{
    struct lesson *lesson = &c->lesson[i];
    struct world_question question;
    struct rng rng;
    rng_init(&rng, c->seed ^ 0x9e3779b97f4a7c15u, (uint64_t)step * LESSON_BATCH_MAX + (uint64_t)i);
    lesson->slot = (int)rng_below(&rng, (uint32_t)c->slots);
    int kind = c->captions ? (int)KIND_CAPTION : kind_draw(c, &rng);
    world_ask(&c->scene[lesson->slot], &c->domain, kind, &rng, &question);
    lesson->seed = rng_u64(&rng);
    TRY(answer_prompt(c->model, question.text, lesson->text, &lesson->prompt_count,
                      lesson->question, &lesson->question_count, LESSON_IDS / 2, err));
    int answer_count = 0;
    TRY(answer_target(c->model, question.answer, lesson->text + lesson->prompt_count, &answer_count,
                      LESSON_IDS - lesson->prompt_count, err));
    lesson->text_count = lesson->prompt_count + answer_count;
    return STATUS_OK;
}

/* Longest first: lessons of like length share a shard, which spares padding. */
static int lesson_compare(const void *a, const void *b)
{
    const struct lesson *x = a, *y = b;
    if (x->text_count != y->text_count)
        return y->text_count - x->text_count;
    return x->seed < y->seed ? -1 : x->seed > y->seed;
}

enum status curriculum_step(struct curriculum *c, int64_t step, int batch, bool captions,
                            struct err *err)
{
    if (batch < 1 || batch > LESSON_BATCH_MAX)
        return err_set(err, STATUS_TOO_LARGE, "batch %d: 1 to %d", batch, LESSON_BATCH_MAX);
    TRY(ring_advance(c, step, err));
    c->batch = batch;
    c->captions = captions;
    for (int i = 0; i < batch; i++)
        TRY(lesson_draw(c, step, i, err));
    qsort(c->lesson, (size_t)batch, sizeof(*c->lesson), lesson_compare);
    return STATUS_OK;
}

int curriculum_rows(const struct curriculum *c, int from, int n)
{
    int rows = 0;
    for (int i = from; i < from + n; i++)
        rows += c->lesson[i].text_count - c->lesson[i].prompt_count;
    return rows;
}

/* keep of the scene's tokens in random order (the Q-Former does not mind the order) */
static void visual_gather(const struct curriculum *c, const struct lesson *lesson, int keep,
                          float *out)
{
    int32_t order[CURRICULUM_TOKENS];
    struct rng rng;
    rng_init(&rng, lesson->seed, 1);
    for (int t = 0; t < c->tokens; t++)
        order[t] = t;
    if (keep < c->tokens)
        rng_shuffle(&rng, order, c->tokens);
    const float *scene = c->encoded + (size_t)lesson->slot * (size_t)c->tokens * (size_t)c->width;
    for (int t = 0; t < keep; t++)
        memcpy(out + (size_t)t * (size_t)c->width, scene + (size_t)order[t] * (size_t)c->width,
               (size_t)c->width * sizeof(float));
}

static void batch_size(const struct curriculum *c, int from, int n, struct lesson_batch *out)
{
    for (int i = from; i < from + n; i++) {
        const struct lesson *lesson = &c->lesson[i];
        if (lesson->question_count > out->model.question_T)
            out->model.question_T = lesson->question_count;
        if (lesson->text_count - 1 > out->model.text_T)
            out->model.text_T = lesson->text_count - 1;
    }
}

/* The text of lesson i as row b, and the rows of hidden that predict its answer. */
static void batch_lesson(const struct curriculum *c, const struct lesson *lesson, int b,
                         int32_t *question, int *question_count, int32_t *text,
                         struct lesson_batch *out)
{
    struct mllm_batch *m = &out->model;
    memcpy(question + (size_t)b * (size_t)m->question_T, lesson->question,
           (size_t)lesson->question_count * sizeof(int32_t));
    question_count[b] = lesson->question_count;
    memcpy(text + (size_t)b * (size_t)m->text_T, lesson->text,
           (size_t)(lesson->text_count - 1) * sizeof(int32_t));
    out->first[b] = lesson->text[lesson->prompt_count];
    int base = b * (c->model->config.queries + m->text_T) + c->model->config.queries;
    for (int t = lesson->prompt_count; t < lesson->text_count; t++) {
        out->rows[out->row_count] = base + t - 1;
        out->labels[out->row_count++] = lesson->text[t];
    }
}

void curriculum_batch(const struct curriculum *c, struct tape *tape, int from, int n, int keep,
                      struct lesson_batch *out)
{
    memset(out, 0, sizeof(*out));
    out->model.B = n;
    batch_size(c, from, n, out);
    size_t questions = (size_t)n * (size_t)out->model.question_T;
    size_t texts = (size_t)n * (size_t)out->model.text_T;
    size_t rows = (size_t)curriculum_rows(c, from, n);
    int32_t *question = tape_alloc(tape, questions * sizeof(int32_t));
    int32_t *text = tape_alloc(tape, texts * sizeof(int32_t));
    int *question_count = tape_alloc(tape, (size_t)n * sizeof(int));
    out->first = tape_alloc(tape, (size_t)n * sizeof(int32_t));
    out->rows = tape_alloc(tape, rows * sizeof(int32_t));
    out->labels = tape_alloc(tape, rows * sizeof(int32_t));
    out->model.visual = tape_tensor(tape, false, 3, (int[]){n, keep, c->width});
    if (tape->status != STATUS_OK)
        return;
    memset(question, 0, questions * sizeof(int32_t));
    memset(text, 0, texts * sizeof(int32_t));
    for (int b = 0; b < n; b++) {
        batch_lesson(c, &c->lesson[from + b], b, question, question_count, text, out);
        visual_gather(c, &c->lesson[from + b], keep,
                      out->model.visual.data + (size_t)b * (size_t)keep * (size_t)c->width);
    }
    out->model.question = question;
    out->model.question_count = question_count;
    out->model.text = text;
}
