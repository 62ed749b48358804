/* Facts: what a pair of model directories is, read once and then only looked at: names, sizes, the
 * hashes that uploads, deltas and manifests are held against, the bounds of an upload. */
#ifndef CDCCA_FACTS_H
#define CDCCA_FACTS_H

#include "api/base/hash.h"
#include "api/wire/json.h"
#include "api/wire/payload.h"
#include "model/learn/trainable.h"

struct facts {
    char teacher[LIMIT_ID + 1], student[LIMIT_ID + 1]; /* the directories' last parts */
    int64_t teacher_parameters, student_parameters;
    char encoder[HASH_HEX];  /* fingerprint both must have */
    char set_hash[HASH_HEX]; /* of the trainable set at version 0 */
    int64_t set_values, set_tensors;
    struct trainable_options options;
    int token_width, tokens_max;      /* of the vision encoder's output */
    int image_size;                   /* pixels a side that the encoder sees */
    double entropy_max;               /* ln V */
    const struct mllm *encoder_model; /* borrowed: whose encoder bounds what a token can be */
    char config_hash[HASH_HEX], model_hash[HASH_HEX], tokenizer_hash[HASH_HEX];
};

/* Number of values of all parameters. */
int64_t facts_parameters(const struct mllm *model);
/* set: the student's, at version 0; it has been attached, so student_parameters is the caller's to
 * say. STATUS_WRONG_BASE: the two encoders differ. The student is borrowed. */
enum status facts_read(struct io *io, const struct mllm *teacher, const char *teacher_dir,
                       const struct mllm *student, const char *student_dir,
                       const struct trainable *set, struct facts *out, struct err *err);
/* Does an upload fit this pair at this version? STATUS_WRONG_BASE: another encoder, or a version
 * there is not; STATUS_SHAPE, STATUS_MALFORMED: sizes or values this model cannot have, tokens
 * among them that its vision encoder cannot make (reach.h); STATUS_NO_MEMORY. */
enum status facts_check_upload(const struct facts *facts, const struct payload *payload,
                               int64_t version, struct err *err);
/* {"encoder", "base": {"config_sha256", "model_sha256", "tokenizer_sha256"}} into object. */
bool facts_json(const struct facts *facts, json *object);

#endif
