/* Shards are planned from shapes alone, so that a shard's header is written before its tensors are
 * made. A matrix is packed in groups of rows that begin on a block and on a byte, one a thread. */
#include "model/tool/weights_out.h"

#include "api/wire/json_out.h"
#include "model/mllm/params.h"
#include "model/mllm/stored.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_ROWS = 64, CHUNK = 1 << 18, PATH_BYTES = 4096 };

struct task {
    struct weights_out *o;
    json *map;      /* the index: tensor -> file */
    int64_t values; /* written so far */
};

/* ---- what a parameter becomes ---- */

bool weights_out_type(struct weights_out *o, const char *name, enum dtype *other)
{
    o->quantize = strcmp(name, "nf4") == 0 || strcmp(name, "q8") == 0;
    o->type = strcmp(name, "q8") == 0 ? WEIGHT_Q8 : WEIGHT_NF4;
    *other = strcmp(name, "f32") == 0 ? DTYPE_F32 : DTYPE_BF16;
    return o->quantize || strcmp(name, "f32") == 0 || strcmp(name, "bf16") == 0;
}

static bool is_quantized(const struct weights_out *o, int i)
{
    return o->quantize && params_quantizable(o->m, &o->m->params[i]);
}

static int param_entries(const struct weights_out *o, int i, struct stored_names *names,
                         struct safetensors_entry *out)
{
    const struct param *p = &o->m->params[i];
    if (is_quantized(o, i))
        return stored_entries(p->name, o->type, p->dim[0], p->dim[1], o->nested, names, out);
    *out = (struct safetensors_entry){
        .name = p->name, .dtype = o->source.dtype(o->source.ctx, i), .ndim = p->ndim};
    for (int d = 0; d < p->ndim; d++)
        out->dim[d] = (uint64_t)p->dim[d];
    return 1;
}

static uint64_t param_bytes(const struct weights_out *o, int i)
{
    struct stored_names names;
    struct safetensors_entry entry[STORED_ENTRIES];
    uint64_t bytes = 0;
    int n = param_entries(o, i, &names, entry);
    for (int k = 0; k < n; k++) {
        uint64_t size = dtype_size(entry[k].dtype);
        for (int d = 0; d < entry[k].ndim; d++)
            size *= entry[k].dim[d];
        bytes += size;
    }
    return bytes;
}

/* The parameter after the last of a shard that begins at `first`. */
static int shard_end(const struct weights_out *o, int first)
{
    uint64_t bytes = 0;
    int i = first;
    for (; i < o->m->param_count; i++) {
        uint64_t more = param_bytes(o, i);
        if (i > first && bytes + more > o->shard_bytes)
            break;
        bytes += more;
    }
    return i;
}

static int shard_count(const struct weights_out *o)
{
    int n = 0;
    for (int i = 0; i < o->m->param_count; i = shard_end(o, i))
        n++;
    return n;
}

/* ---- packing ---- */

struct packing {
    const struct weights_out *o;
    int param;
    struct weight w;
    unsigned char *codes;
    float *scale;
    float *scratch;      /* a group of rows a thread */
    struct err *failure; /* one a thread; code STATUS_OK: none */
};

static void group_pack(void *ctx, int item, int worker)
{
    const struct packing *k = ctx;
    struct err *err = &k->failure[worker];
    const struct weights_source *source = &k->o->source;
    bool nf4 = k->w.type == WEIGHT_NF4;
    int first = item * GROUP_ROWS;
    int rows = k->w.rows - first < GROUP_ROWS ? k->w.rows - first : GROUP_ROWS;
    size_t cols = (size_t)k->w.cols, from = (size_t)first * cols, count = (size_t)rows * cols;
    unsigned char *codes = k->codes + (nf4 ? from / 2 : from);
    float *scale = k->scale + (nf4 ? from / WEIGHT_BLOCK : (size_t)first);
    float *x = k->scratch + (size_t)worker * GROUP_ROWS * cols;
    if (nf4 && source->blocks)
        source->blocks(source->ctx, k->param, from / WEIGHT_BLOCK, count / WEIGHT_BLOCK, codes,
                       scale);
    else if (err->code == STATUS_OK &&
             source->values(source->ctx, k->param, from, count, x, err) == STATUS_OK)
        weight_pack(k->w.type, x, rows, k->w.cols, codes, scale);
}

static enum status packing_run(struct packing *k, struct err *err)
{
    int threads = pool_threads(k->o->pool);
    pool_run(k->o->pool, (k->w.rows + GROUP_ROWS - 1) / GROUP_ROWS, group_pack, k);
    for (int i = 0; i < threads; i++)
        if (k->failure[i].code != STATUS_OK)
            return err_set(err, k->failure[i].code, "%s", k->failure[i].text);
    k->w.codes = k->codes;
    k->w.scale = k->scale;
    return STATUS_OK;
}

