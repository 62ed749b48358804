/* Block codes for updates (codec.h). Every lossy codec is one thing here: a sorted table of levels
 * and a scale per block, value = level[code] * scale. Encoding searches the scale code of least
 * squared error; decoding multiplies. The decoder uses no libm and no fused multiply-add (the file
 * is compiled with -ffp-contract=off), and scales are kept far from subnormals, so a device that
 * flushes those to zero decodes the same bits. */
#include "model/learn/codec.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char CODEC_LETTERS[] = "hbs2n8fk";

const float CODEC_NF4[16] = {
    -1.0f,          -0.696192801f, -0.525073051f, -0.394917488f, -0.284441382f, -0.18477343f,
    -0.0910500363f, 0.0f,          0.0795802996f, 0.160930201f,  0.246112302f,  0.337915242f,
    0.440709829f,   0.562617004f,  0.722956836f,  1.0f,
};

enum { SCALE_CODES = 256, SCALE_OCTAVE = 16, LEVELS_MAX = 255 };
static const double SCALE_STEP = 0.95760328069857364694; /* 2^(-1/16) */
static const float SCALE_LOW = 0x1p-100f, SCALE_HIGH = 0x1p100f;

/* Of the blocks, by signs alone: with their scales and the bitmap that is one bit a value and half
 * a bit. */
static const float SIGN_SHARE = 0.9f, HALF_SHARE = 0.42f;

/* Levels of the four-level code, in units of the block's deviation: the optimum for a normal
 * density (Max 1960), where thresholds lie halfway. On one round's update of random models, the
 * scale searched: relative error 0.302, against 0.305 for levels in the recipe's ratio, 0.5
 * to 1.75. */
static const float FOUR_INNER = 0.4528f, FOUR_OUTER = 1.5104f;

enum statistic { STATISTIC_MEAN, STATISTIC_DEVIATION, STATISTIC_ABSMAX };

struct code {
    int bits, levels;
    bool high_first; /* packing of two codes a byte */
    bool selected;   /* a bitmap says which blocks travel */
    float share;     /* of them; 0: the caller's */
    enum statistic statistic;
    int below, above; /* scale codes tried around the statistic's */
    float level[LEVELS_MAX];
    float ratio[SCALE_CODES]; /* scale / largest scale */
};

/* ---- the tables ---- */

static void ratio_fill(float ratio[SCALE_CODES])
{
    double r = 1;
    for (int c = SCALE_CODES - 1; c > 0; c--) {
        ratio[c] = (float)r;
        r *= SCALE_STEP;
    }
    ratio[0] = 0;
}

static void code_levels(struct code *code, int bits, int levels, enum statistic statistic)
{
    code->bits = bits;
    code->levels = levels;
    code->statistic = statistic;
}

static void code_search(struct code *code, int below, int above)
{
    code->below = below;
    code->above = above;
}

static bool code_init(struct code *code, char letter)
{
    memset(code, 0, sizeof *code);
    ratio_fill(code->ratio);
    switch (letter) {
    case 's':
    case 'b':
    case 'h':
        code_levels(code, 1, 2, STATISTIC_MEAN);
        code_search(code, 1, 1);
        code->selected = letter != 's';
        code->share = letter == 'b' ? SIGN_SHARE : HALF_SHARE;
        code->level[0] = -1, code->level[1] = 1;
        return true;
    case '2':
        code_levels(code, 2, 4, STATISTIC_DEVIATION);
        code_search(code, 8, 6);
        code->level[0] = -FOUR_OUTER, code->level[1] = -FOUR_INNER;
        code->level[2] = FOUR_INNER, code->level[3] = FOUR_OUTER;
        return true;
    case 'n':
    case 'k':
        code_levels(code, 4, 16, STATISTIC_ABSMAX);
        code_search(code, 8, 1);
        code->high_first = true;
        code->selected = letter == 'k';
        memcpy(code->level, CODEC_NF4, sizeof CODEC_NF4);
        return true;
    case '8':
        code_levels(code, 8, 255, STATISTIC_ABSMAX);
        code_search(code, 1, 1);
        for (int i = 0; i < 255; i++)
            code->level[i] = (float)(i - 127) / 127.0f;
        return true;
    default:
        return false;
    }
}

static size_t block_count(size_t n)
{
    return n / CODEC_BLOCK + (n % CODEC_BLOCK != 0);
}

static int block_length(size_t n, size_t block)
{
    size_t rest = n - block * CODEC_BLOCK;
    return rest < CODEC_BLOCK ? (int)rest : CODEC_BLOCK;
}

