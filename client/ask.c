/* Answering one question about one image; see ask.h. */
#include "client/ask.h"
#include "api/wire/json.h"
#include "client/board.h"
#include "client/slots.h"
#include "client/window.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_POSITIONS = LIMIT_TOKENS };
#define ASK_DEFAULT_CUT 0.5 /* nats, where no agent has found a better one */

struct ask_result {
    struct answer answer;
    struct slots_info info;
    double threshold;
    bool sampled;
    int tokens, kept;
    size_t bytes;
    uint16_t positions[ASK_POSITIONS];
};

static enum status ask_open(const struct ask_options *o, struct slots **slots, struct err *err)
{
    struct mllm *m;
    TRY(infer_load(o->model_dir, &m, err));
    return slots_open(io_posix(), o->data_dir, m, false, slots, err);
}

static enum status ask_image(const char *path, int side, struct image *out, struct err *err)
{
    struct image image;
    TRY(image_load(io_posix(), path, &image, err));
    enum status status = image_resize(&image, side, side, out, err);
    image_free(&image);
    return status;
}

static double ask_threshold(const struct ask_options *o)
{
    struct board_fields fields;
    if (o->threshold >= 0)
        return o->threshold;
    if (o->data_dir && board_read(io_posix(), o->data_dir, &fields, NULL) == STATUS_OK &&
        fields.entropy_cut >= 0)
        return fields.entropy_cut;
    return ASK_DEFAULT_CUT;
}

/* What an agent would upload of this answer. */
static enum status ask_preview(const struct ask_options *o, const struct mllm *m,
                               const float *visual, struct ask_result *r, struct err *err)
{
    struct window_options options = {
        .capacity = 1, .bits = (int)o->bits, .device = "ask", .uts = uts_defaults()};
    struct window_record record = {
        .id = "ask", .entropy = r->answer.entropy, .version = r->info.version};
    r->tokens = infer_tokens(m);
    options.uts.keep = o->keep < r->tokens ? (int)o->keep : r->tokens;
    snprintf(record.question, sizeof record.question, "%s", o->question);
    snprintf(record.answer, sizeof record.answer, "%s", r->answer.text);
    return window_preview(&options, m, visual, &record, r->positions, &r->kept, &r->bytes, err);
}

/* The cores share the products of a large model; a small one does not need them. */
static enum status ask_infer(const struct mllm *m, const uint8_t *rgb, const char *question,
                             float *visual, struct answer *out, struct err *err)
{
    struct pool *pool = NULL;
    TRY(pool_create(0, &pool, err));
    enum status status = infer_answer(m, pool, rgb, &question, 1, visual, out, err);
    pool_destroy(pool);
    return status;
}

static enum status ask_answer(const struct ask_options *o, const struct mllm *m,
                              struct ask_result *r, struct err *err)
{
    struct image image = {0};
    size_t floats = (size_t)infer_tokens(m) * (size_t)infer_width(m);
    TRY(ask_image(o->image, m->config.vision.image, &image, err));
    float *visual = malloc(floats * sizeof *visual);
    enum status status = visual
                             ? ask_infer(m, image.rgb, o->question, visual, &r->answer, err)
                             : err_set(err, STATUS_NO_MEMORY, "no memory for the image's tokens");
    if (status == STATUS_OK)
        status = ask_preview(o, m, visual, r, err);
    r->threshold = ask_threshold(o);
    r->sampled = (double)r->answer.entropy >= r->threshold;
    free(visual);
    image_free(&image);
    return status;
}

/* ---- output ---- */

static json *ask_tokens(const struct ask_result *r)
{
    json *tokens = json_object_new(), *positions = json_array_new();
    bool ok = tokens && positions && json_set_int(tokens, "total", r->tokens) &&
              json_set_int(tokens, "kept", r->kept) &&
              json_set_int(tokens, "upload_bytes", (int64_t)r->bytes);
    for (int i = 0; ok && i < r->kept; i++)
        ok = json_append_int(positions, r->positions[i]);
    if (ok && json_set_take(tokens, "positions", positions))
        return tokens;
    json_free(tokens);
    return NULL;
}

static enum status ask_print_json(const struct ask_options *o, const struct ask_result *r,
                                  struct buf *out)
{
    char hex[HASH_HEX];
    json *root = json_object_new(), *tokens = ask_tokens(r);
    enum status status = STATUS_NO_MEMORY;
    hash_hex(&r->info.hash, hex);
    if (root && tokens && json_set_string(root, "question", o->question) &&
        json_set_string(root, "answer", r->answer.text) &&
        json_set_number(root, "entropy", (double)r->answer.entropy) &&
        json_set_int(root, "version", r->info.version) && json_set_string(root, "sha256", hex) &&
        json_set_bool(root, "sampled", r->sampled) &&
        json_set_number(root, "threshold", r->threshold) && json_set_take(root, "tokens", tokens))
        status = json_print(root, true, out);
    json_free(root);
    return status == STATUS_OK ? buf_append(out, "\n", 1) : status;
}

static enum status ask_print_text(const struct ask_result *r, struct buf *out)
{
    TRY(buf_printf(out, "%s\n\n", r->answer.text));
    TRY(buf_printf(out, "entropy   %.3f nats, model version %" PRId64 "\n",
                   (double)r->answer.entropy, r->info.version));
    TRY(buf_printf(out, "sampled   %s: the agent samples from %.3f nats on\n",
                   r->sampled ? "yes" : "no", r->threshold));
    TRY(buf_printf(out,
                   "tokens    %s %d of %d visual tokens and the mean of the others, %zu bytes; "
                   "positions",
                   r->sampled ? "would upload" : "if it were,", r->kept, r->tokens, r->bytes));
    for (int i = 0; i < r->kept; i++)
        TRY(buf_printf(out, " %u", (unsigned)r->positions[i]));
    return buf_append(out, "\n", 1);
}

enum status ask_run(const struct ask_options *o, struct buf *out, struct err *err)
{
    struct slots *slots;
    int64_t version;
    if (!o->question[0] || strlen(o->question) > LIMIT_QUESTION)
        return err_set(err, STATUS_USAGE, "the question has %zu bytes; 1 to %d are right",
                       strlen(o->question), LIMIT_QUESTION);
    struct ask_result *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, STATUS_NO_MEMORY, "no memory for an answer");
    enum status status = ask_open(o, &slots, err);
    if (status == STATUS_OK) {
        struct mllm *m = slots_acquire(slots, &version);
        slots_info(slots, &r->info);
        status = ask_answer(o, m, r, err);
        mllm_release(m);
        slots_close(slots);
    }
    if (status == STATUS_OK && (o->json ? ask_print_json(o, r, out) : ask_print_text(r, out)))
        status = err_set(err, STATUS_NO_MEMORY, "no memory for the output");
    free(r);
    return status;
}
