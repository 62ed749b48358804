/* Greedy decoding and option scoring from one prefilled KV cache; see decoder.h. */
#include "model/mllm/decoder.h"

#include <math.h>
#include <string.h>

enum { SCORE_ROWS = 32 }; /* options scored at a time: bounds the copies of the cache */

static int32_t largest(const float *x, int n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* log sum exp(x); logits minus this are log-probabilities */
static float log_normaliser(const float *x, int n)
{
    int top = largest(x, n);
    float max = x[top];
    double sum = 1; /* the largest itself */
    for (int i = 0; i < n; i++)
        sum += i == top ? 0 : (double)expf(x[i] - max);
    return max + (float)log(sum);
}

static float log_probability(const float *logits, int V, int32_t id)
{
    return logits[id] - log_normaliser(logits, V);
}

/* Positions of prompt b that exist, of Q queries and T text places. */
static int prompt_length(const struct mllm_batch *batch, int Q, int b)
{
    int T = batch->text_T, n = 0;
    while (n < T && (!batch->text_mask || batch->text_mask[(size_t)b * (size_t)T + (size_t)n]))
        n++;
    return Q + n;
}

/* Lengths of the prompts, and their last rows among B * (Q + T). */
static enum status prompt_ends(struct decoder *d, const struct mllm_batch *batch, int Q,
                               int32_t *rows, int *length, struct err *err)
{
    TRY(tape_check(d->tape, err));
    for (int b = 0; b < batch->B; b++) {
        length[b] = prompt_length(batch, Q, b);
        rows[b] = b * (Q + batch->text_T) + length[b] - 1;
        if (length[b] < 1)
            return err_set(err, STATUS_MALFORMED, "prompt %d is empty", b);
    }
    return STATUS_OK;
}

enum status decoder_start(struct decoder *d, struct tape *tape, const struct mllm *m,
                          const struct mllm_batch *batch, int eos, int max_new, struct err *err)
{
    int Q = m->config.multimodal ? m->config.queries : 0, longest = Q + batch->text_T;
    size_t B = (size_t)batch->B;
    *d = (struct decoder){.tape = tape, .m = m, .B = batch->B, .eos = eos};
    if (longest + max_new > m->config.text.positions)
        return err_set(err, STATUS_TOO_LARGE, "%d positions and %d new tokens; the model has %d",
                       longest, max_new, m->config.text.positions);
    d->cache = kv_cache_new(tape, m, batch->B, longest + max_new);
    int32_t *rows = tape_alloc(tape, B * sizeof *rows);
    int *length = tape_alloc(tape, B * sizeof *length);
    TRY(prompt_ends(d, batch, Q, rows, length, err));
    size_t mark = tape->arena->used;
    struct tensor x = mllm_embed(tape, m, batch, NULL);
    struct tensor hidden = llama_forward(tape, m, x, NULL, &d->cache, rows, batch->B);
    d->logits = layer_keep(tape, mark, mllm_logits(tape, m, hidden, NULL, 0)).data;
    TRY(tape_check(tape, err));
    memcpy(d->cache.length, length, B * sizeof *length);
    d->longest = longest;
    return STATUS_OK;
}

/* ---- options ---- */

struct scoring {
    struct decoder *d;
    struct option_row *rows;
    int n, longest;
};

/* The options as (n, longest) ids, right-padded with 0. */
static struct tensor scoring_embed(struct scoring *s)
{
    size_t T = (size_t)s->longest;
    int32_t *ids = tape_alloc(s->d->tape, (size_t)s->n * T * sizeof *ids);
    for (int r = 0; ids && r < s->n; r++)
        for (int t = 0; t < s->longest; t++)
            ids[(size_t)r * T + (size_t)t] = t < s->rows[r].count ? s->rows[r].ids[t] : 0;
    return op_embedding(s->d->tape, s->d->m->llama.embed, ids, s->n, s->longest);
}

static struct tensor scoring_logits(struct scoring *s)
{
    struct decoder *d = s->d;
    int *prompt = tape_alloc(d->tape, (size_t)s->n * sizeof *prompt);
    struct kv_cache cache = kv_cache_new(d->tape, d->m, s->n, d->longest + s->longest);
    if (d->tape->status != STATUS_OK)
        return (struct tensor){0};
    for (int r = 0; r < s->n; r++)
        prompt[r] = s->rows[r].prompt;
    kv_cache_select(&cache, &d->cache, prompt);
    struct tensor hidden = llama_forward(d->tape, d->m, scoring_embed(s), NULL, &cache, NULL, 0);
    return mllm_logits(d->tape, d->m, hidden, NULL, 0);
}

/* Token 0 is predicted by the prompt, token t by the option's token t-1, the end by its last. */
static float row_score(const struct scoring *s, int r, const float *logits)
{
    const struct option_row *row = &s->rows[r];
    int V = s->d->m->config.text.vocab, tokens = row->count + (s->d->eos >= 0);
    float sum = 0;
    for (int t = 0; t < tokens; t++) {
        int32_t id = t < row->count ? row->ids[t] : s->d->eos;
        size_t at = t == 0 ? (size_t)row->prompt : (size_t)(r * s->longest + t - 1);
        sum += log_probability((t == 0 ? s->d->logits : logits) + at * (size_t)V, V, id);
    }
    return sum / (float)tokens;
}

enum status decoder_score(struct decoder *d, struct option_row *rows, int n, struct err *err)
{
    size_t mark = d->tape->arena->used;
    for (int at = 0; at < n; at += SCORE_ROWS) {
        struct scoring s = {d, rows + at, n - at < SCORE_ROWS ? n - at : SCORE_ROWS, 0};
        for (int r = 0; r < s.n; r++) {
            if (s.rows[r].count < 1)
                return err_set(err, STATUS_MALFORMED, "an option without tokens");
            s.longest = s.rows[r].count > s.longest ? s.rows[r].count : s.longest;
        }
        struct tensor logits = scoring_logits(&s);
        TRY(tape_check(d->tape, err));
        for (int r = 0; r < s.n; r++)
            s.rows[r].score = row_score(&s, r, logits.data);
        arena_reset(d->tape->arena, mark);
    }
    return STATUS_OK;
}

/* ---- greedy ---- */

struct greedy {
    struct decoder *d;
    struct generated *out;
    int *prompt;    /* which prompt each live row of the cache belongs to */
    int32_t *token; /* its newest token */
    int *drawn;     /* tokens drawn per prompt, the end token included */
    int live;
};

/* Takes the next token of one row; false when that was the end token. */
static bool draw(struct greedy *g, int row, const float *logits)
{
    int prompt = g->prompt[row], V = g->d->m->config.text.vocab;
    struct generated *out = &g->out[prompt];
    int32_t id = largest(logits, V);
    out->entropy += entropy_row(logits, V);
    out->log_probability += log_probability(logits, V, id);
    g->drawn[prompt]++;
    g->token[row] = id;
    if (id == g->d->eos)
        return false;
    out->ids[out->count++] = id;
    return true;
}

/* Draws for every live row; finished rows give their place in the cache to later ones. */
static void draw_all(struct greedy *g, const float *logits)
{
    int kept = 0;
    size_t V = (size_t)g->d->m->config.text.vocab;
    for (int row = 0; row < g->live; row++) {
        if (!draw(g, row, logits + (size_t)row * V))
            continue;
        if (kept != row) {
            kv_cache_move(&g->d->cache, kept, row);
            g->prompt[kept] = g->prompt[row];
            g->token[kept] = g->token[row];
        }
        kept++;
    }
    g->live = kept;
}

static void means(struct greedy *g)
{
    for (int i = 0; i < g->d->B; i++) {
        g->out[i].entropy /= (float)g->drawn[i];
        g->out[i].log_probability /= (float)g->drawn[i];
    }
}

static enum status greedy_begin(struct greedy *g, struct err *err)
{
    size_t B = (size_t)g->d->B;
    g->prompt = tape_alloc(g->d->tape, B * sizeof *g->prompt);
    g->token = tape_alloc(g->d->tape, B * sizeof *g->token);
    g->drawn = tape_alloc(g->d->tape, B * sizeof *g->drawn);
    TRY(tape_check(g->d->tape, err));
    for (int i = 0; i < g->d->B; i++) {
        g->prompt[i] = i;
        g->drawn[i] = 0;
        g->out[i].count = 0;
        g->out[i].entropy = g->out[i].log_probability = 0;
    }
    g->live = g->d->B;
    return STATUS_OK;
}

enum status decoder_greedy(struct decoder *d, int max_new, struct generated *out, struct err *err)
{
    struct greedy g = {.d = d, .out = out};
    if (max_new < 1)
        return err_set(err, STATUS_USAGE, "max_new is %d; must be at least 1", max_new);
    TRY(greedy_begin(&g, err));
    size_t mark = d->tape->arena->used;
    draw_all(&g, d->logits);
    for (int step = 1; step < max_new && g.live > 0; step++) {
        struct tensor x = op_embedding(d->tape, d->m->llama.embed, g.token, g.live, 1);
        struct tensor hidden = llama_forward(d->tape, d->m, x, NULL, &d->cache, NULL, 0);
        struct tensor logits = mllm_logits(d->tape, d->m, hidden, NULL, 0);
        TRY(tape_check(d->tape, err));
        draw_all(&g, logits.data);
        arena_reset(d->tape->arena, mark);
    }
    means(&g);
    return STATUS_OK;
}
