/* The element types of safetensors: names, sizes, and float conversions. The loops are written so
 * that the compiler vectorises them: no branches, unaligned loads by memcpy. */
#include "api/wire/safetensors.h"
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [DTYPE_F32] = {"F32", 4}, [DTYPE_F16] = {"F16", 2},   [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_I64] = {"I64", 8}, [DTYPE_I32] = {"I32", 4},   [DTYPE_I16] = {"I16", 2},
    [DTYPE_I8] = {"I8", 1},   [DTYPE_U8] = {"U8", 1},     [DTYPE_U16] = {"U16", 2},
    [DTYPE_U32] = {"U32", 4}, [DTYPE_BOOL] = {"BOOL", 1}, [DTYPE_F64] = {"F64", 8},
    [DTYPE_U64] = {"U64", 8},
};

size_t dtype_size(enum dtype dtype)
{
    return types[dtype].size;
}

const char *dtype_name(enum dtype dtype)
{
    return types[dtype].name;
}

bool dtype_parse(const char *name, enum dtype *out)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* The exponent is rebased by a multiplication, which is exact and gets subnormals right; infinities
 * and NaN then still need their exponent filled up. */
static float f16_to_f32(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    uint32_t bits = bits_of(float_of(magnitude) * 0x1p112f);
    bits |= magnitude >= 0x0f800000u ? 0x7f800000u : 0;
    return float_of(bits | (uint32_t)(h & 0x8000) << 16);
}

enum status dtype_to_f32(enum dtype dtype, const void *data, size_t n, float *out)
{
    const unsigned char *at = data;
    uint16_t half;
    double wide;
    switch (dtype) {
    case DTYPE_F32:
        if (n)
            memcpy(out, at, n * sizeof *out);
        return STATUS_OK;
    case DTYPE_BF16:
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, at + 2 * i, 2);
            out[i] = float_of((uint32_t)half << 16);
        }
        return STATUS_OK;
    case DTYPE_F16:
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, at + 2 * i, 2);
            out[i] = f16_to_f32(half);
        }
        return STATUS_OK;
    case DTYPE_F64:
        for (size_t i = 0; i < n; i++) {
            memcpy(&wide, at + 8 * i, 8);
            out[i] = (float)wide;
        }
        return STATUS_OK;
    default:
        return STATUS_UNSUPPORTED;
    }
}

void f32_to_bf16(const float *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(in[i]);
        uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
        uint32_t quiet = bits >> 16 | 0x40;
        out[i] = (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }
}

/* Normal values: rebase the exponent and round the mantissa by integer arithmetic (a carry into the
 * exponent, up to infinity, is right). Subnormals: adding 0.5 makes the FPU shift and round. */
static uint16_t f16_of(float f)
{
    uint32_t bits = bits_of(f), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x47800000u ? special : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000u));
}

void f32_to_f16(const float *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f16_of(in[i]);
}
