/* Packing, unpacking, and how a product is cut into pieces for the threads: a piece is a range of
 * rows of W (of columns on the way back) that only the shape decides, so that the result is the
 * same for any number of threads. The inner loops are in kernels_weight_*.c. */
#include "model/tensor/weight.h"
#include "api/wire/safetensors.h"
#include "model/tensor/blas.h"
#include "model/tensor/kernels.h"
#include "model/tensor/kernels_weight.h"
#include <math.h>
#include <string.h>

const float weight_nf4[16] = {-1.0f,         -0.696192801f, -0.525073051f,  -0.394917488f,
                              -0.284441382f, -0.18477343f,  -0.0910500363f, 0.0f,
                              0.0795802996f, 0.160930201f,  0.246112302f,   0.337915242f,
                              0.440709829f,  0.562617004f,  0.722956836f,   1.0f};

const int8_t weight_nf4_bytes[16] = {-127, -88, -67, -50, -36, -23, -12, 0,
                                     10,   20,  31,  43,  56,  71,  92,  127};

const char *weight_type_name(enum weight_type type)
{
    static const char *const name[] = {"bf16", "f16", "q8", "nf4"};
    return name[type];
}

size_t weight_code_bytes(enum weight_type type, int rows, int cols)
{
    size_t count = (size_t)rows * (size_t)cols;
    return type == WEIGHT_NF4 ? (count + 1) / 2 : type == WEIGHT_Q8 ? count : 2 * count;
}

size_t weight_scale_count(enum weight_type type, int rows, int cols)
{
    size_t count = (size_t)rows * (size_t)cols;
    return type == WEIGHT_NF4  ? (count + WEIGHT_BLOCK - 1) / WEIGHT_BLOCK
           : type == WEIGHT_Q8 ? (size_t)rows
                               : 0;
}

/* ---- packing ---- */

static float absmax(const float *x, size_t n)
{
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    return max;
}

static void pack_q8(const float *x, size_t n, int8_t *code, float *scale)
{
    *scale = absmax(x, n);
    double levels = *scale > 0 ? 127 / (double)*scale : 0;
    for (size_t i = 0; i < n; i++)
        code[i] = (int8_t)nearbyint((double)x[i] * levels);
}

/* The largest floats that still get a lower code: x > limit for floats is x / absmax > the midpoint
 * of two codes for real numbers, so no rounding can flip a code. */
static void nf4_limits(float limit[15], float scale)
{
    for (int i = 0; i < 15; i++) {
        double middle = ((double)weight_nf4[i] + (double)weight_nf4[i + 1]) / 2 * (double)scale;
        limit[i] = (float)middle;
        if ((double)limit[i] > middle)
            limit[i] = nextafterf(limit[i], -INFINITY);
    }
}

/* n 1..64 values of one block; the second half of a last byte is 0. */
static void pack_nf4(const float *x, size_t n, uint8_t *code, float *scale)
{
    float limit[15];
    int32_t index[WEIGHT_BLOCK + 1] = {0};
    *scale = absmax(x, n);
    nf4_limits(limit, *scale);
    for (int k = 0; k < 15; k++)
        for (size_t i = 0; i < n; i++)
            index[i] += x[i] > limit[k];
    for (size_t i = 0; i < n; i += 2) {
        int high = *scale > 0 ? index[i] : 7, low = *scale > 0 ? index[i + 1] : 7;
        code[i / 2] = (uint8_t)(high << 4 | (i + 1 < n ? low : 0));
    }
}

void weight_pack(enum weight_type type, const float *values, int rows, int cols, void *codes,
                 float *scale)
{
    size_t count = (size_t)rows * (size_t)cols, row = (size_t)cols;
    if (type == WEIGHT_BF16)
        f32_to_bf16(values, count, codes);
    else if (type == WEIGHT_F16)
        f32_to_f16(values, count, codes);
    for (size_t i = 0; type == WEIGHT_Q8 && i < count; i += row)
        pack_q8(values + i, row, (int8_t *)codes + i, scale + i / row);
    for (size_t i = 0; type == WEIGHT_NF4 && i < count; i += WEIGHT_BLOCK)
        pack_nf4(values + i, count - i < WEIGHT_BLOCK ? count - i : WEIGHT_BLOCK,
                 (uint8_t *)codes + i / 2, scale + i / WEIGHT_BLOCK);
}

