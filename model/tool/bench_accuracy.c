/* Three ways: F32 weights; packed weights with F32 products; packed weights with the products that
 * decoding uses. Each has its own arena, so that a position's three distributions can be compared
 * as they come. */
#include "model/tool/bench_accuracy.h"

#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/mllm/answer.h"
#include "model/mllm/generation.h"
#include "model/task/stream.h"
#include "model/tensor/kernels_weight.h"
#include "model/tool/bench.h"
#include "model/tool/bench_model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAYS = 3, HALF = 24, PROMPT_IDS = 512 };
static const size_t WAY_BYTES = (size_t)2 << 30; /* address space */

struct way {
    const struct mllm *m;
    struct arena arena;
    struct tape tape;
    struct decoder decoder;
    const float *logits; /* (V) of the newest position */
};

struct measure {
    const struct mllm *m;
    struct mllm *packed; /* a clone of it */
    struct way way[WAYS];
    struct stream *stream; /* of a multimodal model: its scenes */
    float *visual;         /* (tokens, Cv) of the scene in use */
    int32_t prompt[PROMPT_IDS + HALF], question[PROMPT_IDS], text[2 * HALF];
    struct mllm_batch batch; /* the prompt */
    struct accuracy *out;
};

/* ---- comparing ---- */

/* KL(softmax(a) || softmax(b)) of n logits, in double */
static double divergence(const float *a, const float *b, int n)
{
    double top_a = (double)a[sampling_largest(a, n)], top_b = (double)b[sampling_largest(b, n)];
    double sum_a = 0, sum_b = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        sum_a += exp((double)a[i] - top_a);
        sum_b += exp((double)b[i] - top_b);
    }
    double shift = top_b + log(sum_b) - top_a - log(sum_a);
    for (int i = 0; i < n; i++)
        sum += exp((double)a[i] - top_a) / sum_a * ((double)a[i] - (double)b[i] + shift);
    return sum;
}

static void gap_add(struct accuracy_gap *gap, const float *a, const float *b, int n)
{
    gap->divergence += divergence(a, b, n);
    gap->same += sampling_largest(a, n) == sampling_largest(b, n);
    for (int i = 0; i < n; i++)
        gap->largest = fmax(gap->largest, fabs((double)a[i] - (double)b[i]));
}

static void position_add(struct measure *s)
{
    int V = s->m->config.text.vocab;
    s->out->positions++;
    gap_add(&s->out->packed, s->way[0].logits, s->way[1].logits, V);
    gap_add(&s->out->fast, s->way[1].logits, s->way[2].logits, V);
}

static void gap_mean(struct accuracy_gap *gap, int positions)
{
    gap->divergence /= positions;
    gap->same /= positions;
}

/* ---- a text ---- */

/* The prompt of a scene's question, with its visual tokens */
static enum status scene_prompt(struct measure *s, struct err *err)
{
    struct sample sample;
    const struct mllm_config *c = &s->m->config;
    int side = c->vision.image / c->vision.patch, question_count = 0, count = 0;
    TRY(stream_next(s->stream, &sample, err));
    TRY(answer_encode(s->m, NULL, sample.pixels, 1, s->visual, err));
    TRY(answer_prompt(s->m, sample.question.text, s->prompt, &count, s->question, &question_count,
                      PROMPT_IDS, err));
    s->batch = (struct mllm_batch){.B = 1, .text = s->prompt, .text_T = count};
    s->batch.visual = tensor_view(s->visual, 3, (int[]){1, 1 + side * side, c->vision.hidden});
    s->batch.question = s->question;
    s->batch.question_T = question_count;
    return STATUS_OK;
}

static enum status prompt_start(struct measure *s, struct err *err)
{
    if (s->stream)
        return scene_prompt(s, err);
    s->prompt[0] = s->m->config.text.bos >= 0 ? s->m->config.text.bos : 0;
    s->batch = (struct mllm_batch){.B = 1, .text = s->prompt, .text_T = 1};
    return STATUS_OK;
}

/* 2 * HALF tokens of the F32 model's own, the first half moved to the prompt */
static enum status text_draw(struct measure *s, uint64_t seed, struct err *err)
{
    struct way *w = &s->way[0];
    struct generation how = {.max_new = 2 * HALF, .sampling = {.temperature = 1}, .seed = seed};
    struct generated made = {.ids = s->text};
    tape_begin(&w->tape, &w->arena, false, NULL);
    TRY(decoder_start(&w->decoder, &w->tape, s->m, &s->batch, -1, how.max_new, err));
    TRY(generation_run(&w->decoder, &how, &made, err));
    for (int i = 0; i < HALF; i++)
        s->prompt[s->batch.text_T++] = s->text[i];
    return STATUS_OK;
}

static enum status way_prompt(struct way *w, const struct mllm_batch *batch, struct err *err)
{
    tape_begin(&w->tape, &w->arena, false, NULL);
    TRY(decoder_start(&w->decoder, &w->tape, w->m, batch, -1, HALF, err));
    w->logits = w->decoder.logits;
    return STATUS_OK;
}

static enum status way_step(struct way *w, int32_t id, struct err *err)
{
    w->logits = decoder_step(&w->decoder, &w->decoder.cache, &id, 1).data;
    return tape_check(&w->tape, err);
}

static enum status text_compare(struct measure *s, uint64_t seed, struct err *err)
{
    TRY(prompt_start(s, err));
    TRY(text_draw(s, seed, err));
    for (int i = 0; i < WAYS; i++)
        TRY(way_prompt(&s->way[i], &s->batch, err));
    position_add(s);
    for (int t = HALF; t < 2 * HALF - 1; t++) {
        for (int i = 0; i < WAYS; i++)
            TRY(way_step(&s->way[i], s->text[t], err));
        position_add(s);
    }
    return STATUS_OK;
}

