/* One chat on a model: prompt and picture in, text out piece by piece, with every token's
 * log-probability and its likeliest alternatives where they are wanted. */
#ifndef CDCCA_CHAT_H
#define CDCCA_CHAT_H

#include "client/chat_request.h"
#include "model/mllm/completion.h"
#include "model/tensor/parallel.h"

enum { CHAT_TOKENS_DEFAULT = 256 }; /* where the request names no limit */

/* Sees a piece of text as it comes (may be ""); answer->tokens is up to date. False: nobody reads
 * any more, so that generating ends. */
typedef bool chat_on_piece(void *ctx, const char *piece);

struct chat_answer {
    char *text;
    const char *finish; /* "stop" or "length" */
    int prompt_tokens;  /* what stands for the picture included */
    int taken;          /* tokens generated, the end token included */
    int tokens;         /* of these, tokens of text; the arrays below hold so many */
    struct token *token;
    int top; /* alternatives of each token */
    int32_t *top_id;
    float *top_log_probability; /* (tokens, top), likeliest first */
    float entropy;              /* nats, mean over the tokens taken (Eq. 2) */
};

/* visual: (infer_tokens, infer_width) for an image model and its picture at the model's size rgb
 * (S,S,3); gets the encoder's tokens. Both NULL for a text model. on_piece may be NULL.
 * TOO_LARGE: the prompt does not fit the model. CORRUPT: the weights give no numbers. */
enum status chat_run(const struct mllm *m, struct pool *pool, const struct chat_request *request,
                     const uint8_t *rgb, float *visual, chat_on_piece *on_piece, void *ctx,
                     struct chat_answer *out, struct err *err);
void chat_answer_free(struct chat_answer *answer);

/* A token's own text: the bytes it stands for, NUL-terminated. */
enum status chat_token_text(const struct mllm *m, int32_t id, struct buf *out);

#endif
