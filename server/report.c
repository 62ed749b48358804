/* See report.h. */
#include "server/report.h"
#include "model/learn/compress.h"
#include <stdlib.h>
#include <string.h>

bool losses_json(json *object, const float *losses, int count, int stride)
{
    json *list = json_array_new();
    bool ok = list && json_set_int(object, "loss_every", stride);
    for (int i = 0; i < count && ok; i++)
        ok = json_append_number(list, (double)losses[i]);
    if (!ok) {
        json_free(list);
        return false;
    }
    return json_set_take(object, "losses", list);
}

static bool gate_fill(json *out, const struct distill_report *r)
{
    return json_set_bool(out, "passed", r->passed) && json_set_int(out, "held", r->held) &&
           json_set_number(out, "agreement_before", (double)r->agreement_before) &&
           json_set_number(out, "agreement_after", (double)r->agreement_after) &&
           json_set_number(out, "replay_before", (double)r->replay_before) &&
           json_set_number(out, "replay_after", (double)r->replay_after);
}

/* Sets object's name to a new object with these numbers. */
static bool counts_fill(json *object, const char *name, const char *const *keys, const int *counts,
                        int n)
{
    json *inner = json_object_new();
    bool ok = inner;
    for (int i = 0; i < n && ok; i++)
        ok = json_set_int(inner, keys[i], counts[i]);
    if (ok)
        return json_set_take(object, name, inner);
    json_free(inner);
    return false;
}

static bool screen_fill(json *out, const struct distill_report *r)
{
    static const char *const out_keys[] = {"unusable", "over_share", "strange"};
    static const char *const correction_keys[] = {"believed", "over_share", "doubted"};
    const int left_out[] = {r->left_out.unusable, r->left_out.over_share, r->left_out.strange};
    const int corrections[] = {r->corrections.believed, r->corrections.over_share,
                               r->corrections.doubted};
    return json_set_int(out, "devices", r->devices) &&
           counts_fill(out, "left_out", out_keys, left_out, 3) &&
           counts_fill(out, "corrections", correction_keys, corrections, 3);
}

static bool report_fill(json *out, const struct distill_report *r)
{
    return gate_fill(out, r) && screen_fill(out, r) &&
           json_set_int(out, "instances", r->instances) &&
           json_set_int(out, "trained", r->trained) &&
           json_set_number(out, "loss_first", (double)r->loss_first) &&
           json_set_number(out, "loss_last", (double)r->loss_last) &&
           json_set_number(out, "seconds", r->seconds) &&
           json_set_number(out, "teacher_seconds", r->teacher_seconds);
}

/* Prints and frees value; ok: it was filled in. */
static enum status text_write(json *value, bool ok, struct buf *out, struct err *err)
{
    ok = ok && value && json_print(value, false, out) == STATUS_OK &&
         buf_append(out, "", 1) == STATUS_OK;
    json_free(value);
    if (!ok)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    out->len--;
    return STATUS_OK;
}

enum status report_write(const struct distill_report *report, const float *losses, int count,
                         int stride, struct buf *out, struct err *err)
{
    json *value = json_object_new();
    bool ok = value && report_fill(value, report) && losses_json(value, losses, count, stride);
    return text_write(value, ok, out, err);
}

static json *tensor_json(const struct param *param, char codec, size_t bytes)
{
    char letter[2] = {codec, '\0'};
    json *out = json_object_new();
    if (out && json_set_string(out, "name", param->name) && json_set_string(out, "codec", letter) &&
        json_set_int(out, "values", (int64_t)param_count(param)) &&
        json_set_int(out, "bytes", (int64_t)bytes))
        return out;
    json_free(out);
    return NULL;
}

enum status tensors_write(const struct trainable *set, const struct delta *delta, struct buf *out,
                          struct err *err)
{
    size_t *bytes = calloc((size_t)set->count + 1, sizeof *bytes);
    if (!bytes)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    enum status status = compress_sizes(set, delta, bytes, err);
    json *list = status == STATUS_OK ? json_array_new() : NULL;
    bool ok = list;
    for (int t = 0; t < set->count && ok; t++)
        ok = json_append_take(list, tensor_json(set->params[t], delta->codecs[t], bytes[t]));
    free(bytes);
    if (status == STATUS_OK)
        return text_write(list, ok, out, err);
    return status;
}

void outcome_manifest(const struct outcome *outcome, const struct facts *facts,
                      struct manifest *out)
{
    const struct distill_report *r = &outcome->report;
    *out = (struct manifest){.version = outcome->version,
                             .base_version = outcome->base_version,
                             .size = (int64_t)outcome->patch.len,
                             .parameters = outcome->parameters,
                             .gate = {.passed = r->passed,
                                      .held = r->held,
                                      .agreement_before = (double)r->agreement_before,
                                      .agreement_after = (double)r->agreement_after,
                                      .replay_before = (double)r->replay_before,
                                      .replay_after = (double)r->replay_after}};
    hash_parse(outcome->patch_hash, &out->patch);
    hash_parse(outcome->base_set_hash, &out->base_set);
    hash_parse(outcome->set_hash, &out->set);
    memcpy(out->base.config, facts->config_hash, HASH_HEX);
    memcpy(out->base.model, facts->model_hash, HASH_HEX);
    memcpy(out->base.tokenizer, facts->tokenizer_hash, HASH_HEX);
    memcpy(out->base.encoder, facts->encoder, HASH_HEX);
}