/* ---- all of them ---- */

static enum status measure_prepare(struct measure *s, enum weight_type type, uint64_t seed,
                                   struct err *err)
{
    const struct mllm_config *c = &s->m->config;
    TRY(mllm_clone(s->m, &s->packed, err));
    TRY(bench_model_pack(s->packed, type, err));
    for (int i = 0; i < WAYS; i++) {
        s->way[i].m = i == 0 ? s->m : s->packed;
        s->way[i].tape.exact = i < 2;
        if (!arena_init(&s->way[i].arena, WAY_BYTES))
            return err_set(err, STATUS_NO_MEMORY, "no address space to compare in");
    }
    if (!c->multimodal)
        return STATUS_OK;
    size_t side = (size_t)(c->vision.image / c->vision.patch);
    s->visual = calloc((1 + side * side) * (size_t)c->vision.hidden, sizeof *s->visual);
    if (!s->visual)
        return err_set(err, STATUS_NO_MEMORY, "no memory for visual tokens");
    return stream_open(io_posix(), "world:target", c->vision.image, seed, &s->stream, err);
}

static void measure_free(struct measure *s)
{
    for (int i = 0; i < WAYS; i++)
        if (s->way[i].arena.base)
            arena_deinit(&s->way[i].arena);
    if (s->stream)
        stream_close(s->stream);
    free(s->visual);
    mllm_release(s->packed);
}

enum status bench_accuracy_measure(const struct mllm *m, enum weight_type type, int texts,
                                   uint64_t seed, struct accuracy *out, struct err *err)
{
    struct measure *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, STATUS_NO_MEMORY, "no memory to compare in");
    *out = (struct accuracy){0};
    s->m = m;
    s->out = out;
    enum status status = measure_prepare(s, type, seed, err);
    for (int i = 0; i < texts && status == STATUS_OK; i++)
        status = text_compare(s, seed + (uint64_t)i, err);
    if (status == STATUS_OK) {
        gap_mean(&out->packed, out->positions);
        gap_mean(&out->fast, out->positions);
    }
    measure_free(s);
    free(s);
    return status;
}

/* ---- the command ---- */

static bool gap_set(json *out, const char *key, const struct accuracy_gap *gap)
{
    json *one = json_object_new();
    bool whole = one && json_set_number(one, "mean_kl", gap->divergence) &&
                 json_set_number(one, "largest_logit_difference", gap->largest) &&
                 json_set_number(one, "same_likeliest", gap->same);
    if (whole)
        return json_set_take(out, key, one);
    json_free(one);
    return false;
}

static void gap_print(const char *name, const struct accuracy_gap *gap)
{
    printf("  %-28s %10.2e nats  %8.4f  %5.1f%%\n", name, gap->divergence, gap->largest,
           100 * gap->same);
}

static enum status accuracy_print(const char *model, const char *weights, const struct accuracy *a,
                                  bool as_json, struct err *err)
{
    if (!as_json) {
        printf("%s as %s, %d positions, kernels %s\n  %-28s %10s      %8s  same likeliest\n", model,
               weights, a->positions, weight_kernels()->name, "", "mean KL", "largest");
        gap_print("F32 -> packed", &a->packed);
        gap_print("packed -> fast products", &a->fast);
        return STATUS_OK;
    }
    json *out = json_object_new();
    bool whole = out && json_set_string(out, "bench", "accuracy") &&
                 json_set_string(out, "model", model) && json_set_string(out, "weights", weights) &&
                 json_set_int(out, "positions", a->positions) &&
                 json_set_string(out, "kernels", weight_kernels()->name) &&
                 gap_set(out, "packed", &a->packed) && gap_set(out, "fast", &a->fast);
    return json_say(out, whole, err);
}

enum status bench_accuracy_run(int argc, char **argv, struct err *err)
{
    const char *model = NULL, *weights = "nf4";
    int64_t texts = 16, seed = 1;
    bool as_json = false;
    int positional = 0;
    const struct option table[] = {
        {"model", OPTION_STRING, &model, 0, 0, "DIR", "the model, with F32 weights"},
        {"weights", OPTION_STRING, &weights, 0, 0, "TYPE", "bf16|f16|q8|nf4"},
        {"count", OPTION_INT, &texts, 1, 1e6, "N", "texts of 24 compared positions"},
        {"seed", OPTION_INT, &seed, 0, 1e15, "S", "of the texts"},
        {"json", OPTION_FLAG, &as_json, 0, 0, NULL, "print JSON"},
        {NULL, OPTION_FLAG, NULL, 0, 0, NULL, NULL},
    };
    const struct options options = {"cdcca-model bench accuracy",
                                    "What packed weights and fast products cost in accuracy.",
                                    NULL,
                                    table,
                                    0,
                                    0};
    struct mllm *m = NULL;
    struct accuracy result;
    enum weight_type type;
    TRY(options_parse(&options, argc, argv, &positional, err));
    if (!model || !bench_weight_type(weights, &type))
        return err_set(err, STATUS_USAGE, "--model DIR, and --weights bf16, f16, q8 or nf4");
    TRY(mllm_load(io_posix(), model, &m, err));
    enum status status = bench_accuracy_measure(m, type, (int)texts, (uint64_t)seed, &result, err);
    mllm_release(m);
    TRY(status);
    return accuracy_print(model, weights, &result, as_json, err);
}
