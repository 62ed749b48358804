/* Patches as the cloud would make them, for a tiny student: from its parameters at one version to
 * those plus noise. */
#ifndef CDCCA_TEST_EDGE_PATCH_H
#define CDCCA_TEST_EDGE_PATCH_H

#include "edge_tiny.h"
#include "model/learn/compress.h"

/* base (set->values floats) becomes the result. The lora and adapters alone would hardly show; the
 * norms do. */
static inline void patch_make(const struct trainable *set, float *base, int64_t version, float size,
                              char codec, struct buf *out)
{
    struct compress_options options = compress_defaults();
    struct delta delta = {0};
    struct err err = {0};
    struct rng rng;
    options.codec = codec;
    float *target = malloc(set->values * sizeof *target);
    assert_non_null(target);
    rng_init(&rng, 9, (uint64_t)version);
    for (size_t i = 0; i < set->values; i++)
        target[i] = base[i] + size * rng_normal(&rng);
    out->max = 16 << 20;
    if (compress_encode(set, base, target, version - 1, version, &options, &delta, base, &err) !=
            STATUS_OK ||
        delta_encode(&delta, out, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    delta_free(&delta);
    free(target);
}

/* The patch 0 -> 1 of the student in dir. */
static inline void patch_first(const char *dir, float size, char codec, struct buf *out)
{
    struct trainable_options options = trainable_defaults();
    struct trainable set;
    struct mllm *m = tiny_load(dir);
    assert_int_equal(trainable_attach(m, &options, &set, NULL), STATUS_OK);
    float *values = malloc(set.values * sizeof *values);
    assert_non_null(values);
    trainable_read(&set, values);
    patch_make(&set, values, 1, size, codec, out);
    free(values);
    trainable_free(&set);
    mllm_release(m);
}

#endif
