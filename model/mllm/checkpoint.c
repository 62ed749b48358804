/* Shards, their index, and one sorted list of the tensors in them. */
#include "model/mllm/checkpoint.h"

#include "api/wire/json.h"
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 512, INDEX_BYTES = 2 << 20, PATH_BYTES = 4096 };

static enum status shard_open(struct checkpoint *c, struct io *io, const char *dir,
                              const char *name, struct err *err)
{
    char path[PATH_BYTES];
    TRY(io_join(path, sizeof path, dir, name, err));
    TRY(safetensors_reader_open(io, path, &c->shard[c->shards], err));
    c->shards++;
    return STATUS_OK;
}

/* Adds a shard's file name once; a name must stay within the directory. */
static enum status shard_name_add(const char **names, int *count, const char *name, struct err *err)
{
    if (name[0] == 0 || name[0] == '.' || strchr(name, '/'))
        return err_set(err, STATUS_MALFORMED, "weight_map names \"%s\", which is no file name",
                       name);
    for (int i = 0; i < *count; i++)
        if (strcmp(names[i], name) == 0)
            return STATUS_OK;
    if (*count == SHARDS_MAX)
        return err_set(err, STATUS_TOO_LARGE, "more than %d shards", SHARDS_MAX);
    names[(*count)++] = name;
    return STATUS_OK;
}

/* The different files that the index names. */
static enum status index_names(const json *index, const char **names, int *count, struct err *err)
{
    const json *map = NULL;
    const json *value = NULL;
    void *cursor = NULL;
    TRY(json_get_object(index, "weight_map", &map, err));
    for (const char *key; (key = json_next(map, &cursor, &value)) != NULL;) {
        const char *name = "";
        TRY(json_get_string(map, key, 255, &name, err));
        TRY(shard_name_add(names, count, name, err));
    }
    return STATUS_OK;
}

static enum status index_open(struct checkpoint *c, struct io *io, const char *dir,
                              const char *path, const json *index, struct err *err)
{
    const char *names[SHARDS_MAX];
    int count = 0;
    enum status status = index_names(index, names, &count, err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", path);
    for (int i = 0; status == STATUS_OK && i < count; i++)
        status = shard_open(c, io, dir, names[i], err);
    return status;
}

static enum status sharded_open(struct checkpoint *c, struct io *io, const char *dir,
                                const char *path, struct err *err)
{
    struct buf file = {.max = INDEX_BYTES};
    json *index = NULL;
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK && (status = json_parse(file.data, file.len, &index, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    if (status == STATUS_OK)
        status = index_open(c, io, dir, path, index, err);
    json_free(index);
    buf_free(&file);
    return status;
}

static enum status single_open(struct checkpoint *c, struct io *io, const char *dir,
                               struct err *err)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    char path[PATH_BYTES];
    enum status status = shard_open(c, io, dir, "model.safetensors", err);
    for (int i = 0; status == STATUS_NOT_FOUND && i < 2; i++) {
        TRY(io_join(path, sizeof path, dir, pickles[i], err));
        if (io_exists(path))
            return err_set(err, STATUS_UNSUPPORTED,
                           "%s holds weights as pickles (%s) alone; only safetensors are supported",
                           dir, pickles[i]);
    }
    return status;
}

static int tensor_compare(const void *a, const void *b)
{
    const struct checkpoint_tensor *x = a, *y = b;
    return strcmp(x->entry->name, y->entry->name);
}

static enum status tensors_list(struct checkpoint *c, struct err *err)
{
    size_t count = 0;
    for (int i = 0; i < c->shards; i++)
        count += c->shard[i].head.count;
    c->tensor = calloc(count + 1, sizeof *c->tensor);
    if (!c->tensor)
        return err_set(err, STATUS_NO_MEMORY, "no memory for %zu tensors", count);
    for (int i = 0; i < c->shards; i++)
        for (size_t j = 0; j < c->shard[i].head.count; j++)
            c->tensor[c->count++] =
                (struct checkpoint_tensor){&c->shard[i], &c->shard[i].head.entries[j]};
    qsort(c->tensor, c->count, sizeof *c->tensor, tensor_compare);
    for (size_t i = 1; i < c->count; i++)
        if (tensor_compare(&c->tensor[i - 1], &c->tensor[i]) == 0)
            return err_set(err, STATUS_CONFLICT, "%s: tensor %s is in %s too",
                           c->tensor[i].file->path, c->tensor[i].entry->name,
                           c->tensor[i - 1].file->path);
    return STATUS_OK;
}

enum status checkpoint_open(struct io *io, const char *dir, struct checkpoint *out, struct err *err)
{
    char index[PATH_BYTES];
    *out = (struct checkpoint){0};
    TRY(io_join(index, sizeof index, dir, "model.safetensors.index.json", err));
    out->shard = calloc(SHARDS_MAX, sizeof *out->shard);
    if (!out->shard)
        return err_set(err, STATUS_NO_MEMORY, "no memory to load %s", dir);
    enum status status =
        io_exists(index) ? sharded_open(out, io, dir, index, err) : single_open(out, io, dir, err);
    if (status == STATUS_OK)
        status = tensors_list(out, err);
    if (status != STATUS_OK)
        checkpoint_close(out);
    return status;
}

void checkpoint_close(struct checkpoint *c)
{
    for (int i = 0; i < c->shards; i++)
        safetensors_reader_close(&c->shard[i]);
    free(c->shard);
    free(c->tensor);
    *c = (struct checkpoint){0};
}

enum status checkpoint_read(const struct checkpoint_tensor *t, size_t from, size_t size, void *out,
                            struct err *err)
{
    return safetensors_reader_read(t->file, t->entry, from, size, out, err);
}
