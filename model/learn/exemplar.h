/* An exemplar: one upload with what the teacher says about it (label, logits, features). Exemplars
 * outlive their round, so that later rounds train on earlier uploads too. */
#ifndef CDCCA_EXEMPLAR_H
#define CDCCA_EXEMPLAR_H

#include "model/learn/distill.h"

enum { EXEMPLAR_PAIRS = 2, EXEMPLAR_FEATURES = 1 + EXEMPLAR_PAIRS };

/* Which cross-attention outputs of student and teacher are held against each other: output i of n
 * meets the teacher's at the same relative depth (2 and 4 outputs: 0,1 to 1,3). */
struct exemplar_match {
    int pairs;
    int student[EXEMPLAR_PAIRS], teacher[EXEMPLAR_PAIRS];
};
void exemplar_match_init(struct exemplar_match *match, const struct mllm *student,
                         const struct mllm *teacher);

struct exemplar {
    char *question;
    float *visual; /* (visual_count, Cv) */
    int visual_count;
    int visual_rest; /* how many tokens the last one stands for, at least 1 */
    int32_t *ids;    /* for LLaMA: the prompt, then the label (end token included) */
    int prompt_count, label_count;
    int32_t *question_ids; /* for the Q-Former */
    int question_count;
    bool corrected;  /* the label is a user's, not the teacher's */
    bool crossed;    /* another upload's question about this one's tokens (distill.h) */
    uint64_t origin; /* number of the upload whose tokens these are */
    uint64_t device; /* who sent them */
    float entropy;   /* of the teacher's answer, nats; 0 for a correction */
    float *logits;   /* (label_count, V): the teacher's, at the label's places */
    float *feature[EXEMPLAR_FEATURES]; /* (Q,Ct) each: query output, matched cross outputs */
    size_t bytes, taught_bytes;        /* of memory, all in all; of the teacher's side of that */
};

/* Copies the upload. STATUS_MALFORMED: no tokens, a value that is not finite; STATUS_TOO_LARGE. */
enum status exemplar_init(struct exemplar *e, const struct mllm *model,
                          const struct distill_instance *instance, struct err *err);
void exemplar_deinit(struct exemplar *e);
/* Drops the label, a user's correction, and what the teacher said along it. */
void exemplar_forget(struct exemplar *e);

/* The teacher answers n exemplars (greedy; a correction stands) and its logits and features along
 * the label are kept. The result does not depend on the pool. */
enum status exemplar_teach(const struct mllm *teacher, struct pool *pool,
                           const struct exemplar_match *match, struct exemplar *items, int n,
                           struct err *err);
/* Teaches those of the n whose label was forgotten. */
enum status exemplar_reteach(const struct mllm *teacher, struct pool *pool,
                             const struct exemplar_match *match, struct exemplar *items, int n,
                             struct err *err);

/* A growable list. */
struct exemplars {
    struct exemplar *item;
    int count, cap;
};
enum status exemplars_reserve(struct exemplars *list, int extra, struct err *err);
/* Removes crossed exemplars from `first` on whose teacher was less sure than max_entropy. */
void exemplars_doubtful_drop(struct exemplars *list, int first, float max_entropy);
void exemplars_truncate(struct exemplars *list, int count);
/* Drops the oldest until at most max_count and max_bytes are left. */
void exemplars_trim(struct exemplars *list, int max_count, size_t max_bytes);

/* Some exemplars as one padded batch, in the tape's arena. */
struct exemplar_batch {
    struct mllm_batch model;
    int row_count;
    int32_t *rows, *labels; /* rows of hidden that predict the label, and the label */
    float *row_weight;      /* 1; 0 where the label is a user's correction */
    int soft_rows;          /* rows of weight 1 */
};
/* token_drop: up to this share of each exemplar's visual tokens, drawn anew each time from the
 * tape's generator, stays away (training: the same answer from other views); 0: none does. */
void exemplar_batch_build(struct tape *tape, const struct mllm *m,
                          const struct exemplar *const *items, int n, float token_drop,
                          struct exemplar_batch *out);
/* The teacher's side of the batch: logits (row_count,V); feature f (n,Q,Ct). NULL: arena full. */
const float *exemplar_batch_logits(struct tape *tape, const struct exemplar *const *items, int n,
                                   int V);
const float *exemplar_batch_feature(struct tape *tape, const struct exemplar *const *items, int n,
                                    int f, size_t size);

#endif