static size_t block_bytes(const struct code *code, int length)
{
    return ((size_t)length * (size_t)code->bits + 7) / 8;
}

/* Bit position of value i's code in its byte. */
static int code_shift(const struct code *code, int i)
{
    int per_byte = 8 / code->bits;
    int slot = i % per_byte;
    return code->bits * (code->high_first ? per_byte - 1 - slot : slot);
}

/* ---- encoding ---- */

static int nearest(const float *level, int levels, float x)
{
    if (levels == 2)
        return x > 0.5f * (level[0] + level[1]);
    int low = 0, high = levels - 1;
    while (low < high) {
        int mid = (low + high) / 2;
        if (x > 0.5f * (level[mid] + level[mid + 1]))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int codec_nf4_index(float x)
{
    return nearest(CODEC_NF4, 16, x);
}

static float block_statistic(enum statistic statistic, const float *x, int length)
{
    double sum = 0, squares = 0;
    float most = 0;
    for (int i = 0; i < length; i++) {
        float a = fabsf(x[i]);
        sum += (double)a;
        squares += (double)a * (double)a;
        most = a > most ? a : most;
    }
    if (statistic == STATISTIC_MEAN)
        return (float)(sum / length);
    return statistic == STATISTIC_ABSMAX ? most : (float)sqrt(squares / length);
}

/* The largest scale as it travels: rounded up to BF16, with room for the search above; 0 when the
 * whole tensor is too small to matter. */
static enum status largest_scale(const struct code *code, const float *x, size_t n, uint16_t *bits,
                                 float *largest)
{
    float most = 0;
    for (size_t b = 0; b < block_count(n); b++) {
        float s = block_statistic(code->statistic, x + b * CODEC_BLOCK, block_length(n, b));
        if (!(s <= SCALE_HIGH / 2))
            return STATUS_MALFORMED;
        most = s > most ? s : most;
    }
    most *= code->ratio[255 - SCALE_OCTAVE + code->above] * 2;
    *bits = 0;
    *largest = 0;
    if (most < SCALE_LOW)
        return STATUS_OK;
    uint32_t word;
    memcpy(&word, &most, sizeof word);
    *bits = (uint16_t)((word >> 16) + ((word & 0xffff) != 0));
    word = (uint32_t)*bits << 16;
    memcpy(largest, &word, sizeof word);
    return STATUS_OK;
}

/* Of signs alone the squared error is a parabola in the scale. */
static double sign_error(const float *x, int length, double scale)
{
    double magnitudes = 0;
    for (int i = 0; i < length; i++)
        magnitudes += (double)fabsf(x[i]);
    return scale * (length * scale - 2 * magnitudes);
}

/* The squared error, but for what no scale changes. */
static double block_error(const struct code *code, const float *x, int length, float scale)
{
    double error = 0;
    if (code->levels == 2)
        return sign_error(x, length, (double)scale);
    float inverse = scale > 0 ? 1 / scale : 0;
    for (int i = 0; i < length; i++) {
        int c = nearest(code->level, code->levels, x[i] * inverse);
        double d = (double)x[i] - (double)(code->level[c] * scale);
        error += d * d;
    }
    return error;
}

static int scale_choose(const struct code *code, const float *x, int length, float largest)
{
    float s = block_statistic(code->statistic, x, length);
    if (!(largest > 0) || !(s > largest * code->ratio[1]))
        return 0;
    int center = SCALE_CODES - 1 + (int)lrintf(log2f(s / largest) * SCALE_OCTAVE);
    int best = 0;
    double best_error = HUGE_VAL;
    for (int c = center - code->below; c <= center + code->above; c++) {
        if (c < 1 || c >= SCALE_CODES)
            continue;
        double error = block_error(code, x, length, largest * code->ratio[c]);
        if (error < best_error)
            best = c, best_error = error;
    }
    return best;
}

static enum status block_encode(const struct code *code, const float *x, int length, float largest,
                                struct buf *codes, struct buf *scales)
{
    uint8_t packed[CODEC_BLOCK] = {0};
    uint8_t scale_code = (uint8_t)scale_choose(code, x, length, largest);
    float scale = largest * code->ratio[scale_code];
    for (int i = 0; scale > 0 && i < length; i++) {
        int c = nearest(code->level, code->levels, x[i] / scale);
        packed[i * code->bits / 8] |= (uint8_t)(c << code_shift(code, i));
    }
    TRY(buf_append(codes, packed, block_bytes(code, length)));
    return buf_append(scales, &scale_code, 1);
}

struct ranked {
    float norm;
    size_t block;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->norm != y->norm)
        return x->norm < y->norm ? 1 : -1;
    return x->block < y->block ? -1 : x->block > y->block;
}

/* Appends the bitmap of the blocks of largest norm; *bitmap points at a copy (freed by caller). */
static enum status bitmap_choose(const float *x, size_t n, float share, uint8_t **bitmap)
{
    size_t blocks = block_count(n), keep = (size_t)ceilf(share * (float)blocks);
    struct ranked *rank = malloc((blocks + 1) * sizeof *rank);
    *bitmap = calloc(blocks / 8 + 1, 1);
    if (!rank || !*bitmap) {
        free(rank);
        return STATUS_NO_MEMORY;
    }
    for (size_t b = 0; b < blocks; b++) {
        float s = block_statistic(STATISTIC_DEVIATION, x + b * CODEC_BLOCK, block_length(n, b));
        rank[b] = (struct ranked){s * sqrtf((float)block_length(n, b)), b};
    }
    qsort(rank, blocks, sizeof *rank, ranked_compare);
    for (size_t i = 0; i < keep && i < blocks && rank[i].norm > 0; i++)
        (*bitmap)[rank[i].block / 8] |= (uint8_t)(1u << rank[i].block % 8);
    free(rank);
    return STATUS_OK;
}

static bool bit_get(const uint8_t *bitmap, size_t i)
{
    return bitmap[i / 8] >> i % 8 & 1;
}

static enum status tensor_encode(const struct code *code, const float *x, size_t n,
                                 const uint8_t *bitmap, struct buf *codes, struct buf *scales)
{
    uint16_t bits;
    float largest;
    TRY(largest_scale(code, x, n, &bits, &largest));
    uint8_t head[2] = {(uint8_t)(bits & 0xff), (uint8_t)(bits >> 8)};
    TRY(buf_append(scales, head, sizeof head));
    if (bitmap)
        TRY(buf_append(codes, bitmap, (block_count(n) + 7) / 8));
    for (size_t b = 0; b < block_count(n); b++)
        if (!bitmap || bit_get(bitmap, b))
            TRY(block_encode(code, x + b * CODEC_BLOCK, block_length(n, b), largest, codes,
                             scales));
    return STATUS_OK;
}

static enum status raw_encode(const float *x, size_t n, struct buf *codes)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        uint8_t bytes[4] = {(uint8_t)word, (uint8_t)(word >> 8), (uint8_t)(word >> 16),
                            (uint8_t)(word >> 24)};
        TRY(buf_append(codes, bytes, sizeof bytes));
    }
    return STATUS_OK;
}

