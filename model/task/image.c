/* Decoding dispatch and resizing. What the bytes are is sniffed from their first few, never from a
 * name; the sizes a header claims are checked before any pixel is decoded (image_png.c and
 * image_jpeg.c, where libpng's and libjpeg's longjmp stays).
 *
 * Resizing is Pillow's 8-bit path (libImaging/Resample.c, bicubic with a = -0.5 and antialiasing):
 * coefficients in double, rounded to 22-bit fixed point; the horizontal pass is rounded to bytes
 * before the vertical one. It gives Pillow's bytes. */
#include "model/task/image.h"
#include "api/base/checked.h"
#include "api/wire/limits.h"
#include "model/task/image_codec.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool starts(const uint8_t *data, size_t len, const char *magic, size_t n)
{
    return len >= n && memcmp(data, magic, n) == 0;
}

/* A name for bytes we do not decode, for the error's text. */
static const char *sniff(const uint8_t *data, size_t len)
{
    if (len == 0)
        return "an empty file";
    if (starts(data, len, "GIF8", 4))
        return "a GIF";
    if (len >= 12 && starts(data, len, "RIFF", 4) && memcmp(data + 8, "WEBP", 4) == 0)
        return "a WebP";
    if (starts(data, len, "BM", 2))
        return "a BMP";
    if (starts(data, len, "II*\0", 4) || starts(data, len, "MM\0*", 4))
        return "a TIFF";
    if (starts(data, len, "%PDF", 4))
        return "a PDF";
    if (len >= 12 && memcmp(data + 4, "ftyp", 4) == 0)
        return "an MP4, HEIC or AVIF";
    for (size_t i = 0; i < len && i < 64; i++)
        if (data[i] < 9 || (data[i] > 13 && data[i] < 32))
            return "unknown binary data";
    return "text";
}

static enum status pixels_alloc(int width, int height, struct image *out, struct err *err)
{
    *out = (struct image){width, height, malloc((size_t)width * (size_t)height * 3)};
    return out->rgb ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for an image");
}

enum status image_alloc(int64_t width, int64_t height, size_t len, int pixels_per_byte,
                        struct image *out, struct err *err)
{
    if (width < 1 || height < 1)
        return err_set(err, STATUS_MALFORMED,
                       "image of %" PRId64 " x %" PRId64 " pixels: both must be at least 1", width,
                       height);
    if (width > LIMIT_IMAGE_SIDE || height > LIMIT_IMAGE_SIDE ||
        width * height > LIMIT_IMAGE_PIXELS)
        return err_set(err, STATUS_TOO_LARGE,
                       "image of %" PRId64 " x %" PRId64 " pixels: at most %d a side and %d in all",
                       width, height, LIMIT_IMAGE_SIDE, LIMIT_IMAGE_PIXELS);
    if ((size_t)(width * height) / (size_t)pixels_per_byte > len)
        return err_set(err, STATUS_MALFORMED,
                       "image of %" PRId64 " x %" PRId64 " pixels in a file of %zu bytes: it was "
                       "cut short",
                       width, height, len);
    return pixels_alloc((int)width, (int)height, out, err);
}

void image_free(struct image *image)
{
    free(image->rgb);
    *image = (struct image){0};
}

enum status image_decode(const void *data, size_t len, struct image *out, struct err *err)
{
    enum status status;
    int orientation = 1;
    *out = (struct image){0};
    if (len > LIMIT_IMAGE_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "image of %zu bytes: at most %d", len,
                       LIMIT_IMAGE_BYTES);
    if (starts(data, len, "\x89PNG\r\n\x1a\n", 8))
        status = image_decode_png(data, len, out, &orientation, err);
    else if (starts(data, len, "\xff\xd8\xff", 3))
        status = image_decode_jpeg(data, len, out, &orientation, err);
    else
        return err_set(err, STATUS_UNSUPPORTED, "not an image we read: %s; PNG or JPEG wanted",
                       sniff(data, len));
    if (status == STATUS_OK)
        status = image_turn(out, orientation, err);
    if (status != STATUS_OK)
        image_free(out);
    return status;
}

enum status image_load(struct io *io, const char *path, struct image *out, struct err *err)
{
    struct buf bytes = {.max = LIMIT_IMAGE_BYTES};
    *out = (struct image){0};
    enum status status = io_read_file(io, path, &bytes, err);
    if (status == STATUS_OK) {
        status = image_decode(bytes.data, bytes.len, out, err);
        if (status != STATUS_OK)
            err_prefix(err, "%s", path);
    }
    buf_free(&bytes);
    return status;
}

