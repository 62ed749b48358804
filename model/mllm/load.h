/* Which tensor of a directory is which parameter, and how parameters are filled from it. Internal
 * to model/mllm and the tools that convert checkpoints. */
#ifndef CDCCA_LOAD_H
#define CDCCA_LOAD_H

#include "model/mllm/mllm.h"
#include "model/mllm/stored.h"

struct load_map {
    struct checkpoint files;
    struct stored *stored; /* one per parameter, checked */
};

/* Every parameter of m (which may be a skeleton) is there once, in its shape. The error names the
 * file. */
enum status load_map_open(struct io *io, const char *dir, const struct mllm *m,
                          struct load_map *out, struct err *err);
void load_map_close(struct load_map *map);

/* The model is built (params.h) and has no data. Either every parameter is there, in its shape and
 * with finite values, or the status says what is not. F16 and BF16 matrices stay packed when the
 * model in F32 would take more than f32_limit bytes. */
enum status load_weights(struct io *io, const char *dir, struct mllm *m, size_t f32_limit,
                         struct err *err);

#endif
