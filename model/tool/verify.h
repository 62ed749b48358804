/* cdcca-model verify: does this engine compute what a reference computed? Runs a directory's model
 * on the inputs that lie beside it and reports the largest difference of everything the reference
 * says: logits, losses, gradients, generated ids, training steps. Made for whoever ports a
 * checkpoint.
 *
 *   DIR/config.json, model.safetensors (or shards; or both in DIR/hf)
 *   DIR/inputs.json     {case: {input_ids, labels, attention_mask, pixel_values, ..}}; a case's
 * input may also lie in expected.json itself DIR/expected.json   {case: {loss, logits: {values},
 * gradients: {name: {norm, sum, first8, last4}},
 *                       ..}, generation: {case or prompt, new_token_ids, num_beams, ..}}
 *
 * and where they exist: model-X.safetensors for cases called X_.., sharded/ and config.*.json for
 * the same cases again, training.json for runs of optimisers (verify_training.c). README, "Porting
 * a checkpoint", has the script that writes the two files. */
#ifndef CDCCA_TOOL_VERIFY_H
#define CDCCA_TOOL_VERIFY_H

#include "api/base/io.h"
#include "api/base/status.h"
#include <stdbool.h>

enum { VERIFY_CHECKS = 256 };

struct verify_report {
    struct verify_check {
        char name[96];     /* "padded_batch gradients" */
        double difference; /* largest absolute one; of ids: how many differ */
        bool ids;          /* any difference fails, whatever the tolerance */
        char where[128];   /* where the largest one is, and of what */
    } check[VERIFY_CHECKS];
    int count;
};

/* Everything that DIR holds. STATUS_NOT_FOUND, STATUS_MALFORMED and the like when files are missing
 * or say nothing; differences are no error. */
enum status verify_directory(struct io *io, const char *dir, struct verify_report *out,
                             struct err *err);
bool verify_passes(const struct verify_check *check, double tolerance);
/* verify DIR [--tolerance 1e-4] [--json]; a difference above the tolerance is STATUS_CORRUPT. */
enum status verify_run(int argc, char **argv, struct err *err);

#endif