/* ---- resizing ---- */

enum { FIXED_BITS = 22 };

/* For each output position: the first input position and its weights. */
struct filter {
    int size, taps;   /* output positions; weights each has room for */
    int *from, *used; /* (size) */
    int32_t *weight;  /* (size,taps), fixed point */
};

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static void filter_free(struct filter *f)
{
    free(f->from);
    free(f->used);
    free(f->weight);
}

static void filter_row(struct filter *f, int row, int in, double *scratch)
{
    double scale = (double)in / f->size, stretch = scale > 1.0 ? scale : 1.0;
    double center = (row + 0.5) * scale, support = 2.0 * stretch, sum = 0.0;
    int low = (int)(center - support + 0.5), high = (int)(center + support + 0.5);
    low = low < 0 ? 0 : low;
    high = high > in ? in : high;
    for (int i = low; i < high; i++)
        sum += scratch[i - low] = bicubic((i - center + 0.5) / stretch);
    f->from[row] = low;
    f->used[row] = high - low;
    for (int i = 0; i < high - low; i++) {
        double w = scratch[i] / sum * (1 << FIXED_BITS);
        f->weight[(size_t)row * (size_t)f->taps + (size_t)i] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
}

static enum status filter_init(struct filter *f, int in, int size, struct err *err)
{
    double stretch = in > size ? (double)in / size : 1.0;
    size_t n = (size_t)size, cells;
    *f = (struct filter){.size = size, .taps = (int)ceil(2.0 * stretch) * 2 + 1};
    double *scratch = malloc((size_t)f->taps * sizeof *scratch);
    f->from = malloc(n * sizeof *f->from);
    f->used = malloc(n * sizeof *f->used);
    if (checked_mul(n, (size_t)f->taps * sizeof *f->weight, &cells))
        f->weight = malloc(cells);
    bool ready = scratch && f->from && f->used && f->weight;
    for (int row = 0; ready && row < size; row++)
        filter_row(f, row, in, scratch);
    free(scratch);
    if (!ready) {
        filter_free(f);
        return err_set(err, STATUS_NO_MEMORY, "no memory to resize an image");
    }
    return STATUS_OK;
}

static uint8_t fixed_to_byte(int64_t v)
{
    v >>= FIXED_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One output value: a weighted sum of input values that lie `step` bytes apart. */
static uint8_t filter_apply(const struct filter *f, int at, const uint8_t *in, size_t step)
{
    const int32_t *w = f->weight + (size_t)at * (size_t)f->taps;
    const uint8_t *p = in + (size_t)f->from[at] * step;
    int64_t sum = 1 << (FIXED_BITS - 1);
    for (int i = 0; i < f->used[at]; i++, p += step)
        sum += (int64_t)w[i] * *p;
    return fixed_to_byte(sum);
}

/* (h,w,3) -> (h,size,3) */
static void resize_rows(const struct filter *f, const uint8_t *in, int w, int h, uint8_t *out)
{
    for (int y = 0; y < h; y++, in += (size_t)w * 3)
        for (int x = 0; x < f->size; x++)
            for (int c = 0; c < 3; c++)
                *out++ = filter_apply(f, x, in + c, 3);
}

/* (h,w,3) -> (size,w,3) */
static void resize_columns(const struct filter *f, const uint8_t *in, int w, uint8_t *out)
{
    size_t row = (size_t)w * 3;
    for (int y = 0; y < f->size; y++)
        for (size_t x = 0; x < row; x++)
            *out++ = filter_apply(f, y, in + x, row);
}

enum status image_resize(const struct image *in, int width, int height, struct image *out,
                         struct err *err)
{
    struct filter across = {0}, down = {0};
    struct image middle = {0};
    *out = (struct image){0};
    enum status status = pixels_alloc(width, in->height, &middle, err);
    if (status == STATUS_OK)
        status = pixels_alloc(width, height, out, err);
    if (status == STATUS_OK)
        status = filter_init(&across, in->width, width, err);
    if (status == STATUS_OK) {
        resize_rows(&across, in->rgb, in->width, in->height, middle.rgb);
        filter_free(&across);
        status = filter_init(&down, in->height, height, err);
    }
    if (status == STATUS_OK) {
        resize_columns(&down, middle.rgb, width, out->rgb);
        filter_free(&down);
    } else {
        image_free(out);
    }
    image_free(&middle);
    return status;
}
