/* The self-test that a new version must pass before it is used.
 *
 * Golden prompts: fixed scenes and questions, the same on every device; what the version in use
 * answers is found by asking it. Replay: recent samples of this device (replay.h). Of the answers
 * that the version in use is sure about, the new one must give at least a share alike, of the
 * golden ones and of the replayed ones each; where fewer than SELFTEST_GOLDEN_LEAST or
 * SELFTEST_REPLAY_LEAST are sure, that part does not decide. Whatever the share, it must not give
 * one answer to all where there were three or more; and all logits must be finite.
 *
 * The comparison is with the version in use, never with an older one: a model that learns moves on,
 * and what was once right must not lock a device out of updates for ever. */
#ifndef CDCCA_SELFTEST_H
#define CDCCA_SELFTEST_H

#include "client/infer.h"
#include "client/replay.h"

enum {
    SELFTEST_SCENES = 4,
    SELFTEST_GOLDEN = 16,
    SELFTEST_GOLDEN_LEAST = 4,
    SELFTEST_REPLAY_LEAST = 8
};
#define SELFTEST_SHARE 0.5 /* the default */

struct selftest {  /* the scenes' encoder tokens: the encoder is frozen, so they serve every version
                    */
    float *visual; /* (SELFTEST_SCENES, tokens, width) */
};

struct selftest_report {
    int golden, golden_right; /* sure answers of the version in use; given by the new one, too */
    int replay, replay_agreed;
    bool finite;
};

enum status selftest_init(const struct mllm *m, struct selftest *out, struct err *err);
void selftest_deinit(struct selftest *test);

/* replay may be NULL; it then holds what the candidate said (replay_adopt). report is filled as far
 * as the test went. REFUSED: not passed, err says why; other codes are ours. */
enum status selftest_run(const struct selftest *test, const struct mllm *in_use,
                         const struct mllm *candidate, struct replay_set *replay, double share,
                         struct selftest_report *report, struct err *err);

#endif
