/* A trial: one method, one setting, one seed, over the rounds of a stream; what the tables are made
 * of. A lab holds what many trials share: the two models as shipped and the evaluation sets with
 * their tokens. A trial works on copies, in this process, with the functions that the agent and the
 * service call (UTS, wire format, AKD, DWC); adaptation without a teacher is adapt.h. */
#ifndef CDCCA_TRIAL_H
#define CDCCA_TRIAL_H

#include "model/learn/adapt.h"
#include "model/task/evaluate.h"
#include "model/tool/delivery.h"
#include "model/tool/simulated.h"

struct lab_options {
    const char *teacher, *student; /* directories */
    const char *target, *source;   /* evaluation: stream specs; of the world, "world:target" */
    const char *near;              /* a third one; NULL: none */
    const char *stream;            /* "world:drift" changes from round to round; else a spec */
    uint64_t seed;                 /* of the evaluation sets */
    int count;                     /* samples of each */
    int threads;                   /* 0: one per core */
};

struct lab {
    struct lab_options options; /* strings borrowed */
    struct pool *pool;
    struct mllm *teacher, *student;
    struct evalset *target, *source, *near; /* near may be NULL */
};
enum status lab_open(struct lab *lab, const struct lab_options *options, struct err *err);
void lab_close(struct lab *lab);

enum trial_method {
    TRIAL_SOURCE, /* no adaptation */
    TRIAL_TENT,
    TRIAL_COTTA,
    TRIAL_DISTILL, /* the cloud's round, as distill_options say: CD-CCA, PL, PKD, CWD */
    TRIAL_HEAD,    /* the cloud's round on the output head alone; nothing comes down */
    TRIAL_TEACHER, /* the ceiling: the teacher itself */
};

struct trial_options {
    enum trial_method method;
    int rounds, window;            /* 5 of 910 */
    double budget;                 /* share of the instances that is uploaded, 0.1 */
    int cross;                     /* questions of others asked about each upload */
    struct simulated_options edge; /* its seed is the trial's, like those of the next two */
    struct distill_options distill;
    struct adapt_options adapt;
    struct trainable_options trainable; /* what is attached to the student */
    enum delivery_way delivery;
    char codec;           /* of the delta, as compress.h has them; 0: picked by budget */
    size_t delta_budget;  /* bytes, for codec 0; 0: none */
    float selected_share; /* of the blocks, for codec 'k' */
    bool coded;           /* training goes through the delta's code (coded.h) */
    bool every_round;     /* scored after each round, or after the last alone */
    uint64_t seed;        /* of the stream and of what is drawn */
};
struct trial_options trial_defaults(enum trial_method method);
/* The methods by the names that tables and flags use: source, tent, cotta, pl, pkd, cwd, head,
 * cdcca, teacher. PL is the teacher's words alone (hard labels), PKD and CWD add features by their
 * distance; STATUS_USAGE lists the names. */
enum status trial_named(const char *name, struct trial_options *out, struct err *err);

struct trial_round {
    int round, instances;
    size_t uplink_bytes, delta_bytes;
    size_t uplink_plain;          /* before zstd */
    size_t png_bytes, png_plain;  /* arrival.h */
    struct delivered delivered;   /* delivery.h */
    double bits;                  /* per parameter of the set */
    struct distill_report report; /* zero without a cloud */
    float loss;                   /* adaptation without a teacher: mean */
    double seconds;               /* without scoring */
    bool scored;
    struct evaluation target, source, near;
};

/* Runs the rounds in order; tell (may be NULL) is called after each, and decides nothing. A method
 * without adaptation has one round, scored. STATUS_CANCELLED when *cancel (may be NULL) is set. */
enum status trial_run(struct lab *lab, const struct trial_options *options,
                      const volatile int *cancel,
                      void (*tell)(void *ctx, const struct trial_round *round), void *ctx,
                      struct err *err);

#endif
