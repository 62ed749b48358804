/* Prompts into a KV cache, single steps, and option scoring; see decoder.h. */
#include "model/mllm/decoder.h"

#include "model/mllm/sampling.h"
#include <string.h>

enum { SCORE_ROWS = 32 }; /* options scored at a time: bounds the copies of the cache */

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

struct tensor decoder_step(struct decoder *d, struct kv_cache *cache, const int32_t *token, int n)
{
    struct tensor x = op_embedding(d->tape, d->m->llama.embed, token, n, 1);
    struct tensor hidden = llama_forward(d->tape, d->m, x, NULL, cache, NULL, 0);
    return mllm_logits(d->tape, d->m, hidden, NULL, 0);
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
        const float *x = (t == 0 ? s->d->logits : logits) + at * (size_t)V;
        sum += x[id] - sampling_normaliser(x, V);
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
