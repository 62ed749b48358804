/* See exact.h. Floats are counted in their order: the bits, with negative ones turned round, grow
 * with the value, so a small step is a small number whatever the exponent. All arithmetic is modulo
 * 2^32, so every pair of bit patterns has a code and every code a meaning. */
#include "model/learn/exact.h"
#include <string.h>

enum { PLANES = 4 };

static uint32_t order_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static float order_value(uint32_t order)
{
    float value;
    uint32_t bits = order >> 31 ? order & 0x7fffffffu : ~order;
    memcpy(&value, &bits, sizeof value);
    return value;
}

enum status exact_encode(const float *base, const float *target, size_t n, struct buf *codes)
{
    TRY(buf_reserve(codes, PLANES * n));
    unsigned char *plane = codes->data + codes->len;
    for (size_t i = 0; i < n; i++) {
        uint32_t step = order_of(target[i]) - order_of(base[i]);
        uint32_t zigzag = step << 1 ^ (step >> 31 ? 0xffffffffu : 0);
        for (size_t p = 0; p < PLANES; p++)
            plane[p * n + i] = (unsigned char)(zigzag >> 8 * p);
    }
    codes->len += PLANES * n;
    return STATUS_OK;
}

enum status exact_decode(size_t n, const uint8_t *codes, size_t codes_size, size_t *codes_used,
                         const float *base, float *out, struct err *err)
{
    if (n > codes_size / PLANES)
        return err_set(err, STATUS_SHAPE, "codes end early: %zu bytes left for %zu exact values",
                       codes_size, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t zigzag = 0;
        for (size_t p = 0; p < PLANES; p++)
            zigzag |= (uint32_t)codes[p * n + i] << 8 * p;
        uint32_t step = zigzag >> 1 ^ (zigzag & 1 ? 0xffffffffu : 0);
        out[i] = order_value(order_of(base[i]) + step);
    }
    *codes_used = PLANES * n;
    return STATUS_OK;
}
