/* A study: many trials, each run once. A trial's result lies in DIR/trials under the hash of its
 * exact settings, written whole or not at all; so a study that was killed goes on where it was, and
 * tables share what they have in common. */
#ifndef CDCCA_STUDY_H
#define CDCCA_STUDY_H

#include "api/base/progress.h"
#include "model/tool/trial.h"

/* What a round is measured by; the names are those of the JSON. */
enum measure {
    TARGET_MC, /* percent, five kinds of question */
    TARGET_DA,
    NEW_MC, /* of these, about concepts that the student met in no stage */
    NEW_DA,
    SOURCE_MC,
    SOURCE_DA,
    TARGET_BLEU, /* captions: BLEU-4 and CIDEr, times 100 */
    TARGET_CIDER,
    NEAR_BLEU,
    NEAR_CIDER,
    NEW_BLEU,
    NEW_CIDER,
    SOURCE_BLEU,
    SOURCE_CIDER,
    UPLOADS,     /* instances */
    UPLINK,      /* bytes of the round */
    UPLINK_EACH, /* bytes an instance */
    DOWNLINK,    /* bytes of the round */
    BITS,        /* per parameter of the set */
    PASSED,      /* the gate: 1 or 0 */
    SECONDS,     /* without scoring */

    /* What the same round would have been in other forms (arrival.h, delivery.h). */
    UPLINK_PLAIN, /* before zstd */
    UPLINK_PNG,
    UPLINK_PNG_PLAIN,
    DOWNLINK_DIFFERENCE,
    DOWNLINK_BSDIFF,

    /* Of a row of table 5 (table_bytes.h), filled in for it; a trial's file does not have them. */
    SENT,       /* bytes of the round, one way */
    SENT_EACH,  /* up: bytes an instance */
    SENT_PLAIN, /* the same before zstd */
    SENT_BITS,  /* down: per parameter of the set */
    TIME_FAST,  /* seconds of transfer, at the three rates */
    TIME_MIDDLE,
    TIME_SLOW,
    MEASURES
};
extern const char *const MEASURE_NAMES[MEASURES];

enum { STUDY_ROUNDS = 32 };

struct result {
    int rounds;
    double value[STUDY_ROUNDS][MEASURES]; /* NAN: not measured */
    double seconds;                       /* wall time, scoring included */
};

struct study {
    struct lab *lab; /* borrowed */
    const char *dir;
    char models[2 * 13];      /* first 12 digits of the parameters' hashes: teacher, student */
    struct progress progress; /* in rounds: of the trials that are not there yet */
    int64_t rounds_done;
};

/* The folder is made. */
enum status study_init(struct study *study, struct lab *lab, const char *dir, struct err *err);
/* The exact settings of a trial, as they stand in its result and in the tables; json_free. */
enum status study_settings(const struct study *study, const struct trial_options *options,
                           struct json_t **out, struct err *err);
/* Whether the result is there. */
bool study_has(const struct study *study, const struct trial_options *options);
/* Whether two settings are one trial. */
bool study_same(const struct study *study, const struct trial_options *a,
                const struct trial_options *b);
/* Reads the result, or runs the trial and writes it. A file that is damaged is refused by name. */
enum status study_trial(struct study *study, const struct trial_options *options,
                        const volatile int *cancel, struct result *out, struct err *err);
/* Rounds that a trial has to run; for progress. */
int study_rounds(const struct trial_options *options);

/* Mean and sample deviation (0 of one). */
struct spread {
    double mean, deviation;
    int count;
};
struct spread spread_of(const double *values, int n);

#endif
