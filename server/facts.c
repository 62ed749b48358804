/* See facts.h. */
#include "server/facts.h"
#include "api/wire/safetensors.h"
#include "model/mllm/fingerprint.h"
#include "model/mllm/reach.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void name_of(const char *dir, char out[LIMIT_ID + 1])
{
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && dir[start - 1] != '/')
        start--;
    snprintf(out, LIMIT_ID + 1, "%.*s", (int)(end - start), dir + start);
}

int64_t facts_parameters(const struct mllm *model)
{
    int64_t n = 0;
    for (int i = 0; i < model->param_count; i++)
        n += (int64_t)param_count(&model->params[i]);
    return n;
}

static enum status files_hash(struct io *io, const char *dir, struct facts *out, struct err *err)
{
    struct manifest_base base;
    TRY(fingerprint_read(io, dir, &base, err));
    memcpy(out->config_hash, base.config, HASH_HEX);
    memcpy(out->model_hash, base.model, HASH_HEX);
    memcpy(out->tokenizer_hash, base.tokenizer, HASH_HEX);
    return STATUS_OK;
}

enum status facts_read(struct io *io, const struct mllm *teacher, const char *teacher_dir,
                       const struct mllm *student, const char *student_dir,
                       const struct trainable *set, struct facts *out, struct err *err)
{
    struct hash hash;
    *out = (struct facts){.options = trainable_defaults()};
    if (!hash_equal(&teacher->encoder, &student->encoder))
        return err_set(
            err, STATUS_WRONG_BASE,
            "teacher %s and student %s have different vision encoders; tokens of the one "
            "mean nothing to the other",
            teacher_dir, student_dir);
    name_of(teacher_dir, out->teacher);
    name_of(student_dir, out->student);
    out->teacher_parameters = facts_parameters(teacher);
    hash_hex(&student->encoder, out->encoder);
    trainable_hash(set, &hash);
    hash_hex(&hash, out->set_hash);
    out->set_values = (int64_t)set->values;
    out->set_tensors = set->count;
    const struct mllm_config *config = &student->config;
    int side = config->vision.image / config->vision.patch;
    out->token_width = config->vision.hidden;
    out->tokens_max = 1 + side * side;
    out->encoder_model = student;
    out->image_size = config->vision.image;
    out->entropy_max = log((double)config->text.vocab);
    return files_hash(io, student_dir, out, err);
}

static enum status instance_check(const struct facts *facts, const struct payload *payload,
                                  const struct payload_instance *instance, struct err *err)
{
    if (instance->count > (uint32_t)facts->tokens_max)
        return err_set(err, STATUS_SHAPE, "instance \"%s\" has %u tokens; the encoder makes %d",
                       instance->id, instance->count, facts->tokens_max);
    if (instance->entropy > facts->entropy_max + 1e-3)
        return err_set(err, STATUS_MALFORMED,
                       "instance \"%s\": entropy %g is more than ln V = %.4f", instance->id,
                       instance->entropy, facts->entropy_max);
    for (uint32_t t = 0; t < instance->count; t++)
        if (payload->positions[instance->first + t] >= facts->tokens_max &&
            payload->positions[instance->first + t] != PAYLOAD_REST)
            return err_set(err, STATUS_MALFORMED,
                           "instance \"%s\": position %u; the encoder's go from 0 to %d",
                           instance->id, payload->positions[instance->first + t],
                           facts->tokens_max - 1);
    return STATUS_OK;
}

/* How far quantization may have moved a channel of token t: half a step, and what an F16 scale of
 * next to nothing rounds off. */
static double slack_of(const struct payload *payload, size_t t)
{
    float scale = 0;
    dtype_to_f32(DTYPE_F16, &payload->scales[t], 1, &scale);
    return 0.5 * (double)scale + 1e-4;
}

/* values: the instance's tokens. */
static enum status tokens_check(const struct facts *facts, const struct payload *payload,
                                const struct payload_instance *instance, const float *values,
                                struct err *err)
{
    for (uint32_t t = 0; t < instance->count; t++) {
        const float *token = values + (size_t)t * (size_t)payload->width;
        double radius =
            reach_radius(facts->encoder_model, token, slack_of(payload, instance->first + t));
        if (!(radius <= REACH_MOST))
            return err_set(err, STATUS_MALFORMED,
                           "instance \"%s\", token %u: no image gives it; it lies at %.2f of what "
                           "this vision encoder can reach, and right is 1 at most",
                           instance->id, t, radius);
    }
    return STATUS_OK;
}

static enum status reach_check(const struct facts *facts, const struct payload *payload, size_t i,
                               struct err *err)
{
    const struct payload_instance *instance = &payload->instance[i];
    float *values = malloc((size_t)instance->count * (size_t)payload->width * sizeof *values + 1);
    if (!values)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    payload_dequantize(payload, i, values);
    enum status status = tokens_check(facts, payload, instance, values, err);
    free(values);
    return status;
}

enum status facts_check_upload(const struct facts *facts, const struct payload *payload,
                               int64_t version, struct err *err)
{
    if (strcmp(payload->encoder, facts->encoder) != 0)
        return err_set(err, STATUS_WRONG_BASE,
                       "these tokens are of encoder %.16s...; this service learns with %.16s...",
                       payload->encoder, facts->encoder);
    if (payload->base_version < 0 || payload->base_version > version)
        return err_set(err, STATUS_WRONG_BASE,
                       "base_version is %lld; versions of this service go from 0 to %lld",
                       (long long)payload->base_version, (long long)version);
    if (payload->width != facts->token_width)
        return err_set(err, STATUS_SHAPE, "tokens are %d wide; this encoder's are %d",
                       payload->width, facts->token_width);
    for (size_t i = 0; i < payload->instances; i++)
        TRY(instance_check(facts, payload, &payload->instance[i], err));
    for (size_t i = 0; i < payload->instances; i++)
        TRY(reach_check(facts, payload, i, err));
    return STATUS_OK;
}

bool facts_json(const struct facts *facts, json *object)
{
    json *base = json_object_new();
    bool ok = base && json_set_string(base, "config_sha256", facts->config_hash) &&
              json_set_string(base, "model_sha256", facts->model_hash) &&
              json_set_string(base, "tokenizer_sha256", facts->tokenizer_hash);
    if (!ok) {
        json_free(base);
        return false;
    }
    return json_set_take(object, "base", base) &&
           json_set_string(object, "encoder", facts->encoder);
}
