/* The body of POST /v1/chat/completions, as OpenAI's clients write it, checked and taken apart:
 * what is not supported is refused by name and never ignored, unless it asks for nothing.
 *
 * The prompt is text. Of a conversation with one user message and at most system messages it is
 * their text, line by line; of a longer one each message is a line "user: ..", "assistant: ..", and
 * "assistant:" ends it. The picture is the newest one: messages may have one each. */
#ifndef CDCCA_CHAT_REQUEST_H
#define CDCCA_CHAT_REQUEST_H

#include "api/base/buf.h"
#include "api/wire/json.h"
#include "model/mllm/sampling.h"
#include "model/task/image.h"

enum {
    CHAT_BODY_BYTES = 48 << 20, /* an image of LIMIT_IMAGE_BYTES in base64, and text */
    CHAT_PROMPT_BYTES = 256 << 10,
    CHAT_MESSAGES = 256,
    CHAT_PARTS = 64,
    CHAT_STOPS = 4,
    CHAT_STOP_BYTES = 256,
    CHAT_TOP = 20,
    CHAT_TOKENS = 1 << 20,
};

/* An error as OpenAI's clients want it. */
struct chat_problem {
    struct err err;
    char param[64];   /* the field that is at fault, or "" */
    const char *code; /* such as "model_not_found", or NULL */
};

struct chat_request {
    json *root; /* holds every string here */
    const char *model;
    struct buf prompt;  /* NUL-terminated */
    const char *image;  /* a data URL; NULL: none */
    int64_t max_tokens; /* 0: not given */
    double temperature; /* 0 where none is given: greedy */
    double top_p;
    int64_t seed; /* -1: not given */
    const char *stop[CHAT_STOPS];
    int stop_count;
    bool stream, include_usage, logprobs;
    int64_t top_logprobs;
};

/* Any status but NO_MEMORY is the client's fault. On failure nothing is left to free. */
enum status chat_request_parse(const void *body, size_t len, struct chat_request *out,
                               struct chat_problem *problem);
void chat_request_free(struct chat_request *request);

/* The picture of a "data:image/png;base64,..." or ".../jpeg...". Nothing is ever fetched. */
enum status chat_request_image(const char *url, struct image *out, struct err *err);

#endif