static enum status quantized_write(struct weights_out *o, int i, struct safetensors_writer *to,
                                   struct err *err)
{
    const struct param *p = &o->m->params[i];
    int rows = p->dim[0], cols = p->dim[1];
    size_t threads = (size_t)pool_threads(o->pool);
    struct packing k = {.o = o, .param = i, .w = {.type = o->type, .rows = rows, .cols = cols}};
    k.codes = malloc(weight_code_bytes(o->type, rows, cols));
    k.scale = malloc(weight_scale_count(o->type, rows, cols) * sizeof *k.scale);
    k.scratch = malloc(threads * GROUP_ROWS * (size_t)cols * sizeof *k.scratch);
    k.failure = calloc(threads, sizeof *k.failure);
    enum status status = k.codes && k.scale && k.scratch && k.failure
                             ? packing_run(&k, err)
                             : err_set(err, STATUS_NO_MEMORY, "no memory for %s", p->name);
    if (status == STATUS_OK)
        status = stored_write(to, &k.w, o->nested, err);
    free(k.codes);
    free(k.scale);
    free(k.scratch);
    free(k.failure);
    o->quantized++;
    return status;
}

static enum status plain_write(struct weights_out *o, int i, struct safetensors_writer *to,
                               struct err *err)
{
    enum dtype dtype = o->source.dtype(o->source.ctx, i);
    size_t n = param_count(&o->m->params[i]);
    float *x = malloc(CHUNK * sizeof *x);
    uint16_t *half = malloc(CHUNK * sizeof *half);
    enum status status = x && half ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory");
    for (size_t at = 0; at < n && status == STATUS_OK; at += CHUNK) {
        size_t count = n - at < CHUNK ? n - at : CHUNK;
        status = o->source.values(o->source.ctx, i, at, count, x, err);
        if (status == STATUS_OK && dtype == DTYPE_BF16)
            f32_to_bf16(x, count, half);
        else if (status == STATUS_OK && dtype == DTYPE_F16)
            f32_to_f16(x, count, half);
        if (status == STATUS_OK)
            status = safetensors_writer_add(to, dtype == DTYPE_F32 ? (const void *)x : half,
                                            count * dtype_size(dtype), err);
    }
    free(x);
    free(half);
    return status;
}

/* ---- shards ---- */

static enum status shard_fill(struct task *t, int first, int end, struct safetensors_writer *to,
                              struct err *err)
{
    struct weights_out *o = t->o;
    for (int i = first; i < end; i++) {
        if (is_quantized(o, i))
            TRY(quantized_write(o, i, to, err));
        else
            TRY(plain_write(o, i, to, err));
        t->values += (int64_t)param_count(&o->m->params[i]);
        if (o->progress)
            progress_update(o->progress, t->values, NULL);
    }
    return STATUS_OK;
}

static enum status shard_write(struct task *t, const char *name, int first, int end,
                               struct err *err)
{
    struct weights_out *o = t->o;
    size_t params = (size_t)(end - first), n = 0;
    char path[PATH_BYTES];
    struct safetensors_writer to = {.fd = -1};
    struct safetensors_entry *entry = calloc(params * STORED_ENTRIES, sizeof *entry);
    struct stored_names *names = calloc(params, sizeof *names);
    enum status status = entry && names ? io_join(path, sizeof path, o->dir, name, err)
                                        : err_set(err, STATUS_NO_MEMORY, "no memory for %s", name);
    for (int i = first; i < end && status == STATUS_OK; i++) {
        n += (size_t)param_entries(o, i, &names[i - first], &entry[n]);
        o->bytes += param_bytes(o, i);
    }
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        if (!json_set_string(t->map, entry[i].name, name))
            status = err_set(err, STATUS_NO_MEMORY, "no memory for the index");
    if (status == STATUS_OK)
        status = safetensors_writer_open(o->io, path, entry, n, &to, err);
    if (status == STATUS_OK)
        status = shard_fill(t, first, end, &to, err);
    if (status == STATUS_OK)
        status = safetensors_writer_finish(&to, err);
    safetensors_writer_abandon(&to);
    free(entry);
    free(names);
    return status;
}

static enum status shards_write(struct task *t, struct err *err)
{
    struct weights_out *o = t->o;
    char name[64] = "model.safetensors";
    o->shards = shard_count(o);
    for (int i = 0, shard = 1; i < o->m->param_count; shard++) {
        int end = shard_end(o, i);
        if (o->shards > 1)
            snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", shard, o->shards);
        TRY(shard_write(t, name, i, end, err));
        i = end;
    }
    return STATUS_OK;
}

/* Takes the map. */
static enum status index_write(const struct weights_out *o, json *map, struct err *err)
{
    char path[PATH_BYTES];
    json *root = json_object_new(), *meta = json_object_new();
    bool whole = root && meta && json_set_int(meta, "total_size", (int64_t)o->bytes);
    whole = json_set_take(root, "metadata", meta) && whole;
    whole = json_set_take(root, "weight_map", map) && whole;
    enum status status = io_join(path, sizeof path, o->dir, "model.safetensors.index.json", err);
    if (status == STATUS_OK)
        return json_save(o->io, path, root, whole, err);
    json_free(root);
    return status;
}

enum status weights_out_write(struct weights_out *o, struct err *err)
{
    struct task t = {.o = o, .map = json_object_new()};
    if (!t.map)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the index");
    o->bytes = 0;
    o->quantized = 0;
    enum status status = shards_write(&t, err);
    if (status == STATUS_OK && o->shards > 1)
        return index_write(o, t.map, err);
    json_free(t.map);
    return status;
}
