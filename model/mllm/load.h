/* Fills a model's parameters from a directory. Internal to model/mllm. */
#ifndef CDCCA_LOAD_H
#define CDCCA_LOAD_H

#include "model/mllm/mllm.h"

/* The model is built (params.h) and has no data. Either every parameter is there, in its shape and
 * with finite values, or the status says what is not. F16 and BF16 matrices stay packed when the
 * model in F32 would take more than f32_limit bytes. */
enum status load_weights(struct io *io, const char *dir, struct mllm *m, size_t f32_limit,
                         struct err *err);

#endif
