/* What the parts of the forward pass share: LLaMA over embeddings with an optional KV cache,
 * adapters, and the reuse of the arena between layers. Internal to model/mllm. */
#ifndef CDCCA_FORWARD_H
#define CDCCA_FORWARD_H

#include "model/mllm/mllm.h"

/* Keys (after RoPE) and values of the positions so far, per layer (rows, cap, KV*D). Rows are
 * sequences of their own: each has its length, so prompts of a batch may differ in theirs. */
struct kv_cache {
    int rows, cap, width, layers;
    int *length; /* (rows) positions in use */
    float **k, **v;
};

/* In the tape's arena; zeroed. A failure is the tape's sticky status. */
struct kv_cache kv_cache_new(struct tape *tape, const struct mllm *m, int rows, int cap);
/* Row `from` replaces row `to`, its length too. */
void kv_cache_move(struct kv_cache *cache, int to, int from);
/* Rows row[0..n-1] of `from` (they may repeat) replace the rows of a cache of n rows. */
void kv_cache_select(struct kv_cache *to, const struct kv_cache *from, const int *row);

/* [projected queries][text embeddings]: (B, Q + T, C). */
struct tensor mllm_embed(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                         struct mllm_taps *taps);

/* x (B,T,C) -> hidden after the final norm: (B,T,C), or (n,C) for the n rows of x seen as (B*T,C)
 * when rows is not NULL. key_mask (B,T) or NULL, only without a cache.
 * With a cache, row b of x continues row b of the cache at its length and is added to it. Prompts
 * of unequal length go in right-padded; cutting cache->length[b] afterwards forgets the padding. */
struct tensor llama_forward(struct tape *tape, const struct mllm *m, struct tensor x,
                            const uint8_t *key_mask, struct kv_cache *cache, const int32_t *rows,
                            int n);

/* x + up(gelu(down(x))), or x itself without adapter. */
struct tensor adapter_apply(struct tape *tape, struct tensor x, const struct adapter *adapter);

/* Inference keeps nothing of a layer but its output: moves x down to `mark` and frees the rest of
 * the arena above, so that activations stay in the processor's cache. While recording: x itself. */
struct tensor layer_keep(struct tape *tape, size_t mark, struct tensor x);

#endif
