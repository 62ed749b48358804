/* PEFT directories (peft.h): reading. The configuration is checked first, then every tensor of the
 * files must have a place in the model and every module that target_modules lists must be there.
 * One reader serves both ways in; `set` NULL is the merge. */
#include "api/wire/json.h"
#include "model/learn/peft.h"
#include "model/learn/peft_layout.h"
#include "model/tensor/blas.h"
#include <math.h>
#include <stdlib.h>

enum { CONFIG_BYTES = 16 << 20, RANK_MAX = 4096, LIST_MAX = 1 << 16, TEXT_MAX = 65536 };
static const size_t TENSOR_BYTES = (size_t)16 << 30;

struct reader {
    struct mllm *model;
    const struct trainable *set;
    const struct trainable_options *options;
    struct peft_report *report;
    struct safetensors file;
    /* the configuration */
    int64_t r;
    double alpha;
    bool rslora;
    bool partial;        /* target_modules is narrowed by other fields */
    const json *targets; /* list of modules, or NULL: an expression */
    const json *ranks, *alphas;
    /* room for one tensor or pair */
    float *values;
    size_t room;
};

/* ---- the configuration ---- */

/* Anything but absent, null, false, {} and []. */
static bool is_on(const json *config, const char *key)
{
    bool flag = false;
    const json *value = NULL;
    void *cursor = NULL;
    if (!json_has(config, key) || json_opt_bool(config, key, &flag, NULL) == STATUS_OK)
        return flag;
    if (json_opt_object(config, key, &value, NULL) == STATUS_OK)
        return json_next(value, &cursor, NULL) != NULL;
    if (json_get_array(config, key, LIST_MAX, &value, NULL) == STATUS_OK)
        return json_length(value) > 0;
    return true;
}

/* What would change the numbers in a way that we do not compute. */
static enum status config_supported(const json *config, struct err *err)
{
    static const char *const off[] = {
        "use_dora",          "lora_bias",         "fan_in_fan_out",          "use_qalora",
        "layer_replication", "target_parameters", "trainable_token_indices", "use_bdlora",
        "megatron_config",   "arrow_config",      "alora_invocation_tokens"};
    static const char *const inert[] = {"gaussian", "eva", "orthogonal"};
    const char *type = NULL, *init = NULL;
    TRY(json_get_string(config, "peft_type", 64, &type, err));
    if (strcmp(type, "LORA") != 0)
        return err_set(err, STATUS_UNSUPPORTED, "peft_type %s; only LORA is supported", type);
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (is_on(config, off[i]))
            return err_set(err, STATUS_UNSUPPORTED, "%s is not supported", off[i]);
    if (!is_on(config, "init_lora_weights") ||
        json_get_string(config, "init_lora_weights", 64, &init, NULL) != STATUS_OK)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof inert / sizeof *inert; i++)
        if (strcmp(init, inert[i]) == 0)
            return STATUS_OK;
    return err_set(err, STATUS_UNSUPPORTED,
                   "init_lora_weights \"%s\" changes the base model; convert to plain LoRA first",
                   init);
}

static enum status config_read(struct reader *r, const json *config, struct err *err)
{
    const char *bias = "none", *expression = NULL;
    r->r = 8;
    r->alpha = 8;
    TRY(config_supported(config, err));
    TRY(json_opt_int(config, "r", 1, RANK_MAX, &r->r, err));
    TRY(json_opt_number(config, "lora_alpha", -1e6, 1e6, &r->alpha, err));
    TRY(json_opt_bool(config, "use_rslora", &r->rslora, err));
    TRY(json_opt_object(config, "rank_pattern", &r->ranks, err));
    TRY(json_opt_object(config, "alpha_pattern", &r->alphas, err));
    TRY(json_opt_string(config, "bias", 64, &bias, err));
    if (strcmp(bias, "none") != 0 && strcmp(bias, "all") != 0 && strcmp(bias, "lora_only") != 0)
        return err_set(err, STATUS_MALFORMED, "bias \"%s\": should be none, all or lora_only",
                       bias);
    r->partial = is_on(config, "exclude_modules") || json_has(config, "layers_to_transform");
    if (json_get_string(config, "target_modules", TEXT_MAX, &expression, NULL) == STATUS_OK)
        return STATUS_OK;
    TRY(json_get_array(config, "target_modules", LIST_MAX, &r->targets, err));
    for (size_t i = 0; i < json_length(r->targets); i++)
        TRY(json_string_at(r->targets, i, PEFT_NAME, &expression, err));
    return STATUS_OK;
}

