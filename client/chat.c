/* Generating for one chat request; see chat.h. */
#include "client/chat.h"
#include "model/mllm/answer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chat {
    const struct mllm *m;
    struct pool *pool;
    const struct chat_request *request;
    struct chat_answer *out;
    chat_on_piece *on_piece;
    void *ctx;
    int max_new, drawn; /* drawn: tokens whose alternatives are kept */
    int32_t *text, *question;
    struct prompt prompt;
    bool begun; /* some text is out: blanks in front of it are not */
};

/* ---- alternatives ---- */

/* The `top` likeliest of logits (V), by insertion: top is small. */
static void top_insert(const float *logits, int V, int top, int32_t *id)
{
    int count = 0;
    for (int32_t v = 0; v < V; v++) {
        int at = count;
        while (at > 0 && logits[id[at - 1]] < logits[v])
            at--;
        if (at == top)
            continue;
        count += count < top;
        memmove(id + at + 1, id + at, (size_t)(count - at - 1) * sizeof *id);
        id[at] = v;
    }
}

static void on_logits(void *ctx, int row, const float *logits)
{
    struct chat *c = ctx;
    struct chat_answer *out = c->out;
    int V = c->m->config.text.vocab;
    size_t from = (size_t)c->drawn++ * (size_t)out->top;
    (void)row;
    float normaliser = sampling_normaliser(logits, V);
    top_insert(logits, V, out->top, out->top_id + from);
    for (size_t i = from; i < from + (size_t)out->top; i++)
        out->top_log_probability[i] = logits[out->top_id[i]] - normaliser;
}

/* ---- text ---- */

static bool token_ends(const struct mllm *m, const struct token *token)
{
    return token->id == m->config.text.eos;
}

static bool on_piece(void *ctx, int row, const struct token *token, const char *piece)
{
    struct chat *c = ctx;
    (void)row;
    if (token && !token_ends(c->m, token))
        c->out->token[c->out->tokens++] = *token;
    if (!c->begun)
        piece += strspn(piece, " ");
    c->begun = c->begun || *piece;
    return !c->on_piece || c->on_piece(c->ctx, piece);
}

/* ---- the prompt ---- */

static enum status prompt_ids(struct chat *c, struct err *err)
{
    int max = c->m->config.text.positions;
    c->text = calloc((size_t)max, sizeof *c->text);
    c->question = calloc((size_t)max, sizeof *c->question);
    if (!c->text || !c->question)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a prompt");
    c->prompt.text = c->text;
    c->prompt.question = c->question;
    enum status status =
        answer_prompt(c->m, (const char *)c->request->prompt.data, c->text, &c->prompt.text_count,
                      c->question, &c->prompt.question_count, max, err);
    if (status == STATUS_TOO_LARGE)
        err_prefix(err, "the messages are too long for a model of %d positions", max);
    return status;
}

/* Room for new tokens, after what the prompt takes. */
static enum status prompt_room(struct chat *c, struct err *err)
{
    const struct mllm_config *config = &c->m->config;
    int64_t wanted = c->request->max_tokens ? c->request->max_tokens : CHAT_TOKENS_DEFAULT;
    c->out->prompt_tokens = c->prompt.text_count + (config->multimodal ? config->queries : 0);
    int room = config->text.positions - c->out->prompt_tokens;
    if (room < 1)
        return err_set(err, STATUS_TOO_LARGE,
                       "the messages take %d positions; the model has %d, the answer's included",
                       c->out->prompt_tokens, config->text.positions);
    c->max_new = wanted < room ? (int)wanted : room;
    return STATUS_OK;
}

static enum status answer_room(struct chat *c, struct err *err)
{
    struct chat_answer *out = c->out;
    size_t n = (size_t)c->max_new;
    out->top = (int)c->request->top_logprobs;
    if (out->top > c->m->config.text.vocab)
        out->top = c->m->config.text.vocab;
    out->token = calloc(n, sizeof *out->token);
    if (out->top) {
        out->top_id = calloc(n * (size_t)out->top, sizeof *out->top_id);
        out->top_log_probability = calloc(n * (size_t)out->top, sizeof(float));
    }
    if (!out->token || (out->top && (!out->top_id || !out->top_log_probability)))
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu tokens", n);
    return STATUS_OK;
}

