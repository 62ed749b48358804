/* See versions.h. */
#include "server/versions.h"
#include "api/wire/limits.h"
#include "model/learn/compress.h"
#include <stdio.h>

static bool hash_copy(void *ctx, const struct release *release)
{
    snprintf(ctx, HASH_HEX, "%s", release->sha256);
    return true;
}

static enum status patch_read(struct io *io, struct store *store, int64_t version,
                              struct delta *delta, struct err *err)
{
    char sha256[HASH_HEX], path[4096];
    struct buf patch = {.max = LIMIT_DELTA_BYTES};
    TRY(store_release(store, version, hash_copy, sha256, err));
    TRY(store_patch_path(store, sha256, path, sizeof path, err));
    enum status status = io_read_file(io, path, &patch, err);
    if (status == STATUS_OK)
        status = delta_decode(patch.data, patch.len, delta, err);
    buf_free(&patch);
    return status;
}

static enum status version_step(struct io *io, struct store *store, const struct trainable *set,
                                int64_t version, float *values, struct err *err)
{
    struct delta delta;
    TRY(patch_read(io, store, version, &delta, err));
    enum status status = compress_apply_values(set, &delta, values, err);
    delta_free(&delta);
    return status;
}

enum status versions_read(struct io *io, struct store *store, const struct mllm *student,
                          int64_t version, float *out, struct err *err)
{
    struct trainable set;
    enum status status = STATUS_OK;
    TRY(trainable_list(student, &set, err));
    trainable_read(&set, out);
    for (int64_t v = 1; v <= version && status == STATUS_OK; v++)
        status = version_step(io, store, &set, v, out, err);
    trainable_free(&set);
    return status;
}