/* ---- which module a name means ---- */

/* "q_proj" means every module of that name, "layers.0.q_proj" fewer. */
static bool name_means(const char *name, const char *module)
{
    size_t n = strlen(name), m = strlen(module);
    return n > 0 && n <= m && strcmp(module + m - n, name) == 0 &&
           (n == m || module[m - n - 1] == '.');
}

static bool targeted(const struct reader *r, const char *module)
{
    const char *name = NULL;
    for (size_t i = 0; i < json_length(r->targets); i++)
        if (json_string_at(r->targets, i, PEFT_NAME, &name, NULL) == STATUS_OK &&
            name_means(name, module))
            return true;
    return false;
}

/* A key of a pattern without its escapes: ^ in front asks for the whole name. */
static enum status key_plain(const char *key, char out[PEFT_NAME], bool *whole, struct err *err)
{
    size_t n = 0, at = 0;
    *whole = key[0] == '^';
    for (at = *whole; key[at] && n + 1 < PEFT_NAME; at++) {
        if (key[at] == '\\' && key[at + 1] == '.')
            continue;
        if (key[at] == '$' && key[at + 1] == '\0')
            break;
        if (!strchr("._-", key[at]) && !(key[at] >= '0' && key[at] <= '9') &&
            !((key[at] | 32) >= 'a' && (key[at] | 32) <= 'z'))
            return err_set(err, STATUS_UNSUPPORTED,
                           "pattern \"%.80s\": names of modules are supported, expressions not",
                           key);
        out[n++] = key[at];
    }
    out[n] = '\0';
    return STATUS_OK;
}

/* The first key of rank_pattern or alpha_pattern that means the module; NULL: none. */
static enum status pattern_find(const json *patterns, const char *module, const char **found,
                                struct err *err)
{
    void *cursor = NULL;
    *found = NULL;
    for (const char *key; patterns && (key = json_next(patterns, &cursor, NULL)) != NULL;) {
        char plain[PEFT_NAME];
        bool whole;
        TRY(key_plain(key, plain, &whole, err));
        if (*found == NULL && (whole ? strcmp(plain, module) == 0 : name_means(plain, module)))
            *found = key;
    }
    return STATUS_OK;
}

static enum status module_scale(const struct reader *r, const char *module, int64_t *rank,
                                double *scale, struct err *err)
{
    const char *key = NULL;
    double alpha = r->alpha;
    *rank = r->r;
    TRY(pattern_find(r->ranks, module, &key, err));
    if (key)
        TRY(json_get_int(r->ranks, key, 1, RANK_MAX, rank, err));
    TRY(pattern_find(r->alphas, module, &key, err));
    if (key)
        TRY(json_get_number(r->alphas, key, -1e6, 1e6, &alpha, err));
    *scale = alpha / (r->rslora ? sqrt((double)*rank) : (double)*rank);
    return STATUS_OK;
}

/* ---- values ---- */

static enum status room_for(struct reader *r, size_t n, struct err *err)
{
    if (n <= r->room)
        return STATUS_OK;
    free(r->values);
    r->values = calloc(n, sizeof *r->values);
    r->room = r->values ? n : 0;
    return r->values ? STATUS_OK : err_set(err, STATUS_NO_MEMORY, "no memory for %zu values", n);
}

static enum status entry_values(const struct safetensors_entry *e, size_t n, float *out,
                                struct err *err)
{
    if (dtype_to_f32(e->dtype, e->data, n, out) != STATUS_OK)
        return err_set(err, STATUS_UNSUPPORTED, "%s is %s; F32, F16 and BF16 are supported",
                       e->name, dtype_name(e->dtype));
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return err_set(err, STATUS_MALFORMED, "%s: value %zu is not finite", e->name, i);
    return STATUS_OK;
}

static bool shape_is(const struct safetensors_entry *e, int ndim, const int *dim)
{
    bool same = e->ndim == ndim;
    for (int d = 0; same && d < ndim; d++)
        same = e->dim[d] == (uint64_t)dim[d];
    return same;
}

static bool in_set(const struct trainable *set, const struct param *p)
{
    for (int i = 0; i < set->count; i++)
        if (set->params[i] == p)
            return true;
    return false;
}

