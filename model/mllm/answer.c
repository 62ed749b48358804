/* Questions in, answers out. Asks are tokenised, sorted by the length of their prompt and cut into
 * chunks of equal length, so that a chunk needs no padding in LLaMA; chunks go over the pool, one
 * tape and arena per worker. What an ask gets does not depend on the pool. */
#include "model/mllm/answer.h"

#include "model/mllm/generation.h"
#include "model/mllm/prompt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 32,
    IMAGES = 16,
    PROMPT_IDS = 768,
    TEXT_BYTES = 2048,
    WORKERS = 64,
    PROMPT_BYTES = 1 << 20
};
static const size_t WORKER_BYTES = (size_t)4 << 30; /* address space; touched as needed */

/* ---- text -> ids ---- */

static enum status need_tokenizer(const struct mllm *m, struct err *err)
{
    if (!m->tokenizer)
        return err_set(err, STATUS_UNSUPPORTED,
                       "the model has no tokenizer; its directory needs a tokenizer.json, a "
                       "tokenizer.model or a vocab.txt");
    return STATUS_OK;
}

static enum status encode(const struct tokenizer *t, struct tokenizer_text text, unsigned how,
                          int32_t *ids, int max, int *count, struct err *err)
{
    size_t n = 0;
    text.len = strlen(text.text);
    TRY(tokenizer_encode_as(t, &text, how, ids, max > 0 ? (size_t)max : 0, &n, err));
    *count = (int)n;
    return STATUS_OK;
}

/* The config's template with {question} replaced. */
static enum status apply_template(const struct mllm *m, const char *question, struct buf *out,
                                  struct err *err)
{
    const char *mark = strstr(m->config.prompt, "{question}");
    enum status status = buf_printf(out, "%.*s%s%s", (int)(mark - m->config.prompt),
                                    m->config.prompt, question, mark + strlen("{question}"));
    if (status == STATUS_TOO_LARGE)
        return err_set(err, status, "the question has %zu bytes; at most %zu", strlen(question),
                       out->max - strlen(m->config.prompt) - 1);
    return status == STATUS_OK ? status : err_set(err, status, "no memory for a prompt");
}

/* Special tokens of the template are special, those of the question are text. */
static enum status encode_prompt(const struct mllm *m, const char *question, int32_t *ids, int max,
                                 int *count, struct err *err)
{
    struct buf text = {.max = PROMPT_BYTES};
    enum status status = apply_template(m, question, &text, err);
    if (status == STATUS_OK) {
        size_t from = (size_t)(strstr(m->config.prompt, "{question}") - m->config.prompt);
        struct tokenizer_text prompt = {.text = (const char *)text.data,
                                        .plain_from = from,
                                        .plain_to = from + strlen(question)};
        status =
            encode(m->tokenizer, prompt, TOKENIZER_SPECIALS | TOKENIZER_WRAP, ids, max, count, err);
    }
    buf_free(&text);
    return status;
}

/* BOS comes from the tokenizer's files or, where they are silent, from the config. */
enum status answer_prompt(const struct mllm *m, const char *question, int32_t *text_ids,
                          int *text_count, int32_t *question_ids, int *question_count, int max,
                          struct err *err)
{
    int n = 0;
    *question_count = 0;
    TRY(need_tokenizer(m, err));
    int bos = m->config.text.bos >= 0 && !tokenizer_wraps(m->tokenizer);
    if (max < bos)
        return err_set(err, STATUS_TOO_LARGE, "no room for a prompt");
    if (bos)
        text_ids[0] = m->config.text.bos;
    TRY(encode_prompt(m, question, text_ids + bos, max - bos, &n, err));
    *text_count = n + bos;
    if (!m->config.multimodal || !m->config.qformer.text)
        return STATUS_OK;
    int limit = max < m->config.qformer.positions ? max : m->config.qformer.positions;
    return encode(m->qformer_tokenizer, (struct tokenizer_text){.text = question}, TOKENIZER_WRAP,
                  question_ids, limit, question_count, err);
}

