/* The linear layers of the vision encoder and of LLaMA and the projection are quantized; all else
 * stays as it is in SRC: what transformers does by default for these architectures. config.json is
 * SRC's with "quantization_config". */
#include "model/tool/quantize.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/mllm/load.h"
#include "model/tool/bench.h"
#include "model/tool/model_dir.h"
#include "model/tool/weights_out.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { CONFIG_BYTES = 128 << 10, PATH_BYTES = 4096 };

struct quantize {
    const char *from, *to, *kind;
    int64_t shard_mib, threads;
    bool nested, json;
    enum dtype other;
    struct mllm *m; /* names and shapes */
    struct load_map map;
    struct model_dir dir;
    struct weights_out out;
};

/* ---- the source ---- */

static enum status values(void *ctx, int param, size_t from, size_t count, float *out,
                          struct err *err)
{
    const struct quantize *q = ctx;
    return stored_read_some(&q->map.stored[param], &q->m->params[param], from, count, out, err);
}

static enum dtype dtype_of(void *ctx, int param)
{
    const struct quantize *q = ctx;
    const struct checkpoint_tensor *t = q->map.stored[param].part[PART_WEIGHT];
    if (!q->out.quantize)
        return q->other;
    return t ? t->entry->dtype : DTYPE_F32;
}

static enum status check_plain(const struct quantize *q, struct err *err)
{
    for (int i = 0; i < q->m->param_count; i++)
        if (q->map.stored[i].kind != STORED_FLOAT)
            return err_set(err, STATUS_UNSUPPORTED,
                           "%s is quantized already (%s); quantize from the original", q->from,
                           q->m->params[i].name);
    return STATUS_OK;
}

/* ---- config.json ---- */

static enum status config_change(const struct quantize *q, json *root, struct err *err)
{
    const struct weights_out *o = &q->out;
    bool set = o->quantize ? mllm_config_set_quantization(root, q->m->config.multimodal,
                                                          o->type == WEIGHT_NF4 ? 4 : 8, q->nested)
                           : json_set_string(root, "torch_dtype", "bfloat16");
    return set ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for config.json");
}

static enum status config_write(const struct quantize *q, struct err *err)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    struct buf file = {.max = CONFIG_BYTES};
    json *root = NULL;
    TRY(io_join(from, sizeof from, q->from, "config.json", err));
    TRY(io_join(to, sizeof to, q->dir.partial, "config.json", err));
    enum status status = io_read_file(io_posix(), from, &file, err);
    if (status == STATUS_OK)
        status = json_parse(file.data, file.len, &root, err);
    buf_free(&file);
    if (status == STATUS_OK)
        status = config_change(q, root, err);
    if (status == STATUS_OK)
        return json_save(io_posix(), to, root, true, err);
    json_free(root);
    return status;
}

/* ---- the work ---- */

static enum status write_all(struct quantize *q, struct err *err)
{
    struct progress progress;
    int64_t total = 0;
    for (int i = 0; i < q->m->param_count; i++)
        total += (int64_t)param_count(&q->m->params[i]);
    progress_start(&progress, "quantize", "values", total, 0, q->json);
    q->out.progress = &progress;
    enum status status = config_write(q, err);
    if (status == STATUS_OK)
        status = model_dir_copy_side(&q->dir, q->from, err);
    if (status == STATUS_OK)
        status = weights_out_write(&q->out, err);
    progress_finish(&progress, NULL);
    return status == STATUS_OK ? model_dir_publish(&q->dir, err) : status;
}

static enum status quantize_into(struct quantize *q, struct err *err)
{
    TRY(check_plain(q, err));
    TRY(model_dir_begin(io_posix(), q->to, &q->dir, err));
    enum status status = pool_create((int)q->threads, &q->out.pool, err);
    q->out.io = io_posix();
    q->out.dir = q->dir.partial;
    q->out.m = q->m;
    q->out.source = (struct weights_source){values, dtype_of, NULL, q};
    q->out.nested = q->nested;
    q->out.shard_bytes = (size_t)q->shard_mib << 20;
    if (status == STATUS_OK)
        status = write_all(q, err);
    if (status != STATUS_OK)
        model_dir_abandon(&q->dir);
    pool_destroy(q->out.pool);
    return status;
}

/* ---- the report ---- */

static uint64_t source_bytes(const struct quantize *q)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < q->map.files.count; i++)
        bytes += q->map.files.tensor[i].entry->size;
    return bytes;
}

static enum status report(const struct quantize *q, double seconds, struct err *err)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    if (!q->json) {
        printf("%s: %d matrices as %s, %.1f MiB of tensors (%.1f MiB before), %d file%s, %.1f s, "
               "peak memory %.1f MiB\n",
               q->to, q->out.quantized, q->kind, (double)q->out.bytes / 0x1p20,
               (double)source_bytes(q) / 0x1p20, q->out.shards, q->out.shards == 1 ? "" : "s",
               seconds, (double)usage.ru_maxrss / 1024);
        return STATUS_OK;
    }
    json *o = json_object_new();
    bool whole =
        o && json_set_string(o, "to", q->kind) && json_set_bool(o, "double_quant", q->nested) &&
        json_set_int(o, "matrices", q->out.quantized) &&
        json_set_int(o, "bytes_before", (int64_t)source_bytes(q)) &&
        json_set_int(o, "bytes", (int64_t)q->out.bytes) &&
        json_set_int(o, "shards", q->out.shards) && json_set_number(o, "seconds", seconds) &&
        json_set_int(o, "peak_kib", usage.ru_maxrss);
    return json_say(o, whole, err);
}

enum status quantize_run(int argc, char **argv, struct err *err)
{
    struct quantize q = {.kind = "nf4", .shard_mib = 2048};
    int positional = 0;
    struct mllm_config config;
    const struct option table[] = {
        {"to", OPTION_STRING, &q.kind, 0, 0, "TYPE", "nf4, q8 or bf16"},
        {"double-quant", OPTION_FLAG, &q.nested, 0, 0, NULL, "nf4: quantize the scales too"},
        {"shard-mib", OPTION_INT, &q.shard_mib, 1, 1 << 20, "MIB", "files of at most this size"},
        {"threads", OPTION_INT, &q.threads, 0, 64, "N", "0: one a core"},
        {"json", OPTION_FLAG, &q.json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {"cdcca-model quantize",
                                    "A checkpoint with its linear layers quantized.",
                                    "SRC DST",
                                    table,
                                    2,
                                    2};
    TRY(options_parse(&options, argc, argv, &positional, err));
    q.from = argv[1];
    q.to = argv[2];
    if (!weights_out_type(&q.out, q.kind, &q.other) || q.other == DTYPE_F32)
        return err_set(err, STATUS_USAGE, "--to %s: must be nf4, q8 or bf16", q.kind);
    if (q.nested && (!q.out.quantize || q.out.type != WEIGHT_NF4))
        return err_set(err, STATUS_USAGE, "--double-quant goes with --to nf4");
    double start = bench_clock();
    TRY(mllm_config_load(io_posix(), q.from, &config, err));
    TRY(mllm_skeleton(&config, &q.m, err));
    enum status status = load_map_open(io_posix(), q.from, q.m, &q.map, err);
    if (status == STATUS_OK)
        status = quantize_into(&q, err);
    if (status == STATUS_OK)
        status = report(&q, bench_clock() - start, err);
    load_map_close(&q.map);
    mllm_release(q.m);
    return status;
}