/* A tensor that takes the place of a parameter. */
static enum status param_replace(struct reader *r, struct param *p,
                                 const struct safetensors_entry *e, struct err *err)
{
    size_t n = param_count(p);
    if (!shape_is(e, p->ndim, p->dim))
        return err_set(err, STATUS_SHAPE, "%s is not in the shape of the model's %s", e->name,
                       p->name);
    if (!p->data)
        return err_set(err, STATUS_UNSUPPORTED, "%s: the model's weights are quantized", p->name);
    TRY(room_for(r, n, err));
    TRY(entry_values(e, n, r->values, err));
    if (r->set && !in_set(r->set, p) && memcmp(p->data, r->values, n * sizeof *p->data) != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s is no part of the trainable set; merging takes it", p->name);
    memcpy(p->data, r->values, n * sizeof *p->data);
    return STATUS_OK;
}

/* ---- LoRA ---- */

struct pair {
    char module[PEFT_NAME];
    const struct safetensors_entry *a, *b;
    struct param *weight;
    int in, out, rank;
    float scale;
};

static enum status pair_find(const struct reader *r, const char *module, struct pair *out,
                             struct err *err)
{
    char name[PEFT_NAME + 64];
    memset(out, 0, sizeof *out);
    snprintf(out->module, PEFT_NAME, "%s", module);
    snprintf(name, sizeof name, PEFT_PREFIX "%s" PEFT_A, module);
    out->a = safetensors_find(&r->file, name);
    snprintf(name, sizeof name, PEFT_PREFIX "%s" PEFT_B, module);
    out->b = safetensors_find(&r->file, name);
    if (!out->a || !out->b)
        return err_set(err, STATUS_NOT_FOUND, "%s: lora_%c is missing", module, out->a ? 'B' : 'A');
    snprintf(name, sizeof name, "%s.weight", module);
    out->weight = mllm_find(r->model, name);
    if (!out->weight || out->weight->ndim != 2)
        return err_set(err, STATUS_NOT_FOUND, "LoRA for %s, which is no linear layer of the model",
                       module);
    if (r->targets && !targeted(r, module))
        return err_set(err, STATUS_MALFORMED, "LoRA for %s, which target_modules does not name",
                       module);
    return STATUS_OK;
}

static enum status pair_measure(const struct reader *r, struct pair *p, struct err *err)
{
    int64_t rank;
    double scale;
    TRY(module_scale(r, p->module, &rank, &scale, err));
    p->rank = (int)rank, p->scale = (float)scale;
    p->out = p->weight->dim[0], p->in = p->weight->dim[1];
    const int a[2] = {p->rank, p->in}, b[2] = {p->out, p->rank};
    if (!shape_is(p->a, 2, a) || !shape_is(p->b, 2, b))
        return err_set(err, STATUS_SHAPE, "%s: lora_A should be (%d, %d), lora_B (%d, %d)",
                       p->module, p->rank, p->in, p->out, p->rank);
    return STATUS_OK;
}

static enum status pair_merge(const struct pair *p, const float *a, const float *b, struct err *err)
{
    if (!p->weight->data)
        return err_set(err, STATUS_UNSUPPORTED, "%s: quantized weights take no merge", p->module);
    gemm(false, false, p->out, p->in, p->rank, p->scale, b, p->rank, a, p->in, 1, p->weight->data,
         p->in);
    for (size_t i = 0; i < param_count(p->weight); i++)
        if (!isfinite(p->weight->data[i]))
            return err_set(err, STATUS_MALFORMED, "%s: the merged weights overflow", p->module);
    return STATUS_OK;
}

/* Into the set's own LoRA, whose rank R is at least as large and whose scale may differ. */
static enum status pair_settle(const struct reader *r, const struct pair *p, const float *a,
                               const float *b, struct err *err)
{
    char name[PEFT_NAME + 64];
    int R = r->options->lora_rank;
    float ratio = p->scale / (r->options->lora_alpha / (float)R);
    snprintf(name, sizeof name, "%s" PEFT_A, p->module);
    const struct param *to_a = mllm_find(r->model, name);
    snprintf(name, sizeof name, "%s" PEFT_B, p->module);
    const struct param *to_b = mllm_find(r->model, name);
    if (!to_a || !to_b)
        return err_set(err, STATUS_UNSUPPORTED,
                       "the trainable set has no LoRA for %s; merging takes it", p->module);
    if (p->rank > R)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s: rank %d; the trainable set's is %d; merging takes it", p->module,
                       p->rank, R);
    memcpy(to_a->data, a, (size_t)p->rank * (size_t)p->in * sizeof *a);
    for (int o = 0; o < p->out; o++)
        for (int k = 0; k < p->rank; k++)
            to_b->data[o * R + k] = ratio * b[o * p->rank + k];
    return STATUS_OK;
}

