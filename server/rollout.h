/* Rollouts: how a release reaches a fleet in stages, as pure functions of counts, times and a plan.
 *
 * A plan is text: stages by comma, each [CHANNEL=]SHARE[:SOAK[:SUCCESS[:ERRORS]]], as in
 * "beta=100%:1h,10%:10m,50%:30m:90%:5%,100%". A stage reaches that share of the devices (of that
 * channel), and every later stage reaches them too; which ones is a hash of release and device, so
 * it is stable, and another choice for the next release. The last stage is 100% of every channel.
 *
 * Of the devices that a stage reaches, those count that are heard of or were offered the release.
 * It is passed when it has soaked and SUCCESS of them have applied the release; when more than
 * ERRORS of them failed or were silent, the rollout halts at once, in the last stage too. A stage
 * without devices is passed after its soak. */
#ifndef CDCCA_ROLLOUT_H
#define CDCCA_ROLLOUT_H

#include "api/base/status.h"
#include "api/wire/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROLLOUT_STAGES = 8, ROLLOUT_TEXT = 1024, ROLLOUT_REASON = 160 };

enum rollout_state {
    ROLLOUT_UNSIGNED,   /* offered to no one until it is signed */
    ROLLOUT_ROLLING,    /* offered to the stages so far */
    ROLLOUT_HALTED,     /* offered to no one */
    ROLLOUT_COMPLETE,   /* offered to everyone */
    ROLLOUT_SUPERSEDED, /* a newer release, or a rollback, took its place; offered to no one */
};
const char *rollout_state_name(enum rollout_state state);
/* ROLLOUT_HALTED for a text that is none of the names. */
enum rollout_state rollout_state_parse(const char *name);

struct rollout_stage {
    char channel[LIMIT_ID + 1]; /* "": every channel */
    double share;               /* of the devices, above 0 to 1 */
    int64_t soak_ms;            /* 0 */
    double success, errors;     /* shares of those offered; 90%, 5% */
};
struct rollout_plan {
    struct rollout_stage stage[ROLLOUT_STAGES];
    int count;
};

/* STATUS_USAGE says which stage is wrong, and what would be right. */
enum status rollout_plan_parse(const char *text, struct rollout_plan *out, struct err *err);

/* Is the device among those that the stages up to `stage` reach? */
bool rollout_reaches(const struct rollout_plan *plan, int stage, int64_t version,
                     const char *device, const char *channel);

struct rollout_counts {
    int64_t offered, applied, failed, silent; /* devices; the last three are parts of the first */
    int64_t reached;                          /* by the stages so far, and heard of lately */
};
struct rollout_now {
    enum rollout_state state;
    int stage;
    int64_t in_stage_ms; /* since the stage began, or since it was resumed */
};
struct rollout_step {
    enum rollout_state state;
    int stage;
    char reason[ROLLOUT_REASON]; /* of a halt */
};
/* What comes next; the same state and stage when nothing changes. Only a rolling one moves. */
void rollout_decide(const struct rollout_plan *plan, const struct rollout_now *now,
                    const struct rollout_counts *counts, struct rollout_step *out);

#endif