void weight_unpack(const struct weight *w, size_t from, size_t count, float *out)
{
    weight_kernels()->unpack(w, from, count, out);
}

/* ---- products ---- */

/* Panels of W as F32 fit the second cache, pieces of a row the first. */
enum { PANEL_ROWS = 64, PANEL_COLS = 512, VALUES = 1024 };

struct product {
    const struct weight *w;
    const struct weight_kernels *kernels;
    const float *x; /* (M,I); on the way back dy (M,O) */
    float *y;       /* (M,O); on the way back dx (M,I) */
    int M, step;    /* rows (columns) of W in a piece */
    struct rounded rounded;
};

typedef void piece_fn(void *ctx, int item, int worker);

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void product_run(struct product *p, int count, struct pool *pool, piece_fn *fn)
{
    pool_run(pool, (count + p->step - 1) / p->step, fn, p);
}

static const struct weight_kernels *product_kernels(const struct weight_how *how)
{
    return how->kernels ? how->kernels : weight_kernels();
}

/* Rows of W in a piece for few rows of x, a multiple of what the kernels take at once: 1/32 of W,
 * but not so much that a late thread is waited for long, and not so little that what one thread
 * asks memory for ahead is the other's. */
static int few_step(const struct weight *w)
{
    enum { LEAST_BYTES = 16384, MOST_BYTES = 65536 };
    size_t whole = weight_code_bytes(w->type, w->rows, w->cols), piece = whole / 32,
           row = weight_code_bytes(w->type, 4, w->cols);
    piece = piece < LEAST_BYTES ? LEAST_BYTES : piece > MOST_BYTES ? MOST_BYTES : piece;
    return 4 * (int)(piece / (row + 1) + 1);
}

/* ---- exact ---- */

/* y of row o of W and rows m..m+rows-1 of x. W's row is unpacked in pieces that stay in the first
 * cache. */
static void dot_row(const struct product *p, size_t o, size_t m, size_t rows)
{
    float values[VALUES], sum[WEIGHT_FEW] = {0};
    size_t I = (size_t)p->w->cols;
    for (size_t i = 0; i < I; i += VALUES) {
        size_t count = I - i < VALUES ? I - i : VALUES;
        p->kernels->unpack(p->w, o * I + i, count, values);
        for (size_t k = 0; k < rows; k++)
            sum[k] += kernels()->dot(values, p->x + (m + k) * I + i, (int)count);
    }
    for (size_t k = 0; k < rows; k++)
        p->y[(m + k) * (size_t)p->w->rows + o] = sum[k];
}

static void exact_few_run(void *ctx, int item, int worker)
{
    const struct product *p = ctx;
    (void)worker;
    bool whole = p->kernels->dot && p->w->type != WEIGHT_NF4 && p->w->cols % WEIGHT_BLOCK == 0;
    int from = item * p->step, to = least(from + p->step, p->w->rows);
    for (int m = 0; m < p->M; m += WEIGHT_FEW) {
        int rows = least(p->M - m, WEIGHT_FEW);
        if (whole)
            p->kernels->dot(p->w, from, to, p->x + (size_t)m * (size_t)p->w->cols, rows,
                            p->y + (size_t)m * (size_t)p->w->rows);
        for (int o = from; !whole && o < to; o++)
            dot_row(p, (size_t)o, (size_t)m, (size_t)rows);
    }
}

/* panel (rows, PANEL_COLS) = W's rows from `row`, columns from `col`, as F32 */
static void panel_unpack(const struct product *p, int row, int rows, int col, int cols,
                         float *panel)
{
    for (int r = 0; r < rows; r++)
        p->kernels->unpack(p->w, (size_t)(row + r) * (size_t)p->w->cols + (size_t)col, (size_t)cols,
                           panel + (size_t)r * PANEL_COLS);
}

