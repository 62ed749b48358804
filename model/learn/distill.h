/* AKD, adapter-based knowledge distillation (CD-CCA section 3.3), and the baselines that share its
 * loop. The teacher answers each upload once (labels, logits, features are kept); then the
 * student's trainable set is trained. L = l_ce CE + l_kl KL + l_query MSE(phi(Q_s), Q_t) + l_repr
 * MSE(...). */
#ifndef CDCCA_DISTILL_H
#define CDCCA_DISTILL_H

#include "model/learn/compress.h"
#include "model/mllm/answer.h"
#include "model/tensor/optim.h"
#include "model/tensor/parallel.h"

enum distill_labels { LABELS_HARD, LABELS_SOFT /* + KL on the teacher's distribution */ };
/* How features are held against the teacher's: squared error (AKD), or the baselines' distances. */
enum distill_features { FEATURES_MSE, FEATURES_PKD, FEATURES_CWD };

struct distill_options {
    enum distill_labels labels;
    int steps, batch; /* 300, 32 */
    float lr;         /* 3e-3, warm-up 5, linear to 1% */
    float clip;       /* 1 */
    float query, repr, ce, kl,
        temperature; /* weights of the losses; LABELS_HARD: kl's share goes to ce */
    float wavelet;   /* weight of the frequency term of L_repr (op_wavelet); 0 */
    enum distill_features features;
    bool head_only;   /* baseline "head refit": nothing but the output head is trained */
    float holdout;    /* share of the uploads kept out of training this round, for the gate */
    float token_drop; /* up to this share of an upload's tokens stays away from a step, at random */
    /* The set's values on devices (borrowed), and how what is added to them will be coded: training
     * and gate go through that (coded.h). NULL: the trained values are what counts. */
    const float *edge;
    struct compress_options code;
    uint64_t seed;
};
enum { DISTILL_CROSS = 16 }; /* questions of others asked about each upload, by default */

struct distill_options distill_defaults(void);
/* Ranges of every field; err names the field and its range. */
enum status distill_options_check(const struct distill_options *options, struct err *err);

struct distill_instance { /* one upload; what it points to is copied */
    const char *question;
    const char *correction; /* label from a user, or NULL */
    const float *visual;    /* (count, Cv) */
    int count;
    int rest;        /* how many tokens the last one stands for (UTS_REST); 0, 1: itself */
    uint64_t device; /* who sent it, the same in every round; all equal: one sender, not screened */
    int64_t round;   /* that it came in, for distiller_recall: one screening for each */
};

struct distill_progress {
    int step, steps;
    float loss, loss_query, loss_repr, loss_ce, loss_kl;
};

/* Uploads that were not learned from, and why (screen.h). */
struct distill_left_out {
    int unusable;   /* too long a question, no tokens, values that are not finite */
    int over_share; /* beyond what one device may send */
    int strange;    /* tokens unlike those of an image */
};
/* What became of users' corrections; of one that is not believed the teacher's answer is learned.
 */
struct distill_corrections {
    int believed, over_share, doubted;
};

struct distill_report {
    int devices; /* that sent the round's uploads */
    struct distill_left_out left_out;
    struct distill_corrections corrections;
    int instances, trained,
        held; /* this round's usable uploads; all uploads trained on; held back */
    float loss_first, loss_last;             /* means of the first and the last steps */
    float agreement_before, agreement_after; /* with the labels on held-back uploads, 0..1 */
    float replay_before, replay_after; /* on a sample of earlier rounds' uploads, -1 without */
    bool passed;                       /* the gate */
    double seconds, teacher_seconds;
};

/* Keeps the teacher, the student's master copy (full precision, error feedback), optimiser state,
 * phi and the buffer of earlier uploads across rounds. Not thread-safe: one owner, the worker. */
struct distiller;
/* Both models are retained. student: a model with a trainable set attached, a private clone that
 * the distiller trains. */
enum status distiller_create(struct mllm *teacher, struct mllm *student, struct pool *pool,
                             struct distiller **out, struct err *err);
void distiller_destroy(struct distiller *d);
/* Cross-questioning: the teacher also answers `questions` questions of other, earlier uploads about
 * each upload's tokens (it costs no uplink), and where it is sure of its answer the student learns
 * that too. Default DISTILL_CROSS; 0: none. The same for all rounds of a distiller. */
void distiller_cross(struct distiller *d, int questions);

/* One round: adds the instances to the buffer, trains, gates. On success the student's parameters
 * are the trained ones when report->passed, else as before. cancel (may be NULL) is polled each
 * step; progress (may be NULL) is called each step. Diverging loss (STATUS_REFUSED) is an error and
 * changes nothing, nor does being cancelled (STATUS_CANCELLED). Instances that cannot be used, or
 * that the screen turns down (screen.h: with three devices or more), are left out and counted;
 * report->instances counts the others.
 *
 * The gate: agreement of whole greedy answers with the labels, before and after, on this round's
 * held-back uploads and on a sample of earlier rounds'. A set of n uploads on which g answers
 * became right and l became wrong passes when l - g <= 1.5 sqrt(l + g), one and a half times the
 * noise of that difference: on 18 uploads a plain "not worse" turns down every fourth good round.
 * Every device has its share of the uploads that are held back; from eight devices on, the eighth
 * part of them with the most and the eighth with the least net change have no vote (gate.h). */
enum status distiller_round(struct distiller *d, const struct distill_instance *instances, int n,
                            const struct distill_options *options, const volatile int *cancel,
                            void (*progress)(void *ctx, const struct distill_progress *p),
                            void *ctx, struct distill_report *report, struct err *err);
/* The student being trained (borrowed), for reading its trainable set. */
struct mllm *distiller_student(struct distiller *d);
/* Everything needed to go on after a restart (master parameters, optimiser moments, phi; the buffer
 * is given again by distiller_recall). */
enum status distiller_save(struct io *io, const struct distiller *d, const char *path,
                           struct err *err);
enum status distiller_load(struct io *io, struct distiller *d, const char *path, struct err *err);
/* Puts earlier uploads back into the buffer without training on them now. */
enum status distiller_recall(struct distiller *d, const struct distill_instance *instances, int n,
                             struct err *err);

#endif
