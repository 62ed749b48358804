/* cdcca-model import (import.h). */
#include "model/tool/import.h"
#include "api/wire/options.h"
#include "model/tool/export.h"

enum { PATH_BYTES = 4096, COPY_BYTES = 64 << 20 };

struct import_command {
    const char *peft, *model, *out;
    bool merge, json;
};

/* ---- merged: a model directory ---- */

static enum status file_copy(const char *from, const char *to, const char *name, struct err *err)
{
    char source[PATH_BYTES], target[PATH_BYTES];
    struct buf file = {.max = COPY_BYTES};
    TRY(io_join(source, sizeof source, from, name, err));
    TRY(io_join(target, sizeof target, to, name, err));
    if (!io_exists(source))
        return STATUS_OK;
    enum status status = io_read_file(io_posix(), source, &file, err);
    if (status == STATUS_OK)
        status = io_write_file(io_posix(), target, file.data, file.len, err);
    buf_free(&file);
    return status;
}

/* What lies beside the weights; config.json as it was, with the fields that only others read. */
static enum status files_copy(const char *from, const char *to, struct err *err)
{
    static const char *const names[] = {
        "config.json",           "generation_config.json",  "preprocessor_config.json",
        "tokenizer.json",        "tokenizer.model",         "vocab.txt",
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        TRY(file_copy(from, to, names[i], err));
    return STATUS_OK;
}

static enum status second_tokenizer_copy(const char *from, const char *to, struct err *err)
{
    char source[PATH_BYTES], target[PATH_BYTES];
    TRY(io_join(source, sizeof source, from, "qformer_tokenizer", err));
    TRY(io_join(target, sizeof target, to, "qformer_tokenizer", err));
    if (!io_exists(source))
        return STATUS_OK;
    TRY(io_make_dirs(io_posix(), target, err));
    return files_copy(source, target, err);
}

static enum status import_merged(const struct import_command *c, struct mllm *model,
                                 struct err *err)
{
    struct peft_report report;
    TRY(peft_merge(io_posix(), c->peft, model, &report, err));
    TRY(mllm_save(io_posix(), model, c->out, DTYPE_F32, err));
    TRY(files_copy(c->model, c->out, err));
    TRY(second_tokenizer_copy(c->model, c->out, err));
    return export_report(&report, NULL, 0, c->json, err);
}

/* ---- not merged: a trainable set ---- */

static enum status set_write(const struct import_command *c, const struct trainable *set,
                             const struct peft_report *report, struct err *err)
{
    char path[PATH_BYTES];
    struct hash hash;
    TRY(io_make_dirs(io_posix(), c->out, err));
    TRY(io_join(path, sizeof path, c->out, "trainable.safetensors", err));
    TRY(trainable_save(io_posix(), set, 0, path, err));
    trainable_hash(set, &hash);
    return export_report(report, &hash, 0, c->json, err);
}

static enum status import_set(const struct import_command *c, struct mllm *model, struct err *err)
{
    struct trainable set = {0};
    struct trainable_options options = trainable_defaults();
    struct peft_report report;
    enum status status = trainable_attach(model, &options, &set, err);
    if (status == STATUS_OK)
        status = peft_import(io_posix(), c->peft, model, &set, &options, &report, err);
    if (status == STATUS_OK)
        status = set_write(c, &set, &report, err);
    trainable_free(&set);
    return status;
}

/* ---- the command ---- */

enum status import_run(int argc, char **argv, struct err *err)
{
    struct import_command c = {0};
    struct mllm *model = NULL;
    int positional = 0;
    const struct option table[] = {
        {"peft", OPTION_STRING, &c.peft, 0, 0, "DIR",
         "adapter_config.json and adapter_model.safetensors"},
        {"model", OPTION_STRING, &c.model, 0, 0, "DIR", "the model they were made for"},
        {"out", OPTION_STRING, &c.out, 0, 0, "DIR", "what to write"},
        {"merge", OPTION_FLAG, &c.merge, 0, 0, NULL,
         "a model with the adapters in its weights; else OUT/trainable.safetensors"},
        {"json", OPTION_FLAG, &c.json, 0, 0, NULL, "print the report as JSON"},
        {0}};
    const struct options options = {
        "cdcca-model import", "adapters in the layout of PEFT", NULL, table, 0, 0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!c.peft || !c.model || !c.out)
        return err_set(err, STATUS_USAGE, "--peft DIR, --model DIR and --out DIR are needed");
    TRY(c.merge ? mllm_load_within(io_posix(), c.model, SIZE_MAX, &model, err)
                : mllm_load(io_posix(), c.model, &model, err));
    enum status status = c.merge ? import_merged(&c, model, err) : import_set(&c, model, err);
    mllm_release(model);
    return status;
}
