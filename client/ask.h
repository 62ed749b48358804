/* One question about one image file, answered here and now: what `cdcca-edge ask` prints. */
#ifndef CDCCA_ASK_H
#define CDCCA_ASK_H

#include "api/base/buf.h"
#include "api/base/status.h"
#include <stdbool.h>
#include <stdint.h>

struct ask_options {
    const char *model_dir;
    const char *data_dir; /* its active slot is used; NULL: the factory model */
    const char *image, *question;
    double threshold; /* entropy from which it would be sampled; < 0: the agent's last cut */
    int64_t keep, bits;
    bool json;
};

/* Appends the text or JSON to *out. Writes no file. */
enum status ask_run(const struct ask_options *options, struct buf *out, struct err *err);

#endif
