/* cdcca-model verify; see verify.h. What a directory holds decides what is run. */
#include "model/tool/verify.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/tensor/blas.h"
#include "model/tool/verify_parts.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t STEP_BYTES = (size_t)4 << 30; /* address space; touched as needed */

/* ---- the cases of expected.json ---- */

/* model-X.safetensors for a case called X_..; false when there is no such file. */
static bool case_weights(const struct verify *v, const char *name, char *file, size_t size)
{
    const char *end = strchr(name, '_');
    if (!end)
        return false;
    snprintf(file, size, "model-%.*s.safetensors", (int)(end - name), name);
    return verify_has(v, file);
}

static bool is_case(const json *value)
{
    return json_is_object(value) && (json_has(value, "loss") || json_has(value, "logits"));
}

static bool is_generation(const json *value)
{
    return json_is_object(value) && json_has(value, "new_token_ids");
}

/* The cases of the weights that are open: the plain ones, or with `only` that one alone. */
static enum status run_cases(struct verify *v, const char *only, struct err *err)
{
    const json *value = NULL;
    void *cursor = NULL;
    char file[256];
    for (const char *name; (name = json_next(v->expected, &cursor, &value)) != NULL;) {
        if (only ? strcmp(name, only) != 0 : case_weights(v, name, file, sizeof file))
            continue;
        if (is_case(value))
            TRY(verify_case(v, name, value, err));
        if (is_generation(value))
            TRY(verify_generation(v, name, value, err));
        const json *inner = is_case(value) ? numbers_field(value, "greedy_generate") : NULL;
        if (is_generation(inner))
            TRY(verify_generation(v, name, inner, err));
    }
    return STATUS_OK;
}

static bool wants_gradients(const struct verify *v)
{
    const json *value = NULL;
    void *cursor = NULL;
    bool wants = verify_has(v, "training.json");
    while (json_next(v->expected, &cursor, &value))
        wants = wants || (is_case(value) && json_has(value, "gradients"));
    return wants;
}

/* Cases with weights of their own */
static enum status run_other_weights(struct verify *v, struct err *err)
{
    const json *value = NULL;
    void *cursor = NULL;
    char file[256];
    for (const char *name; (name = json_next(v->expected, &cursor, &value)) != NULL;) {
        if (!is_case(value) || !case_weights(v, name, file, sizeof file))
            continue;
        TRY(verify_open(v, NULL, NULL, file, err));
        TRY(run_cases(v, name, err));
    }
    return STATUS_OK;
}

/* ---- the same cases from other files ---- */

static enum status run_sharded(struct verify *v, struct err *err)
{
    if (!verify_has(v, "sharded/config.json"))
        return STATUS_OK;
    v->prefix = "sharded ";
    TRY(verify_open(v, "sharded", NULL, NULL, err));
    return run_cases(v, NULL, err);
}

/* Files of DIR called config.SOMETHING.json, in any order */
static enum status run_other_configs(struct verify *v, struct err *err)
{
    DIR *dir = opendir(v->dir);
    enum status status = STATUS_OK;
    char prefix[80];
    if (!dir)
        return STATUS_OK;
    for (const struct dirent *e; status == STATUS_OK && (e = readdir(dir)) != NULL;) {
        size_t n = strlen(e->d_name);
        if (strncmp(e->d_name, "config.", 7) != 0 || n <= 12 ||
            strcmp(e->d_name + n - 5, ".json") != 0)
            continue;
        snprintf(prefix, sizeof prefix, "%.70s ", e->d_name);
        v->prefix = prefix;
        status = verify_open(v, NULL, e->d_name, NULL, err);
        if (status == STATUS_OK)
            status = run_cases(v, NULL, err);
    }
    closedir(dir);
    return status;
}

/* ---- a directory ---- */

static enum status verify_all(struct verify *v, struct err *err)
{
    bool inner = !verify_has(v, "config.json") && verify_has(v, "hf/config.json");
    v->gradients = true;
    v->trains = wants_gradients(v);
    TRY(verify_open(v, inner ? "hf" : NULL, NULL, NULL, err));
    TRY(run_cases(v, NULL, err));
    TRY(verify_stories(v, err));
    v->gradients = false;
    TRY(run_other_weights(v, err));
    TRY(run_sharded(v, err));
    TRY(run_other_configs(v, err));
    v->prefix = "";
    TRY(verify_training(v, err));
    if (v->report->count == 0)
        return err_set(
            err, STATUS_MALFORMED,
            "%s/expected.json holds nothing to compare with: no object with logits, loss "
            "or new_token_ids",
            v->dir);
    return STATUS_OK;
}

