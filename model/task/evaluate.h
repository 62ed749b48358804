/* Accuracy of a model on a stream of answered samples: MC (best option by length-normalised
 * likelihood), DA (exact match after normalisation), by kind, and on the new concepts alone; of
 * captions ("world:NAME/caption"), BLEU, CIDEr and ROUGE-L against the scene's references. */
#ifndef CDCCA_EVALUATE_H
#define CDCCA_EVALUATE_H

#include "model/mllm/answer.h"
#include "model/task/caption_score.h"
#include "model/task/stream.h"

struct score {
    int count;     /* answered samples */
    int choices;   /* of those, with options: what mc is a share of */
    double mc, da; /* percent; 0 of none */
};

struct caption_result {
    int count;
    double exact;                 /* percent: the first reference, word for word */
    struct caption_scores scores; /* as captions tokenize; zeros of none */
};

struct evaluation {
    struct score five; /* colour, shape, texture, count, exist: the recipe's five kinds */
    struct score all;  /* every sample, captions apart; of a directory: this one alone */
    struct score kind[KINDS];
    struct score new_concepts; /* of the five kinds */
    struct caption_result captions;
    struct caption_result captions_new; /* of those, about a new concept: a corpus of its own */
    double entropy;                     /* mean, nats */
    double seconds;
};

/* The first n samples of the stream (or as many as a directory has). A bad sample is an error. */
enum status evaluate(const struct mllm *m, struct pool *pool, const char *spec, uint64_t seed,
                     int n, bool quiet, struct evaluation *out, struct err *err);
/* An evaluation set with its encoder tokens kept, so that many models that share the encoder can be
 * scored on it quickly. */
struct evalset;
enum status evalset_create(const struct mllm *m, struct pool *pool, const char *spec, uint64_t seed,
                           int n, struct evalset **out, struct err *err);
/* STATUS_WRONG_BASE: m has another vision encoder than the set's tokens come from. */
enum status evalset_score(const struct evalset *set, const struct mllm *m, struct pool *pool,
                          struct evaluation *out, struct err *err);
void evalset_destroy(struct evalset *set);
/* Lower case, articles and punctuation off, blanks squeezed. */
bool evaluate_same(const char *a, const char *b);

#endif