enum status codec_encode(char codec, const float *update, size_t n, float selected_share,
                         struct buf *codes, struct buf *scales)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(update[i]))
            return STATUS_MALFORMED;
    if (codec == '0' || n == 0)
        return STATUS_OK;
    if (codec == 'f')
        return raw_encode(update, n, codes);
    struct code code;
    if (!code_init(&code, codec))
        return STATUS_UNSUPPORTED;
    uint8_t *bitmap = NULL;
    enum status status = STATUS_OK;
    if (code.selected)
        status = bitmap_choose(update, n, code.share > 0 ? code.share : selected_share, &bitmap);
    if (status == STATUS_OK)
        status = tensor_encode(&code, update, n, bitmap, codes, scales);
    free(bitmap);
    return status;
}

/* ---- decoding ---- */

/* A cursor over bytes that it never passes. */
struct cursor {
    const uint8_t *at;
    size_t left, used;
};

static const uint8_t *cursor_take(struct cursor *c, size_t size)
{
    if (size > c->left)
        return NULL;
    const uint8_t *at = c->at;
    c->at += size;
    c->left -= size;
    c->used += size;
    return at;
}

static enum status raw_decode(size_t n, struct cursor *codes, float *out, struct err *err)
{
    if (n > codes->left / 4)
        return err_set(err, STATUS_SHAPE, "codes end early: %zu bytes left for %zu F32",
                       codes->left, n);
    const uint8_t *p = cursor_take(codes, n * 4);
    for (size_t i = 0; i < n; i++, p += 4) {
        uint32_t word =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        memcpy(out + i, &word, sizeof word);
        if (!isfinite(out[i]))
            return err_set(err, STATUS_MALFORMED, "value %zu is not finite", i);
    }
    return STATUS_OK;
}

