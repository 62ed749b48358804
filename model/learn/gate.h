/* The gate before a publication: does the student agree with the labels of uploads it was not
 * trained on no worse than before, but for noise (distill.h says when a change counts)? */
#ifndef CDCCA_GATE_H
#define CDCCA_GATE_H

#include "model/learn/exemplar.h"

struct gate {
    const struct exemplar **items; /* borrowed */
    int count;
    bool *right; /* per item: agreed before */
    float before, after;
    int gained, lost;
};

/* Measures the student as it is. */
enum status gate_open(struct gate *gate, const struct mllm *student, struct pool *pool,
                      const struct exemplar **items, int n, struct err *err);
/* Measures it again and counts what changed. */
enum status gate_measure(struct gate *gate, const struct mllm *student, struct pool *pool,
                         struct err *err);
bool gate_passed(const struct gate *gate); /* true for an empty set */
void gate_close(struct gate *gate);

#endif
