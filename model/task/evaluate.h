/* Accuracy of a model on a stream of answered samples: MC (best option by length-normalised
 * likelihood), DA (exact match after normalisation), by kind, and on the new concepts alone. */
#ifndef CDCCA_EVALUATE_H
#define CDCCA_EVALUATE_H

#include "model/mllm/answer.h"
#include "model/task/stream.h"

struct score {
    int count;
    double mc, da; /* percent */
};

struct evaluation {
    struct score five;         /* colour, shape, texture, count, exist: the recipe's five kinds */
    struct score all;          /* every question kind, captions apart */
    struct score kind[KINDS];
    struct score new_concepts; /* of the five kinds */
    double entropy;            /* mean, nats */
    double seconds;
};

/* The first n samples of the stream. */
enum status evaluate(const struct mllm *m, struct pool *pool, const char *spec, uint64_t seed, int n,
                     bool quiet, struct evaluation *out, struct err *err);
/* An evaluation set with its encoder tokens kept, so that many models that share the encoder can be
 * scored on it quickly. */
struct evalset;
enum status evalset_create(const struct mllm *m, struct pool *pool, const char *spec, uint64_t seed,
                           int n, struct evalset **out, struct err *err);
enum status evalset_score(const struct evalset *set, const struct mllm *m, struct pool *pool,
                          struct evaluation *out, struct err *err);
void evalset_destroy(struct evalset *set);
/* Lower case, articles and punctuation off, blanks squeezed. */
bool evaluate_same(const char *a, const char *b);

#endif
