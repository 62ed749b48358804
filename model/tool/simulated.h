/* A simulated edge: one window of a stream answered by a model, sampled (UTS) and packed as a token
 * payload, with the same functions as the agent, but in this process and without a network. */
#ifndef CDCCA_SIMULATED_H
#define CDCCA_SIMULATED_H

#include "api/wire/payload.h"
#include "model/learn/distill.h"
#include "model/learn/uncertainty.h"
#include "model/task/stream.h"

/* ent2: among the thrice as many of highest entropy (uts_select_instances); entropy, confidence:
 * the plain top, by entropy or by the lowest mean log-probability of a token; random. */
enum simulated_pick { PICK_ENT2, PICK_ENTROPY, PICK_RANDOM, PICK_CONFIDENCE };

/* What travels: tokens as the agent sends them, or what one would send in their place; arrival.h
 * makes it. */
enum simulated_form {
    FORM_TOKENS, /* those that UTS keeps, 8 or 4 bit */
    FORM_F16,    /* the same tokens, not quantized */
    FORM_PIXELS, /* pictures at the model's input size, lossless */
    FORM_JPEG,
};

struct simulated_options {
    enum simulated_pick pick;
    enum simulated_form form;
    int quality; /* of FORM_JPEG, 1 to 100 */
    struct uts_options uts;
    int bits; /* of a visual token's channel, 8 or 4 */
    uint64_t seed;
};

/* Samples [first, first + count) of a stream, encoded and answered. */
struct simulated {
    int count, tokens, width, side;
    uint8_t *pixels; /* (count, side, side, 3) */
    float *visual;   /* (count, tokens, width) */
    char (*question)[WORLD_TEXT];
    struct answer *answers;
};
enum status simulated_answer(struct simulated *s, const struct mllm *edge, struct pool *pool,
                             const char *spec, uint64_t seed, uint64_t first, int count,
                             struct err *err);
void simulated_free(struct simulated *s);

/* UTS-1: which n instances travel; the same again for the same options. chosen: room for
 * s->count, ascending. Returns how many, 0 without memory. */
int simulated_pick(const struct simulated *s, int n, const struct simulated_options *options,
                   int32_t *chosen);

/* Picks n instances and their tokens, and packs them. *wire_bytes: the payload as it would travel,
 * zstd-compressed. Form and quality are not looked at. *out borrows the questions of *s; release it
 * with free(out->instance). */
enum status simulated_upload(const struct simulated *s, const struct mllm *edge, int n,
                             const struct simulated_options *options, struct payload *out,
                             size_t *wire_bytes, struct err *err);

/* The instances of a payload as the distiller wants them: dequantised, of an encoder that makes
 * `tokens`. The strings are
 * borrowed from the payload; free() *visual and *instances. */
enum status simulated_instances(const struct payload *p, int tokens,
                                struct distill_instance **instances, float **visual,
                                struct err *err);

#endif
