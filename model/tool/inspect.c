/* cdcca-model inspect; see inspect.h. One list of (label, value) lines serves people and --json. */
#include "model/tool/inspect.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "api/wire/safetensors_file.h"
#include "model/mllm/mllm.h"
#include "model/tensor/blas.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FACTS = 32 };

struct facts {
    struct fact {
        const char *name;
        char text[192];
        int64_t number; /* -1: text */
    } fact[FACTS];
    int count;
};

static struct fact *fact_add(struct facts *f, const char *name, int64_t number)
{
    struct fact *fact = &f->fact[f->count];
    f->count += f->count < FACTS - 1;
    *fact = (struct fact){.name = name, .number = number};
    return fact;
}

__attribute__((format(printf, 3, 4))) static void fact_text(struct facts *f, const char *name,
                                                            const char *format, ...)
{
    struct fact *fact = fact_add(f, name, -1);
    va_list args;
    va_start(args, format);
    vsnprintf(fact->text, sizeof fact->text, format, args);
    va_end(args);
}

/* Parameters whose name starts with the prefix; NULL: all of them. */
static int64_t parameters(const struct mllm *m, const char *prefix)
{
    int64_t n = 0;
    for (int i = 0; i < m->param_count; i++)
        if (!prefix || strncmp(m->params[i].name, prefix, strlen(prefix)) == 0)
            n += (int64_t)param_count(&m->params[i]);
    return n;
}

static void add_multimodal(struct facts *f, const struct mllm *m)
{
    char hex[HASH_HEX];
    const struct mllm_config *c = &m->config;
    hash_hex(&m->encoder, hex);
    fact_text(f, "vision", "%d layers, %d wide, %d heads, ffn %d; image %d, patch %d",
              c->vision.layers, c->vision.hidden, c->vision.heads, c->vision.ffn, c->vision.image,
              c->vision.patch);
    fact_text(f, "qformer", "%d layers, %d wide, %d heads, ffn %d; cross-attention every %d",
              c->qformer.layers, c->qformer.hidden, c->qformer.heads, c->qformer.ffn,
              c->qformer.cross_every);
    fact_add(f, "query_tokens", c->queries);
    fact_add(f, "parameters_vision", parameters(m, "vision_model."));
    fact_add(f, "parameters_qformer",
             parameters(m, "qformer.") + parameters(m, "query_tokens") +
                 parameters(m, "language_projection"));
    fact_add(f, "parameters_language", parameters(m, "language_model."));
    fact_text(f, "encoder_fingerprint", "%s", hex);
    fact_text(f, "prompt", "%s", c->prompt);
}

static void facts_collect(struct facts *f, const struct mllm *m, const char *type)
{
    const struct mllm_config *c = &m->config;
    fact_text(f, "kind", "%s",
              !c->multimodal    ? "llama"
              : c->qformer.text ? "instructblip"
                                : "blip-2");
    fact_text(f, "weights", "%s", type);
    fact_add(f, "parameters", parameters(m, NULL));
    fact_text(f, "language", "%d layers, %d wide, %d heads (%d for keys), ffn %d, vocabulary %d",
              c->text.layers, c->text.hidden, c->text.heads, c->text.kv_heads, c->text.ffn,
              c->text.vocab);
    if (c->multimodal)
        add_multimodal(f, m);
    fact_add(f, "tokenizer_tokens", m->tokenizer ? tokenizer_vocab(m->tokenizer) : 0);
    fact_text(f, "blas_kernel", "%s", blas_kernel());
}

/* How the matrices are kept: quantized, or as the first tensor; a sharded model's shards are left
 * out. */
static enum status weights_type(struct io *io, const char *dir, const struct mllm *m, char *out,
                                size_t size, struct err *err)
{
    char path[4096];
    struct safetensors_reader file = {0};
    TRY(io_join(path, sizeof path, dir, "model.safetensors", err));
    int bits = m->config.quantized_bits;
    snprintf(out, size, "%s", bits == 4 ? "NF4" : bits == 8 ? "Q8" : "sharded");
    if (bits || !io_exists(path))
        return STATUS_OK;
    TRY(safetensors_reader_open(io, path, &file, err));
    if (file.head.count > 0)
        snprintf(out, size, "%s", dtype_name(file.head.entries[0].dtype));
    safetensors_reader_close(&file);
    return STATUS_OK;
}

static void facts_print(const struct facts *f)
{
    for (int i = 0; i < f->count; i++) {
        if (f->fact[i].number >= 0)
            printf("%-20s %lld\n", f->fact[i].name, (long long)f->fact[i].number);
        else
            printf("%-20s %s\n", f->fact[i].name, f->fact[i].text);
    }
}

static enum status facts_json(const struct facts *f, struct err *err)
{
    json *root = json_object_new();
    bool ok = root != NULL;
    for (int i = 0; ok && i < f->count; i++)
        ok = f->fact[i].number >= 0 ? json_set_int(root, f->fact[i].name, f->fact[i].number)
                                    : json_set_string(root, f->fact[i].name, f->fact[i].text);
    return json_say(root, ok, err);
}

enum status inspect_run(int argc, char **argv, struct err *err)
{
    bool as_json = false;
    int positional = 0;
    const struct option table[] = {
        {"json", OPTION_FLAG, &as_json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {
        "cdcca-model inspect", "What a model directory holds.", "DIR", table, 1, 1};
    struct mllm *m = NULL;
    struct facts facts = {0};
    char type[16];
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(blas_load(err));
    TRY(mllm_load(io_posix(), argv[1], &m, err));
    enum status status = weights_type(io_posix(), argv[1], m, type, sizeof type, err);
    if (status == STATUS_OK) {
        facts_collect(&facts, m, type);
        if (as_json)
            status = facts_json(&facts, err);
        else
            facts_print(&facts);
    }
    mllm_release(m);
    return status;
}