static void exact_many_run(void *ctx, int item, int worker)
{
    const struct product *p = ctx;
    (void)worker;
    _Alignas(64) float panel[PANEL_ROWS * PANEL_COLS];
    int I = p->w->cols, O = p->w->rows, from = item * p->step, rows = least(p->step, O - from);
    for (int i = 0; i < I; i += PANEL_COLS) {
        int cols = least(PANEL_COLS, I - i);
        panel_unpack(p, from, rows, i, cols, panel);
        gemm(false, true, p->M, rows, cols, 1, p->x + i, I, panel, PANEL_COLS, i ? 1 : 0,
             p->y + from, O);
    }
}

static void exact_multiply(struct product *p, struct pool *pool)
{
    bool few = p->M <= 2 * WEIGHT_FEW;
    p->step = few ? few_step(p->w) : PANEL_ROWS;
    product_run(p, p->w->rows, pool, few ? exact_few_run : exact_many_run);
}

static void back_run(void *ctx, int item, int worker)
{
    const struct product *p = ctx;
    (void)worker;
    _Alignas(64) float panel[PANEL_ROWS * PANEL_COLS];
    int I = p->w->cols, O = p->w->rows, from = item * p->step, cols = least(p->step, I - from);
    for (int o = 0; o < O; o += PANEL_ROWS) {
        int rows = least(PANEL_ROWS, O - o);
        panel_unpack(p, o, rows, from, cols, panel);
        gemm(false, false, p->M, cols, rows, 1, p->x + o, O, panel, PANEL_COLS, 1, p->y + from, I);
    }
}

void weight_multiply_back(const struct weight *w, const float *dy, int M, float *dx,
                          const struct weight_how *how)
{
    struct product p = {
        .w = w, .kernels = product_kernels(how), .x = dy, .y = dx, .M = M, .step = PANEL_COLS};
    product_run(&p, w->cols, how->pool, back_run);
}

/* ---- fast ---- */

static bool rounded_alloc(struct rounded *r, int M, int I, struct arena *arena)
{
    size_t rows = ((size_t)M + WEIGHT_TILE - 1) / WEIGHT_TILE * WEIGHT_TILE,
           blocks = rows * (size_t)I / WEIGHT_BLOCK;
    r->M = M, r->I = I;
    r->code = arena_alloc(arena, blocks * WEIGHT_BLOCK);
    r->step = arena_alloc(arena, blocks * sizeof *r->step);
    r->offset = arena_alloc(arena, blocks * WEIGHT_TILE * sizeof *r->offset);
    return r->code && r->step && r->offset;
}

static void few_run(void *ctx, int item, int worker)
{
    const struct product *p = ctx;
    (void)worker;
    int from = item * p->step;
    p->kernels->few(p->w, from, least(from + p->step, p->w->rows), &p->rounded, p->y);
}

static void round_run(void *ctx, int item, int worker)
{
    struct product *p = ctx;
    (void)worker;
    p->kernels->many_round(p->w, p->x, item * WEIGHT_TILE, &p->rounded);
}

static void many_run(void *ctx, int item, int worker)
{
    const struct product *p = ctx;
    (void)worker;
    int from = item * p->step;
    p->kernels->many(p->w, from, least(from + p->step, p->w->rows), &p->rounded, p->y);
}

/* Products that share x, their pieces in one row for the threads. */
struct batch {
    struct product part[WEIGHT_MANY];
    int end[WEIGHT_MANY]; /* pieces up to and with each part */
    int count;
    piece_fn *fn;
};

static void batch_run(void *ctx, int item, int worker)
{
    struct batch *b = ctx;
    int i = 0;
    while (item >= b->end[i])
        i++;
    b->fn(&b->part[i], i ? item - b->end[i - 1] : item, worker);
}

static void batch_pieces(struct batch *b, struct pool *pool, piece_fn *fn)
{
    int end = 0;
    b->fn = fn;
    for (int i = 0; i < b->count; i++) {
        const struct product *p = &b->part[i];
        end += (p->w->rows + p->step - 1) / p->step;
        b->end[i] = end;
    }
    pool_run(pool, end, batch_run, b);
}

