/* Packed weights on any machine: what the other instruction sets are tested against. */
#include "api/wire/safetensors.h"
#include "model/tensor/kernels.h"
#include "model/tensor/kernels_weight.h"

static void unpack_q8(const struct weight *w, size_t from, size_t count, float *out)
{
    const int8_t *code = (const int8_t *)w->codes + from;
    size_t cols = (size_t)w->cols, row = from / cols, col = from % cols;
    for (size_t i = 0; i < count; row++, col = 0) {
        float step = w->scale[row] / 127;
        for (; col < cols && i < count; col++, i++)
            out[i] = (float)code[i] * step;
    }
}

static void unpack_nf4(const struct weight *w, size_t from, size_t count, float *out)
{
    const uint8_t *code = w->codes;
    for (size_t i = 0; i < count; i++) {
        size_t at = from + i;
        int nibble = code[at / 2] >> (at % 2 ? 0 : 4) & 15;
        out[i] = weight_nf4[nibble] * w->scale[at / WEIGHT_BLOCK];
    }
}

static void unpack(const struct weight *w, size_t from, size_t count, float *out)
{
    const uint16_t *code = w->codes;
    switch (w->type) {
    case WEIGHT_BF16:
        dtype_to_f32(DTYPE_BF16, code + from, count, out);
        break;
    case WEIGHT_F16:
        dtype_to_f32(DTYPE_F16, code + from, count, out);
        break;
    case WEIGHT_Q8:
        unpack_q8(w, from, count, out);
        break;
    case WEIGHT_NF4:
        unpack_nf4(w, from, count, out);
        break;
    }
}

/* A row at a time, in pieces that stay in the first cache. */
static void dot(const struct weight *w, int from, int to, const float *x, int M, float *y)
{
    enum { PIECE = 1024 };
    float values[PIECE];
    size_t I = (size_t)w->cols, O = (size_t)w->rows;
    for (size_t o = (size_t)from; o < (size_t)to; o++) {
        float sum[WEIGHT_FEW] = {0};
        for (size_t i = 0; i < I; i += PIECE) {
            size_t count = I - i < PIECE ? I - i : PIECE;
            unpack(w, o * I + i, count, values);
            for (int m = 0; m < M; m++)
                sum[m] += kernels_base.dot(values, x + (size_t)m * I + i, (int)count);
        }
        for (int m = 0; m < M; m++)
            y[(size_t)m * O + o] = sum[m];
    }
}

const struct weight_kernels weight_kernels_base = {.name = "base", .unpack = unpack, .dot = dot};
