/* The forward pass of the whole model: visual tokens -> Q-Former -> projection -> [queries][text]
 * -> LLaMA -> logits. Reads like the equations; errors are the tape's (tensor.h). */
#include "model/mllm/mllm.h"

#include "model/mllm/forward.h"
#include <string.h>

struct tensor adapter_apply(struct tape *tape, struct tensor x, const struct adapter *adapter)
{
    if (!adapter->down.weight)
        return x;
    struct tensor h = op_gelu(tape, op_linear(tape, x, &adapter->down));
    return op_add(tape, x, op_linear(tape, h, &adapter->up));
}

struct tensor layer_keep(struct tape *tape, size_t mark, struct tensor x)
{
    if (tape->recording || tape->status != STATUS_OK)
        return x;
    float *data = arena_keep(tape->arena, mark, x.data, tensor_count(x) * sizeof *x.data);
    return tensor_view(data, x.ndim, x.dim);
}

struct tensor mllm_embed(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                         struct mllm_taps *taps)
{
    struct tensor text = {0};
    if (b->text_T > 0)
        text = op_embedding(tape, m->llama.embed, b->text, b->B, b->text_T);
    if (!m->config.multimodal)
        return text;
    struct tensor queries = op_linear(tape, qformer_forward(tape, m, b, taps), &m->projection);
    return b->text_T > 0 ? op_concat(tape, queries, text) : queries;
}

/* The text's mask with the queries, which always exist, in front. */
static const uint8_t *key_mask(struct tape *tape, const struct mllm *m, const struct mllm_batch *b)
{
    size_t Q = m->config.multimodal ? (size_t)m->config.queries : 0, T = (size_t)b->text_T;
    if (!b->text_mask)
        return NULL;
    uint8_t *mask = tape_alloc(tape, (size_t)b->B * (Q + T));
    for (size_t i = 0; mask && i < (size_t)b->B; i++) {
        memset(mask + i * (Q + T), 1, Q);
        memcpy(mask + i * (Q + T) + Q, b->text_mask + i * T, T);
    }
    return mask;
}

struct tensor mllm_forward(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                           struct mllm_taps *taps)
{
    const uint8_t *mask = key_mask(tape, m, b);
    return llama_forward(tape, m, mllm_embed(tape, m, b, taps), mask, NULL, NULL, 0);
}

struct tensor mllm_logits(struct tape *tape, const struct mllm *m, struct tensor hidden,
                          const int32_t *rows, int n)
{
    if (tape->status != STATUS_OK)
        return (struct tensor){0};
    if (rows)
        hidden = op_rows(tape, hidden, rows, n);
    else
        hidden = tensor_reshape(hidden, 2, (int[]){tensor_rows(hidden), tensor_cols(hidden)});
    return op_linear(tape, hidden, &m->llama.head);
}

struct tensor mllm_row_logits(struct tape *tape, const struct mllm *m, const struct mllm_batch *b,
                              struct mllm_taps *taps, const int32_t *rows, int n)
{
    const uint8_t *mask = key_mask(tape, m, b);
    struct tensor x = mllm_embed(tape, m, b, taps);
    return op_linear(tape, llama_forward(tape, m, x, mask, NULL, rows, n), &m->llama.head);
}