static enum status largest_decode(struct cursor *scales, float *largest, struct err *err)
{
    const uint8_t *p = cursor_take(scales, 2);
    if (!p)
        return err_set(err, STATUS_SHAPE, "scales end early: no largest scale");
    uint32_t word = ((uint32_t)p[0] | (uint32_t)p[1] << 8) << 16;
    memcpy(largest, &word, sizeof word);
    if (word != 0 && !(*largest >= SCALE_LOW && *largest <= SCALE_HIGH))
        return err_set(err, STATUS_MALFORMED, "largest scale %g is not 0 or in 2^-100 .. 2^100",
                       (double)*largest);
    return STATUS_OK;
}

/* The bits of a block's last byte that no value uses must be 0: one code, one meaning. */
static bool padding_clear(const struct code *code, const uint8_t *packed, int length)
{
    uint8_t seen = 0;
    int per_byte = 8 / code->bits, rest = length % per_byte;
    if (rest == 0)
        return true;
    for (int i = 0; i < rest; i++)
        seen |= (uint8_t)(((1 << code->bits) - 1) << code_shift(code, i));
    return (packed[length / per_byte] & (uint8_t)~seen) == 0;
}

static enum status block_decode(const struct code *code, int length, float largest,
                                struct cursor *codes, struct cursor *scales, float *out,
                                struct err *err)
{
    const uint8_t *packed = cursor_take(codes, block_bytes(code, length));
    const uint8_t *scale_code = cursor_take(scales, 1);
    if (!packed || !scale_code)
        return err_set(err, STATUS_SHAPE, "%s end early", packed ? "scales" : "codes");
    if (!padding_clear(code, packed, length))
        return err_set(err, STATUS_MALFORMED, "padding bits behind the last code are set");
    float scale = largest * code->ratio[*scale_code];
    int mask = (1 << code->bits) - 1;
    for (int i = 0; i < length; i++) {
        int c = packed[i * code->bits / 8] >> code_shift(code, i) & mask;
        if (c >= code->levels)
            return err_set(err, STATUS_MALFORMED, "code %d, expected 0 .. %d", c, code->levels - 1);
        out[i] = code->level[c] * scale;
    }
    return STATUS_OK;
}

static enum status bitmap_decode(size_t n, struct cursor *codes, const uint8_t **bitmap,
                                 struct err *err)
{
    size_t blocks = block_count(n);
    *bitmap = cursor_take(codes, (blocks + 7) / 8);
    if (!*bitmap)
        return err_set(err, STATUS_SHAPE, "codes end early: no bitmap for %zu blocks", blocks);
    if (blocks % 8 && (*bitmap)[blocks / 8] >> blocks % 8)
        return err_set(err, STATUS_MALFORMED, "bitmap names blocks past the last, %zu", blocks - 1);
    return STATUS_OK;
}

static enum status tensor_decode(const struct code *code, size_t n, struct cursor *codes,
                                 struct cursor *scales, float *out, struct err *err)
{
    const uint8_t *bitmap = NULL;
    float largest;
    TRY(largest_decode(scales, &largest, err));
    if (code->selected)
        TRY(bitmap_decode(n, codes, &bitmap, err));
    for (size_t b = 0; b < block_count(n); b++) {
        float *block = out + b * CODEC_BLOCK;
        int length = block_length(n, b);
        if (bitmap && !bit_get(bitmap, b))
            memset(block, 0, (size_t)length * sizeof *block);
        else
            TRY(block_decode(code, length, largest, codes, scales, block, err));
    }
    return STATUS_OK;
}

enum status codec_decode(char codec, size_t n, const uint8_t *codes, size_t codes_size,
                         size_t *codes_used, const uint8_t *scales, size_t scales_size,
                         size_t *scales_used, float *update, struct err *err)
{
    struct cursor c = {codes, codes_size, 0}, s = {scales, scales_size, 0};
    struct code code;
    if (codec == '0' || n == 0)
        memset(update, 0, n * sizeof *update);
    else if (codec == 'f')
        TRY(raw_decode(n, &c, update, err));
    else if (code_init(&code, codec))
        TRY(tensor_decode(&code, n, &c, &s, update, err));
    else
        return err_set(err, STATUS_UNSUPPORTED, "codec 0x%02x, expected 0 or one of %s",
                       (unsigned)(unsigned char)codec, CODEC_LETTERS);
    *codes_used = c.used;
    *scales_used = s.used;
    return STATUS_OK;
}
