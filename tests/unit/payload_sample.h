/* A small valid payload and a small valid delta for the tests and the fuzz targets' corpora. */
#ifndef CDCCA_TEST_PAYLOAD_SAMPLE_H
#define CDCCA_TEST_PAYLOAD_SAMPLE_H

#include "api/base/rng.h"
#include "api/wire/delta.h"
#include "api/wire/payload.h"
#include <stdlib.h>
#include <string.h>

#define SAMPLE_ENCODER "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct sample {
    struct payload payload;
    struct payload_instance instance[128];
    uint8_t *codes;
    uint16_t *scales, *positions;
    float *tokens;
};

/* `instances` of `count` tokens each, their values like features: few channels carry most of it. */
static inline void sample_make(struct sample *s, int instances, int count, int width, int bits)
{
    static char ids[128][16];
    struct rng rng;
    size_t tokens = (size_t)(instances * count), values = tokens * (size_t)width;
    rng_init(&rng, 7, 1);
    memset(s, 0, sizeof *s);
    s->tokens = malloc(values * sizeof(float));
    s->codes = malloc(values);
    s->scales = malloc(tokens * sizeof(uint16_t));
    s->positions = malloc(tokens * sizeof(uint16_t));
    for (size_t i = 0; i < values; i++)
        s->tokens[i] = rng_normal(&rng) * (i % (size_t)width % 16 ? 1.0f : 2.5f);
    payload_quantize(s->tokens, tokens, width, bits, s->codes, s->scales, NULL);
    for (int i = 0; i < instances; i++) {
        strcpy(ids[i], "r1-000");
        ids[i][3] = (char)('0' + i / 100);
        ids[i][4] = (char)('0' + i / 10 % 10);
        ids[i][5] = (char)('0' + i % 10);
        s->instance[i] = (struct payload_instance){.id = ids[i],
                                                   .question = "what color is the circle?",
                                                   .answer = "red",
                                                   .entropy = 0.25 * i,
                                                   .first = (uint32_t)(i * count),
                                                   .count = (uint32_t)count};
        for (int t = 0; t < count; t++)
            s->positions[i * count + t] = (uint16_t)(2 * t + (int)rng_below(&rng, 2));
    }
    s->payload = (struct payload){.device = "edge-1",
                                  .base_version = 3,
                                  .encoder = SAMPLE_ENCODER,
                                  .bits = bits,
                                  .width = width,
                                  .tokens = tokens,
                                  .instances = (size_t)instances,
                                  .instance = s->instance,
                                  .codes = s->codes,
                                  .scales = s->scales,
                                  .positions = s->positions};
}

static inline void sample_free(struct sample *s)
{
    free(s->tokens);
    free(s->codes);
    free(s->scales);
    free(s->positions);
}

static inline struct delta sample_delta(uint8_t codes[40], uint8_t scales[8])
{
    static char codecs[] = "2n0s8";
    for (int i = 0; i < 40; i++)
        codes[i] = (uint8_t)(i * 53);
    for (int i = 0; i < 8; i++)
        scales[i] = (uint8_t)(200 + i);
    struct delta d = {.base_version = 4,
                      .version = 5,
                      .parameters = 160,
                      .codecs = codecs,
                      .tensors = 5,
                      .codes = codes,
                      .codes_size = 40,
                      .scales = scales,
                      .scales_size = 8};
    hash_bytes("before", 6, &d.base_hash);
    hash_bytes("after", 5, &d.hash);
    return d;
}

#endif
