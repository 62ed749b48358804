/* See json_out.h. */
#include "api/wire/json_out.h"
#include <stdio.h>

static const size_t TEXT_MAX = (size_t)1 << 30;

/* As text; on failure nothing is left in *out. */
static enum status text_make(json *value, bool whole, struct buf *out)
{
    *out = (struct buf){.max = TEXT_MAX};
    enum status status = value && whole ? json_print(value, true, out) : STATUS_NO_MEMORY;
    json_free(value);
    if (status != STATUS_OK)
        buf_free(out);
    return status;
}

enum status json_say(json *value, bool whole, struct err *err)
{
    struct buf text;
    enum status status = text_make(value, whole, &text);
    if (status != STATUS_OK)
        return err_set(err, status, "no memory for the report");
    printf("%.*s\n", (int)text.len, (const char *)text.data);
    buf_free(&text);
    return STATUS_OK;
}

enum status json_save(struct io *io, const char *path, json *value, bool whole, struct err *err)
{
    struct buf text;
    enum status status = text_make(value, whole, &text);
    if (status != STATUS_OK)
        return err_set(err, status, "%s: no memory to write it", path);
    status = io_write_file(io, path, text.data, text.len, err);
    buf_free(&text);
    return status;
}