enum status answer_target(const struct mllm *m, const char *text, int32_t *ids, int *count, int max,
                          struct err *err)
{
    char spaced[TEXT_BYTES];
    TRY(need_tokenizer(m, err));
    const char *blank = tokenizer_adds_blank(m->tokenizer) ? "" : " ";
    int n = snprintf(spaced, sizeof spaced, "%s%s", blank, text), end = m->config.text.eos >= 0;
    if (n < 0 || (size_t)n >= sizeof spaced || max < end)
        return err_set(err, STATUS_TOO_LARGE, "an answer of %zu bytes", strlen(text));
    TRY(encode(m->tokenizer, (struct tokenizer_text){.text = spaced}, 0, ids, max - end, count,
               err));
    if (end)
        ids[(*count)++] = m->config.text.eos;
    return STATUS_OK;
}

/* ---- the plan: ids of every ask, chunks of equal prompt length ---- */

struct ask_ids {
    int32_t text[PROMPT_IDS], question[PROMPT_IDS];
    int text_count, question_count;
};

struct plan {
    const struct mllm *m;
    const struct ask *asks;
    struct answer *out;
    int n, max_new;
    struct ask_ids *ids;
    int *order; /* asks by (prompt length, index) */
    int *chunk; /* first place in order, chunks + 1 */
    int chunks;
    struct arena arena[WORKERS];
    struct err *errors;  /* per chunk */
    struct pool *within; /* shares the products of one chunk; NULL: the pool shares chunks */
};

static enum status plan_prompts(struct plan *p, struct err *err)
{
    for (int i = 0; i < p->n; i++) {
        struct ask_ids *ids = &p->ids[i];
        if (p->asks[i].options < 0 || p->asks[i].options > ANSWER_OPTIONS)
            return err_set(err, STATUS_USAGE, "%d options; 0..%d", p->asks[i].options,
                           ANSWER_OPTIONS);
        if (p->m->config.multimodal && p->asks[i].visual_count < 1)
            return err_set(err, STATUS_SHAPE, "a question without visual tokens");
        TRY(answer_prompt(p->m, p->asks[i].question, ids->text, &ids->text_count, ids->question,
                          &ids->question_count, PROMPT_IDS, err));
        if (ids->text_count < 1 && !p->m->config.multimodal)
            return err_set(err, STATUS_MALFORMED, "the question is empty");
    }
    return STATUS_OK;
}

/* Counting sort: stable, so that the chunks follow from the asks alone. */
static void plan_order(struct plan *p)
{
    int at = 0;
    for (int length = 0; length <= PROMPT_IDS && at < p->n; length++) {
        int first = at;
        for (int i = 0; i < p->n; i++)
            if (p->ids[i].text_count == length)
                p->order[at++] = i;
        for (int from = first; from < at; from += CHUNK)
            p->chunk[p->chunks++] = from;
    }
    p->chunk[p->chunks] = p->n;
}

/* ---- one chunk ---- */

struct chunk {
    struct plan *plan;
    struct tape tape;
    const int *order; /* its asks */
    int n;
    struct decoder decoder;
};

/* The chunk's asks as one batch */
static struct mllm_batch chunk_batch(struct chunk *c)
{
    struct prompt *prompts = tape_alloc(&c->tape, (size_t)c->n * sizeof *prompts);
    for (int i = 0; prompts && i < c->n; i++) {
        const struct ask *ask = &c->plan->asks[c->order[i]];
        const struct ask_ids *ids = &c->plan->ids[c->order[i]];
        prompts[i] =
            (struct prompt){ids->text,   ids->text_count,   ids->question,   ids->question_count,
                            ask->visual, ask->visual_count, ask->visual_rest};
    }
    return prompts ? prompt_batch(&c->tape, c->plan->m, prompts, c->n) : (struct mllm_batch){0};
}

/* Options of all asks of the chunk as rows; *n of them. */
static enum status chunk_options(struct chunk *c, struct option_row **rows, int *n, struct err *err)
{
    enum { MAX = 64 };
    int end = c->plan->m->config.text.eos >= 0;
    *n = 0;
    *rows = tape_alloc(&c->tape, (size_t)c->n * ANSWER_OPTIONS * sizeof **rows);
    TRY(tape_check(&c->tape, err));
    for (int i = 0; i < c->n; i++) {
        const struct ask *ask = &c->plan->asks[c->order[i]];
        for (int o = 0; o < ask->options; o++) {
            int32_t *ids = tape_alloc(&c->tape, MAX * sizeof *ids);
            int count = 0;
            TRY(tape_check(&c->tape, err));
            TRY(answer_target(c->plan->m, ask->option[o], ids, &count, MAX, err));
            (*rows)[(*n)++] = (struct option_row){i, ids, count - end, 0};
        }
    }
    return STATUS_OK;
}

