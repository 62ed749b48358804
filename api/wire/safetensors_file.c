/* Reading and writing in pieces (safetensors_file.h). Files are read, not mapped: one that is cut
 * while a mapping is used would end the process. */
#include "api/wire/safetensors_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = (16 << 20) + SAFETENSORS_PREFIX };

/* ---- reading ---- */

static enum status header_load(struct safetensors_reader *r, uint64_t file_bytes, struct err *err)
{
    unsigned char prefix[SAFETENSORS_PREFIX] = {0};
    size_t bytes = 0;
    if (file_bytes >= sizeof prefix)
        TRY(io_read_at(r->io, r->fd, r->path, 0, prefix, sizeof prefix, err));
    TRY(safetensors_header_bytes(prefix, file_bytes, &bytes, err));
    unsigned char *header = malloc(bytes);
    if (!header)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a header of %zu bytes", bytes);
    enum status status = io_read_at(r->io, r->fd, r->path, 0, header, bytes, err);
    if (status == STATUS_OK)
        status = safetensors_parse_header(header, bytes, file_bytes, &r->head, err);
    r->data_at = bytes;
    free(header);
    return status;
}

enum status safetensors_reader_open(struct io *io, const char *path, struct safetensors_reader *out,
                                    struct err *err)
{
    struct err own = {0};
    uint64_t size = 0;
    struct err *e = err ? err : &own;
    *out = (struct safetensors_reader){.io = io, .fd = -1};
    TRY(io_open_file(io, path, &out->fd, &size, e));
    out->path = strdup(path);
    enum status status = out->path ? header_load(out, size, e)
                                   : err_set(e, STATUS_NO_MEMORY, "no memory to open %s", path);
    if (status != STATUS_OK) {
        safetensors_reader_close(out);
        if (!strstr(e->text, path))
            err_prefix(e, "%.200s", path);
    }
    return status;
}

enum status safetensors_reader_read(const struct safetensors_reader *r,
                                    const struct safetensors_entry *entry, size_t from, size_t size,
                                    void *out, struct err *err)
{
    if (from > entry->size || size > entry->size - from)
        return err_set(err, STATUS_SHAPE, "%s: tensor \"%.64s\" has %zu bytes, not %zu from %zu on",
                       r->path, entry->name, entry->size, size, from);
    return io_read_at(r->io, r->fd, r->path, r->data_at + entry->at + from, out, size, err);
}

void safetensors_reader_close(struct safetensors_reader *r)
{
    if (!r->io)
        return;
    safetensors_close(&r->head);
    if (r->fd >= 0)
        r->io->close(r->io, r->fd);
    free(r->path);
    *r = (struct safetensors_reader){.fd = -1};
}

/* ---- writing ---- */

/* What the entries say, which safetensors_write_header has found not to overflow. */
static uint64_t data_bytes(const struct safetensors_entry *entries, size_t count)
{
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t size = dtype_size(entries[i].dtype);
        for (int d = 0; d < entries[i].ndim; d++)
            size *= entries[i].dim[d];
        all += size;
    }
    return all;
}

enum status safetensors_writer_open(struct io *io, const char *path,
                                    const struct safetensors_entry *entries, size_t count,
                                    struct safetensors_writer *out, struct err *err)
{
    static const char *const key[] = {"format"}, *const value[] = {"pt"};
    struct buf header = {.max = HEADER_BYTES};
    *out = (struct safetensors_writer){.io = io, .fd = -1, .path = strdup(path)};
    enum status status =
        out->path ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory to write %s", path);
    if (status == STATUS_OK)
        status = safetensors_write_header(entries, count, key, value, 1, &header, err);
    if (status == STATUS_OK)
        status = io_create(io, path, &out->fd, err);
    if (status == STATUS_OK) {
        out->left = data_bytes(entries, count);
        status = io_append(io, out->fd, path, header.data, header.len, err);
    }
    if (status != STATUS_OK)
        safetensors_writer_abandon(out);
    buf_free(&header);
    return status;
}

enum status safetensors_writer_add(struct safetensors_writer *w, const void *data, size_t size,
                                   struct err *err)
{
    if (size > w->left)
        return err_set(err, STATUS_SHAPE, "%s: %zu more bytes where %" PRIu64 " are left", w->path,
                       size, w->left);
    TRY(io_append(w->io, w->fd, w->path, data, size, err));
    w->left -= size;
    return STATUS_OK;
}

enum status safetensors_writer_finish(struct safetensors_writer *w, struct err *err)
{
    enum status status =
        w->left ? err_set(err, STATUS_SHAPE, "%s: %" PRIu64 " bytes of tensors are missing",
                          w->path, w->left)
                : io_finish(w->io, &w->fd, w->path, err);
    safetensors_writer_abandon(w);
    return status;
}

void safetensors_writer_abandon(struct safetensors_writer *w)
{
    if (w->path && w->fd >= 0)
        io_abandon(w->io, &w->fd, w->path);
    free(w->path);
    *w = (struct safetensors_writer){.fd = -1};
}
