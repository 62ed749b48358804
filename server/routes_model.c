/* /model: what is served. */
#include "server/routes.h"
#include "server/shared.h"
#include <stdio.h>

static json *part_json(const char *name, int64_t parameters)
{
    json *out = json_object_new();
    if (out && json_set_string(out, "name", name) && json_set_int(out, "parameters", parameters))
        return out;
    json_free(out);
    return NULL;
}

static json *trainable_json(const struct facts *facts)
{
    json *out = json_object_new();
    bool ok = out && json_set_int(out, "lora_rank", facts->options.lora_rank) &&
              json_set_number(out, "lora_alpha", (double)facts->options.lora_alpha) &&
              json_set_int(out, "adapter_width", facts->options.adapter_width) &&
              json_set_int(out, "tensors", facts->set_tensors) &&
              json_set_int(out, "parameters", facts->set_values);
    if (ok)
        return out;
    json_free(out);
    return NULL;
}

static json *schemas_json(void)
{
    json *out = json_object_new();
    if (out && json_set_string(out, "tokens", "cdcca.tokens/1") &&
        json_set_string(out, "delta", "cdcca.delta/1") &&
        json_set_string(out, "manifest", "cdcca.manifest/1"))
        return out;
    json_free(out);
    return NULL;
}

static bool model_fill(json *out, const struct facts *facts, int64_t version, const char *set_hash)
{
    return json_set_int(out, "version", version) && json_set_string(out, "sha256", set_hash) &&
           json_set_string(out, "factory_sha256", facts->set_hash) && facts_json(facts, out) &&
           json_set_take(out, "teacher", part_json(facts->teacher, facts->teacher_parameters)) &&
           json_set_take(out, "student", part_json(facts->student, facts->student_parameters)) &&
           json_set_int(out, "token_width", facts->token_width) &&
           json_set_int(out, "tokens_per_image", facts->tokens_max) &&
           json_set_int(out, "image_size", facts->image_size) &&
           json_set_take(out, "trainable", trainable_json(facts)) &&
           json_set_take(out, "schemas", schemas_json());
}

static bool copy_set_hash(void *ctx, const struct release *release)
{
    snprintf(ctx, HASH_HEX, "%s", release->set_sha256);
    return true;
}

enum status model_get(struct http_request *request, struct err *err)
{
    struct cloud *cloud = request->app;
    const struct facts *facts = learner_facts(cloud->learner);
    int64_t version = 0;
    char set_hash[HASH_HEX];
    snprintf(set_hash, sizeof set_hash, "%s", facts->set_hash);
    TRY(store_version(cloud->store, &version, err));
    if (version)
        TRY(store_release(cloud->store, version, copy_set_hash, set_hash, err));
    json *out = json_object_new();
    if (out && model_fill(out, facts, version, set_hash))
        return http_reply_json(request, 200, out, err);
    json_free(out);
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}
