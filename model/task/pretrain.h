/* Makes the built-in pair, teacher and student, from nothing but a seed:
 *
 *   tokenizer  byte-level BPE over the world's questions, answers and captions
 *   vision     the encoder, by dense labels of every patch; then frozen and shared by both models
 *   base       the teacher on everything but the new tier
 *   student    every second layer pair of the *base* (never of the teacher), trained without
 *              the new tier: what it has to learn later it has met in no stage
 *   source     the student fine-tuned hard on the source domain alone, burying the rest
 *   teacher    the base goes on with everything: it knows more than its students
 *
 * Every stage resumes from its checkpoint. Deterministic for a seed, whatever the
 * number of threads. */
#ifndef CDCCA_PRETRAIN_H
#define CDCCA_PRETRAIN_H

#include "api/base/io.h"
#include "model/mllm/mllm.h"
#include "model/tensor/parallel.h"

struct pretrain_options {
    const char *out;  /* OUT/teacher and OUT/student are written */
    const char *work; /* checkpoints; NULL: OUT/work */
    uint64_t seed;
    double effort; /* scales the steps of every stage; 1 is what the committed pair had */
    int evaluate;  /* questions per evaluation; 0: none */
    bool tiny;     /* a toy pair in seconds, for tests */
    bool quiet;
};

enum status pretrain_run(struct io *io, struct pool *pool, const struct pretrain_options *options,
                         struct err *err);

#endif
