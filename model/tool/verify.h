/* cdcca-model verify: does this engine compute what a reference computed? Reads DIR's model and its
 * expected.json (and inputs.json), as in the reference data of Hugging Face transformers, and
 * reports the largest difference of everything that is there: encoder tokens, Q-Former output,
 * logits at every position, loss, gradients of every parameter, greedy ids. */
#ifndef CDCCA_TOOL_VERIFY_H
#define CDCCA_TOOL_VERIFY_H

#include "api/base/io.h"
#include "api/base/status.h"

enum { VERIFY_CHECKS = 64 };

struct verify_report {
    struct verify_check {
        char name[64];     /* "padded_batch gradients" */
        double difference; /* largest absolute one; of ids: how many differ */
        char where[128];   /* the parameter it is in, for gradients */
    } check[VERIFY_CHECKS];
    int count;
};

/* DIR, or DIR/hf when the model lies there. */
enum status verify_directory(struct io *io, const char *dir, struct verify_report *out,
                             struct err *err);
/* verify DIR [--tolerance 1e-4] [--json]; a difference above the tolerance is STATUS_CORRUPT. */
enum status verify_run(int argc, char **argv, struct err *err);

#endif
