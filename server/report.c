/* See report.h. */
#include "server/report.h"
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

static bool report_fill(json *out, const struct distill_report *r)
{
    return gate_fill(out, r) && json_set_int(out, "instances", r->instances) &&
           json_set_int(out, "trained", r->trained) &&
           json_set_number(out, "loss_first", (double)r->loss_first) &&
           json_set_number(out, "loss_last", (double)r->loss_last) &&
           json_set_number(out, "seconds", r->seconds) &&
           json_set_number(out, "teacher_seconds", r->teacher_seconds);
}

enum status report_write(const struct distill_report *report, const float *losses, int count,
                         int stride, struct buf *out, struct err *err)
{
    json *value = json_object_new();
    bool ok = value && report_fill(value, report) && losses_json(value, losses, count, stride) &&
              json_print(value, false, out) == STATUS_OK && buf_append(out, "", 1) == STATUS_OK;
    json_free(value);
    if (!ok)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    out->len--;
    return STATUS_OK;
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
