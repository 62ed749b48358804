/* PNG through libpng: the only file that includes png.h. libpng reports errors by longjmp; each
 * entry sets its jump in a function that holds nothing but the library's state, and everything that
 * must survive a jump lives in a struct of the caller. */
#include "api/wire/limits.h"
#include "model/task/image_codec.h"
#include <png.h>
#include <stdlib.h>
#include <string.h>

struct png_input {
    const uint8_t *data;
    size_t len, at;
    struct image *image;
    int *orientation;
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

/* Room in a palette for every index that `depth` bits can name. The file may bring fewer colours:
 * an index without one is Pillow's grey of its own value. */
static void palette_fill(png_structp png, png_infop info)
{
    png_colorp given = NULL;
    int n = 0, all = 1 << png_get_bit_depth(png, info);
    png_color full[256];
    png_get_PLTE(png, info, &given, &n);
    for (int i = 0; i < all; i++)
        full[i] = i < n ? given[i] : (png_color){(png_byte)i, (png_byte)i, (png_byte)i};
    png_set_PLTE(png, info, full, all);
}

/* Grey of 16 bits, three times a pixel by now, clipped at 255. */
static void row_clip(png_structp png, png_row_infop row, png_bytep data)
{
    (void)png;
    for (size_t i = 0; i < (size_t)row->width * 3; i++)
        data[i] = data[2 * i] ? 255 : data[2 * i + 1];
}

/* To 8 bits and three channels, as image.h promises. */
static void transform_set(png_structp png, png_infop info)
{
    int type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        palette_fill(png, info);
        png_set_palette_to_rgb(png);
    }
    if (!(type & PNG_COLOR_MASK_COLOR)) {
        png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    if (type == PNG_COLOR_TYPE_GRAY && depth == 16) {
        png_set_read_user_transform_fn(png, row_clip);
        png_set_user_transform_info(png, NULL, 8, 3);
    } else {
        png_set_strip_16(png);
    }
    png_set_strip_alpha(png);
    png_set_interlace_handling(png);
}

/* Deflate packs at most 1,032 to one. */
static enum status rows_alloc(struct png_input *in, png_structp png, png_infop info)
{
    struct image *image = in->image;
    int bits = png_get_bit_depth(png, info) * png_get_channels(png, info);
    TRY(image_alloc(png_get_image_width(png, info), png_get_image_height(png, info), in->len,
                    1032 * 8 / bits, image, in->err));
    in->rows = calloc((size_t)image->height, sizeof *in->rows);
    if (!in->rows)
        return err_set(in->err, STATUS_NO_MEMORY, "no memory for a PNG");
    for (int y = 0; y < image->height; y++)
        in->rows[y] = image->rgb + (size_t)y * (size_t)image->width * 3;
    return STATUS_OK;
}

/* Chunks that no pixel depends on are skipped unread, however large they claim to be; only EXIF is
 * kept. A wrong checksum is an error in any chunk. */
static void policy_set(png_structp png)
{
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* ours come later, with our words */
    png_set_chunk_malloc_max(png, LIMIT_IMAGE_BYTES);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_ALWAYS, (png_const_bytep) "eXIf", 1);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
}

static int orientation_get(png_structp png, png_infop info)
{
    png_unknown_chunkp chunk = NULL;
    int n = png_get_unknown_chunks(png, info, &chunk);
    return n > 0 ? image_exif_orientation(chunk->data, chunk->size) : 1;
}

/* Returns false after a jump; in->message says why. */
static bool png_run(struct png_input *in, png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    policy_set(png);
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
    png_read_end(png, info);
    *in->orientation = orientation_get(png, info);
    return true;
}

enum status image_decode_png(const uint8_t *data, size_t len, struct image *out, int *orientation,
                             struct err *err)
{
    struct png_input in = {
        .data = data, .len = len, .image = out, .orientation = orientation, .err = err};
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
