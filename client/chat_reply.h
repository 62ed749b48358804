/* What goes back to OpenAI's clients: completions, chunks of a stream, the list of models, errors.
 * Every completion carries "cdcca": the version that answered, the entropy of the answer, and
 * whether it is one of those the device would like a label for. */
#ifndef CDCCA_CHAT_REPLY_H
#define CDCCA_CHAT_REPLY_H

#include "client/chat.h"

enum { CHAT_ID = 40, CHAT_MODEL = 160, CHAT_REASON = 200 };

/* What is known of a chat beside its answer. */
struct chat_facts {
    char id[CHAT_ID];       /* "chatcmpl-..." */
    char model[CHAT_MODEL]; /* "student@3" */
    int64_t created_s, version;
    bool sampled;             /* a candidate for an upload */
    double threshold;         /* entropy from which answers are candidates; -1: none are */
    char reason[CHAT_REASON]; /* why, or why not */
};

/* {"error": {"message", "type", "param", "code"}}; param and code may be NULL. */
json *chat_error_json(const struct err *e, int status, const char *param, const char *code);
enum status chat_error_write(const struct err *e, int status, const char *param, const char *code,
                             struct buf *out);
/* The same for errors that no field is at fault for: an http_problem_writer. */
enum status chat_problem_write(const struct err *e, int status, const char *id, struct buf *out);
/* The HTTP status of an error: input of any kind is 400, a full queue 503. */
int chat_error_status(enum status code);

/* These return NULL without memory. */
json *chat_completion_json(const struct mllm *m, const struct chat_request *request,
                           const struct chat_facts *facts, const struct chat_answer *answer);
/* The first chunk of a stream: the role. */
json *chat_chunk_first(const struct chat_request *request, const struct chat_facts *facts);
/* A piece of text and the tokens from..to-1 that came with it. */
json *chat_chunk_piece(const struct mllm *m, const struct chat_request *request,
                       const struct chat_facts *facts, const struct chat_answer *answer,
                       const char *piece, int from, int to);
/* The last: why it ended, and "cdcca". */
json *chat_chunk_last(const struct chat_request *request, const struct chat_facts *facts,
                      const struct chat_answer *answer);
/* After that, when stream_options asks for it. */
json *chat_chunk_usage(const struct chat_facts *facts, const struct chat_answer *answer);

#endif
