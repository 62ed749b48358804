/* The vision transformer: patches -> linear, class token, learned positions, pre-LN blocks, final
 * layer norm. Pixels never need a gradient, so the patch convolution is a gather and a linear. */
#include "model/mllm/forward.h"

#include <string.h>

/* (B,3,S,S) -> (B, (S/P)^2, 3*P*P): each row is one patch in the convolution's weight order. */
static struct tensor vision_patches(struct tape *tape, struct tensor pixels, int P)
{
    int B = pixels.dim[0], S = pixels.dim[2], side = S / P;
    struct tensor out = tape_tensor(tape, false, 3, (int[]){B, side * side, 3 * P * P});
    float *to = out.data;
    if (!to)
        return out;
    for (int b = 0; b < B; b++)
        for (int cell = 0; cell < side * side; cell++)
            for (int line = 0; line < 3 * P; line++) {
                int channel = line / P, y = cell / side * P + line % P, x = cell % side * P;
                size_t at =
                    (((size_t)b * 3 + (size_t)channel) * (size_t)S + (size_t)y) * (size_t)S +
                    (size_t)x;
                memcpy(to, pixels.data + at, (size_t)P * sizeof *to);
                to += P;
            }
    return out;
}

static struct tensor vision_attention(struct tape *tape, const struct mllm *m,
                                      const struct vision_layer *layer, struct tensor x)
{
    int C = m->config.vision.hidden;
    struct attention how = {.heads = m->config.vision.heads, .kv_heads = m->config.vision.heads};
    struct tensor qkv = op_linear(tape, x, &layer->qkv);
    struct tensor q = op_columns(tape, qkv, 0, C);
    struct tensor k = op_columns(tape, qkv, C, C);
    struct tensor v = op_columns(tape, qkv, 2 * C, C);
    return op_linear(tape, op_attention(tape, q, k, v, &how), &layer->out);
}

static struct tensor vision_block(struct tape *tape, const struct mllm *m,
                                  const struct vision_layer *layer, struct tensor x, float dropout)
{
    float eps = m->config.vision.eps;
    struct tensor h = op_layernorm(tape, x, layer->norm1_w, layer->norm1_b, eps);
    h = vision_attention(tape, m, layer, h);
    x = op_add(tape, x, op_dropout(tape, h, dropout));
    h = op_layernorm(tape, x, layer->norm2_w, layer->norm2_b, eps);
    h = op_gelu(tape, op_linear(tape, h, &layer->fc1));
    h = op_linear(tape, h, &layer->fc2);
    return op_add(tape, x, op_dropout(tape, h, dropout));
}

struct tensor vision_forward(struct tape *tape, const struct mllm *m, struct tensor pixels,
                             float dropout)
{
    int S = m->config.vision.image;
    if (!m->config.multimodal || pixels.ndim != 4 || pixels.dim[1] != 3 || pixels.dim[2] != S ||
        pixels.dim[3] != S) {
        tape_fail(tape, STATUS_SHAPE, "pixels must be (B, 3, %d, %d)", S, S);
        return (struct tensor){0};
    }
    size_t mark = tape->arena->used;
    struct tensor x =
        op_linear(tape, vision_patches(tape, pixels, m->config.vision.patch), &m->vision.patch);
    x = op_concat(tape, op_broadcast(tape, m->vision.class_embedding, pixels.dim[0]), x);
    x = op_add_positions(tape, x, m->vision.positions);
    x = layer_keep(tape, mark, op_dropout(tape, x, dropout));
    for (int i = 0; i < m->config.vision.layers; i++)
        x = layer_keep(tape, mark, vision_block(tape, m, &m->vision.layer[i], x, dropout));
    return op_layernorm(tape, x, m->vision.post_norm_w, m->vision.post_norm_b,
                        m->config.vision.eps);
}
