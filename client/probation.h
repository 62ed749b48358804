/* Probation: the first PROBATION_ANSWERS answers of a new version are watched. When more of them
 * than a bound are bad (not finite, or empty) the version is to be left; the bound is
 * PROBATION_SHARE of them beyond the share that the version before had.
 *
 * DATA/probation.json says which version is watched and how far it has come: it is written when one
 * begins, after each bad answer and at the end, so that a kill forgets good answers alone and a
 * restart comes to the same decision. A version that it does not know begins its probation; version
 * 0, the factory model, has none. Thread-safe. */
#ifndef CDCCA_PROBATION_H
#define CDCCA_PROBATION_H

#include "api/base/io.h"

enum { PROBATION_ANSWERS = 200 };
#define PROBATION_SHARE 0.05

struct probation;

/* A damaged file is reported, and the version in use watched from the beginning. */
enum status probation_open(struct io *io, const char *data_dir, struct probation **out,
                           struct err *err);
/* Saves; NULL is fine. */
void probation_close(struct probation *probation);

/* `answers` more by this version, `bad` of them bad. True: it is to be left, now. */
bool probation_note(struct probation *probation, int64_t version, int64_t answers, int64_t bad);

#endif
