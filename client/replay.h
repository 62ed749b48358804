/* The replay set: a few recent samples that the device was sure about, with its answers, so that a
 * new version can be asked the same before it is used.
 *
 * DATA/replay.tokens is an upload like those of the spool (cdcca.tokens/1 under zstd, 4 bit), with
 * all visual tokens of each sample, that never leaves the device. An answer in it is what the
 * version in use says to the quantized tokens, so that agreement is not blurred by the quantizing.
 * At most REPLAY_MAX samples and REPLAY_BYTES; the oldest gives way; no answer takes more than a
 * quarter of the places while others are to be had.
 *
 * Thread-safe: the agent adds while the updater tests. */
#ifndef CDCCA_REPLAY_H
#define CDCCA_REPLAY_H

#include "client/window.h"

enum { REPLAY_MAX = 32, REPLAY_PER_WINDOW = 8, REPLAY_BYTES = 4 << 20 };
#define REPLAY_SURE 0.2f /* nats: an answer of this entropy or less is a confident one */

struct replay;

/* What DATA/replay.tokens holds for this model's encoder; a damaged file, or another encoder's, is
 * reported and the set begins empty. device: of the payload. */
enum status replay_open(struct io *io, const char *data_dir, const char *device,
                        const struct mllm *m, struct replay **out, struct err *err);
void replay_close(struct replay *replay); /* NULL is fine */
int replay_count(struct replay *replay);

/* Takes up to REPLAY_PER_WINDOW of the window's confident samples (a sixteenth of it at most, but
 * one), answered again by m from their quantized tokens, and saves. */
enum status replay_learn(struct replay *replay, const struct window *window, const struct mllm *m,
                         struct err *err);

/* A copy of the set, to be asked without holding up the agent. */
struct replay_set;
enum status replay_snapshot(struct replay *replay, struct replay_set **out, struct err *err);
void replay_set_free(struct replay_set *set); /* NULL is fine */
int replay_set_count(const struct replay_set *set);
/* The answer that is kept for sample i. */
const char *replay_set_answer(const struct replay_set *set, int i);
/* m's answers to all of them; its texts are kept in the set for replay_set_said and replay_adopt.
 * CORRUPT: not finite. */
enum status replay_set_ask(struct replay_set *set, const struct mllm *m, struct err *err);
const char *replay_set_said(const struct replay_set *set, int i);
/* After the version that was asked has come into use: its answers are those to agree with from now
 * on; samples that it is not sure about go. */
enum status replay_adopt(struct replay *replay, const struct replay_set *set, struct err *err);

#endif
