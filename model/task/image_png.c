/* PNG through libpng: the only file that includes png.h. libpng reports errors by longjmp; each
 * entry sets its jump in a function that holds nothing but the library's state, and everything that
 * must survive a jump lives in a struct of the caller. Colour profiles and gamma are left alone, as
 * Pillow does. */
#include "model/task/image_codec.h"
#include <png.h>
#include <stdlib.h>
#include <string.h>

struct png_input {
    const uint8_t *data;
    size_t len, at;
    struct image *image;
    png_bytep *rows;
    char message[128];
    enum status status; /* of our own checks; the library's failures come by jump */
    struct err *err;
};

static void png_fail(png_structp png, png_const_charp message)
{
    struct png_input *in = png_get_error_ptr(png);
    strncpy(in->message, message, sizeof in->message - 1);
    png_longjmp(png, 1);
}

static void png_ignore(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void png_take(png_structp png, png_bytep out, size_t n)
{
    struct png_input *in = png_get_io_ptr(png);
    if (n > in->len - in->at)
        png_error(png, "it ends too early");
    memcpy(out, in->data + in->at, n);
    in->at += n;
}

/* 8 bits, three channels; transparency over white */
static void transform_set(png_structp png, png_infop info)
{
    png_color_16 white = {.red = 255, .green = 255, .blue = 255, .gray = 255};
    int type = png_get_color_type(png, info);
    png_set_expand(png);
    png_set_scale_16(png);
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    if ((type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, info, PNG_INFO_tRNS))
        png_set_background(png, &white, PNG_BACKGROUND_GAMMA_SCREEN, 0, 1.0);
    png_set_interlace_handling(png);
}

static enum status rows_alloc(struct png_input *in, png_structp png, png_infop info)
{
    struct image *image = in->image;
    TRY(image_alloc(png_get_image_width(png, info), png_get_image_height(png, info), image,
                    in->err));
    in->rows = calloc((size_t)image->height, sizeof *in->rows);
    if (!in->rows)
        return err_set(in->err, STATUS_NO_MEMORY, "no memory for a PNG");
    for (int y = 0; y < image->height; y++)
        in->rows[y] = image->rgb + (size_t)y * (size_t)image->width * 3;
    return STATUS_OK;
}

/* Returns false after a jump; in->message says why. */
static bool png_run(struct png_input *in, png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* ours are checked next, with our words */
    png_set_chunk_malloc_max(png, 1 << 20);
    png_set_read_fn(png, in, png_take);
    png_read_info(png, info);
    in->status = rows_alloc(in, png, info);
    if (in->status != STATUS_OK)
        return true;
    transform_set(png, info);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)in->image->width * 3)
        png_error(png, "its rows have an unexpected length");
    png_read_image(png, in->rows);
    png_read_end(png, NULL);
    return true;
}

enum status image_decode_png(const uint8_t *data, size_t len, struct image *out, struct err *err)
{
    struct png_input in = {.data = data, .len = len, .image = out, .err = err};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &in, png_fail, png_ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    enum status status = STATUS_NO_MEMORY;
    if (!info)
        err_set(err, STATUS_NO_MEMORY, "no memory to read a PNG");
    else if (!png_run(&in, png, info))
        status = err_set(err, STATUS_MALFORMED, "a PNG that cannot be read: %s", in.message);
    else
        status = in.status;
    png_destroy_read_struct(&png, &info, NULL);
    free(in.rows);
    return status;
}

/* ---- writing ---- */

struct png_output {
    struct buf *out;
    const uint8_t *rgb;
    int width, height;
    char message[128];
};

static void png_write_fail(png_structp png, png_const_charp message)
{
    struct png_output *o = png_get_error_ptr(png);
    strncpy(o->message, message, sizeof o->message - 1);
    png_longjmp(png, 1);
}

static void png_give(png_structp png, png_bytep data, size_t n)
{
    struct png_output *o = png_get_io_ptr(png);
    if (buf_append(o->out, data, n) != STATUS_OK)
        png_error(png, "the buffer is full");
}

static void png_flush_nothing(png_structp png)
{
    (void)png;
}

static bool png_write_run(struct png_output *o, png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_write_fn(png, o, png_give, png_flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)o->width, (png_uint_32)o->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < o->height; y++)
        png_write_row(png, o->rgb + (size_t)y * (size_t)o->width * 3);
    png_write_end(png, NULL);
    return true;
}

enum status image_encode_png(const uint8_t *rgb, int width, int height, struct buf *out,
                             struct err *err)
{
    struct png_output o = {.out = out, .rgb = rgb, .width = width, .height = height};
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, &o, png_write_fail, png_ignore);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    enum status status = STATUS_OK;
    if (!info)
        status = err_set(err, STATUS_NO_MEMORY, "no memory to write a PNG");
    else if (!png_write_run(&o, png, info))
        status = err_set(err, STATUS_TOO_LARGE, "a PNG could not be written: %s", o.message);
    png_destroy_write_struct(&png, &info);
    return status;
}
