/* cdcca-model eval --model DIR --data world:target: a table by kind of question, or JSON. With
 * --trainable FILE, the model as a device runs it after deltas: adapters attached, then the
 * file's values. With --captions, the model describes each scene instead, and is scored against the
 * scene's references. */
#include "model/tool/eval.h"
#include "api/base/io.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/learn/trainable.h"
#include "model/task/evaluate.h"
#include "model/tool/score.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct eval {
    const char *model, *trainable, *data;
    int64_t count, seed, threads, version;
    bool captions, json;
    char caption_data[64];
};

static enum status model_open(struct eval *e, struct mllm **out, struct err *err)
{
    struct trainable set = {0};
    struct trainable_options defaults = trainable_defaults();
    TRY(mllm_load(io_posix(), e->model, out, err));
    if (!e->trainable)
        return STATUS_OK;
    enum status status = trainable_attach(*out, &defaults, &set, err);
    if (status == STATUS_OK)
        status = trainable_load(io_posix(), &set, e->trainable, &e->version, err);
    trainable_free(&set);
    return status;
}

/* ---- output ---- */

static json *score_json(const struct score *s)
{
    json *value = json_object_new();
    if (!value || !json_set_int(value, "count", s->count) ||
        (s->choices && !json_set_number(value, "mc", s->mc)) ||
        !json_set_number(value, "da", s->da)) {
        json_free(value);
        return NULL;
    }
    return value;
}

/* A group without samples has no field. */
static bool score_set(json *object, const char *key, const struct score *s)
{
    if (s->count == 0)
        return true;
    json *value = score_json(s);
    return value && json_set_take(object, key, value);
}

static bool captions_set(json *object, const char *key, const struct caption_result *c)
{
    if (c->count == 0)
        return true;
    json *value = score_captions_json(&c->scores);
    if (value && json_set_int(value, "count", c->count) &&
        json_set_number(value, "exact", c->exact))
        return json_set_take(object, key, value);
    json_free(value);
    return false;
}

static bool evaluation_json(const struct eval *e, const struct evaluation *v, json *out)
{
    bool whole = json_set_string(out, "data", e->data) && json_set_int(out, "seed", e->seed) &&
                 score_set(out, "five", &v->five) && score_set(out, "all", &v->all) &&
                 score_set(out, "new_concepts", &v->new_concepts) &&
                 captions_set(out, "captions", &v->captions) &&
                 captions_set(out, "captions_new_concepts", &v->captions_new) &&
                 json_set_number(out, "entropy", v->entropy) &&
                 json_set_number(out, "seconds", v->seconds);
    for (int k = 0; whole && k < KINDS; k++)
        whole = score_set(out, world_kind_name((enum world_kind)k), &v->kind[k]);
    return whole && (!e->trainable || json_set_int(out, "version", e->version));
}

static enum status print_json(const struct eval *e, const struct evaluation *v, struct err *err)
{
    json *out = json_object_new();
    return json_say(out, out && evaluation_json(e, v, out), err);
}

static void print_row(const char *name, const struct score *s)
{
    if (s->count == 0)
        return;
    if (s->choices)
        printf("%-14s %6d  %5.1f  %5.1f\n", name, s->count, s->mc, s->da);
    else
        printf("%-14s %6d      -  %5.1f\n", name, s->count, s->da);
}

static void print_captions(const char *name, const struct caption_result *c)
{
    if (c->count)
        printf("%-14s %6d  %6.1f  %6.1f  %6.1f  %7.1f\n", name, c->count, c->exact,
               100 * c->scores.bleu[3], 100 * c->scores.cider, 100 * c->scores.rouge_l);
}

/* As papers print them: all times 100. */
static void print_caption_table(const struct eval *e, const struct evaluation *v)
{
    printf("%s, seed %" PRId64 "\n%-14s %6s  %6s  %6s  %6s  %7s\n", e->data, e->seed, "captions",
           "count", "same %", "BLEU-4", "CIDEr", "ROUGE-L");
    print_captions("all", &v->captions);
    print_captions("  new concepts", &v->captions_new);
    printf("entropy %.3f nats, %.1f s\n", v->entropy, v->seconds);
}

static void print_table(const struct eval *e, const struct evaluation *v)
{
    printf("%s, seed %" PRId64 "\n%-14s %6s  %5s  %5s\n", e->data, e->seed, "questions", "count",
           "MC %", "DA %");
    for (int k = 0; k < KINDS; k++)
        print_row(world_kind_name((enum world_kind)k), &v->kind[k]);
    print_row("first five", &v->five);
    print_row("  new concepts", &v->new_concepts);
    print_row("all", &v->all);
    printf("entropy %.3f nats, %.1f s\n", v->entropy, v->seconds);
}

/* ---- the command ---- */

static enum status eval(struct eval *e, struct err *err)
{
    struct mllm *model = NULL;
    struct pool *pool = NULL;
    struct evaluation result;
    enum status status = model_open(e, &model, err);
    if (status == STATUS_OK)
        status = pool_create((int)e->threads, &pool, err);
    if (status == STATUS_OK)
        status =
            evaluate(model, pool, e->data, (uint64_t)e->seed, (int)e->count, e->json, &result, err);
    pool_destroy(pool);
    if (model)
        mllm_release(model);
    TRY(status);
    if (e->json)
        return print_json(e, &result, err);
    if (result.captions.count)
        print_caption_table(e, &result);
    else
        print_table(e, &result);
    return STATUS_OK;
}

static enum status captions_choose(struct eval *e, struct err *err)
{
    bool world = strncmp(e->data, "world:", 6) == 0 && !strchr(e->data, '/');
    if (!world)
        return err_set(err, STATUS_USAGE,
                       "--captions describes scenes of --data world:NAME; captions of your own "
                       "images: cdcca-model score --captions FILE");
    int n = snprintf(e->caption_data, sizeof e->caption_data, "%s/caption", e->data);
    if (n < 0 || (size_t)n >= sizeof e->caption_data)
        return err_set(err, STATUS_USAGE, "--data %.40s...: no such world", e->data);
    e->data = e->caption_data;
    return STATUS_OK;
}

enum status eval_run(int argc, char **argv, struct err *err)
{
    struct eval e = {.data = "world:target", .count = 1000, .seed = 1, .threads = 0};
    int positional = 0;
    const struct option table[] = {
        {"model", OPTION_STRING, &e.model, 0, 0, "DIR", "the model to evaluate"},
        {"trainable", OPTION_STRING, &e.trainable, 0, 0, "FILE",
         "the trainable set it has come to"},
        {"data", OPTION_STRING, &e.data, 0, 0, "SOURCE",
         "world:NAME, world:NAME/KIND or a directory"},
        {"count", OPTION_INT, &e.count, 1, 1e6, "N", "questions"},
        {"captions", OPTION_FLAG, &e.captions, 0, 0, NULL,
         "describe scenes of world:NAME: BLEU, CIDEr, ROUGE-L"},
        {"seed", OPTION_INT, &e.seed, 0, 1e15, "S", "of the world"},
        {"threads", OPTION_INT, &e.threads, 0, 64, "T", "0: one per core"},
        {"json", OPTION_FLAG, &e.json, 0, 0, NULL, "print JSON, no progress"},
        {0}};
    const struct options options = {
        "cdcca-model eval", "accuracy of a model, by kind of question", NULL, table, 0, 0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!e.model)
        return err_set(err, STATUS_USAGE, "--model DIR is missing");
    if (e.captions)
        TRY(captions_choose(&e, err));
    return eval(&e, err);
}
