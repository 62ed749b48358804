/* Greedy and sampled generation; see generation.h. Every live row takes one token a step; rows that
 * are over give their place in the cache to later ones. */
#include "model/mllm/generation.h"

#include "model/mllm/beam.h"
#include <math.h>

struct run {
    struct decoder *d;
    const struct generation *how;
    struct generated *out;
    int live;
    int *prompt;     /* which prompt each live row of the cache belongs to */
    int32_t *token;  /* its newest token */
    struct rng *rng; /* of each prompt */
    float *weight;   /* (V) scratch of the sampling, as order */
    int32_t *order;
};

bool generation_stops(const struct decoder *d, const struct generation *how, int32_t id)
{
    bool stops = id == d->eos && d->eos >= 0;
    for (int i = 0; i < how->stop_count; i++)
        stops = stops || id == how->stop[i];
    return stops;
}

bool generation_take(const struct decoder *d, const struct generation *how, int row,
                     struct generated *out, const struct token *token)
{
    bool goes_on = !generation_stops(d, how, token->id);
    out->entropy += token->entropy;
    out->log_probability += token->log_probability;
    if (out->tokens)
        out->tokens[out->taken] = *token;
    out->taken++;
    if (goes_on)
        out->ids[out->count++] = token->id;
    if (how->on_token && !how->on_token(how->ctx, row, token))
        goes_on = false;
    return goes_on;
}

/* ---- one step ---- */

static bool draw(struct run *r, int row, const float *logits)
{
    int prompt = r->prompt[row], V = r->d->m->config.text.vocab;
    int32_t id = sampling_draw(&r->how->sampling, logits, V, &r->rng[prompt], r->weight, r->order);
    struct token token = sampling_token(logits, V, id);
    r->token[row] = id;
    if (r->how->on_logits)
        r->how->on_logits(r->how->ctx, prompt, logits);
    return generation_take(r->d, r->how, prompt, &r->out[prompt], &token);
}

static void draw_all(struct run *r, const float *logits)
{
    int kept = 0;
    size_t V = (size_t)r->d->m->config.text.vocab;
    for (int row = 0; row < r->live; row++) {
        if (!draw(r, row, logits + (size_t)row * V))
            continue;
        kv_cache_move(&r->d->cache, kept, row);
        r->prompt[kept] = r->prompt[row];
        r->token[kept] = r->token[row];
        kept++;
    }
    r->live = kept;
}

static enum status run_begin(struct run *r, struct err *err)
{
    size_t B = (size_t)r->d->B, V = (size_t)r->d->m->config.text.vocab;
    struct tape *tape = r->d->tape;
    r->live = r->d->B;
    r->prompt = tape_alloc(tape, B * sizeof *r->prompt);
    r->token = tape_alloc(tape, B * sizeof *r->token);
    r->rng = tape_alloc(tape, B * sizeof *r->rng);
    if (r->how->sampling.temperature > 0) {
        r->weight = tape_alloc(tape, V * sizeof *r->weight);
        r->order = tape_alloc(tape, V * sizeof *r->order);
    }
    TRY(tape_check(tape, err));
    for (int i = 0; i < r->d->B; i++) {
        r->prompt[i] = i;
        rng_init(&r->rng[i], r->how->seed, (uint64_t)i);
    }
    return STATUS_OK;
}

static enum status run_steps(struct run *r, struct err *err)
{
    struct decoder *d = r->d;
    TRY(run_begin(r, err));
    size_t mark = d->tape->arena->used;
    draw_all(r, d->logits);
    for (int step = 1; step < r->how->max_new && r->live > 0; step++) {
        struct tensor logits = decoder_step(d, &d->cache, r->token, r->live);
        TRY(tape_check(d->tape, err));
        draw_all(r, logits.data);
        arena_reset(d->tape->arena, mark);
    }
    return STATUS_OK;
}

/* ---- all of it ---- */

static enum status check(const struct decoder *d, const struct generation *how, struct err *err)
{
    const struct sampling *s = &how->sampling;
    if (how->max_new < 1 || d->longest + how->max_new > d->cache.cap)
        return err_set(err, STATUS_USAGE, "max_new is %d; must be 1..%d", how->max_new,
                       d->cache.cap - d->longest);
    if (!(s->temperature >= 0 && s->temperature <= 1e6F))
        return err_set(err, STATUS_USAGE, "the temperature is %g; must be 0 (greedy) or above",
                       (double)s->temperature);
    if (!(s->top_p >= 0 && s->top_p <= 1) || s->top_k < 0)
        return err_set(err, STATUS_USAGE, "top_p is %g, top_k %d; must be 0..1 and 0 or above",
                       (double)s->top_p, s->top_k);
    if (how->beams < 0 || how->beams > GENERATION_BEAMS || !isfinite(how->length_penalty))
        return err_set(err, STATUS_USAGE, "%d beams, length penalty %g; at most %d beams",
                       how->beams, (double)how->length_penalty, GENERATION_BEAMS);
    if (how->beams > 1 && s->temperature > 0)
        return err_set(err, STATUS_USAGE, "beams do not sample: the temperature must be 0");
    return STATUS_OK;
}

enum status generation_run(struct decoder *d, const struct generation *how, struct generated *out,
                           struct err *err)
{
    struct run r = {.d = d, .how = how, .out = out};
    TRY(check(d, how, err));
    for (int i = 0; i < d->B; i++) {
        out[i].count = out[i].taken = 0;
        out[i].entropy = out[i].log_probability = 0;
    }
    TRY(how->beams > 1 ? beam_search(d, how, out, err) : run_steps(&r, err));
    for (int i = 0; i < d->B; i++) {
        out[i].entropy /= (float)out[i].taken;
        out[i].log_probability /= (float)out[i].taken;
    }
    return STATUS_OK;
}
