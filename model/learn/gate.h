/* The gate before a publication: does the student agree with the labels of uploads it was not
 * trained on no worse than before, but for noise (distill.h says when a change counts)? Hostile
 * devices can send uploads whose answers must change, or must not, so extremes have no vote: from
 * GATE_DEVICES on, the devices are put in order of their net change, and an eighth of them at
 * either end is not counted. */
#ifndef CDCCA_GATE_H
#define CDCCA_GATE_H

#include "model/learn/exemplar.h"

enum { GATE_DEVICES = 8 };

struct gate {
    const struct exemplar **items; /* borrowed */
    int count;
    bool *right;         /* per item: agreed before */
    float before, after; /* shares that agree; once measured, of what has a vote */
    int gained, lost;    /* among what has a vote */
};

/* Measures the student as it is. */
enum status gate_open(struct gate *gate, const struct mllm *student, struct pool *pool,
                      const struct exemplar **items, int n, struct err *err);
/* Measures it again and counts what changed. */
enum status gate_measure(struct gate *gate, const struct mllm *student, struct pool *pool,
                         struct err *err);
/* The counting alone. right (count): per item, agrees now. */
enum status gate_count(struct gate *gate, const bool *right, struct err *err);
bool gate_passed(const struct gate *gate); /* true for an empty set */
void gate_close(struct gate *gate);

#endif
