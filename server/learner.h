/* The learner: teacher, student, distiller and the parameters the devices have, and how a round of
 * uploads becomes a release. It has one owner, the thread that runs rounds; only its facts are for
 * everyone.
 *
 * Two parameter vectors matter. The master, inside the distiller, is what training reached in full
 * precision. The edge's is version 0 plus every delta as decoded, which is what devices have to the
 * bit. A release codes master - edge; what the code loses stays in the difference and goes into the
 * next round (error feedback).
 *
 * On disk, under DIR/state: edge-VERSION.safetensors and distiller-ROUND.safetensors. They are
 * written before the transaction that ends the round and are looked for by the version and round
 * that the store says were the last, so a file from a round that was never committed is never
 * adopted. */
#ifndef CDCCA_LEARNER_H
#define CDCCA_LEARNER_H

#include "server/facts.h"
#include "server/settings.h"
#include "server/store.h"

struct learner;

struct learner_config {
    struct io *io;
    const char *data_dir, *teacher_dir, *student_dir;
    int threads; /* 0: one per core */
    size_t
        patch_bytes; /* no round's patch is larger: the smallest budget of a device class; 0: any */
};

enum status learner_create(const struct learner_config *config, struct learner **out,
                           struct err *err);
void learner_destroy(struct learner *learner);
/* Are the models readable and do they fit each other? Writes nothing. */
enum status learner_check(const struct learner_config *config, struct err *err);
const struct facts *learner_facts(const struct learner *learner);
/* The factory's student with a neutral trainable set; never changed. */
const struct mllm *learner_student(const struct learner *learner);

/* Back to what the store says was last: at the start, and after a round that was not committed. */
enum status learner_restore(struct learner *learner, struct store *store, struct err *err);

struct outcome {
    struct distill_report report;
    bool released;             /* the gate was passed; what follows is set */
    struct buf patch, tensors; /* tensors: JSON, what each takes of the patch */
    int64_t base_version, version, parameters;
    char patch_hash[HASH_HEX], base_set_hash[HASH_HEX], set_hash[HASH_HEX];
};

struct learner_hooks {
    const volatile int *cancel;
    void (*progress)(void *ctx, const struct distill_progress *progress);
    void *ctx;
};

/* Trains on the round's uploads, gates, codes the update and writes the state files. Nothing counts
 * until learner_adopt; in any other case learner_restore must follow. outcome_free afterwards. */
enum status learner_round(struct learner *learner, struct store *store, int64_t round,
                          const struct settings *settings, const struct learner_hooks *hooks,
                          struct outcome *out, struct err *err);
/* A new version with the parameters of an older one, to the bit. The master starts from them, too,
 * so that the next round does. As learner_round otherwise. */
enum status learner_rollback(struct learner *learner, struct store *store, int64_t target,
                             struct outcome *out, struct err *err);
/* After the commit: the new version is the base of the next round. */
void learner_adopt(struct learner *learner, int64_t round, const struct outcome *outcome);
void outcome_free(struct outcome *outcome);

#endif
