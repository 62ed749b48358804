/* What a round leaves behind for people and devices: its report as JSON, and the manifest of what
 * it released. */
#ifndef CDCCA_REPORT_H
#define CDCCA_REPORT_H

#include "api/wire/manifest.h"
#include "server/learner.h"

enum { REPORT_MAX = 64 << 10 };

/* Appends NUL-terminated text (the NUL is not counted). losses: every stride-th step's. */
enum status report_write(const struct distill_report *report, const float *losses, int count,
                         int stride, struct buf *out, struct err *err);
/* Without sequence and times, which the signer sets. */
void outcome_manifest(const struct outcome *outcome, const struct facts *facts,
                      struct manifest *out);
/* The losses as {"loss_every", "losses"} into an object. */
bool losses_json(json *object, const float *losses, int count, int stride);

#endif
