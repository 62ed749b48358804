/* cdcca-model generate; see generate.h. */
#include "model/tool/generate.h"

#include "api/base/clock.h"
#include "api/wire/json_out.h"
#include "api/wire/options.h"
#include "model/mllm/answer.h"
#include "model/mllm/completion.h"
#include "model/task/image.h"
#include "model/tensor/blas.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT_IDS = 1 << 16, PROMPT_BYTES = 1 << 20 };

struct generate {
    const char *model, *image, *prompt, *ids, *stop; /* flags */
    int64_t max_new, top_k, seed, beams, threads;
    double temperature, top_p, length_penalty;
    bool json, said; /* said: some text is out */
    struct mllm *m;
    struct pool *pool;
    struct buf input; /* --prompt - */
    struct prompt what;
    int32_t *text, *question; /* (PROMPT_IDS) */
    float *visual;
    struct completion out;
    int64_t started_ms, first_ms, last_ms;
};

/* ---- the prompt ---- */

static enum status read_stdin(struct generate *g, struct err *err)
{
    for (ssize_t n = 1; n > 0; g->input.len += (size_t)n) {
        if (buf_reserve(&g->input, 4097) != STATUS_OK)
            return err_set(err, STATUS_TOO_LARGE, "standard input has more than %d KiB",
                           PROMPT_BYTES >> 10);
        n = read(STDIN_FILENO, g->input.data + g->input.len, 4096);
        if (n < 0)
            return io_error(err, "read", "standard input", errno);
        if (n == 0)
            g->input.data[g->input.len] = '\0';
    }
    g->prompt = (const char *)g->input.data;
    if (strlen(g->prompt) != g->input.len)
        return err_set(err, STATUS_MALFORMED, "standard input is no text: it has a zero byte");
    return STATUS_OK;
}

/* "1, 2,3" */
static enum status parse_ids(struct generate *g, struct err *err)
{
    const char *at = g->ids;
    int count = 0;
    for (char *end; *at; at = end + strspn(end, ", ")) {
        long id = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',' && *end != ' ') || id < 0 || id > INT32_MAX)
            return err_set(err, STATUS_USAGE, "--ids: '%.20s': wanted ids such as 1,2,3", at);
        if (count == PROMPT_IDS)
            return err_set(err, STATUS_TOO_LARGE, "--ids: more than %d", PROMPT_IDS);
        g->text[count++] = (int32_t)id;
    }
    g->what.text_count = count;
    return STATUS_OK;
}

static enum status encode_image(struct generate *g, struct err *err)
{
    int S = g->m->config.vision.image, side = S / g->m->config.vision.patch;
    struct image image = {0}, square = {0};
    g->what.visual_count = 1 + side * side;
    size_t floats = (size_t)g->what.visual_count * (size_t)g->m->config.vision.hidden;
    TRY(image_load(io_posix(), g->image, &image, err));
    enum status status = image_resize(&image, S, S, &square, err);
    image_free(&image);
    g->visual = calloc(floats, sizeof *g->visual);
    if (status == STATUS_OK && !g->visual)
        status = err_set(err, STATUS_NO_MEMORY, "no memory for the image's tokens");
    if (status == STATUS_OK)
        status = answer_encode(g->m, g->pool, square.rgb, 1, g->visual, err);
    image_free(&square);
    g->what.visual = g->visual;
    return status;
}

static enum status prompt_read(struct generate *g, struct err *err)
{
    g->text = calloc(PROMPT_IDS, sizeof *g->text);
    g->question = calloc(PROMPT_IDS, sizeof *g->question);
    if (!g->text || !g->question)
        return err_set(err, STATUS_NO_MEMORY, "no memory for a prompt");
    g->what.text = g->text;
    g->what.question = g->question;
    if (g->m->config.multimodal != (g->image != NULL))
        return err_set(err, STATUS_USAGE, "%s %s", g->model,
                       g->image ? "is a text model: without --image"
                                : "answers about images: --image FILE is missing");
    if (g->image)
        TRY(encode_image(g, err));
    if (g->ids)
        return parse_ids(g, err);
    if (strcmp(g->prompt, "-") == 0)
        TRY(read_stdin(g, err));
    if (!g->m->tokenizer)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s has no tokenizer: give the prompt as --ids 1,2,3", g->model);
    return answer_prompt(g->m, g->prompt, g->text, &g->what.text_count, g->question,
                         &g->what.question_count, PROMPT_IDS, err);
}

/* ---- output ---- */

static bool on_piece(void *ctx, int row, const struct token *token, const char *piece)
{
    struct generate *g = ctx;
    (void)row;
    g->last_ms = clock_monotonic_ms();
    if (token && g->first_ms == 0)
        g->first_ms = g->last_ms;
    if (g->json)
        return true;
    if (!g->m->tokenizer && token)
        printf("%" PRId32 " ", token->id);
    if (!g->said) /* words bring a blank in front */
        piece += strspn(piece, " ");
    g->said = g->said || *piece;
    fputs(piece, stdout);
    fflush(stdout);
    return true;
}

/* Of the first token, which needs the prompt; and of those after it. */
static void print_times(const struct generate *g)
{
    int after = g->out.made.taken - 1;
    double first = (double)(g->first_ms - g->started_ms) / 1000;
    double rest = (double)(g->last_ms - g->first_ms) / 1000;
    fprintf(stderr, "%d tokens, ended by %s; the first after %.3f s", g->out.made.taken,
            completion_end_name(g->out.end), first);
    if (after > 0 && rest > 0 && g->beams < 2)
        fprintf(stderr, ", then %.1f tok/s", after / rest);
    fprintf(stderr, "\n");
}

