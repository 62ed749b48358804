/* The loss of AKD (CD-CCA Eq. 6) over one batch of exemplars, shard by shard (trainer.h). */
#ifndef CDCCA_AKD_H
#define CDCCA_AKD_H

#include "model/learn/phi.h"
#include "model/tensor/trainer.h"

enum akd_part { AKD_CE, AKD_KL, AKD_QUERY, AKD_REPR, AKD_WAVELET, AKD_PARTS };

struct akd_step {
    const struct mllm *student;
    const struct exemplar_match *match;
    struct phi *phi;
    const struct exemplar *const *items; /* the batch */
    int count;
    float weight[AKD_PARTS]; /* 0: the part is not computed */
    float temperature;
    enum distill_features features;
    float token_drop;                      /* exemplar_batch_build */
    float variance[EXEMPLAR_PAIRS];        /* of the teacher's cross outputs: L_repr = MSE / var,
                                              wavelet term / deviation */
    float part[TRAINER_SHARDS][AKD_PARTS]; /* out: each shard's share of the unweighted parts */
};

/* A trainer_loss; ctx: struct akd_step. Items are cut evenly; means are over the whole batch. */
struct tensor akd_loss(void *ctx, struct tape *tape, int shard, int shards);
/* Sum over shards of one part of the last step. */
float akd_part_sum(const struct akd_step *step, enum akd_part part, int shards);

/* Regression of the teacher's features on the student's (phi.h). */
enum status akd_phi_fit(struct phi *phi, const struct mllm *student,
                        const struct exemplar_match *match, const struct exemplar *const *items,
                        int n, struct err *err);
/* Variance over all values of feature f. */
float akd_variance(const struct exemplar *const *items, int n, int f, size_t size);

#endif