static enum status lora_apply(struct reader *r, const char *module, struct err *err)
{
    struct pair p;
    TRY(pair_find(r, module, &p, err));
    TRY(pair_measure(r, &p, err));
    size_t n_a = (size_t)p.rank * (size_t)p.in, n_b = (size_t)p.out * (size_t)p.rank;
    TRY(room_for(r, n_a + n_b, err));
    float *a = r->values, *b = r->values + n_a;
    TRY(entry_values(p.a, n_a, a, err));
    TRY(entry_values(p.b, n_b, b, err));
    r->report->lora++;
    r->report->values += (int64_t)(n_a + n_b);
    return r->set ? pair_settle(r, &p, a, b, err) : pair_merge(&p, a, b, err);
}

/* ---- adapter_model.safetensors ---- */

/* "x.base_layer.bias" -> "x.bias" */
static void name_unwrap(char *name)
{
    char *at = strstr(name, PEFT_WRAPPED ".");
    if (at)
        memmove(at, at + strlen(PEFT_WRAPPED), strlen(at) - strlen(PEFT_WRAPPED) + 1);
}

static enum status plain_apply(struct reader *r, const struct safetensors_entry *e,
                               const char *name, enum peft_kind kind, struct err *err)
{
    struct param *p = mllm_find(r->model, name);
    if (strstr(name, "lora_"))
        return err_set(err, STATUS_UNSUPPORTED,
                       "tensor %.160s: lora_A and lora_B of linear "
                       "layers are supported",
                       e->name);
    if (!p)
        return err_set(err, STATUS_NOT_FOUND,
                       "tensor %.160s: the model has no parameter of that "
                       "name",
                       e->name);
    r->report->norms += kind == PEFT_NORM && peft_ends_with(name, ".weight");
    r->report->biases += kind == PEFT_BIAS;
    r->report->others += kind == PEFT_OTHER;
    r->report->values += (int64_t)param_count(p);
    return param_replace(r, p, e, err);
}

static enum status entry_apply(struct reader *r, const struct safetensors_entry *e, struct err *err)
{
    char name[PEFT_NAME], module[PEFT_NAME];
    struct pair half;
    if (strncmp(e->name, PEFT_PREFIX, strlen(PEFT_PREFIX)) != 0)
        return err_set(err, STATUS_MALFORMED, "tensor %.160s: names begin with " PEFT_PREFIX,
                       e->name);
    if (strlen(e->name + strlen(PEFT_PREFIX)) >= PEFT_NAME)
        return err_set(err, STATUS_TOO_LARGE, "tensor %.80s...: the name is too long", e->name);
    snprintf(name, sizeof name, "%s", e->name + strlen(PEFT_PREFIX));
    name_unwrap(name);
    enum peft_kind kind = peft_kind(name, module);
    if (kind == PEFT_LORA_A)
        return lora_apply(r, module, err);
    if (kind == PEFT_LORA_B)
        return pair_find(r, module, &half, err);
    return plain_apply(r, e, name, kind, err);
}

/* Every module that the list means has its LoRA, and every name of it means one. */
static enum status targets_check(const struct reader *r, struct err *err)
{
    char module[PEFT_NAME], a[PEFT_NAME + 64];
    int found = 0;
    for (int i = 0; i < r->model->checkpoint_count && r->targets && !r->partial; i++) {
        const struct param *p = &r->model->params[i];
        if (p->ndim != 2 || peft_kind(p->name, module) != PEFT_OTHER || !targeted(r, module))
            continue;
        snprintf(a, sizeof a, PEFT_PREFIX "%s" PEFT_A, module);
        if (!safetensors_find(&r->file, a))
            return err_set(err, STATUS_NOT_FOUND, "target_modules names %s; its lora_A is missing",
                           module);
        found++;
    }
    if (found == 0 && r->report->lora == 0)
        return err_set(err, STATUS_NOT_FOUND, "no LoRA for any module of the model");
    return STATUS_OK;
}

