/* DWC, dynamic weight update compression (CD-CCA section 3.4). update = target - base over the
 * whole trainable set is coded tensor by tensor (codec.h), with the codec of each tensor chosen so
 * that the error, weighted by sensitivity, is least under a byte budget. The decode is
 * deterministic to the bit (no fused multiply-add, fixed order), so edge and cloud never drift;
 * what the code lost stays in the cloud's master copy and goes into the next round (error
 * feedback). */
#ifndef CDCCA_COMPRESS_H
#define CDCCA_COMPRESS_H

#include "api/wire/delta.h"
#include "model/learn/trainable.h"

struct compress_options {
    size_t budget_bytes;      /* for the compressed patch; 0: one bit everywhere */
    char codec;               /* 0: chosen per tensor; else this one (codec.h letters) for all */
    float selected_share;     /* for the "selected" codec: share of blocks kept */
    const float *sensitivity; /* weight of each tensor's squared error (set->count); NULL: all 1 */
};
struct compress_options compress_defaults(void);
/* Are the codecs chosen per tensor, under the budget? */
bool compress_is_budgeted(const struct compress_options *options);

/* base, target: `values` floats in canonical order, finite. STATUS_TOO_LARGE: the budget does not
 * even hold the header. On success *delta holds codes and hashes (delta_free) and decoded (may be
 * NULL) gets base + decoded update, exactly what the edge will have. */
enum status compress_encode(const struct trainable *set, const float *base, const float *target,
                            int64_t base_version, int64_t version,
                            const struct compress_options *options, struct delta *delta,
                            float *decoded, struct err *err);
/* Bytes of the patch of an update that changes every value. */
enum status compress_expect(const struct trainable *set, const struct compress_options *options,
                            size_t *bytes, struct err *err);
/* Just what the edge would have, for training (coded.h). codecs (set->count + 1 bytes): a letter a
 * tensor to use; chosen and written there when empty. */
enum status compress_preview(const struct trainable *set, const float *base, const float *target,
                             const struct compress_options *options, char *codecs, float *decoded,
                             struct err *err);
/* Leads from base to target to the bit (exact.h): for a rollback, and for several updates in one.
 */
enum status compress_exact(const struct trainable *set, const float *base, const float *target,
                           int64_t base_version, int64_t version, struct delta *delta,
                           struct err *err);
/* Applies to the set's current values (whose hash must be delta->base_hash); verifies finite scales
 * and the result's hash before anything is written. */
enum status compress_apply(const struct trainable *set, const struct delta *delta, struct err *err);
/* The same on `values` floats that stand for a set of that shape; the set's own stay as they are.
 */
enum status compress_apply_values(const struct trainable *set, const struct delta *delta,
                                  float *values, struct err *err);
/* bytes[set->count]: what each tensor takes of the delta's streams, before zstd. */
enum status compress_sizes(const struct trainable *set, const struct delta *delta, size_t *bytes,
                           struct err *err);

#endif