static json *tokens_json(const struct generated *made)
{
    json *list = json_array_new();
    bool ok = list != NULL;
    for (int i = 0; ok && i < made->taken; i++) {
        const struct token *t = &made->tokens[i];
        json *one = json_object_new();
        ok = one && json_set_int(one, "id", t->id) &&
             json_set_number(one, "log_probability", (double)t->log_probability) &&
             json_set_number(one, "entropy", (double)t->entropy);
        ok = json_append_take(list, one) && ok;
    }
    if (!ok)
        json_free(list);
    return ok ? list : NULL;
}

static json *ids_json(const int32_t *ids, int count)
{
    json *list = json_array_new();
    for (int i = 0; list && i < count; i++)
        if (!json_append_int(list, ids[i])) {
            json_free(list);
            return NULL;
        }
    return list;
}

static enum status print_json(const struct generate *g, struct err *err)
{
    const struct generated *made = &g->out.made;
    json *root = json_object_new();
    bool ok = root && json_set_string(root, "text", g->out.text) &&
              json_set_take(root, "ids", ids_json(made->ids, made->count)) &&
              json_set_string(root, "ended_by", completion_end_name(g->out.end)) &&
              json_set_number(root, "log_probability", (double)made->log_probability) &&
              json_set_number(root, "entropy", (double)made->entropy) &&
              json_set_take(root, "tokens", tokens_json(made)) &&
              json_set_take(root, "prompt_ids", ids_json(g->what.text, g->what.text_count));
    return json_say(root, ok, err);
}

/* ---- the command ---- */

static enum status generate(struct generate *g, struct err *err)
{
    struct completion_settings how = {.stop = &g->stop, .stop_count = g->stop != NULL};
    how.on_piece = on_piece;
    how.ctx = g;
    how.generation = (struct generation){.max_new = (int)g->max_new,
                                         .seed = (uint64_t)g->seed,
                                         .beams = (int)g->beams,
                                         .length_penalty = (float)g->length_penalty};
    how.generation.sampling = (struct sampling){
        .temperature = (float)g->temperature, .top_p = (float)g->top_p, .top_k = (int)g->top_k};
    TRY(mllm_load(io_posix(), g->model, &g->m, err));
    TRY(pool_create((int)g->threads, &g->pool, err));
    TRY(prompt_read(g, err));
    g->started_ms = clock_monotonic_ms();
    TRY(completion_run(g->m, g->pool, &g->what, 1, &how, &g->out, err));
    if (g->json)
        TRY(print_json(g, err));
    else
        printf("\n");
    print_times(g);
    return STATUS_OK;
}

static void generate_deinit(struct generate *g)
{
    completion_free(&g->out, 1);
    free(g->text);
    free(g->question);
    free(g->visual);
    buf_free(&g->input);
    pool_destroy(g->pool);
    if (g->m)
        mllm_release(g->m);
}

static enum status check(const struct generate *g, struct err *err)
{
    if (!g->model)
        return err_set(err, STATUS_USAGE, "--model DIR is missing");
    if (!g->prompt == !g->ids)
        return err_set(err, STATUS_USAGE, "one of --prompt TEXT and --ids 1,2,3 is needed");
    return STATUS_OK;
}

enum status generate_run(int argc, char **argv, struct err *err)
{
    struct generate g = {.max_new = 64, .length_penalty = 1, .input = {.max = PROMPT_BYTES}};
    int positional = 0;
    const struct option table[] = {
        {"model", OPTION_STRING, &g.model, 0, 0, "DIR", "a LLaMA or an InstructBLIP"},
        {"prompt", OPTION_STRING, &g.prompt, 0, 0, "TEXT", "the text or question; -: from stdin"},
        {"ids", OPTION_STRING, &g.ids, 0, 0, "LIST", "the prompt as ids, such as 1,2,3"},
        {"image", OPTION_STRING, &g.image, 0, 0, "FILE", "PNG or JPEG, for an InstructBLIP"},
        {"max-new", OPTION_INT, &g.max_new, 1, 1 << 20, "N", "tokens at most (64)"},
        {"temperature", OPTION_NUMBER, &g.temperature, 0, 1e6, "T", "0: greedy (0)"},
        {"top-p", OPTION_NUMBER, &g.top_p, 0, 1, "P", "likeliest tokens that reach P; 0: all (0)"},
        {"top-k", OPTION_INT, &g.top_k, 0, 1 << 30, "K", "the K likeliest tokens; 0: all (0)"},
        {"seed", OPTION_INT, &g.seed, 0, 1e15, "S", "of the sampling (0)"},
        {"beams", OPTION_INT, &g.beams, 0, GENERATION_BEAMS, "N", "beam search (0)"},
        {"length-penalty", OPTION_NUMBER, &g.length_penalty, -100, 100, "X", "of beams (1)"},
        {"stop", OPTION_STRING, &g.stop, 0, 0, "STR", "a text to end before"},
        {"threads", OPTION_INT, &g.threads, 0, 64, "N", "0: one per core"},
        {"json", OPTION_FLAG, &g.json, 0, 0, NULL, "ids and every token's figures as JSON"},
        {0}};
    const struct options options = {"cdcca-model generate",
                                    "A model goes on with a text, or answers about an image.",
                                    NULL,
                                    table,
                                    0,
                                    0};
    TRY(options_parse(&options, argc, argv, &positional, err));
    TRY(check(&g, err));
    TRY(blas_load(err));
    enum status status = generate(&g, err);
    generate_deinit(&g);
    return status;
}
