/* PEFT directories (peft.h): writing. Which tensor goes where is decided by the name alone. */
#include "model/learn/peft.h"
#include "api/wire/json_out.h"
#include "model/learn/peft_layout.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct export
{
    const struct mllm *model;
    const struct trainable *set;
    struct safetensors_entry *entries[2]; /* adapter_model, cdcca_extra */
    char(*names)[PEFT_NAME];              /* of the former */
    size_t count[2];
    json *targets, *saved; /* lists of modules */
    struct peft_report *report;
};

static bool has_lora(const struct mllm *model, const char *module)
{
    char name[PEFT_NAME];
    snprintf(name, sizeof name, "%s" PEFT_A, module);
    return mllm_find(model, name) != NULL;
}

/* The list of modules to save takes a norm once, by its weight. */
static bool module_list(struct export *e, const struct param *p, enum peft_kind kind,
                        const char *module)
{
    struct peft_report *r = e->report;
    if (kind == PEFT_LORA_A) {
        r->lora++;
        return json_append_string(e->targets, module);
    }
    if (kind == PEFT_NORM && peft_ends_with(p->name, ".weight")) {
        r->norms++;
        return json_append_string(e->saved, module);
    }
    r->biases += kind == PEFT_BIAS;
    return true;
}

static void entry_fill(struct safetensors_entry *entry, const char *name, const struct param *p)
{
    *entry = (struct safetensors_entry){.name = name, .dtype = DTYPE_F32, .ndim = p->ndim};
    for (int d = 0; d < p->ndim; d++)
        entry->dim[d] = (uint64_t)p->dim[d];
    entry->data = p->data;
    entry->size = param_count(p) * sizeof *p->data;
}

static enum status param_place(struct export *e, const struct param *p, struct err *err)
{
    char module[PEFT_NAME];
    enum peft_kind kind = peft_kind(p->name, module);
    if (kind == PEFT_EXTRA) {
        entry_fill(&e->entries[1][e->count[1]++], p->name, p);
        e->report->extras++;
        e->report->extra_values += (int64_t)param_count(p);
        return STATUS_OK;
    }
    bool wrapped = kind == PEFT_BIAS && has_lora(e->model, module);
    char *name = e->names[e->count[0]];
    int length = wrapped ? snprintf(name, PEFT_NAME, PEFT_PREFIX "%s" PEFT_WRAPPED ".bias", module)
                         : snprintf(name, PEFT_NAME, PEFT_PREFIX "%s", p->name);
    if (length < 0 || length >= PEFT_NAME)
        return err_set(err, STATUS_TOO_LARGE, "%s: the name is too long", p->name);
    entry_fill(&e->entries[0][e->count[0]++], name, p);
    e->report->values += (int64_t)param_count(p);
    return module_list(e, p, kind, module) ? STATUS_OK
                                           : err_set(err, STATUS_NO_MEMORY, "no memory to export");
}

/* ---- files ---- */

static enum status tensors_write(struct io *io, const struct export *e, int which, const char *dir,
                                 struct err *err)
{
    static const char *const names[] = {PEFT_TENSORS, PEFT_EXTRAS};
    static const char *const key[] = {"format"}, *const value[] = {"pt"};
    char path[4096];
    TRY(io_join(path, sizeof path, dir, names[which], err));
    struct buf file = {.max = e->set->values * 4 + (size_t)e->set->count * 1024 + 4096};
    enum status status =
        safetensors_write(e->entries[which], e->count[which], key, value, 1, &file, err);
    if (status == STATUS_OK)
        status = io_write_file(io, path, file.data, file.len, err);
    buf_free(&file);
    return status;
}

/* Takes the lists. */
static bool config_fill(json *root, struct export *e, const char *base)
{
    json *targets = e->targets, *saved = e->saved;
    e->targets = e->saved = NULL;
    bool whole = json_set_take(root, "target_modules", targets);
    if (e->report->norms > 0)
        whole = json_set_take(root, "modules_to_save", saved) && whole;
    else
        json_free(saved);
    const char *task = e->model->config.multimodal ? NULL : "CAUSAL_LM";
    return whole && json_set_string(root, "peft_type", "LORA") &&
           json_set_string(root, "base_model_name_or_path", base) &&
           (!task || json_set_string(root, "task_type", task)) &&
           json_set_string(root, "bias", e->report->biases ? "all" : "none") &&
           json_set_int(root, "r", e->report->rank) &&
           json_set_number(root, "lora_alpha", (double)e->report->alpha) &&
           json_set_number(root, "lora_dropout", 0) && json_set_bool(root, "use_rslora", false) &&
           json_set_bool(root, "use_dora", false) && json_set_bool(root, "fan_in_fan_out", false) &&
           json_set_bool(root, "init_lora_weights", true) &&
           json_set_bool(root, "inference_mode", true);
}

static enum status config_write(struct io *io, struct export *e, const char *base, const char *dir,
                                struct err *err)
{
    char path[4096];
    TRY(io_join(path, sizeof path, dir, PEFT_CONFIG, err));
    json *root = json_object_new();
    return json_save(io, path, root, root && config_fill(root, e, base), err);
}

static enum status export_all(struct io *io, struct export *e, const char *base, const char *dir,
                              struct err *err)
{
    for (int i = 0; i < e->set->count; i++)
        TRY(param_place(e, e->set->params[i], err));
    TRY(io_make_dirs(io, dir, err));
    TRY(tensors_write(io, e, 0, dir, err));
    if (e->count[1] > 0)
        TRY(tensors_write(io, e, 1, dir, err));
    return config_write(io, e, base, dir, err);
}

enum status peft_export(struct io *io, const struct mllm *model, const struct trainable *set,
                        const struct trainable_options *options, const char *base, const char *dir,
                        struct peft_report *report, struct err *err)
{
    size_t n = (size_t)set->count + 1;
    *report = (struct peft_report){.rank = options->lora_rank, .alpha = options->lora_alpha};
    struct export e = {.model = model, .set = set, .report = report};
    e.entries[0] = calloc(n, sizeof *e.entries[0]);
    e.entries[1] = calloc(n, sizeof *e.entries[1]);
    e.names = calloc(n, sizeof *e.names);
    e.targets = json_array_new();
    e.saved = json_array_new();
    enum status status = STATUS_NO_MEMORY;
    if (e.entries[0] && e.entries[1] && e.names && e.targets && e.saved)
        status = export_all(io, &e, base, dir, err);
    else
        err_set(err, status, "no memory to export");
    json_free(e.targets);
    json_free(e.saved);
    free(e.entries[0]);
    free(e.entries[1]);
    free(e.names);
    return status;
}
