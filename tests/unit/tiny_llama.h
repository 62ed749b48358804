/* A plain LLaMA of a few thousand random weights, large enough that its answers differ, and the
 * same computation without a cache, for tests of decoding. */
#ifndef CDCCA_TEST_TINY_LLAMA_H
#define CDCCA_TEST_TINY_LLAMA_H

#include "model/mllm/generation.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline struct mllm *tiny_llama(int vocab, uint64_t seed, float factor)
{
    struct mllm_config c = {.multimodal = false, .prompt = "{question}"};
    struct mllm *m = NULL;
    struct err err = {0};
    c.text.hidden = 24, c.text.layers = 2, c.text.heads = 4, c.text.kv_heads = 2, c.text.ffn = 48;
    c.text.vocab = vocab, c.text.positions = 96, c.text.eps = 1e-6F, c.text.theta = 10000;
    c.text.bos = 1, c.text.eos = 2, c.text.pad = 0;
    if (mllm_create(&c, seed, &m, &err) != STATUS_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < m->param_count; i++)
        for (size_t j = 0; m->params[i].ndim > 1 && j < param_count(&m->params[i]); j++)
            m->params[i].data[j] *= factor;
    return m;
}

/* logits (V) after ids (n), recomputed in full */
static inline void tiny_logits(const struct mllm *m, const int32_t *ids, int n, float *logits)
{
    struct arena arena;
    struct tape tape = {0};
    assert_true(arena_init(&arena, 64 << 20));
    tape_begin(&tape, &arena, false, NULL);
    struct mllm_batch batch = {.B = 1, .text_T = n, .text = ids};
    struct tensor hidden = mllm_forward(&tape, m, &batch, NULL);
    struct tensor out = mllm_logits(&tape, m, hidden, &(int32_t){n - 1}, 1);
    assert_int_equal(tape.status, STATUS_OK);
    memcpy(logits, out.data, (size_t)m->config.text.vocab * sizeof *logits);
    arena_deinit(&arena);
}

/* ln softmax(logits)[id] and the entropy, in double precision */
static inline double tiny_log_probability(const float *logits, int V, int32_t id)
{
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp((double)logits[i] - (double)logits[id]);
    return -log(sum);
}

#endif
