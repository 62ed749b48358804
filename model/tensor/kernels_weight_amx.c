/* Packed weights with AMX: products of many rows in tiles of 16 by 64 bytes, 8-bit codes with their
 * sign. For few rows, what the VNNI set does is as fast as memory. */
#include "model/tensor/kernels_weight.h"
#if defined(__x86_64__)
#include "model/tensor/kernels_weight_512.h"

/* Tiles 0..3 are sums (rows of W, rows of x): (0,0) (0,1) (1,0) (1,1); 4 and 5 hold rows of W, 6
 * and 7 rows of x. All are 16 rows of 64 bytes. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static const struct tile_config config = {.palette = 1,
                                          .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                          .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

/* A block's integer sums (32 W, 32 x) */
static inline void dot_two(const uint8_t *w, size_t stride, const int8_t *x, const int8_t *x_next,
                           int32_t *dot)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, w, stride);
    _tile_loadd(6, x, 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, x_next, 64);
    _tile_dpbssd(1, 4, 7);
    _tile_loadd(5, w + 16 * stride, stride);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
    _tile_stored(0, dot, 128);
    _tile_stored(1, dot + 16, 128);
    _tile_stored(2, dot + 512, 128);
    _tile_stored(3, dot + 528, 128);
}

/* The same (32 W, 16 x) */
static inline void dot_one(const uint8_t *w, size_t stride, const int8_t *x, int32_t *dot)
{
    _tile_zero(0);
    _tile_zero(2);
    _tile_loadd(4, w, stride);
    _tile_loadd(6, x, 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, w + 16 * stride, stride);
    _tile_dpbssd(2, 5, 6);
    _tile_stored(0, dot, 128);
    _tile_stored(2, dot + 512, 128);
}

/* sum (rows, T of 2 tiles of 16) += dot times the scales of W's rows and the steps of x's */
static inline __attribute__((always_inline)) void add_block(const int32_t *dot, const float *scale,
                                                            const float *step, size_t next,
                                                            int rows, int T, float *sum)
{
    __m512 steps[2];
    for (int t = 0; t < T; t++)
        steps[t] = _mm512_load_ps(step + (size_t)t * next * LANES16);
    for (int r = 0; r < rows; r++)
        for (int t = 0; t < T; t++) {
            float *at = sum + (r * 2 + t) * LANES16;
            __m512 by = _mm512_mul_ps(steps[t], _mm512_set1_ps(scale[r])),
                   add = _mm512_cvtepi32_ps(_mm512_load_si512(dot + (r * 2 + t) * LANES16));
            _mm512_store_ps(at, _mm512_fmadd_ps(add, by, _mm512_load_ps(at)));
        }
}

static void amx_tiles(const struct panel *p, const struct rounded *x, size_t block, int T,
                      float *sum)
{
    _Alignas(64) int32_t dot[4 * LANES16 * LANES16];
    size_t next = (size_t)x->I / WEIGHT_BLOCK;
    memset(sum, 0, sizeof dot);
    for (size_t b = 0; b < (size_t)p->blocks; b++) {
        const uint8_t *w = p->bytes + b * WEIGHT_BLOCK;
        const int8_t *code = x->code + (block + b) * 1024;
        const float *scale = p->scale + b * PANEL_ROWS_MAX, *step = x->step + (block + b) * LANES16;
        if (T == 2) {
            dot_two(w, p->stride, code, code + next * 1024, dot);
            add_block(dot, scale, step, next, p->rows, 2, sum);
        } else {
            dot_one(w, p->stride, code, dot);
            add_block(dot, scale, step, next, p->rows, 1, sum);
        }
    }
}

static void amx_many(const struct weight *w, int from, int to, const struct rounded *x, float *y)
{
    _tile_loadconfig(&config);
    many_panels(w, 0, from, to, x, y, amx_tiles);
    _tile_release();
}

const struct weight_kernels weight_kernels_amx = {.name = "amx",
                                                  .unpack = vnni_unpack,
                                                  .dot = vnni_dot,
                                                  .few_round = vnni_few_round,
                                                  .few = vnni_few,
                                                  .many_round = vnni_many_round,
                                                  .many = amx_many,
                                                  .many_rows = PANEL_ROWS_MAX,
                                                  .many_from = WEIGHT_FEW + 1};
#endif