static enum status tensors_apply(struct reader *r, struct err *err)
{
    for (size_t i = 0; i < r->file.count; i++)
        TRY(entry_apply(r, &r->file.entries[i], err));
    r->report->rank = (int)r->r;
    r->report->alpha = (float)r->alpha;
    return targets_check(r, err);
}

/* ---- cdcca_extra.safetensors ---- */

/* x + up(gelu(down(x))) is x when up is zero. */
static enum status adapter_is_neutral(struct reader *r, const struct safetensors_entry *e,
                                      struct err *err)
{
    size_t n = e->size / dtype_size(e->dtype);
    TRY(room_for(r, n, err));
    TRY(entry_values(e, n, r->values, err));
    for (size_t i = 0; strstr(e->name, ".up.") && i < n; i++)
        if (r->values[i] != 0)
            return err_set(err, STATUS_UNSUPPORTED,
                           "%s: a bottleneck adapter has no place in plain weights", e->name);
    return STATUS_OK;
}

static enum status extras_apply(struct reader *r, const struct safetensors *extra, struct err *err)
{
    for (size_t i = 0; i < extra->count; i++) {
        const struct safetensors_entry *e = &extra->entries[i];
        struct param *p = mllm_find(r->model, e->name);
        r->report->extras++;
        r->report->extra_values += (int64_t)(e->size / dtype_size(e->dtype));
        if (!r->set && strstr(e->name, "_adapter."))
            TRY(adapter_is_neutral(r, e, err));
        else if (!p)
            return err_set(err, STATUS_NOT_FOUND, "the model has no parameter %.160s", e->name);
        else
            TRY(param_replace(r, p, e, err));
    }
    return STATUS_OK;
}

/* ---- the directory ---- */

static enum status extras_read(struct io *io, const char *dir, struct reader *r, struct err *err)
{
    char path[4096];
    struct safetensors extra = {0};
    TRY(io_join(path, sizeof path, dir, PEFT_EXTRAS, err));
    if (!io_exists(path))
        return STATUS_OK;
    TRY(safetensors_open(io, path, TENSOR_BYTES, &extra, err));
    enum status status = extras_apply(r, &extra, err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", path);
    safetensors_close(&extra);
    return status;
}

static enum status tensors_read(struct io *io, const char *dir, struct reader *r, struct err *err)
{
    char path[4096];
    TRY(io_join(path, sizeof path, dir, PEFT_TENSORS, err));
    TRY(safetensors_open(io, path, TENSOR_BYTES, &r->file, err));
    enum status status = tensors_apply(r, err);
    if (status != STATUS_OK)
        err_prefix(err, "%s", path);
    safetensors_close(&r->file);
    return status;
}

static enum status config_open(struct io *io, const char *dir, struct reader *r, json **out,
                               struct err *err)
{
    char path[4096];
    struct buf text = {.max = CONFIG_BYTES};
    TRY(io_join(path, sizeof path, dir, PEFT_CONFIG, err));
    enum status status = io_read_file(io, path, &text, err);
    if (status == STATUS_OK) {
        status = json_parse(text.data, text.len, out, err);
        if (status == STATUS_OK)
            status = config_read(r, *out, err);
        if (status != STATUS_OK)
            err_prefix(err, "%s", path);
    }
    buf_free(&text);
    return status;
}

static enum status directory_read(struct io *io, const char *dir, struct reader *r, struct err *err)
{
    json *config = NULL;
    memset(r->report, 0, sizeof *r->report);
    enum status status = config_open(io, dir, r, &config, err);
    if (status == STATUS_OK)
        status = tensors_read(io, dir, r, err);
    if (status == STATUS_OK)
        status = extras_read(io, dir, r, err);
    json_free(config);
    free(r->values);
    return status;
}

enum status peft_import(struct io *io, const char *dir, struct mllm *model,
                        const struct trainable *set, const struct trainable_options *options,
                        struct peft_report *report, struct err *err)
{
    struct reader r = {.model = model, .set = set, .options = options, .report = report};
    return directory_read(io, dir, &r, err);
}

enum status peft_merge(struct io *io, const char *dir, struct mllm *model,
                       struct peft_report *report, struct err *err)
{
    struct reader r = {.model = model, .report = report};
    TRY(directory_read(io, dir, &r, err));
    mllm_fingerprint(model);
    return STATUS_OK;
}
