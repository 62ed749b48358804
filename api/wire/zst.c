/* One frame in, one frame out. The decoder streams into the bounded buffer, so neither a frame's
 * claimed size nor its ratio decides how much memory is taken; the window is bounded too. */
#include "api/wire/zst.h"
#include <stdbool.h>
#include <zstd.h>

enum { CHUNK = 256 << 10, WINDOW_LOG_MAX = 27, BLOCK_HEADER = 64 };

/* Feeds one piece; a block ends with it. `to` has room for all of it. */
static size_t piece_compress(ZSTD_CCtx *context, const void *data, size_t begin, size_t end,
                             bool last, ZSTD_outBuffer *to)
{
    ZSTD_inBuffer in = {(const char *)data + begin, end - begin, 0};
    size_t left;
    do {
        left = ZSTD_compressStream2(context, to, &in, last ? ZSTD_e_end : ZSTD_e_flush);
    } while (!ZSTD_isError(left) && left > 0 && to->pos < to->size);
    return left;
}

static enum status frame_encode(ZSTD_CCtx *context, const void *data, size_t len,
                                const size_t *cuts, size_t count, struct buf *out)
{
    ZSTD_outBuffer to = {out->data + out->len, out->cap - out->len, 0};
    size_t begin = 0;
    ZSTD_CCtx_setPledgedSrcSize(context, len);
    for (size_t i = 0; i <= count; i++) {
        size_t end = i < count ? cuts[i] : len;
        if (piece_compress(context, data, begin, end, i == count, &to) != 0)
            return STATUS_NO_MEMORY;
        begin = end;
    }
    out->len += to.pos;
    out->data[out->len] = '\0';
    return STATUS_OK;
}

enum status zst_compress_cut(const void *data, size_t len, const size_t *cuts, size_t count,
                             int level, struct buf *out, struct err *err)
{
    size_t bound = ZSTD_compressBound(len);
    enum status status =
        ZSTD_isError(bound) ? STATUS_TOO_LARGE : buf_reserve(out, bound + count * BLOCK_HEADER);
    if (status != STATUS_OK)
        return err_set(err, status, "%zu bytes are too many to compress into %zu", len, out->max);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the zstd encoder");
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    status = frame_encode(context, data, len, cuts, count, out);
    ZSTD_freeCCtx(context);
    if (status != STATUS_OK)
        return err_set(err, status, "no memory to compress %zu bytes", len);
    return STATUS_OK;
}

enum status zst_compress(const void *data, size_t len, int level, struct buf *out, struct err *err)
{
    return zst_compress_cut(data, len, NULL, 0, level, out, err);
}

static enum status room_make(struct buf *out, struct err *err)
{
    size_t left = out->max - out->len;
    if (left == 0)
        return err_set(err, STATUS_TOO_LARGE, "the data decompress to more than %zu bytes",
                       out->max);
    if (buf_reserve(out, left < CHUNK ? left : CHUNK) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory to decompress into");
    return STATUS_OK;
}

/* A buffer that is full may hold exactly the frame, whose end the decoder has yet to read: it gets
 * more room only when it can do nothing without. */
static enum status frame_decode(ZSTD_DStream *stream, ZSTD_inBuffer *in, struct buf *out,
                                struct err *err)
{
    for (;;) {
        ZSTD_outBuffer to = {out->data + out->len, out->cap - out->len, 0};
        size_t before = in->pos;
        size_t left = ZSTD_decompressStream(stream, &to, in);
        if (ZSTD_isError(left))
            return err_set(err, STATUS_MALFORMED, "not valid zstd data: %s",
                           ZSTD_getErrorName(left));
        out->len += to.pos;
        if (left == 0)
            return STATUS_OK;
        if (in->pos == in->size && to.pos < to.size)
            return err_set(err, STATUS_MALFORMED, "the zstd data end early");
        if (to.pos == 0 && in->pos == before)
            TRY(room_make(out, err));
    }
}

enum status zst_decompress(const void *data, size_t len, struct buf *out, struct err *err)
{
    unsigned long long claimed = ZSTD_getFrameContentSize(data, len);
    if (claimed == ZSTD_CONTENTSIZE_ERROR)
        return err_set(err, STATUS_MALFORMED, "not a zstd frame");
    bool known = claimed != ZSTD_CONTENTSIZE_UNKNOWN;
    if (known && claimed > out->max - out->len)
        return err_set(err, STATUS_TOO_LARGE, "the data decompress to %llu bytes; the limit is %zu",
                       claimed, out->max);
    if (buf_reserve(out, known ? (size_t)claimed : 0) != STATUS_OK)
        return err_set(err, STATUS_NO_MEMORY, "no memory to decompress %llu bytes into",
                       known ? claimed : 0);
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (!stream)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the zstd decoder");
    ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    ZSTD_inBuffer in = {data, len, 0};
    enum status status = frame_decode(stream, &in, out, err);
    ZSTD_freeDStream(stream);
    if (status == STATUS_OK && in.pos != len)
        return err_set(err, STATUS_MALFORMED, "%zu bytes follow the zstd frame", len - in.pos);
    if (status == STATUS_OK && out->data)
        out->data[out->len] = '\0';
    return status;
}
