/* The weights of a directory, on disk: model.safetensors, or the shards that its index names,
 * opened with their headers read. Tensors are read when they are wanted. Internal to model/mllm and
 * tools. */
#ifndef CDCCA_CHECKPOINT_H
#define CDCCA_CHECKPOINT_H

#include "api/wire/safetensors_file.h"

struct checkpoint_tensor {
    const struct safetensors_reader *file;
    const struct safetensors_entry *entry;
};

struct checkpoint {
    struct safetensors_reader *shard;
    int shards;
    struct checkpoint_tensor *tensor; /* by name, each name once */
    size_t count;
};

/* Errors name the file. A tensor that is in two shards is STATUS_CONFLICT. */
enum status checkpoint_open(struct io *io, const char *dir, struct checkpoint *out,
                            struct err *err);
void checkpoint_close(struct checkpoint *c);
/* A part of a tensor's bytes. */
enum status checkpoint_read(const struct checkpoint_tensor *t, size_t from, size_t size, void *out,
                            struct err *err);

#endif
