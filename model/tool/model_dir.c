/* Only plain files at the top and one level below are looked at; links are followed, as checkpoints
 * in Hugging Face's cache are made of them. */
#include "model/tool/model_dir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIDE_BYTES = 64 << 20 };

typedef enum status entry_fn(const struct model_dir *d, const char *path, const char *name,
                             struct err *err);

/* fn for every entry of a folder but "." and "..". */
static enum status for_each(const struct model_dir *d, const char *folder, entry_fn *fn,
                            struct err *err)
{
    char path[MODEL_DIR_PATH];
    enum status status = STATUS_OK;
    DIR *dir = opendir(folder);
    if (!dir)
        return io_error(err, "open", folder, errno);
    for (struct dirent *e; status == STATUS_OK && (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        status = io_join(path, sizeof path, folder, e->d_name, err);
        if (status == STATUS_OK)
            status = fn(d, path, e->d_name, err);
    }
    closedir(dir);
    return status;
}

/* ---- removing ---- */

static enum status file_remove(const struct model_dir *d, const char *path, const char *name,
                               struct err *err)
{
    (void)name;
    return d->io->unlink(d->io, path) == 0 ? STATUS_OK : io_error(err, "remove", path, errno);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder itself, not a link to one: what may be emptied. */
static bool is_own_folder(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum status entry_remove(const struct model_dir *d, const char *path, const char *name,
                                struct err *err)
{
    if (!is_own_folder(path))
        return file_remove(d, path, name, err);
    TRY(for_each(d, path, file_remove, err));
    return rmdir(path) == 0 ? STATUS_OK : io_error(err, "remove", path, errno);
}

/* DIR.partial carries this file as long as it is ours to empty. */
static enum status mark_path(const struct model_dir *d, char *path, struct err *err)
{
    return io_join(path, MODEL_DIR_PATH, d->partial, ".cdcca-partial", err);
}

void model_dir_abandon(const struct model_dir *d)
{
    char mark[MODEL_DIR_PATH];
    if (mark_path(d, mark, NULL) != STATUS_OK || !io_exists(mark))
        return;
    if (is_own_folder(d->partial) && for_each(d, d->partial, entry_remove, NULL) == STATUS_OK)
        (void)rmdir(d->partial);
}

/* ---- beginning and end ---- */

static enum status entry_refuse(const struct model_dir *d, const char *path, const char *name,
                                struct err *err)
{
    (void)name;
    return err_set(err, STATUS_CONFLICT, "%s is not empty: it holds %s; name a new directory",
                   d->final, path);
}

static enum status partial_make(const struct model_dir *d, struct err *err)
{
    char mark[MODEL_DIR_PATH];
    TRY(mark_path(d, mark, err));
    model_dir_abandon(d);
    if (io_exists(d->partial))
        return err_set(err, STATUS_CONFLICT,
                       "%s is there and not of an earlier attempt; remove it or name another "
                       "directory",
                       d->partial);
    TRY(io_make_dirs(d->io, d->partial, err));
    return io_write_file(d->io, mark, "", 0, err);
}

enum status model_dir_begin(struct io *io, const char *dir, struct model_dir *out, struct err *err)
{
    out->io = io;
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (n + 16 >= sizeof out->final)
        return err_set(err, STATUS_TOO_LARGE, "a path of %zu bytes is too long", n);
    snprintf(out->final, sizeof out->final, "%.*s", (int)n, dir);
    snprintf(out->partial, sizeof out->partial, "%.4000s.partial", out->final);
    if (io_exists(out->final) && !is_folder(out->final))
        return err_set(err, STATUS_CONFLICT, "%s is a file", out->final);
    if (is_folder(out->final))
        TRY(for_each(out, out->final, entry_refuse, err));
    /* renaming onto a mount or a link fails: now, not after the work */
    if (io_exists(out->final) && rmdir(out->final) != 0)
        return io_error(err, "replace", out->final, errno);
    return partial_make(out, err);
}

enum status model_dir_publish(const struct model_dir *d, struct err *err)
{
    char mark[MODEL_DIR_PATH];
    TRY(mark_path(d, mark, err));
    if (d->io->unlink(d->io, mark) != 0)
        return io_error(err, "remove", mark, errno);
    if (d->io->rename(d->io, d->partial, d->final) != 0)
        return io_error(err, "rename", d->partial, errno);
    return STATUS_OK;
}

/* ---- what lies beside the weights ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

static bool is_side(const char *name)
{
    static const char *const not [] = {".safetensors", ".index.json", ".bin",  ".pt",   ".pth",
                                       ".gguf",        ".msgpack",    ".h5",   ".onnx", ".ot",
                                       ".onnx_data",   ".tflite",     ".ckpt", ".zip"};
    if (name[0] == '.' || strcmp(name, "config.json") == 0)
        return false;
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        if (ends_with(name, not [i]))
            return false;
    return true;
}

static enum status file_copy(const struct model_dir *d, const char *from, const char *to,
                             struct err *err)
{
    struct buf file = {.max = SIDE_BYTES};
    enum status status = io_read_file(d->io, from, &file, err);
    if (status == STATUS_OK)
        status = io_write_file(d->io, to, file.data, file.len, err);
    buf_free(&file);
    return status;
}

static enum status qformer_file_copy(const struct model_dir *d, const char *path, const char *name,
                                     struct err *err)
{
    char folder[MODEL_DIR_PATH], to[MODEL_DIR_PATH];
    if (is_folder(path) || !is_side(name))
        return STATUS_OK;
    TRY(io_join(folder, sizeof folder, d->partial, "qformer_tokenizer", err));
    TRY(io_make_dirs(d->io, folder, err));
    TRY(io_join(to, sizeof to, folder, name, err));
    return file_copy(d, path, to, err);
}

static enum status side_copy(const struct model_dir *d, const char *path, const char *name,
                             struct err *err)
{
    char to[MODEL_DIR_PATH];
    if (is_folder(path))
        return strcmp(name, "qformer_tokenizer") == 0 ? for_each(d, path, qformer_file_copy, err)
                                                      : STATUS_OK;
    if (!is_side(name))
        return STATUS_OK;
    TRY(io_join(to, sizeof to, d->partial, name, err));
    return file_copy(d, path, to, err);
}

enum status model_dir_copy_side(const struct model_dir *d, const char *from, struct err *err)
{
    return for_each(d, from, side_copy, err);
}
