/* Texts from prompts; see completion.h. */
#include "model/mllm/completion.h"

#include "model/mllm/pieces.h"
#include <stdlib.h>
#include <string.h>

static const size_t STEP_BYTES = (size_t)16 << 30; /* address space; touched as needed */

struct job {
    const struct mllm *m;
    const struct completion_settings *how;
    struct completion *out;
    struct pieces *pieces; /* (n) */
    int n;
    struct decoder decoder;
    struct err err; /* of the callback, which cannot return one */
};

const char *completion_end_name(enum completion_end end)
{
    static const char *const names[] = {"length", "token", "string", "caller"};
    return names[end];
}

/* ---- one token ---- */

static bool show(struct job *j, int row, const struct token *token, size_t from)
{
    const char *piece = (const char *)j->pieces[row].text.data + from;
    return !j->how->on_piece || j->how->on_piece(j->how->ctx, row, token, piece);
}

static bool on_token(void *ctx, int row, const struct token *token)
{
    struct job *j = ctx;
    struct completion *out = &j->out[row];
    struct pieces *p = &j->pieces[row];
    size_t from = p->text.len;
    bool stops = generation_stops(&j->decoder, &j->how->generation, token->id);
    if (j->err.code == STATUS_OK && !stops)
        j->err.code = pieces_add(p, token->id, &from, &j->err);
    out->end = stops ? COMPLETION_TOKEN : p->stopped ? COMPLETION_STRING : COMPLETION_LENGTH;
    if (j->err.code != STATUS_OK)
        return false;
    if (show(j, row, token, from))
        return !p->stopped;
    if (out->end == COMPLETION_LENGTH)
        out->end = COMPLETION_CALLER;
    return false;
}

static void on_logits(void *ctx, int row, const float *logits)
{
    struct job *j = ctx;
    j->how->on_logits(j->how->ctx, row, logits);
}

/* ---- rows ---- */

static enum status row_begin(struct job *j, int row, struct err *err)
{
    size_t max = (size_t)j->how->generation.max_new;
    struct generated *made = &j->out[row].made;
    made->ids = calloc(max, sizeof *made->ids);
    made->tokens = calloc(max, sizeof *made->tokens);
    if (!made->ids || !made->tokens)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu tokens", max);
    return pieces_init(&j->pieces[row], j->m->tokenizer, j->how->stop, j->how->stop_count, (int)max,
                       err);
}

static enum status row_end(struct job *j, int row, struct err *err)
{
    size_t from;
    TRY(pieces_end(&j->pieces[row], &from, err));
    show(j, row, NULL, from);
    j->out[row].text = strdup((const char *)j->pieces[row].text.data);
    return j->out[row].text ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for a text");
}

/* ---- all of them ---- */

static enum status generate(struct job *j, struct tape *tape, const struct prompt *prompts,
                            struct err *err)
{
    struct generation how = j->how->generation;
    struct mllm_batch batch = prompt_batch(tape, j->m, prompts, j->n);
    struct generated *made = tape_alloc(tape, (size_t)j->n * sizeof *made);
    TRY(tape_check(tape, err));
    how.on_token = on_token;
    how.on_logits = j->how->on_logits ? on_logits : NULL;
    how.ctx = j;
    for (int i = 0; i < j->n; i++)
        made[i] = j->out[i].made;
    TRY(decoder_start(&j->decoder, tape, j->m, &batch, j->m->config.text.eos, how.max_new, err));
    TRY(generation_run(&j->decoder, &how, made, err));
    for (int i = 0; i < j->n; i++)
        j->out[i].made = made[i];
    if (j->err.code != STATUS_OK)
        return err_set(err, j->err.code, "%s", j->err.text);
    for (int i = 0; i < j->n; i++)
        TRY(row_end(j, i, err));
    return STATUS_OK;
}

static enum status run(struct job *j, struct pool *pool, const struct prompt *prompts,
                       struct err *err)
{
    struct arena arena = {0};
    struct tape tape = {.pool = pool};
    for (int i = 0; i < j->n; i++)
        TRY(row_begin(j, i, err));
    if (!arena_init(&arena, STEP_BYTES))
        return err_set(err, STATUS_NO_MEMORY, "no memory to generate");
    tape_begin(&tape, &arena, false, NULL);
    enum status status = generate(j, &tape, prompts, err);
    arena_deinit(&arena);
    return status;
}

static enum status check(const struct mllm *m, const struct prompt *prompts, int n, int max_new,
                         struct err *err)
{
    if (max_new < 1 || max_new > m->config.text.positions)
        return err_set(err, STATUS_USAGE, "max_new is %d; must be 1..%d", max_new,
                       m->config.text.positions);
    for (int i = 0; i < n; i++) {
        if (m->config.multimodal && prompts[i].visual_count < 1)
            return err_set(err, STATUS_SHAPE, "prompt %d has no visual tokens", i);
        for (int t = 0; t < prompts[i].text_count; t++)
            if (prompts[i].text[t] < 0 || prompts[i].text[t] >= m->config.text.vocab)
                return err_set(err, STATUS_MALFORMED, "prompt %d: id %d; the model has 0..%d", i,
                               prompts[i].text[t], m->config.text.vocab - 1);
    }
    return STATUS_OK;
}

enum status completion_run(const struct mllm *m, struct pool *pool, const struct prompt *prompts,
                           int n, const struct completion_settings *how, struct completion *out,
                           struct err *err)
{
    struct job j = {.m = m, .how = how, .out = out, .n = n};
    if (n < 1)
        return STATUS_OK;
    TRY(check(m, prompts, n, how->generation.max_new, err));
    memset(out, 0, (size_t)n * sizeof *out);
    j.pieces = calloc((size_t)n, sizeof *j.pieces);
    enum status status = j.pieces ? run(&j, pool, prompts, err)
                                  : err_set(err, STATUS_NO_MEMORY, "no memory for %d prompts", n);
    for (int i = 0; j.pieces && i < n; i++)
        pieces_free(&j.pieces[i]);
    free(j.pieces);
    if (status != STATUS_OK)
        completion_free(out, n);
    return status;
}

void completion_free(struct completion *out, int n)
{
    for (int i = 0; i < n; i++) {
        free(out[i].made.ids);
        free(out[i].made.tokens);
        free(out[i].text);
    }
    memset(out, 0, (size_t)n * sizeof *out);
}