static enum status prompt_read(struct chat *c, const uint8_t *rgb, float *visual, struct err *err)
{
    int side = c->m->config.multimodal ? c->m->config.vision.image / c->m->config.vision.patch : 0;
    TRY(prompt_ids(c, err));
    TRY(prompt_room(c, err));
    TRY(answer_room(c, err));
    if (!rgb)
        return STATUS_OK;
    c->prompt.visual = visual;
    c->prompt.visual_count = 1 + side * side;
    return answer_encode(c->m, c->pool, rgb, 1, visual, err);
}

/* ---- all of it ---- */

static enum status generate(struct chat *c, struct err *err)
{
    const struct chat_request *r = c->request;
    struct completion made;
    struct completion_settings how = {.stop = r->stop, .stop_count = r->stop_count};
    how.generation.max_new = c->max_new;
    how.generation.seed = (uint64_t)r->seed;
    how.generation.sampling =
        (struct sampling){.temperature = (float)r->temperature, .top_p = (float)r->top_p};
    how.on_piece = on_piece;
    how.on_logits = c->out->top ? on_logits : NULL;
    how.ctx = c;
    TRY(completion_run(c->m, c->pool, &c->prompt, 1, &how, &made, err));
    c->out->taken = made.made.taken;
    c->out->entropy = made.made.entropy;
    bool cut = made.end == COMPLETION_LENGTH || made.end == COMPLETION_CALLER;
    c->out->finish = cut ? "length" : "stop";
    c->out->text = strdup(made.text + strspn(made.text, " "));
    completion_free(&made, 1);
    if (!c->out->text)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a text");
    if (!isfinite(c->out->entropy))
        return err_set(err, STATUS_CORRUPT, "the answer's entropy is not finite");
    return STATUS_OK;
}

enum status chat_run(const struct mllm *m, struct pool *pool, const struct chat_request *request,
                     const uint8_t *rgb, float *visual, chat_on_piece *piece, void *ctx,
                     struct chat_answer *out, struct err *err)
{
    struct chat c = {.m = m, .pool = pool, .request = request, .out = out, .on_piece = piece};
    c.ctx = ctx;
    *out = (struct chat_answer){.finish = "stop"};
    enum status status = prompt_read(&c, rgb, visual, err);
    if (status == STATUS_OK)
        status = generate(&c, err);
    free(c.text);
    free(c.question);
    if (status != STATUS_OK)
        chat_answer_free(out);
    return status;
}

void chat_answer_free(struct chat_answer *answer)
{
    free(answer->text);
    free(answer->token);
    free(answer->top_id);
    free(answer->top_log_probability);
    *answer = (struct chat_answer){0};
}

/* ---- a token's text ---- */

/* The byte of "<0x0A>", or -1. */
static int piece_byte(const char *text, size_t len)
{
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    char hex[3] = {text[3], text[4], '\0'}, *end;
    long byte = strtol(hex, &end, 16);
    return end == hex + 2 && byte >= 0 ? (int)byte : -1;
}

/* SentencePiece writes a blank as U+2581, and bytes as <0x0A>. */
static enum status piece_text(const char *text, size_t len, struct buf *out)
{
    static const char blank[] = "\xE2\x96\x81";
    int byte = piece_byte(text, len);
    if (byte >= 0)
        return buf_append(out, &(unsigned char){(unsigned char)byte}, 1);
    for (size_t i = 0; i < len;) {
        bool is_blank = len - i >= 3 && memcmp(text + i, blank, 3) == 0;
        TRY(buf_append(out, is_blank ? " " : text + i, 1));
        i += is_blank ? 3 : 1;
    }
    return STATUS_OK;
}

enum status chat_token_text(const struct mllm *m, int32_t id, struct buf *out)
{
    size_t len = 0;
    const char *text = tokenizer_token(m->tokenizer, id, &len);
    buf_clear(out);
    if (text)
        TRY(tokenizer_adds_blank(m->tokenizer) ? piece_text(text, len, out)
                                               : buf_append(out, text, len));
    TRY(buf_append(out, "", 1));
    out->len--;
    return STATUS_OK;
}
