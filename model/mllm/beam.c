/* Beam search; see beam.h. Beams of a prompt are neighbouring rows of a KV cache; a step picks the
 * best continuations over all of them and gathers the rows they continue into a second cache. */
#include "model/mllm/beam.h"

#include <math.h>
#include <string.h>

/* Sums of log-probabilities are float32, as in the reference. */
static const float NO_BEAM = -1e9F; /* the sum of a beam that stands for nothing yet */

struct beam {
    float sum;
    double worth; /* of a finished one: sum / count^length_penalty */
    int count;
    struct token *tokens; /* (max_new), a finished one's stop token included */
};

struct candidate {
    float sum;
    int beam;
    int32_t id;
};

/* One prompt's search. */
struct search {
    struct beam *live, *next; /* (K) */
    struct beam *finished;    /* (K + 1), in the order they came */
    int finished_count;
    double worst; /* worth of the worst finished one */
    bool over;
};

struct beams {
    struct decoder *d;
    const struct generation *how;
    int K, V, candidates;
    struct search *search;                                         /* (B) */
    int *prompt, prompts;                                          /* those whose search goes on */
    struct candidate *candidate;                                   /* (candidates), best first */
    float normaliser[GENERATION_BEAMS], entropy[GENERATION_BEAMS]; /* of each beam's logits */
    int *row;       /* (B*K) which row of the cache each next row continues */
    int32_t *token; /* (B*K) and with what */
};

/* ---- room ---- */

static struct beam *beams_new(struct beams *b, int n)
{
    struct tape *tape = b->d->tape;
    struct beam *beam = tape_alloc(tape, (size_t)n * sizeof *beam);
    for (int i = 0; beam && i < n; i++) {
        beam[i] = (struct beam){.sum = i ? NO_BEAM : 0};
        beam[i].tokens = tape_alloc(tape, (size_t)b->how->max_new * sizeof *beam[i].tokens);
    }
    return beam;
}

static enum status beams_begin(struct beams *b, struct err *err)
{
    struct tape *tape = b->d->tape;
    int B = b->d->B, stops = (b->d->eos >= 0) + b->how->stop_count;
    size_t rows = (size_t)B * (size_t)b->K;
    int64_t most = (int64_t)b->K * b->V, wanted = (int64_t)b->K * (stops > 1 ? 1 + stops : 2);
    b->candidates = (int)(wanted < most ? wanted : most);
    b->search = tape_alloc(tape, (size_t)B * sizeof *b->search);
    b->prompt = tape_alloc(tape, (size_t)B * sizeof *b->prompt);
    b->candidate = tape_alloc(tape, (size_t)b->candidates * sizeof *b->candidate);
    b->row = tape_alloc(tape, rows * sizeof *b->row);
    b->token = tape_alloc(tape, rows * sizeof *b->token);
    for (int i = 0; tape->status == STATUS_OK && i < B; i++) {
        b->search[i] = (struct search){.live = beams_new(b, b->K), .worst = HUGE_VAL};
        b->search[i].next = beams_new(b, b->K);
        b->search[i].finished = beams_new(b, b->K + 1);
        b->prompt[b->prompts++] = i;
    }
    return tape_check(tape, err);
}

/* ---- finished sequences ---- */

static void beam_copy(struct beam *to, const struct beam *from)
{
    struct token *tokens = to->tokens;
    memcpy(tokens, from->tokens, (size_t)from->count * sizeof *tokens);
    *to = *from;
    to->tokens = tokens;
}

static double worst_of(const struct search *s, int *at)
{
    *at = 0;
    for (int i = 1; i < s->finished_count; i++)
        *at = s->finished[i].worth < s->finished[*at].worth ? i : *at;
    return s->finished[*at].worth;
}

/* Keeps the K best. */
static void finish(const struct beams *b, struct search *s, const struct beam *beam)
{
    double worth = (double)beam->sum / pow(beam->count, (double)b->how->length_penalty);
    int worst;
    if (s->finished_count == b->K && !(worth > s->worst))
        return;
    beam_copy(&s->finished[s->finished_count], beam);
    s->finished[s->finished_count++].worth = worth;
    s->worst = worst_of(s, &worst);
    if (s->finished_count <= b->K)
        return;
    struct beam gone = s->finished[worst];
    for (int i = worst; i < b->K; i++)
        s->finished[i] = s->finished[i + 1];
    s->finished[b->K] = gone; /* its room is used again */
    s->finished_count = b->K;
    s->worst = worst_of(s, &worst);
}

/* ---- one step of one prompt ---- */

static void candidate_insert(struct beams *b, int *count, struct candidate c)
{
    int at = *count;
    if (at == b->candidates && !(c.sum > b->candidate[at - 1].sum))
        return;
    at -= at == b->candidates;
    for (; at > 0 && c.sum > b->candidate[at - 1].sum; at--)
        b->candidate[at] = b->candidate[at - 1];
    b->candidate[at] = c;
    *count += *count < b->candidates;
}