static void option_store(struct answer *out, int o, float score)
{
    out->option_score[o] = score;
    if (out->choice < 0 || score > out->option_score[out->choice])
        out->choice = o;
}

static enum status chunk_score(struct chunk *c, struct err *err)
{
    struct option_row *rows = NULL;
    int n = 0, at = 0;
    TRY(chunk_options(c, &rows, &n, err));
    TRY(decoder_score(&c->decoder, rows, n, err));
    for (int i = 0; i < c->n; i++)
        for (int o = 0; o < c->plan->asks[c->order[i]].options; o++)
            option_store(&c->plan->out[c->order[i]], o, rows[at++].score);
    return STATUS_OK;
}

/* Bytes of the answer's ids without the leading space; cut to the room there is. */
static enum status answer_text(const struct mllm *m, struct answer *out)
{
    struct buf text = {.max = (size_t)64 << 10};
    enum status status = tokenizer_decode(m->tokenizer, out->ids, (size_t)out->count, &text);
    if (status == STATUS_OK) {
        const char *from = (const char *)text.data;
        snprintf(out->text, sizeof out->text, "%s", from + strspn(from, " "));
    }
    buf_free(&text);
    return status;
}

static enum status chunk_generate(struct chunk *c, struct err *err)
{
    struct generated *made = tape_alloc(&c->tape, (size_t)c->n * sizeof *made);
    TRY(tape_check(&c->tape, err));
    for (int i = 0; i < c->n; i++)
        made[i] = (struct generated){.ids = c->plan->out[c->order[i]].ids};
    TRY(generation_run(&c->decoder, &(struct generation){.max_new = c->plan->max_new}, made, err));
    for (int i = 0; i < c->n; i++) {
        struct answer *out = &c->plan->out[c->order[i]];
        out->count = made[i].count;
        out->entropy = made[i].entropy;
        out->log_probability = made[i].log_probability;
        if (answer_text(c->plan->m, out) != STATUS_OK)
            return err_set(err, STATUS_NO_MEMORY, "no memory for an answer's text");
    }
    return STATUS_OK;
}

static enum status chunk_answer(struct chunk *c, struct err *err)
{
    const struct mllm *m = c->plan->m;
    struct mllm_batch batch = chunk_batch(c);
    TRY(tape_check(&c->tape, err));
    TRY(decoder_start(&c->decoder, &c->tape, m, &batch, m->config.text.eos, c->plan->max_new, err));
    TRY(chunk_score(c, err));
    return chunk_generate(c, err);
}

static bool arena_ready(struct arena *arena)
{
    return arena->base || arena_init(arena, WORKER_BYTES);
}

static void chunk_run(void *ctx, int item, int worker)
{
    struct plan *p = ctx;
    struct err *err = &p->errors[item];
    if (!arena_ready(&p->arena[worker])) {
        err_set(err, STATUS_NO_MEMORY, "no memory to answer");
        return;
    }
    struct chunk c = {
        .plan = p, .order = p->order + p->chunk[item], .n = p->chunk[item + 1] - p->chunk[item]};
    arena_reset(&p->arena[worker], 0);
    c.tape.pool = p->within;
    tape_begin(&c.tape, &p->arena[worker], false, NULL);
    err->code = chunk_answer(&c, err);
}

/* ---- all of them ---- */

static enum status first_error(const struct err *errors, int n, struct err *err)
{
    for (int i = 0; i < n; i++)
        if (errors[i].code != STATUS_OK)
            return err_set(err, errors[i].code, "%s", errors[i].text);
    return STATUS_OK;
}

static void outputs_clear(struct answer *out, int n)
{
    memset(out, 0, (size_t)n * sizeof *out);
    for (int i = 0; i < n; i++)
        out[i].choice = -1;
}

static enum status plan_run(struct plan *p, struct pool *pool, struct err *err)
{
    TRY(plan_prompts(p, err));
    plan_order(p);
    p->errors = calloc((size_t)p->chunks, sizeof *p->errors);
    if (!p->errors)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d chunks", p->chunks);
    outputs_clear(p->out, p->n);
    p->within = mllm_is_large(p->m) ? pool : NULL;
    pool_run(p->within ? NULL : pool, p->chunks, chunk_run, p);
    return first_error(p->errors, p->chunks, err);
}

