/* JPEG through libjpeg-turbo: the only file that includes jpeglib.h. Its errors jump out of
 * error_exit; as in image_png.c, the function that sets the jump holds nothing but pointers. Pixels
 * that are missing or unreadable are an error here (the library would fill in grey), and so are
 * more scans than any real file has (each costs a pass over all pixels). */
#include "api/wire/limits.h"
#include "model/task/image_codec.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum { SCANS_MAX = 64 };

struct jpeg_guard { /* the library hands its first member around */
    struct jpeg_error_mgr manager;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
};

static void jpeg_fail(j_common_ptr info)
{
    struct jpeg_guard *guard = (struct jpeg_guard *)(void *)info->err;
    info->err->format_message(info, guard->message);
    longjmp(guard->jump, 1);
}

/* Of the library's warnings, those after which it invents pixels. */
static void jpeg_message(j_common_ptr info, int level)
{
    int code = info->err->msg_code;
    if (level < 0 &&
        (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE))
        jpeg_fail(info);
}

static void jpeg_count_scans(j_common_ptr info)
{
    j_decompress_ptr jpeg = (j_decompress_ptr)(void *)info;
    if (info->is_decompressor && jpeg->input_scan_number > SCANS_MAX) {
        info->err->msg_code = JERR_BAD_PROGRESSION;
        jpeg_fail(info);
    }
}

static void guard_init(struct jpeg_guard *guard)
{
    memset(guard, 0, sizeof *guard);
    jpeg_std_error(&guard->manager);
    guard->manager.error_exit = jpeg_fail;
    guard->manager.emit_message = jpeg_message;
}

/* ---- reading ---- */

struct jpeg_input {
    struct jpeg_guard guard;
    struct jpeg_decompress_struct jpeg;
    struct jpeg_progress_mgr progress;
    const uint8_t *data;
    size_t len;
    struct image *image;
    int *orientation;
    uint8_t *row; /* (width,4), CMYK */
    enum status status;
    struct err *err;
};

/* The inks are taken as stored inverted, as Adobe's programs do and nearly everyone else. Pillow's
 * arithmetic: of what black leaves, each ink takes its share, rounded. */
static void cmyk_to_rgb(const uint8_t *in, int width, uint8_t *out)
{
    for (int x = 0; x < width; x++, in += 4, out += 3)
        for (int c = 0; c < 3; c++) {
            unsigned light = in[3], share = (255u - in[c]) * light + 128;
            out[c] = (uint8_t)(light - (((share >> 8) + share) >> 8));
        }
}

/* Huffman codes take a bit and more for each block of 64 pixels; arithmetic ones may take less. */
static enum status jpeg_alloc(struct jpeg_input *in)
{
    struct jpeg_decompress_struct *jpeg = &in->jpeg;
    TRY(image_alloc(jpeg->image_width, jpeg->image_height, in->len,
                    jpeg->arith_code ? LIMIT_IMAGE_PIXELS : 8 * 64, in->image, in->err));
    bool cmyk = jpeg->num_components == 4;
    jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    in->row = malloc((size_t)in->image->width * 4);
    return in->row ? STATUS_OK : err_set(in->err, STATUS_NO_MEMORY, "no memory for a JPEG");
}

/* Of the first APP1 segment that holds EXIF */
static int orientation_get(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr at = jpeg->marker_list; at; at = at->next)
        if (at->data_length >= 6 && memcmp(at->data, "Exif\0\0", 6) == 0)
            return image_exif_orientation(at->data + 6, at->data_length - 6);
    return 1;
}

static void jpeg_read_rows(struct jpeg_input *in)
{
    struct jpeg_decompress_struct *jpeg = &in->jpeg;
    size_t stride = (size_t)in->image->width * 3;
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *out = in->image->rgb + jpeg->output_scanline * stride;
        bool cmyk = jpeg->out_color_space == JCS_CMYK;
        JSAMPROW row = cmyk ? in->row : out;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (cmyk)
            cmyk_to_rgb(in->row, in->image->width, out);
    }
}

static bool jpeg_run(struct jpeg_input *in)
{
    if (setjmp(in->guard.jump))
        return false;
    jpeg_create_decompress(&in->jpeg);
    in->progress.progress_monitor = jpeg_count_scans;
    in->jpeg.progress = &in->progress;
    jpeg_mem_src(&in->jpeg, in->data, in->len);
    jpeg_save_markers(&in->jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&in->jpeg, TRUE);
    in->status = jpeg_alloc(in);
    if (in->status != STATUS_OK)
        return true;
    jpeg_start_decompress(&in->jpeg);
    jpeg_read_rows(in);
    *in->orientation = orientation_get(&in->jpeg); /* finishing forgets the markers */
    jpeg_finish_decompress(&in->jpeg);
    return true;
}

enum status image_decode_jpeg(const uint8_t *data, size_t len, struct image *out, int *orientation,
                              struct err *err)
{
    struct jpeg_input in = {
        .data = data, .len = len, .image = out, .orientation = orientation, .err = err};
    guard_init(&in.guard);
    in.jpeg.err = &in.guard.manager;
    enum status status =
        jpeg_run(&in)
            ? in.status
            : err_set(err, STATUS_MALFORMED, "a JPEG that cannot be read: %s", in.guard.message);
    jpeg_destroy_decompress(&in.jpeg);
    free(in.row);
    return status;
}

/* ---- writing ---- */

struct jpeg_output {
    struct jpeg_guard guard;
    struct jpeg_compress_struct jpeg;
    const uint8_t *rgb;
    int width, height, quality;
    uint8_t *row;        /* (width,3): the library's interface is not const */
    unsigned char *data; /* the library's, malloc'd */
    unsigned long len;
};

static bool jpeg_write_run(struct jpeg_output *o)
{
    if (setjmp(o->guard.jump))
        return false;
    jpeg_create_compress(&o->jpeg);
    jpeg_mem_dest(&o->jpeg, &o->data, &o->len);
    o->jpeg.image_width = (JDIMENSION)o->width;
    o->jpeg.image_height = (JDIMENSION)o->height;
    o->jpeg.input_components = 3;
    o->jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&o->jpeg);
    jpeg_set_quality(&o->jpeg, o->quality, TRUE);
    o->jpeg.optimize_coding = TRUE; /* an honest size: no bytes wasted on default tables */
    jpeg_start_compress(&o->jpeg, TRUE);
    while (o->jpeg.next_scanline < o->jpeg.image_height) {
        JSAMPROW row = o->row;
        size_t stride = (size_t)o->width * 3;
        memcpy(row, o->rgb + o->jpeg.next_scanline * stride, stride);
        jpeg_write_scanlines(&o->jpeg, &row, 1);
    }
    jpeg_finish_compress(&o->jpeg);
    return true;
}

enum status image_encode_jpeg(const uint8_t *rgb, int width, int height, int quality,
                              struct buf *out, struct err *err)
{
    struct jpeg_output o = {.rgb = rgb, .width = width, .height = height, .quality = quality};
    enum status status = STATUS_OK;
    o.row = malloc((size_t)width * 3);
    if (!o.row)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a JPEG");
    guard_init(&o.guard);
    o.jpeg.err = &o.guard.manager;
    if (!jpeg_write_run(&o))
        status = err_set(err, STATUS_MALFORMED, "a JPEG could not be written: %s", o.guard.message);
    else if (buf_append(out, o.data, o.len) != STATUS_OK)
        status = err_set(err, STATUS_TOO_LARGE, "a JPEG of %lu bytes does not fit", o.len);
    jpeg_destroy_compress(&o.jpeg);
    free(o.data);
    free(o.row);
    return status;
}