static enum status verify_files(struct verify *v, struct err *err)
{
    if (!verify_has(v, "expected.json"))
        return err_set(
            err, STATUS_NOT_FOUND,
            "%s/expected.json is missing: what a reference computed (README, \"Porting a "
            "checkpoint\")",
            v->dir);
    TRY(verify_read(v->io, v->dir, "expected.json", &v->expected, err));
    if (!json_is_object(v->expected))
        return err_set(err, STATUS_MALFORMED, "%s/expected.json must be an object", v->dir);
    if (verify_has(v, "inputs.json"))
        TRY(verify_read(v->io, v->dir, "inputs.json", &v->inputs, err));
    if (!arena_init(&v->arena, STEP_BYTES))
        return err_set(err, STATUS_NO_MEMORY, "no memory to verify");
    return verify_all(v, err);
}

enum status verify_directory(struct io *io, const char *dir, struct verify_report *out,
                             struct err *err)
{
    struct verify v = {.io = io, .dir = dir, .report = out, .prefix = ""};
    v.tape.exact = true;
    out->count = 0;
    enum status status = verify_files(&v, err);
    verify_close(&v);
    json_free(v.expected);
    json_free(v.inputs);
    if (v.arena.base)
        arena_deinit(&v.arena);
    return status;
}

/* ---- the command ---- */

bool verify_passes(const struct verify_check *check, double tolerance)
{
    return check->ids ? check->difference == 0 : check->difference <= tolerance;
}

static int report_failures(const struct verify_report *r, double tolerance)
{
    int failures = 0;
    for (int i = 0; i < r->count; i++)
        failures += !verify_passes(&r->check[i], tolerance);
    return failures;
}

static void report_print(const struct verify_report *r, double tolerance)
{
    int width = 5;
    for (int i = 0; i < r->count; i++) {
        int n = (int)strlen(r->check[i].name);
        width = n > width ? n : width;
    }
    printf("%-*s  %10s  %-4s  %s\n", width, "check", "difference", "", "where the largest is");
    for (int i = 0; i < r->count; i++) {
        const struct verify_check *c = &r->check[i];
        printf("%-*s  %10.3g  %-4s  %s\n", width, c->name, c->difference,
               verify_passes(c, tolerance) ? "ok" : "FAIL", c->where);
    }
    printf("%d checks, %d above %g\n", r->count, report_failures(r, tolerance), tolerance);
}

static json *check_json(const struct verify_check *c, double tolerance)
{
    json *one = json_object_new();
    if (!one || !json_set_string(one, "name", c->name) ||
        !json_set_number(one, "difference", c->difference) ||
        !json_set_bool(one, "passed", verify_passes(c, tolerance)) ||
        !json_set_string(one, "where", c->where)) {
        json_free(one);
        return NULL;
    }
    return one;
}

static enum status report_json(const struct verify_report *r, double tolerance, struct err *err)
{
    json *root = json_object_new(), *list = json_array_new();
    bool ok = root && list;
    for (int i = 0; ok && i < r->count; i++)
        ok = json_append_take(list, check_json(&r->check[i], tolerance));
    ok = ok && json_set_number(root, "tolerance", tolerance) &&
         json_set_bool(root, "passed", report_failures(r, tolerance) == 0);
    ok = json_set_take(root, "checks", list) && ok;
    return json_say(root, ok, err);
}

static enum status verify_command(const char *dir, double tolerance, bool as_json,
                                  struct verify_report *report, struct err *err)
{
    TRY(verify_directory(io_posix(), dir, report, err));
    if (as_json)
        TRY(report_json(report, tolerance, err));
    else
        report_print(report, tolerance);
    int failures = report_failures(report, tolerance);
    if (failures > 0)
        return err_set(err, STATUS_DIFFERS, "%s: %d of %d checks differ by more than %g", dir,
                       failures, report->count, tolerance);
    return STATUS_OK;
}

enum status verify_run(int argc, char **argv, struct err *err)
{
    double tolerance = 1e-4;
    bool as_json = false;
    int positional = 0;
    const struct option table[] = {
        {"tolerance", OPTION_NUMBER, &tolerance, 0, 1e6, "X", "largest difference (1e-4)"},
        {"json", OPTION_FLAG, &as_json, 0, 0, NULL, "print the report as JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model verify",
        "Compares a model with a reference's outputs: DIR/expected.json, DIR/inputs.json.",
        "DIR",
        table,
        1,
        1};
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(blas_load(err));
    struct verify_report *report = calloc(1, sizeof *report);
    if (!report)
        return err_set(err, STATUS_NO_MEMORY, "no memory for the report");
    enum status status = verify_command(argv[1], tolerance, as_json, report, err);
    free(report);
    return status;
}
