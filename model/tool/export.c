/* cdcca-model export (export.h). The state of a device is one file, its trainable set; where it
 * lies in the data folders is documented in client/slots.h and server/learner.h. */
#include "model/tool/export.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, STATE_BYTES = 1 << 16 };

struct export_command {
    const char *model, *state, *out;
    int64_t version;
    bool peft, json;
};

/* ---- where a state lies ---- */

static enum status edge_active(struct io *io, const char *path, int64_t *version, struct err *err)
{
    struct buf text = {.max = STATE_BYTES};
    json *root = NULL;
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK)
        status = json_parse(text.data, text.len, &root, err);
    if (status == STATUS_OK)
        status = json_get_int(root, "active", 0, INT64_MAX, version, err);
    json_free(root);
    buf_free(&text);
    return status;
}

/* The largest N of edge-N.safetensors in the folder; -1: none. */
static int64_t cloud_newest(const char *folder)
{
    int64_t newest = -1;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char *end = NULL;
        if (strncmp(entry->d_name, "edge-", 5) != 0)
            continue;
        int64_t version = strtoll(entry->d_name + 5, &end, 10);
        if (strcmp(end, ".safetensors") == 0 && version > newest)
            newest = version;
    }
    if (dir)
        closedir(dir);
    return newest;
}

static bool is_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (dir)
        closedir(dir);
    return dir != NULL;
}

enum status export_state_path(struct io *io, const char *path, int64_t version, char *out,
                              size_t size, struct err *err)
{
    char state[PATH_BYTES], folder[PATH_BYTES], name[64];
    if (!is_folder(path)) {
        int length = snprintf(out, size, "%s", path);
        return length >= 0 && (size_t)length < size
                   ? STATUS_OK
                   : err_set(err, STATUS_TOO_LARGE, "--state: the path is too long");
    }
    TRY(io_join(state, sizeof state, path, "state.json", err));
    bool edge = io_exists(state);
    TRY(io_join(folder, sizeof folder, path, edge ? "slots" : "state", err));
    if (version < 0 && edge)
        TRY(edge_active(io, state, &version, err));
    else if (version < 0)
        version = cloud_newest(folder);
    snprintf(name, sizeof name, edge ? "v%" PRId64 ".safetensors" : "edge-%" PRId64 ".safetensors",
             version);
    TRY(io_join(out, size, folder, name, err));
    if (!io_exists(out))
        return err_set(err, STATUS_NOT_FOUND,
                       "%s: no version there; expected an edge's or cloud's data folder or a "
                       "trainable set's file",
                       version < 0 ? folder : out);
    return STATUS_OK;
}

/* ---- the report ---- */

static json *report_json(const struct peft_report *r, const char *hex, int64_t version)
{
    json *root = json_object_new();
    bool whole =
        root && json_set_int(root, "lora_modules", r->lora) &&
        json_set_int(root, "rank", r->rank) && json_set_number(root, "alpha", (double)r->alpha) &&
        json_set_int(root, "norm_modules", r->norms) && json_set_int(root, "biases", r->biases) &&
        json_set_int(root, "other_tensors", r->others) && json_set_int(root, "values", r->values) &&
        json_set_int(root, "extra_tensors", r->extras) &&
        json_set_int(root, "extra_values", r->extra_values) &&
        (!hex || (json_set_string(root, "sha256", hex) && json_set_int(root, "version", version)));
    if (whole)
        return root;
    json_free(root);
    return NULL;
}

static void report_print(const struct peft_report *r, const char *hex, int64_t version)
{
    printf("adapter_model.safetensors: %" PRId64 " values\n", r->values);
    printf("  LoRA of %d modules, rank %d, alpha %g\n", r->lora, r->rank, (double)r->alpha);
    if (r->norms)
        printf("  %d norms, whole (modules_to_save)\n", r->norms);
    if (r->biases)
        printf("  %d biases (bias: all)\n", r->biases);
    if (r->others)
        printf("  %d other tensors (modules_to_save)\n", r->others);
    if (r->extras)
        printf("cdcca_extra.safetensors: %" PRId64 " values, which PEFT does not read\n"
               "  %d tensors: query tokens, bottleneck adapters\n",
               r->extra_values, r->extras);
    if (hex)
        printf("version %" PRId64 ", SHA-256 of the trainable set %s\n", version, hex);
}

enum status export_report(const struct peft_report *report, const struct hash *hash,
                          int64_t version, bool as_json, struct err *err)
{
    char hex[HASH_HEX];
    if (hash)
        hash_hex(hash, hex);
    if (!as_json) {
        report_print(report, hash ? hex : NULL, version);
        return STATUS_OK;
    }
    return json_say(report_json(report, hash ? hex : NULL, version), true, err);
}

/* ---- the command ---- */

static enum status export_set(struct export_command *e, const struct mllm *model,
                              const struct trainable *set, const struct trainable_options *options,
                              struct err *err)
{
    char path[PATH_BYTES];
    struct peft_report report;
    struct hash hash;
    int64_t version = 0;
    if (e->state) {
        TRY(export_state_path(io_posix(), e->state, e->version, path, sizeof path, err));
        TRY(trainable_load(io_posix(), set, path, &version, err));
    }
    TRY(peft_export(io_posix(), model, set, options, e->model, e->out, &report, err));
    trainable_hash(set, &hash);
    return export_report(&report, &hash, version, e->json, err);
}

static enum status export_model(struct export_command *e, struct err *err)
{
    struct mllm *model = NULL;
    struct trainable set = {0};
    struct trainable_options options = trainable_defaults();
    TRY(mllm_load(io_posix(), e->model, &model, err));
    enum status status = trainable_attach(model, &options, &set, err);
    if (status == STATUS_OK)
        status = export_set(e, model, &set, &options, err);
    trainable_free(&set);
    mllm_release(model);
    return status;
}

enum status export_run(int argc, char **argv, struct err *err)
{
    struct export_command e = {.version = -1};
    int positional = 0;
    const struct option table[] = {
        {"peft", OPTION_FLAG, &e.peft, 0, 0, NULL, "in the layout of Hugging Face PEFT"},
        {"model", OPTION_STRING, &e.model, 0, 0, "DIR", "the model as shipped"},
        {"state", OPTION_STRING, &e.state, 0, 0, "PATH",
         "an edge's or cloud's data folder, or a trainable set's file"},
        {"version", OPTION_INT, &e.version, 0, 9e15, "N", "of a data folder; else the one in use"},
        {"out", OPTION_STRING, &e.out, 0, 0, "DIR", "what to write"},
        {"json", OPTION_FLAG, &e.json, 0, 0, NULL, "print the report as JSON"},
        {0}};
    const struct options options = {"cdcca-model export",
                                    "the adapters that a fleet has learned, for other programs",
                                    NULL,
                                    table,
                                    0,
                                    0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!e.peft || !e.model || !e.out)
        return err_set(err, STATUS_USAGE, "--peft, --model DIR and --out DIR are needed");
    return export_model(&e, err);
}
