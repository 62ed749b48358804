/* The JSON texts that a round leaves behind: its report, and the manifest of what it released
 * (cdcca.manifest/1; not signed yet). */
#ifndef CDCCA_REPORT_H
#define CDCCA_REPORT_H

#include "server/learner.h"

enum { REPORT_MAX = 64 << 10, TENSORS_MAX = 8 << 20 };

/* Each appends NUL-terminated text (the NUL is not counted). losses: every stride-th step's. */
enum status report_write(const struct distill_report *report, const float *losses, int count,
                         int stride, struct buf *out, struct err *err);
enum status manifest_write(const struct outcome *outcome, const struct facts *facts,
                           struct buf *out, struct err *err);
/* [{"name", "codec", "values", "bytes"}], bytes before zstd. */
enum status tensors_write(const struct trainable *set, const struct delta *delta, struct buf *out,
                          struct err *err);
/* The losses as {"loss_every", "losses"} into an object. */
bool losses_json(json *object, const float *losses, int count, int stride);

#endif
