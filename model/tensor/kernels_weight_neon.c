/* Packed weights with NEON's 8-bit dot product (sdot, Armv8.2), for few rows. Many rows go to F32.
 */
#include "model/tensor/kernels_weight.h"
#if defined(__ARM_FEATURE_DOTPROD)
#include "model/tensor/kernels_weight_unpack.h"
#include <arm_neon.h>
#include <math.h>

/* ---- rounding x ---- */

/* A block of x, those at even places first if `split`; returns the step, NaN when there is one. */
static float round_block(const float *x, bool split, int8_t *code)
{
    float max = 0;
    bool nan = false;
    for (int i = 0; i < WEIGHT_BLOCK; i++) {
        float size = fabsf(x[i]);
        max = size > max ? size : max;
        nan |= x[i] != x[i];
    }
    float levels = max > 0 ? 127 / max : 0;
    for (int i = 0; i < WEIGHT_BLOCK; i++) {
        int at = split ? i % 2 * 32 + i / 2 : i;
        code[at] = (int8_t)vcvtns_s32_f32(nan ? 0 : x[i] * levels);
    }
    return nan ? NAN : max / 127;
}

static void few_round(const struct weight *w, const float *x, struct rounded *out)
{
    size_t blocks = (size_t)w->cols / WEIGHT_BLOCK * (size_t)out->M;
    for (size_t b = 0; b < blocks; b++)
        out->step[b] =
            round_block(x + b * WEIGHT_BLOCK, w->type == WEIGHT_NF4, out->code + b * WEIGHT_BLOCK);
}

/* ---- products ---- */

/* 64 codes in the order of x's */
static inline void codes_nf4(const uint8_t *code, int8x16_t out[4])
{
    const int8x16_t table = vld1q_s8(weight_nf4_bytes);
    uint8x16_t a = vld1q_u8(code), b = vld1q_u8(code + 16), four = vdupq_n_u8(15);
    out[0] = vqtbl1q_s8(table, vshrq_n_u8(a, 4));
    out[1] = vqtbl1q_s8(table, vshrq_n_u8(b, 4));
    out[2] = vqtbl1q_s8(table, vandq_u8(a, four));
    out[3] = vqtbl1q_s8(table, vandq_u8(b, four));
}

static inline float32x4_t codes_dot(const int8x16_t code[4], const int8_t *x)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (ptrdiff_t i = 0; i < 4; i++)
        sum = vdotq_s32(sum, code[i], vld1q_s8(x + 16 * i));
    return vcvtq_f32_s32(sum);
}

/* Row o of W times the M rows of x */
static void few_row(const struct weight *w, size_t o, const struct rounded *x, float *y)
{
    bool nf4 = w->type == WEIGHT_NF4;
    size_t I = (size_t)w->cols, blocks = I / WEIGHT_BLOCK, bytes = nf4 ? 32 : 64;
    const uint8_t *code = (const uint8_t *)w->codes + o * blocks * bytes;
    float32x4_t sum[WEIGHT_FEW] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
    for (size_t b = 0; b < blocks; b++, code += bytes) {
        int8x16_t codes[4];
        float scale = nf4 ? w->scale[o * blocks + b] : w->scale[o];
        if (nf4)
            codes_nf4(code, codes);
        for (size_t i = 0; !nf4 && i < 4; i++)
            codes[i] = vreinterpretq_s8_u8(vld1q_u8(code + 16 * i));
        for (size_t m = 0; m < (size_t)x->M; m++)
            sum[m] = vfmaq_n_f32(sum[m], codes_dot(codes, x->code + m * I + b * WEIGHT_BLOCK),
                                 scale * x->step[m * blocks + b]);
    }
    for (size_t m = 0; m < (size_t)x->M; m++)
        y[m * (size_t)w->rows + o] = vaddvq_f32(sum[m]) / 127;
}

static void few(const struct weight *w, int from, int to, const struct rounded *x, float *y)
{
    for (size_t o = (size_t)from; o < (size_t)to; o++)
        few_row(w, o, x, y);
}

const struct weight_kernels weight_kernels_neon = {
    .name = "neon", .unpack = unpack, .few_round = few_round, .few = few};
#endif