enum status answer_batch(const struct mllm *m, struct pool *pool, const struct ask *asks, int n,
                         int max_new, struct answer *out, struct err *err)
{
    if (n < 0 || max_new < 1 || max_new > ANSWER_IDS)
        return err_set(err, STATUS_USAGE, "max_new is %d; must be 1..%d", max_new, ANSWER_IDS);
    if (n == 0)
        return STATUS_OK;
    TRY(need_tokenizer(m, err));
    struct plan *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %d questions", n);
    *p = (struct plan){.m = m, .asks = asks, .out = out, .n = n, .max_new = max_new};
    p->ids = calloc((size_t)n, sizeof *p->ids);
    p->order = calloc((size_t)n, sizeof *p->order);
    p->chunk = calloc((size_t)n + 1, sizeof *p->chunk);
    enum status status = p->ids && p->order && p->chunk
                             ? plan_run(p, pool, err)
                             : err_set(err, STATUS_NO_MEMORY, "no memory for %d questions", n);
    for (int i = 0; i < WORKERS; i++)
        if (p->arena[i].base)
            arena_deinit(&p->arena[i]);
    free(p->ids);
    free(p->order);
    free(p->chunk);
    free(p->errors);
    free(p);
    return status;
}

/* ---- encoding images ---- */

struct encoding {
    const struct mllm *m;
    const uint8_t *rgb;
    int n;
    float *out;
    struct arena arena[WORKERS];
    struct err *errors;  /* per item */
    struct pool *within; /* shares the products of one image; NULL: the pool shares images */
};

static enum status encode_images(struct encoding *e, struct tape *tape, int from, int n,
                                 struct err *err)
{
    int S = e->m->config.vision.image;
    size_t pixels = 3 * (size_t)S * (size_t)S;
    struct tensor x = tape_tensor(tape, false, 4, (int[]){n, 3, S, S});
    for (int i = 0; x.data && i < n; i++)
        preprocess_pixels(&e->m->preprocess, e->rgb + (size_t)(from + i) * pixels, S,
                          x.data + (size_t)i * pixels);
    struct tensor y = vision_forward(tape, e->m, x, 0);
    TRY(tape_check(tape, err));
    size_t each = tensor_count(y) / (size_t)n;
    memcpy(e->out + (size_t)from * each, y.data, tensor_count(y) * sizeof *y.data);
    return STATUS_OK;
}

static void encode_run(void *ctx, int item, int worker)
{
    struct encoding *e = ctx;
    struct tape tape = {0};
    int from = item * IMAGES, n = e->n - from < IMAGES ? e->n - from : IMAGES;
    if (!arena_ready(&e->arena[worker])) {
        err_set(&e->errors[item], STATUS_NO_MEMORY, "no memory to encode images");
        return;
    }
    arena_reset(&e->arena[worker], 0);
    tape.pool = e->within;
    tape_begin(&tape, &e->arena[worker], false, NULL);
    e->errors[item].code = encode_images(e, &tape, from, n, &e->errors[item]);
}

enum status answer_encode(const struct mllm *m, struct pool *pool, const uint8_t *rgb, int n,
                          float *out, struct err *err)
{
    int items = (n + IMAGES - 1) / IMAGES;
    if (!m->config.multimodal)
        return err_set(err, STATUS_UNSUPPORTED, "the model has no vision encoder");
    if (n < 1)
        return STATUS_OK;
    struct encoding *e = calloc(1, sizeof *e);
    struct err *errors = calloc((size_t)items, sizeof *errors);
    enum status status = STATUS_OK;
    if (!e || !errors)
        status = err_set(err, STATUS_NO_MEMORY, "no memory for %d images", n);
    if (status == STATUS_OK) {
        *e = (struct encoding){.m = m, .rgb = rgb, .n = n, .out = out, .errors = errors};
        e->within = mllm_is_large(m) ? pool : NULL;
        pool_run(e->within ? NULL : pool, items, encode_run, e);
        status = first_error(errors, items, err);
    }
    for (int i = 0; e && i < WORKERS; i++)
        if (e->arena[i].base)
            arena_deinit(&e->arena[i]);
    free(e);
    free(errors);
    return status;
}