static enum status batch_few(struct batch *b, const struct weight_how *how)
{
    struct rounded r;
    const struct product *first = &b->part[0];
    if (!rounded_alloc(&r, least(first->M, WEIGHT_FEW), first->w->cols, how->arena))
        return STATUS_NO_MEMORY;
    for (int left = first->M; left > 0; left -= WEIGHT_FEW) {
        r.M = least(left, WEIGHT_FEW);
        first->kernels->few_round(first->w, first->x, &r);
        for (int i = 0; i < b->count; i++) {
            b->part[i].rounded = r;
            b->part[i].step = few_step(b->part[i].w);
        }
        batch_pieces(b, how->pool, few_run);
        for (int i = 0; i < b->count; i++) {
            b->part[i].x += (size_t)WEIGHT_FEW * (size_t)first->w->cols;
            b->part[i].y += (size_t)WEIGHT_FEW * (size_t)b->part[i].w->rows;
        }
    }
    return STATUS_OK;
}

static enum status batch_many(struct batch *b, const struct weight_how *how)
{
    struct product *first = &b->part[0];
    if (!rounded_alloc(&first->rounded, first->M, first->w->cols, how->arena))
        return STATUS_NO_MEMORY;
    pool_run(how->pool, (first->M + WEIGHT_TILE - 1) / WEIGHT_TILE, round_run, first);
    for (int i = 0; i < b->count; i++) {
        b->part[i].rounded = first->rounded;
        b->part[i].step = first->kernels->many_rows;
    }
    batch_pieces(b, how->pool, many_run);
    return STATUS_OK;
}

static bool takes_many(const struct product *p)
{
    return p->kernels->many && p->M >= p->kernels->many_from;
}

/* Which products the kernels take fast */
static bool is_fast(const struct product *p, const struct weight_how *how)
{
    bool has = takes_many(p) || (p->M <= 2 * WEIGHT_FEW && p->kernels->few != NULL);
    return !how->exact && how->arena && has && p->w->cols % WEIGHT_BLOCK == 0 &&
           (p->w->type == WEIGHT_Q8 || p->w->type == WEIGHT_NF4);
}

/* One x rounded in one way does for all of them. */
static bool batch_is_fast(const struct batch *b, const struct weight_how *how)
{
    bool fast = true;
    for (int i = 0; fast && i < b->count; i++)
        fast = is_fast(&b->part[i], how) && b->part[i].w->type == b->part[0].w->type;
    return fast;
}

static enum status batch_multiply(struct batch *b, const struct weight_how *how)
{
    size_t mark = how->arena->used;
    enum status status = takes_many(&b->part[0]) ? batch_many(b, how) : batch_few(b, how);
    arena_reset(how->arena, mark);
    return status;
}

enum status weight_multiply(const struct weight *w, const float *x, int M, float *y,
                            const struct weight_how *how)
{
    struct batch b = {.count = 1};
    b.part[0] = (struct product){.w = w, .kernels = product_kernels(how), .x = x, .y = y, .M = M};
    if (batch_is_fast(&b, how))
        return batch_multiply(&b, how);
    exact_multiply(&b.part[0], how->pool);
    return STATUS_OK;
}

enum status weight_multiply_many(const struct weight *const *w, int count, const float *x, int M,
                                 float *const *y, const struct weight_how *how)
{
    struct batch b = {.count = count <= WEIGHT_MANY ? count : 0};
    for (int i = 0; i < b.count; i++)
        b.part[i] =
            (struct product){.w = w[i], .kernels = product_kernels(how), .x = x, .y = y[i], .M = M};
    if (b.count > 0 && batch_is_fast(&b, how))
        return batch_multiply(&b, how);
    enum status status = STATUS_OK;
    for (int i = 0; i < count && status == STATUS_OK; i++)
        status = weight_multiply(w[i], x, M, y[i], how);
    return status;
}
