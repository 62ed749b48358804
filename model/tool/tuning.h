/* Honest baselines: each method's settings are picked from a small grid on a validation stream,
 * with evaluation samples that no table uses. The grid and what it gave are written to
 * DIR/tuning.md and DIR/tuning.json. CD-CCA's own settings are the shipped defaults. */
#ifndef CDCCA_TUNING_H
#define CDCCA_TUNING_H

#include "model/tool/tables.h"

/* Runs the grid (seed: of the validation stream) and puts each method's best into the plan: the
 * highest mean of MC and DA over the rounds (of captions: CIDEr). */
enum status tuning_run(struct study *study, struct table_plan *plan, uint64_t seed,
                       const volatile int *cancel, struct err *err);
/* Rounds that are still to be computed. */
int64_t tuning_rounds_left(const struct study *study, const struct table_plan *plan, uint64_t seed);

#endif