/* The best continuations of all beams; beam k's logits are stride * k behind the first's. */
static int candidates_find(struct beams *b, const struct search *s, const float *logits,
                           size_t stride)
{
    int count = 0;
    for (int k = 0; k < b->K; k++) {
        const float *x = logits + (size_t)k * stride;
        b->normaliser[k] = sampling_normaliser(x, b->V);
        b->entropy[k] = entropy_row(x, b->V);
        for (int32_t id = 0; id < b->V; id++)
            candidate_insert(b, &count,
                             (struct candidate){x[id] - b->normaliser[k] + s->live[k].sum, k, id});
    }
    return count;
}

static void beam_continue(const struct beams *b, struct beam *to, const struct beam *from,
                          const struct candidate *c, float logit)
{
    beam_copy(to, from);
    to->tokens[to->count++] =
        (struct token){c->id, logit - b->normaliser[c->beam], b->entropy[c->beam]};
    to->sum = c->sum;
}

/* Chooses the next beams of a prompt, whose rows begin at `row` of the cache that was run (all
 * beams at that row when it is the prompt itself); says which rows and tokens go on from place
 * `to`. */
static void search_step(struct beams *b, struct search *s, const float *logits, int row, bool first,
                        int to)
{
    size_t stride = first ? 0 : (size_t)b->V;
    int count = candidates_find(b, s, logits, stride), kept = 0;
    for (int rank = 0; rank < count && kept < b->K; rank++) {
        const struct candidate *c = &b->candidate[rank];
        bool stops = generation_stops(b->d, b->how, c->id);
        if (stops && rank >= b->K)
            continue;
        struct beam *next = &s->next[kept];
        beam_continue(b, next, &s->live[c->beam], c,
                      logits[(size_t)c->beam * stride + (size_t)c->id]);
        if (stops) {
            finish(b, s, next);
            continue;
        }
        b->row[to + kept] = first ? row : row + c->beam;
        b->token[to + kept++] = c->id;
    }
    int length = s->live[0].count + 1;
    struct beam *swap = s->live;
    s->live = s->next;
    s->next = swap;
    double attainable = (double)b->candidate[0].sum / pow(length, (double)b->how->length_penalty);
    s->over = kept < b->K || (s->finished_count == b->K && s->worst >= attainable);
}

/* ---- all prompts ---- */

/* One step of every prompt that goes on; those that are over leave no rows. */
static void beams_step(struct beams *b, const float *logits, bool first)
{
    int kept = 0;
    for (int i = 0; i < b->prompts; i++) {
        int row = first ? i : i * b->K;
        struct search *s = &b->search[b->prompt[i]];
        search_step(b, s, logits + (size_t)row * (size_t)b->V, row, first, kept * b->K);
        if (!s->over)
            b->prompt[kept++] = b->prompt[i];
    }
    b->prompts = kept;
}

static enum status beams_run(struct beams *b, struct err *err)
{
    struct decoder *d = b->d;
    int rows = d->B * b->K;
    struct kv_cache cache[] = {kv_cache_new(d->tape, d->m, rows, d->cache.cap),
                               kv_cache_new(d->tape, d->m, rows, d->cache.cap)};
    TRY(tape_check(d->tape, err));
    size_t mark = d->tape->arena->used;
    beams_step(b, d->logits, true);
    for (int step = 1; step < b->how->max_new && b->prompts > 0; step++) {
        struct kv_cache *to = &cache[step % 2];
        to->rows = b->prompts * b->K;
        kv_cache_select(to, step == 1 ? &d->cache : &cache[(step + 1) % 2], b->row);
        struct tensor logits = decoder_step(d, to, b->token, to->rows);
        TRY(tape_check(d->tape, err));
        beams_step(b, logits.data, false);
        arena_reset(d->tape->arena, mark);
    }
    return STATUS_OK;
}

/* Sequences that were still going count as finished, unless the search was over without them. */
static const struct beam *search_best(const struct beams *b, struct search *s)
{
    const struct beam *best = s->finished;
    for (int k = 0; k < b->K && !s->over; k++)
        finish(b, s, &s->live[k]);
    for (int i = 1; i < s->finished_count; i++)
        best = s->finished[i].worth >= best->worth ? &s->finished[i] : best;
    return best;
}

enum status beam_search(struct decoder *d, const struct generation *how, struct generated *out,
                        struct err *err)
{
    struct beams b = {.d = d, .how = how, .K = how->beams, .V = d->m->config.text.vocab};
    TRY(beams_begin(&b, err));
    TRY(beams_run(&b, err));
    for (int i = 0; i < d->B; i++) {
        const struct beam *best = search_best(&b, &b.search[i]);
        for (int t = 0; t < best->count; t++)
            if (!generation_take(d, how, i, &out[i], &best->tokens[t]))
                break;
    }
    return STATUS_OK;
}
