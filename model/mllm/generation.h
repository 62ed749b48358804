/* Generation on ids, from prompts that a decoder holds: the likeliest token at each step, a sampled
 * one, or the likeliest sequence of a beam search. completion.h is the same on texts. */
#ifndef CDCCA_GENERATION_H
#define CDCCA_GENERATION_H

#include "model/mllm/decoder.h"
#include "model/mllm/sampling.h"

enum { GENERATION_BEAMS = 64 };

/* How to generate. All zero but max_new: greedy. */
struct generation {
    int max_new; /* tokens drawn at most, the stop token included */
    struct sampling sampling;
    uint64_t seed; /* of the sampling; row r draws from stream r of it */
    int beams;     /* 0, 1: none; else temperature must be 0 */
    /* A finished sequence of n tokens is worth (sum of log-probabilities) / n^length_penalty; HF's
     * default is 1 */
    float length_penalty;
    const int32_t *stop; /* ids that end a row, besides the decoder's eos */
    int stop_count;
    /* Sees every token as it is taken, the stop token too; false ends the row. With beams: the best
     * sequence's tokens, when the search is over. May be NULL. */
    bool (*on_token)(void *ctx, int row, const struct token *token);
    /* Sees the logits (V) of the next token, before on_token sees the token. Not with beams. */
    void (*on_logits)(void *ctx, int row, const float *logits);
    void *ctx;
};

/* What was made of one prompt. */
struct generated {
    int32_t *ids; /* the caller's, room for max_new; a stop token is left out */
    int count;
    struct token *tokens; /* the caller's, room for max_new, or NULL: every token taken, the stop
                             token included */
    int taken;            /* count, and 1 more when a stop token ended the row */
    float entropy, log_probability; /* means over the tokens taken */
};

/* out (B). Each row ends at a stop token, when on_token says so, or after max_new tokens. Uses the
 * decoder's cache up. STATUS_USAGE for a how that makes no sense, or more tokens than the decoder
 * was started for. */
enum status generation_run(struct decoder *d, const struct generation *how, struct generated *out,
                           struct err *err);

/* The decoder's eos or one of how->stop. */
bool generation_stops(const struct decoder *d, const struct generation *how, int32_t id);
/* Adds a token to a row that is not over; false when that ends it. */
bool generation_take(const struct decoder *d, const struct generation *how, int row,
                     struct generated *out, const struct token *token);

#endif
