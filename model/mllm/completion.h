/* Generation with texts around it: prompts in one batch, pieces of text as they come, stop strings.
 * generation.h is the same on ids alone; answer.h is for many short answers. */
#ifndef CDCCA_COMPLETION_H
#define CDCCA_COMPLETION_H

#include "model/mllm/generation.h"
#include "model/mllm/prompt.h"

enum completion_end {
    COMPLETION_LENGTH, /* max_new tokens */
    COMPLETION_TOKEN,  /* a stop token */
    COMPLETION_STRING, /* a stop string */
    COMPLETION_CALLER, /* on_piece said so */
};
const char *completion_end_name(enum completion_end end); /* "length", "token", "string", .. */

struct completion_settings {
    struct generation generation; /* its callbacks and ctx are not looked at */
    const char *const *stop;      /* texts that end a row; the text ends before them */
    int stop_count;
    /* After every token taken, the stop token too: the piece of text (NUL-terminated UTF-8, whole
     * characters, often empty) that can be shown now. token NULL: a row is over, and this is the
     * rest of its text. False ends the row. With beams: when the search is over. May be NULL. */
    bool (*on_piece)(void *ctx, int row, const struct token *token, const char *piece);
    /* The logits (V) of the next token, before on_piece sees it. Not with beams. May be NULL. */
    void (*on_logits)(void *ctx, int row, const float *logits);
    void *ctx;
};

/* One prompt's; completion_free. */
struct completion {
    struct generated made; /* ids and tokens: owned here */
    char *text;            /* "" for a model without tokenizer */
    enum completion_end end;
};

/* out (n). The prompts may differ in length; see generation_run. Each row's eos is the model's. On
 * failure nothing is left to free. */
enum status completion_run(const struct mllm *m, struct pool *pool, const struct prompt *prompts,
                           int n, const struct completion_settings *how, struct completion *out,
                           struct err *err);
void completion_free(struct completion *out, int n);

#endif
